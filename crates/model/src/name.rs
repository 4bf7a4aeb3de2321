use std::fmt;
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// Why a text is no name. The sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was there.
    #[error("name is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("name has {bytes} bytes, the limit is {NAME_BYTES_MAX}")]
    TooLong {
        /// How long it was.
        bytes: usize,
    },
    /// A blank, a control character or a slash: it could not stand in a URL or a log line.
    #[error("name contains {character:?}")]
    Character {
        /// The first offender.
        character: char,
    },
}

fn checked(text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    let bad = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '"' | '<' | '>');
    match text.chars().find(bad) {
        Some(character) => Err(NameError::Character { character }),
        None => Ok(Arc::from(text)),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name: 1 to [`NAME_BYTES_MAX`] bytes of printable text without
            /// blanks, slashes, quotes and angle brackets.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with `text`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// What sends: a terminal, a radio, a phone. Written `<protocol>:<id as the protocol gives it>`.
    DeviceId
}
name! {
    /// Who is asked for: a car, an officer on foot, a helicopter. A unit carries one device or more.
    UnitName
}
name! {
    /// A person or a program that logs on.
    PrincipalName
}
name! {
    /// A bureau, a district, a station.
    OrganisationName
}
name! {
    /// A beat, a responsibility zone, a cordon.
    ZoneName
}
name! {
    /// Where events are sent as they happen.
    WebhookName
}

impl DeviceId {
    /// The name of a device whose protocol calls it `id`, as `protocol:id`.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with `id`.
    pub fn of(protocol: &str, id: &str) -> Result<Self, NameError> {
        if id.is_empty() {
            return Err(NameError::Empty);
        }
        Self::new(&format!("{protocol}:{id}"))
    }

    /// The part before the colon.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(protocol, _)| protocol)
    }
}

/// Who numbers frames: a device, under its own name, or a gateway, as `gateway:<name>`. The prefix is
/// there because a gateway is no device: one called `7` and the device `muster:7` count for themselves.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderName(Arc<str>);

impl SenderName {
    /// The name of a device that numbers its own frames. Costs no memory of its own.
    #[must_use]
    pub fn of_device(device: &DeviceId) -> Self {
        Self(Arc::clone(&device.0))
    }

    /// The name of the gateway called `name`, which is checked like every name.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with `name`.
    pub fn of_gateway(name: &str) -> Result<Self, NameError> {
        checked(name).map(|name| Self(Arc::from(format!("gateway:{name}"))))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_is_named_after_its_protocol() {
        let device = DeviceId::of("jt808", "13900000001").unwrap();
        assert_eq!(device.as_str(), "jt808:13900000001");
        assert_eq!(device.protocol(), "jt808");
    }

    #[test]
    fn a_gateway_and_a_device_of_one_name_are_two_senders() {
        let device = DeviceId::of("muster", "7").unwrap();
        assert_eq!(SenderName::of_device(&device).as_str(), "muster:7");
        assert_eq!(SenderName::of_gateway("7").unwrap().as_str(), "gateway:7");
        assert_eq!(SenderName::of_gateway(&"x".repeat(NAME_BYTES_MAX)).unwrap().as_str().len(), NAME_BYTES_MAX + 8);
        assert_eq!(SenderName::of_gateway("a b"), Err(NameError::Character { character: ' ' }));
    }

    #[test]
    fn names_that_would_break_a_url_or_a_log_are_refused() {
        assert_eq!(UnitName::new(""), Err(NameError::Empty));
        assert_eq!(UnitName::new("a b"), Err(NameError::Character { character: ' ' }));
        assert_eq!(UnitName::new("a\nb"), Err(NameError::Character { character: '\n' }));
        assert_eq!(UnitName::new(&"x".repeat(97)), Err(NameError::TooLong { bytes: 97 }));
        assert!(UnitName::new("桂A12345警").is_ok());
    }
}
