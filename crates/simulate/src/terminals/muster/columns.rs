use std::collections::HashMap;

use wire::proto::{ColumnarBatch, Report};

/// In a columnar batch: not known.
const UNKNOWN: u32 = 65_535;

/// The numbers under which one connection knows devices.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<String, u32>);

impl Numbers {
    /// `reports` column by column; devices that the connection does not know yet are named. Altitudes have no column, and whose
    /// clock dates a place is not said.
    pub(super) fn columns(&mut self, batch_sequence: u64, reports: &[Report]) -> ColumnarBatch {
        let mut batch = ColumnarBatch { batch_sequence, ..ColumnarBatch::default() };
        let (mut time_ms, mut lat_e7, mut lon_e7) = (0, 0, 0);
        for report in reports {
            let next = self.0.len() as u32;
            let number = self.0.get(&report.device).copied().unwrap_or_else(|| {
                self.0.insert(report.device.clone(), next);
                batch.new_devices.push(report.device.clone());
                next
            });
            batch.device_index.push(number);
            // Everyone is in one city: no difference is too long.
            batch.time_ms_delta.push(report.time_ms() - std::mem::replace(&mut time_ms, report.time_ms()));
            batch.lat_e7_delta.push(report.lat_e7 - std::mem::replace(&mut lat_e7, report.lat_e7));
            batch.lon_e7_delta.push(report.lon_e7 - std::mem::replace(&mut lon_e7, report.lon_e7));
            batch.speed_cmps.push(scaled(report.speed_mps, 100.0));
            batch.course_cdeg.push(scaled(report.course_deg, 100.0));
            batch.accuracy_dm.push(scaled(report.accuracy_m, 10.0));
            let bit = |holds: bool, bit: u32| if holds { bit } else { 0 };
            batch.flags.push(bit(report.no_fix, 1) | bit(report.emergency, 2) | bit(report.backlog, 4));
        }
        batch
    }
}

fn scaled(value: Option<f32>, steps: f32) -> u32 {
    value.map_or(UNKNOWN, |value| ((value * steps).round() as u32).min(UNKNOWN - 1))
}
