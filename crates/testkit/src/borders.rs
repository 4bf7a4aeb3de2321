use std::collections::BTreeMap;
use std::sync::Arc;

use geodesy::Area;
use model::{Position, Settle, Timestamp, ZoneName};

/// A zone, as far as it matters to who crosses its border.
#[derive(Debug, Clone)]
pub struct Border {
    /// Its name.
    pub zone: ZoneName,
    /// Its ground.
    pub area: Arc<Area>,
    /// Metres beyond the border that count for nothing.
    pub margin_m: f64,
    /// Seconds beyond the margin that settle it.
    pub time_s: u32,
}

/// A unit came into a zone, or left it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crossing {
    /// Whether it came.
    pub is_in: bool,
    /// The zone.
    pub zone: ZoneName,
    /// The fix that says so.
    pub time: Timestamp,
    /// It was far beyond the border: one fix was enough.
    pub is_far: bool,
}

/// The rule of crossings, as it is written, over all zones for every fix: what the watcher is checked against.
#[derive(Debug, Clone)]
pub struct BorderRule<U> {
    borders: Vec<Border>,
    /// By unit, in the order of `borders`: whether it is in, and since when every fix says the opposite.
    units: BTreeMap<U, Vec<(bool, Option<Timestamp>)>>,
}

impl Crossing {
    /// `enter beat-1 2026-11-23T06:25:30.000Z`, or `exit`.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} {} {}", if self.is_in { "enter" } else { "exit" }, self.zone, self.time)
    }
}

impl<U: Ord> BorderRule<U> {
    /// Of these zones. Nobody is in any of them.
    #[must_use]
    pub const fn of(borders: Vec<Border>) -> Self {
        Self { borders, units: BTreeMap::new() }
    }

    /// A unit's newest fix: which borders it has crossed with it, exits first.
    pub fn moved(&mut self, unit: U, place: Position, time: Timestamp) -> Vec<Crossing> {
        let stand = self.units.entry(unit).or_insert_with(|| vec![(false, None); self.borders.len()]);
        let mut crossed = Vec::new();
        for (border, (is_in, turning)) in self.borders.iter().zip(stand) {
            let depth_m = border.area.depth_m(place);
            let beyond_m = if *is_in { -depth_m } else { depth_m };
            if beyond_m <= border.margin_m {
                *turning = None;
                continue;
            }
            let since = *turning.get_or_insert(time);
            let is_long = since < time && time.ms_since(since) >= i64::from(border.time_s) * 1_000;
            let is_far = beyond_m >= border.margin_m * f64::from(Settle::FAR);
            if is_long || is_far {
                (*is_in, *turning) = (!*is_in, None);
                crossed.push(Crossing { is_in: *is_in, zone: border.zone.clone(), time, is_far: is_far && !is_long });
            }
        }
        crossed.sort();
        crossed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("it is a time")
    }

    #[test]
    fn a_border_is_crossed_far_at_once_and_near_after_a_time() {
        let centre = Position::from_degrees(22.8, 108.3).expect("it is a place");
        let area = Arc::new(Area::circle(centre, 1_000.0).expect("an area"));
        let border = Border { zone: ZoneName::new("beat").expect("a name"), area, margin_m: 20.0, time_s: 30 };
        let mut rule = BorderRule::of(vec![border]);
        let from_centre = |metres: f64| geodesy::destination(centre, 90.0, metres);
        assert!(rule.moved(1, from_centre(970.0), at(0)).is_empty(), "beyond the margin, not for long");
        assert!(rule.moved(1, from_centre(990.0), at(20)).is_empty(), "back within the margin");
        assert!(rule.moved(1, from_centre(970.0), at(40)).is_empty(), "it begins anew");
        let near = rule.moved(1, from_centre(970.0), at(70));
        assert_eq!((near.len(), near[0].is_far), (1, false));
        assert_eq!(near[0].words(), format!("enter beat {}", at(70)));
        let far = rule.moved(1, from_centre(1_090.0), at(71));
        assert_eq!((far.len(), far[0].is_in, far[0].is_far), (1, false, true));
        assert!(rule.moved(2, from_centre(2_000.0), at(72)).is_empty(), "who was never in does not leave");
    }
}
