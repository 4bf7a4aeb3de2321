//! Enumerations whose members are words in answers, files and questions.

/// A word that is not in the list of its kind. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no {what}; known are: {known}")]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) value: String,
    pub(crate) known: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $( $(#[$vdoc:meta])* $variant:ident = $word:literal ),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $type { $( $(#[$vdoc])* $variant ),+ }

        impl $type {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The word used in answers, files and questions.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == text);
                found.ok_or_else(|| $crate::UnknownWord {
                    what: $what,
                    value: text.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;
