use model::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// The instant with this time of day (milliseconds after midnight, UTC) that lies nearest to `anchor`:
/// what a frame without a date can mean. Right across midnight as long as the frame is less than 12 h old.
pub(crate) fn nearest_day(ms_of_day: i64, anchor: Timestamp) -> Timestamp {
    let into_day = anchor.unix_ms().rem_euclid(DAY_MS);
    let ahead = ms_of_day.saturating_sub(into_day);
    let half = DAY_MS.wrapping_div(2);
    let shift = match ahead {
        far if far > half => far.saturating_sub(DAY_MS),
        far if far < half.wrapping_neg() => far.saturating_add(DAY_MS),
        near => near,
    };
    anchor.shifted_ms(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_goes_to_the_nearer_day() {
        let just_after = Timestamp::from_civil((2026, 11, 24), (0, 0, 5), 0).unwrap();
        let late = nearest_day(DAY_MS - 10_000, just_after);
        assert_eq!(late.to_string(), "2026-11-23T23:59:50.000Z");
        let just_before = Timestamp::from_civil((2026, 11, 23), (23, 59, 55), 0).unwrap();
        assert_eq!(nearest_day(3_000, just_before).to_string(), "2026-11-24T00:00:03.000Z");
    }
}
