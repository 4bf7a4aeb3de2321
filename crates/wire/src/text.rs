use crate::DecodeError;

/// Reads columns of fixed width from text. Total: it never panics, it says which column was wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    rest: &'a str,
}

impl<'a> Columns<'a> {
    pub(crate) const fn over(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(crate) const fn rest(self) -> &'a str {
        self.rest
    }

    /// The next `width` bytes as text.
    pub(crate) fn text(&mut self, field: &'static str, width: usize) -> Result<&'a str, DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(width).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `width` bytes as digits.
    pub(crate) fn unsigned(&mut self, field: &'static str, width: usize) -> Result<u32, DecodeError> {
        let digits = self.text(field, width)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().ok()).flatten().ok_or_else(|| DecodeError::malformed(field, digits))
    }

    /// A sign and `width` digits.
    pub(crate) fn signed(&mut self, field: &'static str, width: usize) -> Result<i64, DecodeError> {
        let sign = self.text(field, 1)?;
        let magnitude = i64::from(self.unsigned(field, width)?);
        match sign {
            "+" => Ok(magnitude),
            "-" => Ok(magnitude.saturating_neg()),
            other => Err(DecodeError::malformed(field, other)),
        }
    }
}

/// XOR of all `bytes`.
pub(crate) fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
