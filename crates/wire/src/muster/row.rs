use model::{AccuracyBasis, Altitude, AltitudeRef, Flags, Position, PositionReport, TimeBasis, Timestamp};

use crate::{DecodeError, proto};

/// One report, from either kind of batch, before it is checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) device_index: u32,
    pub(super) time_ms: Option<i64>,
    pub(super) time_basis: TimeBasis,
    pub(super) lat_e7: i32,
    pub(super) lon_e7: i32,
    pub(super) has_fix: bool,
    pub(super) speed_mps: Option<f32>,
    pub(super) course_deg: Option<f32>,
    pub(super) altitude: Option<Altitude>,
    pub(super) accuracy_m: Option<f32>,
    pub(super) flags: Flags,
}

impl Row {
    /// The report; or what is wrong, with the flags that hold all the same.
    pub(super) fn report(self) -> Result<PositionReport, (DecodeError, Flags)> {
        let fault = |field, value: String| (DecodeError::out_of_range(field, value), self.flags);
        let position = Position::from_e7(self.lat_e7, self.lon_e7)
            .ok_or_else(|| fault("position", format!("{}e-7, {}e-7", self.lat_e7, self.lon_e7)))?;
        let checked = |field, value: Option<f32>, max: f32| match value {
            Some(number) if !(0.0..=max).contains(&number) => Err(fault(field, number.to_string())),
            other => Ok(other),
        };
        let speed_mps = checked("speed_mps", self.speed_mps, 1_000.0)?;
        let course_deg = checked("course_deg", self.course_deg, 360.0)?.map(|course| course % 360.0);
        let accuracy_m = checked("accuracy_m", self.accuracy_m, 10_000_000.0)?;
        if let Some(altitude) = self.altitude.filter(|altitude| !(-20_000.0..=100_000.0).contains(&altitude.metres)) {
            return Err(fault("altitude_m", altitude.metres.to_string()));
        }
        let time = match self.time_ms {
            None => None,
            Some(ms) => Some(Timestamp::from_unix_ms(ms).ok_or_else(|| fault("time_ms", ms.to_string()))?),
        };
        let mut flags = self.flags;
        flags.set_if(self.has_fix && position.is_null_island(), Flags::NULL_PLACE);
        Ok(PositionReport {
            time,
            time_basis: self.time_basis,
            position,
            valid: self.has_fix && !position.is_null_island(),
            speed_mps,
            course_deg: course_deg.filter(|_| speed_mps != Some(0.0)),
            altitude: self.altitude,
            accuracy_m,
            accuracy_basis: accuracy_m.map(|_| AccuracyBasis::Gateway),
            flags,
        })
    }
}

pub(super) fn row_of(report: &proto::Report) -> Row {
    let mut flags = Flags::default();
    flags.set_if(report.emergency, Flags::EMERGENCY);
    flags.set_if(report.backlog, Flags::BACKLOG);
    let reference = match report.altitude_ref() {
        proto::AltitudeRef::Unspecified | proto::AltitudeRef::Msl => AltitudeRef::Msl,
        proto::AltitudeRef::Ellipsoid => AltitudeRef::Ellipsoid,
        proto::AltitudeRef::Pressure => AltitudeRef::Pressure,
        proto::AltitudeRef::Agl => AltitudeRef::Agl,
    };
    Row {
        device_index: 0,
        time_ms: report.time_ms,
        time_basis: match report.time_basis() {
            _ if report.time_ms.is_none() => TimeBasis::Receipt,
            proto::TimeBasis::Unspecified | proto::TimeBasis::Device => TimeBasis::Device,
            proto::TimeBasis::Gnss => TimeBasis::Gnss,
            proto::TimeBasis::Gateway => TimeBasis::Gateway,
            proto::TimeBasis::Receipt => TimeBasis::Receipt,
        },
        lat_e7: report.lat_e7,
        lon_e7: report.lon_e7,
        has_fix: !report.no_fix,
        speed_mps: report.speed_mps,
        course_deg: report.course_deg,
        altitude: report.altitude_m.map(|metres| Altitude { metres, reference }),
        accuracy_m: report.accuracy_m,
        flags,
    }
}
