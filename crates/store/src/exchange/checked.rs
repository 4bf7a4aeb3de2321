use std::fmt;
use std::marker::PhantomData;

use model::{
    DeviceId, Hours, HoursError, OrganisationName, Span, Timestamp, UnitKind, UnitName, UnknownWord, ZoneName,
};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::{device_of, external_of};

/// A text that is checked while it is read, so that a fault has its line and column.
pub(crate) struct Checked<T>(pub(crate) T);

/// What can be read from such a text.
pub(crate) trait FromText: Sized {
    fn from_text(text: &str) -> Result<Self, String>;
}

impl<'de, T: FromText> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(CheckedVisitor(PhantomData)).map(Self)
    }
}

struct CheckedVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for CheckedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }
}

impl FromText for UnitName {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("{text:?}: {error}"))
    }
}

impl FromText for OrganisationName {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("{text:?}: {error}"))
    }
}

impl FromText for ZoneName {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("{text:?}: {error}"))
    }
}

impl FromText for UnitKind {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: UnknownWord| error.to_string())
    }
}

impl FromText for Hours {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: HoursError| error.to_string())
    }
}

impl FromText for Timestamp {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_rfc3339(text).ok_or_else(|| format!("{text:?} is no time like 2026-11-23T06:00:00Z"))
    }
}

impl FromText for (DeviceId, Span) {
    fn from_text(text: &str) -> Result<Self, String> {
        device_of(text)
    }
}

impl FromText for (String, String) {
    fn from_text(text: &str) -> Result<Self, String> {
        external_of(text)
    }
}
