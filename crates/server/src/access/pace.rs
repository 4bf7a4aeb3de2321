use std::collections::HashMap;
use std::time::Duration;

use model::limits::{PACED_PRINCIPALS_MAX, URGENT_SHARE};
use model::{PrincipalName, Role};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use query::Lane;

/// How many requests each principal may make. What is urgent has an account of its own, so that a page that asks too often keeps
/// nobody from asking who is nearest.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Requests a second, and as many at once; `None`: no limit.
    per_s: Option<u32>,
    accounts: Mutex<HashMap<PrincipalName, Account>>,
    /// Requests that were refused.
    pub(crate) refused: Counter,
}

/// Until when, monotonic, what was asked would last at the rate: of ordinary and of urgent requests.
#[derive(Debug, Default, Clone, Copy)]
struct Account {
    ordinary: Duration,
    urgent: Duration,
}

/// Which account a request is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Ordinary,
    /// [`URGENT_SHARE`] times as many are let in.
    Urgent,
}

impl Urgency {
    /// Whoever directs units asks urgently, unless the request names a lane that is not.
    pub(crate) fn of(role: Role, lane: Option<&str>) -> Self {
        let directs = matches!(role, Role::Dispatcher | Role::Commander | Role::Administrator);
        let is_slow = lane.is_some_and(|lane| [Lane::Map, Lane::Bulk].iter().any(|slow| slow.as_str() == lane));
        if directs && !is_slow { Self::Urgent } else { Self::Ordinary }
    }
}

impl Pace {
    /// `per_s` requests a second for each principal; 0: no limit.
    pub(crate) fn of(per_s: u32) -> Self {
        let per_s = Some(per_s).filter(|per_s| *per_s > 0);
        Self { per_s, accounts: Mutex::default(), refused: Counter::default() }
    }

    /// Whether `principal` may make one more request at `now`, monotonic; it is counted either way.
    pub(crate) fn lets(&self, principal: &PrincipalName, urgency: Urgency, now: Duration) -> bool {
        let Some(per_s) = self.per_s else { return true };
        let mut accounts = self.accounts.lock();
        if !accounts.contains_key(principal) && accounts.len() >= PACED_PRINCIPALS_MAX {
            accounts.retain(|_, account| account.ordinary.max(account.urgent) > now);
            if accounts.len() >= PACED_PRINCIPALS_MAX {
                // So many at once have all shown who they are; seats and deadlines hold for them too.
                return true;
            }
        }
        let account = accounts.entry(principal.clone()).or_default();
        let (lasts, per_s) = match urgency {
            Urgency::Ordinary => (&mut account.ordinary, per_s),
            Urgency::Urgent => (&mut account.urgent, per_s.saturating_mul(URGENT_SHARE)),
        };
        let after = (*lasts).max(now) + Duration::from_secs(1) / per_s;
        let is_let = after <= now + Duration::from_secs(1);
        if is_let {
            *lasts = after;
        } else {
            self.refused.inc();
        }
        is_let
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pace: &Pace, name: &str, urgency: Urgency, ms: u64, requests: usize) -> usize {
        let name = PrincipalName::new(name).unwrap();
        (0..requests).filter(|_| pace.lets(&name, urgency, Duration::from_millis(ms))).count()
    }

    #[test]
    fn each_principal_has_its_rate_and_what_is_urgent_another_account() {
        let pace = Pace::of(100);
        assert_eq!(passed(&pace, "page", Urgency::Ordinary, 1_000, 500), 100);
        assert_eq!(passed(&pace, "page", Urgency::Ordinary, 1_500, 500), 50);
        assert_eq!(passed(&pace, "page", Urgency::Urgent, 1_500, 5_000), 1_000, "not kept out by the others");
        assert_eq!(passed(&pace, "desk", Urgency::Ordinary, 1_500, 500), 100);
        assert_eq!(pace.refused.get(), 400 + 450 + 4_000 + 400);
        assert_eq!(passed(&Pace::of(0), "page", Urgency::Ordinary, 0, 10_000), 10_000);
    }

    #[test]
    fn a_flood_of_principals_costs_bounded_memory() {
        let pace = Pace::of(1);
        for number in 0..PACED_PRINCIPALS_MAX + 10 {
            passed(&pace, &number.to_string(), Urgency::Ordinary, 0, 1);
        }
        assert_eq!(pace.accounts.lock().len(), PACED_PRINCIPALS_MAX);
        passed(&pace, "later", Urgency::Ordinary, 2_000, 1);
        assert_eq!(pace.accounts.lock().len(), 1, "who has been silent is forgotten");
    }

    #[test]
    fn a_dispatcher_is_urgent_unless_the_lane_says_otherwise() {
        assert_eq!(Urgency::of(Role::Dispatcher, None), Urgency::Urgent);
        assert_eq!(Urgency::of(Role::Commander, Some("emergency")), Urgency::Urgent);
        assert_eq!(Urgency::of(Role::Dispatcher, Some("bulk")), Urgency::Ordinary);
        assert_eq!(Urgency::of(Role::Viewer, Some("emergency")), Urgency::Ordinary);
        assert_eq!(Urgency::of(Role::Gateway, None), Urgency::Ordinary);
    }
}
