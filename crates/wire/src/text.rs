use model::DeviceId;

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

/// Up to nine digits as a number; `None` when anything else is there.
pub(crate) fn digits(text: &str) -> Option<u32> {
    let all_digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// Two hexadecimal digits, of either case.
pub(crate) fn hex_byte(text: &str) -> Option<u8> {
    let is_hex = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u8::from_str_radix(text, 16).ok() } else { None }
}

/// A decimal number without a sign in units of 10^-`decimals` (at most 9), rounded half up. `None`
/// for anything but digits and one point, and for more than nine digits before it.
pub(crate) fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 9 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let shift = |value: i64, byte: u8| value.checked_mul(10)?.checked_add(i64::from(byte.checked_sub(b'0')?));
    let mut value = whole.bytes().try_fold(0, shift)?;
    let mut rest = fraction.bytes();
    for _ in 0..decimals {
        value = shift(value, rest.next().unwrap_or(b'0'))?;
    }
    let rounds_up = rest.next().is_some_and(|byte| byte >= b'5');
    value.checked_add(i64::from(rounds_up))
}

/// As [`scaled`], with or without a sign.
pub(crate) fn scaled_signed(text: &str, decimals: u32) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(magnitude) => scaled(magnitude, decimals)?.checked_neg(),
        None => scaled(text.strip_prefix('+').unwrap_or(text), decimals),
    }
}

/// The device that `protocol` calls `id`. Blanks inside it become `_`: names have none.
pub(crate) fn device(protocol: &str, id: &str) -> Result<DeviceId, DecodeError> {
    let id = id.trim();
    let named = if id.contains(char::is_whitespace) {
        DeviceId::of(protocol, &id.replace(char::is_whitespace, "_"))
    } else {
        DeviceId::of(protocol, id)
    };
    named.map_err(|_| DecodeError::malformed("identity", id))
}

/// Whether `device` is what `protocol` calls `id`, without making a name of it.
pub(crate) fn is_called(device: &DeviceId, protocol: &str, id: &str) -> bool {
    let after = device.as_str().strip_prefix(protocol).and_then(|rest| rest.strip_prefix(':'));
    after == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_without_a_detour_over_floats() {
        for (text, value) in [
            ("22.13673", Some(221_367_300)),
            ("-100.0", Some(-1_000_000_000)),
            ("+5", Some(50_000_000)),
            (".5", Some(5_000_000)),
            ("1.00000005", Some(10_000_001)),
            ("1.00000004", Some(10_000_000)),
            ("", None),
            (".", None),
            ("-", None),
            ("--1", None),
            ("1e5", None),
            ("NaN", None),
            ("1.2.3", None),
            ("1234567890", None),
        ] {
            assert_eq!(scaled_signed(text, 7), value, "{text}");
        }
        assert_eq!(scaled("999999999.999999999", 9), Some(999_999_999_999_999_999));
    }
}
