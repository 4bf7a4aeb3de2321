//! How numbers, names and times are laid in bytes, in records and in snapshots.
//!
//! Whole numbers are varints (seven bits a byte, lowest first), signed ones folded (0, -1, 1, -2, ...) before;
//! fixed numbers are little-endian; a text is its length and its UTF-8 bytes; a thing that may be absent is one
//! byte 0 or 1 and then, perhaps, the thing.

use model::{
    AccuracyBasis, Altitude, AltitudeRef, DeviceId, Flags, OrganisationName, Position, Status, TimeBasis, Timestamp,
    Unit, UnitKind, UnitName,
};

/// Most bytes of a varint.
const VARINT_BYTES_MAX: usize = 10;

/// Bytes that follow no layout of ours although their checksum is right. Ours: another version wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` cannot be read")]
pub struct Malformed {
    /// What was to be read.
    pub field: &'static str,
}

/// Lays values behind each other.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// What was laid so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes everything out.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// A whole number, 1 to 10 bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed whole number, 1 to 10 bytes.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Four bytes.
    pub fn f32(&mut self, value: f32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Something that may be absent.
    pub fn option<T>(&mut self, value: Option<T>, lay: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            lay(self, value);
        }
    }

    /// An instant: its milliseconds since 1970.
    pub fn time(&mut self, time: Timestamp) {
        self.signed(time.unix_ms());
    }

    /// A place: eight bytes.
    pub fn position(&mut self, position: Position) {
        self.bytes.extend_from_slice(&position.lat_e7().to_le_bytes());
        self.bytes.extend_from_slice(&position.lon_e7().to_le_bytes());
    }

    /// An altitude: its reference and five bytes in all.
    pub fn altitude(&mut self, altitude: Altitude) {
        self.byte(match altitude.reference {
            AltitudeRef::Ellipsoid => 0,
            AltitudeRef::Msl => 1,
            AltitudeRef::Pressure => 2,
            AltitudeRef::Agl => 3,
        });
        self.f32(altitude.metres);
    }

    /// Whose clock.
    pub fn time_basis(&mut self, basis: TimeBasis) {
        self.byte(match basis {
            TimeBasis::Gnss => 0,
            TimeBasis::Device => 1,
            TimeBasis::Gateway => 2,
            TimeBasis::Receipt => 3,
        });
    }

    /// Who states an accuracy.
    pub fn accuracy_basis(&mut self, basis: AccuracyBasis) {
        self.byte(match basis {
            AccuracyBasis::Device => 0,
            AccuracyBasis::Class => 1,
            AccuracyBasis::Gateway => 2,
        });
    }

    /// The flags of a report.
    pub fn flags(&mut self, flags: Flags) {
        self.varint(u64::from(flags.bits()));
    }

    /// The entry of a unit in the roster; words stand as words, so that a new one needs no new layout.
    pub fn unit(&mut self, unit: &Unit) {
        self.text(unit.name.as_str());
        self.text(unit.kind.as_str());
        self.text(unit.status.as_str());
        self.option(unit.organisation.as_ref(), |to, name| to.text(name.as_str()));
        self.byte(u8::from(unit.covert));
        self.varint(unit.capabilities.len() as u64);
        unit.capabilities.iter().for_each(|word| self.text(word));
    }
}

/// Reads what an [`Encoder`] laid. Nothing in the bytes makes it panic or take memory beyond their length.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
}

type Read<T> = Result<T, Malformed>;

impl<'a> Decoder<'a> {
    /// Reads `bytes` from their start.
    #[must_use]
    pub const fn over(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.bytes.len()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Malformed`], as of all readers here, when the bytes end or mean nothing.
    #[inline]
    pub fn byte(&mut self, field: &'static str) -> Read<u8> {
        let (first, rest) = self.bytes.split_first().ok_or(Malformed { field })?;
        self.bytes = rest;
        Ok(*first)
    }

    /// A whole number.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn varint(&mut self, field: &'static str) -> Read<u64> {
        let mut value = 0u64;
        for (at, byte) in self.bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
            let part = u64::from(byte & 0x7F);
            if at == VARINT_BYTES_MAX - 1 && part > 1 {
                break;
            }
            value |= part << (7 * at);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed { field })
    }

    /// A whole number of 32 bits.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn number(&mut self, field: &'static str) -> Read<u32> {
        u32::try_from(self.varint(field)?).map_err(|_| Malformed { field })
    }

    /// A signed whole number.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn signed(&mut self, field: &'static str) -> Read<i64> {
        let folded = self.varint(field)?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// Some bytes as they are.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Read<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk::<N>().ok_or(Malformed { field })?;
        self.bytes = rest;
        Ok(*first)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn f32(&mut self, field: &'static str) -> Read<f32> {
        Ok(f32::from_le_bytes(self.array(field)?))
    }

    /// A text.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn text(&mut self, field: &'static str) -> Read<&'a str> {
        let bytes = self.number(field)? as usize;
        let (text, rest) = self.bytes.split_at_checked(bytes).ok_or(Malformed { field })?;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| Malformed { field })
    }

    /// Something that may be absent.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn option<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.truth(field)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn truth(&mut self, field: &'static str) -> Read<bool> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed { field }),
        }
    }

    /// An instant.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn time(&mut self, field: &'static str) -> Read<Timestamp> {
        Timestamp::from_unix_ms(self.signed(field)?).ok_or(Malformed { field })
    }

    /// A place.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn position(&mut self) -> Read<Position> {
        let (lat, lon) = (i32::from_le_bytes(self.array("lat")?), i32::from_le_bytes(self.array("lon")?));
        Position::from_e7(lat, lon).ok_or(Malformed { field: "position" })
    }

    /// An altitude.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn altitude(&mut self) -> Read<Altitude> {
        let reference = match self.byte("altitude_ref")? {
            0 => AltitudeRef::Ellipsoid,
            1 => AltitudeRef::Msl,
            2 => AltitudeRef::Pressure,
            3 => AltitudeRef::Agl,
            _ => return Err(Malformed { field: "altitude_ref" }),
        };
        Ok(Altitude { metres: self.f32("altitude_m")?, reference })
    }

    /// Whose clock.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn time_basis(&mut self) -> Read<TimeBasis> {
        match self.byte("time_basis")? {
            0 => Ok(TimeBasis::Gnss),
            1 => Ok(TimeBasis::Device),
            2 => Ok(TimeBasis::Gateway),
            3 => Ok(TimeBasis::Receipt),
            _ => Err(Malformed { field: "time_basis" }),
        }
    }

    /// Who states an accuracy.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn accuracy_basis(&mut self) -> Read<AccuracyBasis> {
        match self.byte("accuracy_basis")? {
            0 => Ok(AccuracyBasis::Device),
            1 => Ok(AccuracyBasis::Class),
            2 => Ok(AccuracyBasis::Gateway),
            _ => Err(Malformed { field: "accuracy_basis" }),
        }
    }

    /// The flags of a report.
    ///
    /// # Errors
    /// See [`Self::byte`].
    #[inline]
    pub fn flags(&mut self) -> Read<Flags> {
        let bits = self.varint("flags")?;
        u16::try_from(bits).ok().and_then(Flags::from_bits).ok_or(Malformed { field: "flags" })
    }

    /// The entry of a unit in the roster.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn unit(&mut self) -> Read<Unit> {
        let name = UnitName::new(self.text("unit")?).map_err(|_| Malformed { field: "unit" })?;
        let kind: UnitKind = self.text("kind")?.parse().map_err(|_| Malformed { field: "kind" })?;
        let status: Status = self.text("status")?.parse().map_err(|_| Malformed { field: "status" })?;
        let organisation = self.option("organisation", |from| {
            OrganisationName::new(from.text("organisation")?).map_err(|_| Malformed { field: "organisation" })
        })?;
        let covert = self.truth("covert")?;
        let words = self.number("capabilities")?;
        // Each word takes a byte at least, which bounds the memory asked for.
        let mut capabilities = Vec::with_capacity((words as usize).min(self.left()));
        for _ in 0..words {
            capabilities.push(self.text("capability")?.to_owned());
        }
        Ok(Unit { name, kind, status, organisation, capabilities, covert })
    }

    /// The name of a device.
    ///
    /// # Errors
    /// See [`Self::byte`].
    pub fn device(&mut self) -> Read<DeviceId> {
        DeviceId::new(self.text("device")?).map_err(|_| Malformed { field: "device" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn numbers_read_as_they_were_laid(value: u64, signed: i64) {
            let mut encoder = Encoder::default();
            encoder.varint(value);
            encoder.signed(signed);
            let mut decoder = Decoder::over(encoder.bytes());
            proptest::prop_assert_eq!(decoder.varint("a"), Ok(value));
            proptest::prop_assert_eq!(decoder.signed("b"), Ok(signed));
            proptest::prop_assert_eq!(decoder.left(), 0);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::over(&bytes);
            while decoder.unit().is_ok() {}
            let mut decoder = Decoder::over(&bytes);
            while decoder.varint("x").is_ok() {}
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_is_malformed() {
        assert_eq!(Decoder::over(&[0xFF; 9]).varint("x"), Err(Malformed { field: "x" }));
        let mut most = [0xFF; 10];
        most[9] = 1;
        assert_eq!(Decoder::over(&most).varint("x"), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(Decoder::over(&most).varint("x"), Err(Malformed { field: "x" }));
    }
}
