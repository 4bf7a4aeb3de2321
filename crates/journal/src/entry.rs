use model::{
    Binding, DeviceHandle, DeviceId, Handling, Heard, PositionReport, Press, PrincipalName, Step, TimeBasis, Timestamp,
    Unit, UnitHandle, What,
};

use crate::codec::{Decoder, Encoder, Malformed};

/// One thing that the log remembers. Live state is a pure function of the entries in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An admitted report, contact or log-out of a device that a unit carries.
    Heard(Heard),
    /// A unit was added or changed.
    Enrol(Enrolment),
    /// A unit was taken off the map.
    Retire(UnitHandle),
    /// An emergency button was pressed.
    Press {
        /// The number under which it rings.
        number: u64,
        /// What was heard.
        press: Press,
    },
    /// A person has seen an emergency, or cleared it.
    Handle(Handling),
    /// The place of a unit, and of each of its devices, is forgotten if it is not newer than a time: places of volunteers are kept
    /// for so long and no longer.
    Forget {
        /// Whose.
        unit: UnitHandle,
        /// A place of this time or before goes; a newer one came after this was decided, and stays.
        upto: Timestamp,
    },
    /// It was damaged, and `muster journal repair` took it out.
    Lost,
}

/// A unit as it was written, with the numbers that it and its new devices got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The unit's number.
    pub handle: UnitHandle,
    /// Its entry in the roster.
    pub unit: Unit,
    /// The devices that it carries from now on, on top of those that it carried.
    pub devices: Vec<(DeviceHandle, DeviceId)>,
}

const CONTACT: u8 = 1;
const LOG_OUT: u8 = 2;
const ENROL: u8 = 3;
const RETIRE: u8 = 4;
const PRESS: u8 = 5;
const LOST: u8 = 6;
const HANDLE: u8 = 7;
const FORGET: u8 = 8;
/// Reports have the high bit; the others say what the report has.
const REPORT: u8 = 0x80;
const VALID: u8 = 1;
const TIME: u8 = 1 << 1;
const SPEED: u8 = 1 << 2;
const COURSE: u8 = 1 << 3;
const ALTITUDE: u8 = 1 << 4;
const ACCURACY: u8 = 1 << 5;
const ACCURACY_BASIS: u8 = 1 << 6;

/// Bytes that an entry can never exceed: names and words are bounded where they are made.
const HEARD_BYTES_MAX: usize = 80;
const NAME_FIELD_BYTES_MAX: usize = model::limits::NAME_BYTES_MAX + 12;
const WORD_FIELD_BYTES: usize = 10;

/// Any entry can be appended, also with the smallest segments.
const _: () = {
    use model::limits::{CAPABILITIES_MAX, DEVICES_PER_CHANGE_MAX, JOURNAL_SEGMENT_BYTES_MIN, NAME_BYTES_MAX};
    let words = CAPABILITIES_MAX * (NAME_BYTES_MAX + WORD_FIELD_BYTES);
    assert!(enrolment_bytes_max(DEVICES_PER_CHANGE_MAX, words) <= JOURNAL_SEGMENT_BYTES_MIN as usize / 4);
};

const fn enrolment_bytes_max(devices: usize, words_bytes: usize) -> usize {
    128 + (2 + devices) * NAME_FIELD_BYTES_MAX + words_bytes
}

impl Entry {
    /// An upper bound of its bytes in a record, without laying it.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Heard(_) => HEARD_BYTES_MAX,
            Self::Retire(_) | Self::Forget { .. } | Self::Lost => 16,
            Self::Press { .. } => 64 + NAME_FIELD_BYTES_MAX,
            Self::Handle(handling) => {
                let reason = if let Step::Cleared { reason } = &handling.step { reason.len() } else { 0 };
                64 + NAME_FIELD_BYTES_MAX + reason
            }
            Self::Enrol(enrolment) => {
                let words = enrolment.unit.capabilities.iter().map(|word| word.len() + WORD_FIELD_BYTES).sum();
                enrolment_bytes_max(enrolment.devices.len(), words)
            }
        }
    }

    pub(crate) fn lay(&self, to: &mut Encoder, received_before: &mut i64) {
        match self {
            Self::Heard(heard) => lay_heard(heard, to, received_before),
            Self::Enrol(Enrolment { handle, unit, devices }) => {
                to.byte(ENROL);
                to.varint(u64::from(handle.0));
                to.unit(unit);
                to.varint(devices.len() as u64);
                for (number, device) in devices {
                    to.varint(u64::from(number.0));
                    to.text(device.as_str());
                }
            }
            Self::Retire(unit) => {
                to.byte(RETIRE);
                to.varint(u64::from(unit.0));
            }
            Self::Forget { unit, upto } => {
                to.byte(FORGET);
                to.varint(u64::from(unit.0));
                to.time(*upto);
            }
            Self::Lost => to.byte(LOST),
            Self::Handle(handling) => {
                to.byte(HANDLE);
                lay_handling(to, handling);
            }
            Self::Press { number, press } => {
                to.byte(PRESS);
                to.varint(*number);
                lay_press(to, press);
            }
        }
    }

    pub(crate) fn read(from: &mut Decoder<'_>, received_before: &mut i64) -> Result<Self, Malformed> {
        let kind = from.byte("kind")?;
        if kind & REPORT != 0 {
            return read_report(kind, from, received_before).map(Self::Heard);
        }
        match kind {
            CONTACT | LOG_OUT => {
                let (binding, received) = read_sender(from, received_before)?;
                let what = if kind == CONTACT { What::Contact } else { What::LogOut };
                Ok(Self::Heard(Heard { binding, received, what }))
            }
            ENROL => read_enrolment(from).map(Self::Enrol),
            RETIRE => Ok(Self::Retire(UnitHandle(from.number("unit")?))),
            PRESS => Ok(Self::Press { number: from.varint("number")?, press: read_press(from)? }),
            LOST => Ok(Self::Lost),
            FORGET => Ok(Self::Forget { unit: UnitHandle(from.number("unit")?), upto: from.time("upto")? }),
            HANDLE => read_handling(from).map(Self::Handle),
            _ => Err(Malformed { field: "kind" }),
        }
    }
}

fn lay_heard(heard: &Heard, to: &mut Encoder, received_before: &mut i64) {
    let Heard { binding, received, what } = heard;
    let kind = match what {
        What::Contact => CONTACT,
        What::LogOut => LOG_OUT,
        What::Report(report) => REPORT | presence(report),
    };
    to.byte(kind);
    to.varint(u64::from(binding.device.0));
    to.varint(u64::from(binding.unit.0));
    to.signed(received.unix_ms() - *received_before);
    *received_before = received.unix_ms();
    let What::Report(report) = what else { return };
    if let Some(time) = report.time {
        to.signed(time.ms_since(*received));
        to.time_basis(report.time_basis);
    }
    to.position(report.position);
    to.flags(report.flags);
    for number in [report.speed_mps, report.course_deg].into_iter().flatten() {
        to.f32(number);
    }
    if let Some(altitude) = report.altitude {
        to.altitude(altitude);
    }
    if let Some(metres) = report.accuracy_m {
        to.f32(metres);
    }
    if let Some(basis) = report.accuracy_basis {
        to.accuracy_basis(basis);
    }
}

fn presence(report: &PositionReport) -> u8 {
    let bit = |holds: bool, bit: u8| if holds { bit } else { 0 };
    bit(report.valid, VALID)
        | bit(report.time.is_some(), TIME)
        | bit(report.speed_mps.is_some(), SPEED)
        | bit(report.course_deg.is_some(), COURSE)
        | bit(report.altitude.is_some(), ALTITUDE)
        | bit(report.accuracy_m.is_some(), ACCURACY)
        | bit(report.accuracy_basis.is_some(), ACCURACY_BASIS)
}

#[inline]
fn read_sender(from: &mut Decoder<'_>, received_before: &mut i64) -> Result<(Binding, Timestamp), Malformed> {
    let device = DeviceHandle(from.number("device")?);
    let unit = UnitHandle(from.number("unit")?);
    let received = received_before.checked_add(from.signed("received")?).ok_or(Malformed { field: "received" })?;
    *received_before = received;
    let received = Timestamp::from_unix_ms(received).ok_or(Malformed { field: "received" })?;
    Ok((Binding { device, unit }, received))
}

#[inline]
fn read_report(kind: u8, from: &mut Decoder<'_>, received_before: &mut i64) -> Result<Heard, Malformed> {
    let (binding, received) = read_sender(from, received_before)?;
    let has = |bit: u8| kind & bit != 0;
    let (mut time, mut time_basis) = (None, TimeBasis::Receipt);
    if has(TIME) {
        let unix_ms = received.unix_ms().checked_add(from.signed("time")?);
        time = Some(unix_ms.and_then(Timestamp::from_unix_ms).ok_or(Malformed { field: "time" })?);
        time_basis = from.time_basis()?;
    }
    let report = PositionReport {
        time,
        time_basis,
        position: from.position()?,
        valid: has(VALID),
        flags: from.flags()?,
        speed_mps: if has(SPEED) { Some(from.f32("speed_mps")?) } else { None },
        course_deg: if has(COURSE) { Some(from.f32("course_deg")?) } else { None },
        altitude: if has(ALTITUDE) { Some(from.altitude()?) } else { None },
        accuracy_m: if has(ACCURACY) { Some(from.f32("accuracy_m")?) } else { None },
        accuracy_basis: if has(ACCURACY_BASIS) { Some(from.accuracy_basis()?) } else { None },
    };
    Ok(Heard { binding, received, what: What::Report(report) })
}

fn read_enrolment(from: &mut Decoder<'_>) -> Result<Enrolment, Malformed> {
    let handle = UnitHandle(from.number("unit")?);
    let unit = from.unit()?;
    let count = from.number("devices")? as usize;
    let mut devices = Vec::with_capacity(count.min(from.left()));
    for _ in 0..count {
        devices.push((DeviceHandle(from.number("device")?), from.device()?));
    }
    Ok(Enrolment { handle, unit, devices })
}

const SEEN: u8 = 0;
const CLEARED: u8 = 1;

fn lay_handling(to: &mut Encoder, handling: &Handling) {
    to.varint(handling.number);
    to.text(handling.by.as_str());
    to.time(handling.at);
    match &handling.step {
        Step::Seen => to.byte(SEEN),
        Step::Cleared { reason } => {
            to.byte(CLEARED);
            to.text(reason);
        }
    }
}

fn read_handling(from: &mut Decoder<'_>) -> Result<Handling, Malformed> {
    let number = from.varint("number")?;
    let by = PrincipalName::new(from.text("by")?).map_err(|_| Malformed { field: "by" })?;
    let at = from.time("at")?;
    let step = match from.byte("step")? {
        SEEN => Step::Seen,
        CLEARED => Step::Cleared { reason: from.text("reason")?.to_owned() },
        _ => return Err(Malformed { field: "step" }),
    };
    Ok(Handling { number, by, at, step })
}

/// Lays a press, in a record or a snapshot.
pub fn lay_press(to: &mut Encoder, press: &Press) {
    to.text(press.device.as_str());
    to.option(press.pressed_at, Encoder::time);
    to.time(press.received_at);
    to.byte(u8::from(press.is_delayed));
    to.option(press.place, |to, (position, time)| {
        to.position(position);
        to.time(time);
    });
}

/// Reads what [`lay_press`] laid.
///
/// # Errors
/// [`Malformed`] when another version laid it.
pub fn read_press(from: &mut Decoder<'_>) -> Result<Press, Malformed> {
    Ok(Press {
        device: from.device()?,
        pressed_at: from.option("pressed_at", |from| from.time("pressed_at"))?,
        received_at: from.time("received_at")?,
        is_delayed: from.truth("is_delayed")?,
        place: from.option("place", |from| Ok((from.position()?, from.time("place time")?)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden journals are older than this kind: its bytes are told here, once and for all.
    #[test]
    fn what_a_person_did_about_an_emergency_has_these_bytes() {
        let by = PrincipalName::new("desk").expect("it is a name");
        let at = Timestamp::from_unix_ms(64).expect("it is a time");
        let seen = Entry::Handle(Handling { number: 300, by: by.clone(), at, step: Step::Seen });
        let cleared = Step::Cleared { reason: "ok".to_owned() };
        let cleared = Entry::Handle(Handling { number: 1, by, at, step: cleared });
        let expected: [(&Entry, &[u8]); 2] =
            [(&seen, b"\x07\xac\x02\x04desk\x80\x01\x00"), (&cleared, b"\x07\x01\x04desk\x80\x01\x01\x02ok")];
        for (entry, bytes) in expected {
            let mut to = Encoder::default();
            entry.lay(&mut to, &mut 0);
            assert_eq!(to.bytes(), bytes);
            let mut from = Decoder::over(bytes);
            assert_eq!((Entry::read(&mut from, &mut 0).as_ref(), from.left()), (Ok(entry), 0));
        }
        assert!(Entry::read(&mut Decoder::over(b"\x07\x01\x04desk\x80\x01\x02"), &mut 0).is_err(), "no such step");
    }

    #[test]
    fn that_a_place_is_forgotten_has_these_bytes() {
        let entry = Entry::Forget { unit: UnitHandle(300), upto: Timestamp::from_unix_ms(64).expect("it is a time") };
        let mut to = Encoder::default();
        entry.lay(&mut to, &mut 0);
        assert_eq!(to.bytes(), b"\x08\xac\x02\x80\x01");
        assert!(to.bytes().len() <= entry.bytes_max());
        assert_eq!(Entry::read(&mut Decoder::over(to.bytes()), &mut 0), Ok(entry));
        assert!(Entry::read(&mut Decoder::over(b"\x08\xac\x02"), &mut 0).is_err(), "it says up to when");
    }
}
