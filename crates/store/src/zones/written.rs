//! What zones have beside their ground, as it is written: in the table, in the audit and in files.

use model::{Hours, Minimum, Settle, UnitKind, Zone, limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exchange::checked::{Checked, FromText};

/// So many units of some kinds, at some hours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenMinimum {
    #[serde(default)]
    kinds: Vec<Checked<UnitKind>>,
    #[serde(default)]
    hours: Vec<Checked<Hours>>,
    at_least: u32,
}

/// When a crossing counts; what is missing is the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenSettle {
    #[serde(default = "margin_m")]
    margin_m: f32,
    #[serde(default = "time_s")]
    time_s: u32,
}

fn margin_m() -> f32 {
    limits::ZONE_MARGIN_M
}

fn time_s() -> u32 {
    limits::ZONE_SETTLE_S
}

/// A local clock against UTC, `+08:00`.
pub(crate) struct Offset(pub(crate) i16);

impl FromText for Offset {
    fn from_text(text: &str) -> Result<Self, String> {
        offset_of(text).map(Self).ok_or_else(|| format!("{text:?} is no offset like +08:00, up to 18 hours"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    utc_offset: Checked<Offset>,
    hours: Vec<Checked<Hours>>,
    minimum: Vec<WrittenMinimum>,
    settle: WrittenSettle,
    dwell_s: Option<u32>,
    stay_s_max: Option<u32>,
}

/// All of a zone that has no column of its own.
pub(super) struct RestOfZone {
    pub(super) utc_offset_min: i16,
    pub(super) hours: Vec<Hours>,
    pub(super) minimum: Vec<Minimum>,
    pub(super) settle: Settle,
    pub(super) dwell_s: Option<u32>,
    pub(super) stay_s_max: Option<u32>,
}

pub(super) fn rest_in(text: &str) -> Result<RestOfZone, serde_json::Error> {
    let rest: Rest = serde_json::from_str(text)?;
    Ok(RestOfZone {
        utc_offset_min: rest.utc_offset.0.0,
        hours: rest.hours.into_iter().map(|hours| hours.0).collect(),
        minimum: rest.minimum.into_iter().map(Minimum::from).collect(),
        settle: rest.settle.into(),
        dwell_s: rest.dwell_s,
        stay_s_max: rest.stay_s_max,
    })
}

/// The members of a zone that [`rest_in`] reads; files have them among others.
#[derive(Serialize)]
struct ShownRest {
    utc_offset: String,
    hours: Vec<String>,
    minimum: Vec<ShownMinimum>,
    settle: ShownSettle,
    dwell_s: Option<u32>,
    stay_s_max: Option<u32>,
}

#[derive(Serialize)]
struct ShownMinimum {
    kinds: Vec<&'static str>,
    hours: Vec<String>,
    at_least: u32,
}

#[derive(Serialize)]
struct ShownSettle {
    margin_m: f32,
    time_s: u32,
}

pub(crate) fn rest_value(zone: &Zone) -> Value {
    let texts = |hours: &[Hours]| hours.iter().map(Hours::to_string).collect();
    let minimum = |one: &Minimum| ShownMinimum {
        kinds: one.kinds.iter().map(|kind| kind.as_str()).collect(),
        hours: texts(&one.hours),
        at_least: one.at_least,
    };
    let shown = ShownRest {
        utc_offset: offset_text(zone.utc_offset_min),
        hours: texts(&zone.hours),
        minimum: zone.minimum.iter().map(minimum).collect(),
        settle: ShownSettle { margin_m: zone.settle.margin_m, time_s: zone.settle.time_s },
        dwell_s: zone.dwell_s,
        stay_s_max: zone.stay_s_max,
    };
    serde_json::to_value(shown).unwrap_or_default()
}

impl From<WrittenMinimum> for Minimum {
    fn from(written: WrittenMinimum) -> Self {
        Self {
            kinds: written.kinds.into_iter().map(|kind| kind.0).collect(),
            hours: written.hours.into_iter().map(|hours| hours.0).collect(),
            at_least: written.at_least,
        }
    }
}

impl From<WrittenSettle> for Settle {
    fn from(written: WrittenSettle) -> Self {
        Self { margin_m: written.margin_m, time_s: written.time_s }
    }
}

/// Minutes ahead of UTC, as `+08:00`.
pub(crate) fn offset_text(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The reverse of [`offset_text`], up to [`limits::UTC_OFFSET_MIN_MAX`] either way.
pub(crate) fn offset_of(text: &str) -> Option<i16> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse::<i16>().ok() } else { None }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= limits::UTC_OFFSET_MIN_MAX).then_some(sign * total)
}
