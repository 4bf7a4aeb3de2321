use crate::{Status, UnitKind};

/// What may be kept of the places of a unit. Decided before the journal: what must not be kept is never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// All of them, as they are.
    Open,
    /// About 100 m of them.
    Coarse,
    /// None.
    OffDuty,
}

impl Privacy {
    /// What holds for a unit. Whoever is off duty, or has checked out, is nobody's business; volunteers who are not tasked show about
    /// where they are. A volunteer of whom no status is known counts as checked in until duty data exist.
    #[must_use]
    pub const fn of(kind: UnitKind, status: Status, is_tasked: bool) -> Self {
        match (status, kind) {
            (Status::OffDuty, _) => Self::OffDuty,
            (_, UnitKind::Community) if !is_tasked => Self::Coarse,
            _ => Self::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_duty_hides_all_and_volunteers_are_coarse_until_they_are_tasked() {
        assert_eq!(Privacy::of(UnitKind::Foot, Status::OffDuty, true), Privacy::OffDuty);
        assert_eq!(Privacy::of(UnitKind::Community, Status::OffDuty, false), Privacy::OffDuty);
        for status in [Status::Unknown, Status::Available, Status::Busy] {
            assert_eq!(Privacy::of(UnitKind::Community, status, false), Privacy::Coarse);
            assert_eq!(Privacy::of(UnitKind::Community, status, true), Privacy::Open);
            assert_eq!(Privacy::of(UnitKind::Car, status, false), Privacy::Open);
        }
    }
}
