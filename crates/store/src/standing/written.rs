//! The question of a standing query as JSON.

use model::{OrganisationName, Position, StandingFilter, StandingQuestion, UnitName, ZoneName};
use serde_json::{Value, json};

/// It reads the same in the audit.
pub(super) fn question_value(question: &StandingQuestion) -> Value {
    let words = |words: Vec<&str>| Value::from(words);
    match question {
        StandingQuestion::Nearest { place, k, only } => json!({ "nearest": {
            "lat_e7": place.lat_e7(),
            "lon_e7": place.lon_e7(),
            "k": k,
            "kinds": words(only.kinds.iter().map(|kind| kind.as_str()).collect()),
            "statuses": words(only.statuses.iter().map(|status| status.as_str()).collect()),
            "capabilities": words(only.capabilities.iter().map(String::as_str).collect()),
            "organisations": words(only.organisations.iter().map(OrganisationName::as_str).collect()),
        }}),
        StandingQuestion::Strength { zone, kinds, fewer_than } => json!({ "strength": {
            "zone": zone.as_str(),
            "kinds": words(kinds.iter().map(|kind| kind.as_str()).collect()),
            "fewer_than": fewer_than,
        }}),
        StandingQuestion::Near { unit, other, metres } => json!({ "near": {
            "unit": unit.as_str(),
            "other": other.as_str(),
            "metres": metres,
        }}),
    }
}

/// Of a row; what it says instead is the error.
pub(super) fn question_in(text: &str) -> Result<StandingQuestion, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let (what, of) = value.as_object().and_then(|object| object.iter().next()).ok_or("it is no object")?;
    let of = Members(of);
    match what.as_str() {
        "nearest" => {
            let place = Position::from_e7(of.number("lat_e7")?, of.number("lon_e7")?).ok_or("it is no place")?;
            let only = StandingFilter {
                kinds: of.words("kinds", |word| word.parse().map_err(problem))?,
                statuses: of.words("statuses", |word| word.parse().map_err(problem))?,
                capabilities: of.words("capabilities", |word| Ok(word.to_owned()))?,
                organisations: of.words("organisations", |word| OrganisationName::new(word).map_err(problem))?,
            };
            Ok(StandingQuestion::Nearest { place, k: of.number("k")?, only })
        }
        "strength" => Ok(StandingQuestion::Strength {
            zone: ZoneName::new(of.text("zone")?).map_err(problem)?,
            kinds: of.words("kinds", |word| word.parse().map_err(problem))?,
            fewer_than: of.number("fewer_than")?,
        }),
        "near" => Ok(StandingQuestion::Near {
            unit: UnitName::new(of.text("unit")?).map_err(problem)?,
            other: UnitName::new(of.text("other")?).map_err(problem)?,
            metres: of.0["metres"].as_f64().ok_or("`metres` is no number")?,
        }),
        other => Err(format!("{other:?} is no question")),
    }
}

fn problem(error: impl ToString) -> String {
    error.to_string()
}

struct Members<'a>(&'a Value);

impl Members<'_> {
    fn text(&self, name: &str) -> Result<&str, String> {
        self.0[name].as_str().ok_or_else(|| format!("`{name}` is no text"))
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, String> {
        let number = self.0[name].as_i64().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("`{name}` is no such number"))
    }

    fn words<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let words = self.0[name].as_array().ok_or_else(|| format!("`{name}` is no list"))?;
        words.iter().map(|word| read(word.as_str().ok_or_else(|| format!("`{name}` has no words"))?)).collect()
    }
}
