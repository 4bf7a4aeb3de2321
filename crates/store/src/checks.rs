use model::Timestamp;
use model::limits::LABEL_BYTES_MAX;

use crate::Refusal;

/// What a refusal is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) what: &'static str,
    pub(crate) name: &'a str,
}

impl Of<'_> {
    pub(crate) fn invalid(self, field: &'static str, problem: String) -> Refusal {
        Refusal::Invalid { what: self.what, name: self.name.to_owned(), field, problem }
    }
}

/// A text that people read: of one line, and not long.
pub(crate) fn label(of: Of<'_>, field: &'static str, text: &str) -> Result<(), Refusal> {
    if text.len() > LABEL_BYTES_MAX {
        let bytes = text.len();
        return Err(of.invalid(field, format!("{bytes} bytes are more than the {LABEL_BYTES_MAX} allowed")));
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(of.invalid(field, format!("{text:?} contains {character:?}"))),
        None => Ok(()),
    }
}

/// A span that has an inside.
pub(crate) fn span(of: Of<'_>, field: &'static str, from: Timestamp, until: Option<Timestamp>) -> Result<(), Refusal> {
    match until {
        Some(until) if until <= from => {
            Err(of.invalid(field, format!("it ends at {until}, not after its begin {from}")))
        }
        _ => Ok(()),
    }
}
