/// Why a frame was refused. The sender's fault: count it, drop it, keep the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ended before `field` did.
    #[error("frame ends inside `{field}`")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// The checksum in the frame is not the one of its bytes.
    #[error("checksum is {found:02X}, the bytes give {computed:02X}")]
    Checksum {
        /// As the frame says.
        found: u8,
        /// As the bytes give it.
        computed: u8,
    },
    /// A declared length that does not fit the bytes.
    #[error("`{field}` says {declared}, there are {found}")]
    Length {
        /// The field that declares it.
        field: &'static str,
        /// What it declares.
        declared: usize,
        /// What is there.
        found: usize,
    },
    /// A number outside its range.
    #[error("`{field}` is {value}, out of range")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value as sent, at most 48 characters.
        value: String,
    },
    /// Not of the form that the standard gives this field.
    #[error("`{field}` cannot be read: {value:?}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What stands there, at most 48 characters.
        value: String,
    },
    /// The body is encrypted and we have no key.
    #[error("the body is encrypted")]
    Encrypted,
}

impl DecodeError {
    /// A malformed `field`, with the first characters of what stands there.
    pub(crate) fn malformed(field: &'static str, value: &str) -> Self {
        Self::Malformed { field, value: value.chars().take(48).collect() }
    }

    /// An out-of-range `field`, with its value.
    pub(crate) fn out_of_range(field: &'static str, value: impl std::fmt::Display) -> Self {
        Self::OutOfRange { field, value: value.to_string().chars().take(48).collect() }
    }

    /// The stable word under which this is counted.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Checksum { .. } => "checksum",
            Self::Length { .. } => "length",
            Self::OutOfRange { field, .. } => match field.as_bytes() {
                b"position" => "position",
                _ => "out_of_range",
            },
            Self::Malformed { .. } => "malformed",
            Self::Encrypted => "encrypted",
        }
    }
}

/// Why bytes of a stream belong to no frame. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Bytes between frames; they are skipped.
    #[error("bytes that belong to no frame")]
    Noise,
    /// The frame is longer than its protocol's limit.
    #[error("frame is longer than {limit} bytes")]
    Oversize {
        /// The limit in bytes.
        limit: usize,
    },
}

impl FrameError {
    /// The stable word under which this is counted.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Oversize { .. } => "oversize",
        }
    }
}
