use model::{Flags, TimeBasis};

use super::row::Row;
use crate::{DecodeError, proto};

/// In a columnar batch: not known.
pub(super) const UNKNOWN: u32 = 65_535;

/// Walks the columns of a batch row by row, adding up the differences.
pub(super) struct Columns<'a> {
    batch: &'a proto::ColumnarBatch,
    at: usize,
    sums: Sums,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// [`DecodeError::Length`] names the column that has not `count` entries.
    pub(super) fn new(batch: &'a proto::ColumnarBatch, count: usize) -> Result<Self, DecodeError> {
        let must = [("lat_e7_delta", batch.lat_e7_delta.len()), ("lon_e7_delta", batch.lon_e7_delta.len())];
        let may = [
            ("time_ms_delta", batch.time_ms_delta.len()),
            ("speed_cmps", batch.speed_cmps.len()),
            ("course_cdeg", batch.course_cdeg.len()),
            ("accuracy_dm", batch.accuracy_dm.len()),
            ("flags", batch.flags.len()),
        ];
        let wrong = must.into_iter().chain(may.into_iter().filter(|(_, found)| *found > 0));
        match wrong.into_iter().find(|(_, found)| *found != count) {
            Some((field, found)) => Err(DecodeError::Length { field, declared: count, found }),
            None => Ok(Self { batch, at: 0, sums: Sums::default() }),
        }
    }
}

impl Iterator for Columns<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let (batch, at) = (self.batch, self.at);
        self.at = at.saturating_add(1);
        Some(self.sums.row(&Values {
            device_index: *batch.device_index.get(at)?,
            time_ms_delta: batch.time_ms_delta.get(at).copied(),
            lat_e7_delta: *batch.lat_e7_delta.get(at)?,
            lon_e7_delta: *batch.lon_e7_delta.get(at)?,
            speed_cmps: batch.speed_cmps.get(at).copied(),
            course_cdeg: batch.course_cdeg.get(at).copied(),
            accuracy_dm: batch.accuracy_dm.get(at).copied(),
            flags: batch.flags.get(at).copied(),
        }))
    }
}

/// One entry of each column, as sent; `None` where the column is empty.
struct Values {
    device_index: u32,
    time_ms_delta: Option<i64>,
    lat_e7_delta: i32,
    lon_e7_delta: i32,
    speed_cmps: Option<u32>,
    course_cdeg: Option<u32>,
    accuracy_dm: Option<u32>,
    flags: Option<u32>,
}

/// What the differences add up to. Sums saturate: what a wrong difference makes is out of range, and refused as such.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    time_ms: i64,
    lat_e7: i32,
    lon_e7: i32,
}

impl Sums {
    fn row(&mut self, values: &Values) -> Row {
        self.lat_e7 = self.lat_e7.saturating_add(values.lat_e7_delta);
        self.lon_e7 = self.lon_e7.saturating_add(values.lon_e7_delta);
        self.time_ms = self.time_ms.saturating_add(values.time_ms_delta.unwrap_or(0));
        let is_dated = values.time_ms_delta.is_some();
        let scaled = |value: Option<u32>, step: f32| value.filter(|value| *value != UNKNOWN).map(|it| it as f32 * step);
        let bits = values.flags.unwrap_or(0);
        let mut flags = Flags::default();
        flags.set_if(bits & 2 != 0, Flags::EMERGENCY);
        flags.set_if(bits & 4 != 0, Flags::BACKLOG);
        Row {
            device_index: values.device_index,
            time_ms: is_dated.then_some(self.time_ms),
            time_basis: if is_dated { TimeBasis::Device } else { TimeBasis::Receipt },
            lat_e7: self.lat_e7,
            lon_e7: self.lon_e7,
            has_fix: bits & 1 == 0,
            speed_mps: scaled(values.speed_cmps, 0.01),
            course_deg: scaled(values.course_cdeg, 0.01),
            altitude: None,
            accuracy_m: scaled(values.accuracy_dm, 0.1),
            flags,
        }
    }
}

/// A message that holds one columnar batch the way every encoder writes it: each list packed and in one piece. It is read where it
/// lies. All else that protobuf allows, and all that it does not, is left to `prost`.
#[derive(Debug, Default)]
pub(super) struct Packed<'a> {
    /// As named; empty when it was not.
    pub(super) gateway: &'a str,
    pub(super) batch_sequence: u64,
    pub(super) new_devices: Vec<&'a str>,
    lists: Lists<'a>,
}

/// The bytes of each list of numbers, from `device_index` (field 3) to `flags` (field 10).
#[derive(Debug, Clone, Copy, Default)]
struct Lists<'a> {
    device_index: Varints<'a>,
    time_ms_delta: Varints<'a>,
    lat_e7_delta: Varints<'a>,
    lon_e7_delta: Varints<'a>,
    speed_cmps: Varints<'a>,
    course_cdeg: Varints<'a>,
    accuracy_dm: Varints<'a>,
    flags: Varints<'a>,
}

/// The key of a field whose value has a length.
const fn long(field: u64) -> u64 {
    field << 3 | 2
}

const GATEWAY: u64 = long(1);
const COLUMNS: u64 = long(3);
const BATCH_SEQUENCE: u64 = 1 << 3;
const NEW_DEVICES: u64 = long(2);

impl<'a> Packed<'a> {
    /// Reads a [`proto::GatewayUp`]; `None` when it is anything else. The lists themselves are not read yet.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let (mut this, mut batch) = (Self::default(), None);
        let mut message = Varints(frame);
        while !message.0.is_empty() {
            match message.varint()? {
                GATEWAY => this.gateway = message.text()?,
                COLUMNS if batch.is_none() => batch = Some(message.bytes()?),
                _ => return None,
            }
        }
        this.columns(Varints(batch?))?;
        Some(this)
    }

    fn columns(&mut self, mut batch: Varints<'a>) -> Option<()> {
        while !batch.0.is_empty() {
            let key = batch.varint()?;
            let list = match key {
                BATCH_SEQUENCE => {
                    self.batch_sequence = batch.varint()?;
                    continue;
                }
                NEW_DEVICES => {
                    self.new_devices.push(batch.text()?);
                    continue;
                }
                _ => self.lists.of(key)?,
            };
            // A second piece of a list goes behind the first.
            if !list.0.is_empty() {
                return None;
            }
            list.0 = batch.bytes()?;
        }
        Some(())
    }

    /// The rows; [`Rows::is_whole`] says at their end whether they were all.
    pub(super) fn rows(&self) -> Rows<'a> {
        Rows { has: self.lists, lists: self.lists, sums: Sums::default(), is_broken: false }
    }
}

impl<'a> Lists<'a> {
    fn of(&mut self, key: u64) -> Option<&mut Varints<'a>> {
        const FIRST: u64 = long(3);
        Some(match key.checked_sub(FIRST)? {
            0 => &mut self.device_index,
            8 => &mut self.time_ms_delta,
            16 => &mut self.lat_e7_delta,
            24 => &mut self.lon_e7_delta,
            32 => &mut self.speed_cmps,
            40 => &mut self.course_cdeg,
            48 => &mut self.accuracy_dm,
            56 => &mut self.flags,
            _ => return None,
        })
    }
}

/// Walks packed lists row by row.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// As at the beginning: a list that was empty is absent for all.
    has: Lists<'a>,
    lists: Lists<'a>,
    sums: Sums,
    /// A list ended before another, or is no list.
    is_broken: bool,
}

impl Rows<'_> {
    /// Whether every list has ended with the last row, and none before.
    pub(super) fn is_whole(&self) -> bool {
        let Lists {
            device_index,
            time_ms_delta,
            lat_e7_delta,
            lon_e7_delta,
            speed_cmps,
            course_cdeg,
            accuracy_dm,
            flags,
        } = &self.lists;
        let must = [device_index, lat_e7_delta, lon_e7_delta];
        let may = [time_ms_delta, speed_cmps, course_cdeg, accuracy_dm, flags];
        !self.is_broken && must.into_iter().chain(may).all(|list| list.0.is_empty())
    }

    #[inline]
    fn values(&mut self) -> Option<Values> {
        /// The next of a list; `Some(None)` when it is absent.
        fn of<T>(has: Varints<'_>, list: &mut Varints<'_>, read: fn(u64) -> T) -> Option<Option<T>> {
            if has.0.is_empty() { Some(None) } else { list.varint().map(|value| Some(read(value))) }
        }
        let (has, lists) = (&self.has, &mut self.lists);
        Some(Values {
            device_index: lists.device_index.varint()? as u32,
            time_ms_delta: of(has.time_ms_delta, &mut lists.time_ms_delta, unfolded)?,
            lat_e7_delta: unfolded_32(lists.lat_e7_delta.varint()?),
            lon_e7_delta: unfolded_32(lists.lon_e7_delta.varint()?),
            speed_cmps: of(has.speed_cmps, &mut lists.speed_cmps, |value| value as u32)?,
            course_cdeg: of(has.course_cdeg, &mut lists.course_cdeg, |value| value as u32)?,
            accuracy_dm: of(has.accuracy_dm, &mut lists.accuracy_dm, |value| value as u32)?,
            flags: of(has.flags, &mut lists.flags, |value| value as u32)?,
        })
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    /// `None` at the end of the devices, and at the first row that cannot be read.
    #[inline]
    fn next(&mut self) -> Option<Row> {
        if self.lists.device_index.0.is_empty() {
            return None;
        }
        let values = self.values();
        self.is_broken |= values.is_none();
        values.map(|values| self.sums.row(&values))
    }
}

/// `sint64`: 0, -1, 1, -2, ...
const fn unfolded(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// `sint32`: the lower half of the number counts, as in every 32-bit field.
const fn unfolded_32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Bytes of protobuf, read from their front.
#[derive(Debug, Clone, Copy, Default)]
struct Varints<'a>(&'a [u8]);

impl<'a> Varints<'a> {
    /// Seven bits a byte, lowest first, at most ten bytes and 64 bits; it may be longer than it need be.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match *self.0 {
            [one, ref rest @ ..] if one < 0x80 => {
                self.0 = rest;
                Some(u64::from(one))
            }
            [one, two, ref rest @ ..] if two < 0x80 => {
                self.0 = rest;
                Some(u64::from(one & 0x7F) | u64::from(two) << 7)
            }
            [one, two, three, ref rest @ ..] if three < 0x80 => {
                self.0 = rest;
                Some(u64::from(one & 0x7F) | u64::from(two & 0x7F) << 7 | u64::from(three) << 14)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if shift == 63 && *byte > 1 {
                return None;
            }
            value |= part.wrapping_shl(shift);
            if *byte < 0x80 {
                return Some(value);
            }
            shift = shift.saturating_add(7);
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}
