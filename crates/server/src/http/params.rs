use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use model::limits;

use super::problem::Problem;

/// The query parameters of a request. Each may be taken once; what nobody took is refused by name,
/// so that a misspelt filter never gives an unfiltered answer.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|error| Problem::bad("query", query, error))?;
        Ok(Self { pairs, known: Vec::new() })
    }
}

impl Params {
    /// The value of `name`, if it was given. Twice is refused.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.known.push(name);
        let Some(at) = self.pairs.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.pairs.remove(at);
        match self.pairs.iter().find(|(key, _)| key == name) {
            Some((_, second)) => Err(Problem::bad(name, second, format!("`{name}` is given twice"))),
            None => Ok(Some(value)),
        }
    }

    /// The value of `name` read as a `T`.
    pub(crate) fn parsed<T: FromStr<Err: ToString>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Problem::bad(name, &text, format!("`{name}` is {text:?}: {}", error.to_string()))),
        }
    }

    /// A number that must be there.
    pub(crate) fn number(&mut self, name: &'static str) -> Result<f64, Problem> {
        let missing = || Problem::bad(name, "", format!("`{name}` is missing"));
        self.parsed(name)?.ok_or_else(missing)
    }

    /// A list of words separated by commas, at most [`limits::FILTER_WORDS_MAX`].
    pub(crate) fn words<T: FromStr<Err: ToString>>(&mut self, name: &'static str) -> Result<Vec<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(Vec::new()) };
        let word = |word: &str| word.parse().map_err(|error: T::Err| Problem::bad(name, word, error.to_string()));
        let words = || text.split(',').filter(|word| !word.is_empty());
        let (count, max) = (words().count(), limits::FILTER_WORDS_MAX);
        if count > max {
            return Err(Problem::bad(name, count, format!("`{name}` has {count} words, more than {max}")));
        }
        words().map(word).collect()
    }

    /// Refuses what was given and not taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, value)) => {
                let known = self.known.join(", ");
                Err(Problem::bad(name, value, format!("`{name}` is no parameter here; known are: {known}")))
            }
        }
    }
}
