use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use ingest::Allowed;
use model::limits::{SESSION_LIFE, SESSIONS_MAX, TLS_RECHECK_INTERVAL, TOKENS_KNOWN_MAX, TOKENS_LOOK_INTERVAL};
use model::{Clock, Principal, Timestamp};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Store, StoreError};

use super::provider::Named;
use super::{Denied, Provider};
use crate::tls::Client;

/// The cookie of a browser's session.
pub(crate) const COOKIE: &str = "muster_session";

/// Whether callers must log on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogOnRule {
    /// Whoever reaches the server is `local` and may do everything. On loopback only.
    #[default]
    Off,
    /// Every operation but the open ones needs a token or a session.
    Required,
}

/// Who holds a token that was shown. Good until [`Self::expires`] or until it is revoked.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) principal: Arc<Principal>,
    pub(crate) expires: Timestamp,
    /// It may only make the first lasting token.
    pub(crate) is_one_time: bool,
    /// The devices that it may report for.
    pub(crate) devices: Arc<Allowed>,
    /// To ask again whether it still holds.
    proof: Proof,
}

/// What a principal showed.
#[derive(Clone)]
enum Proof {
    /// A token of the store or of the identity provider.
    Secret(Arc<str>),
    /// A certificate, on the connection that it came over.
    Certificate(Arc<Client>),
}

/// Without the secret.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("principal", &self.principal)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Finds out who asks.
pub(crate) struct LogOn {
    rule: LogOnRule,
    store: Arc<Store>,
    provider: Option<Arc<Provider>>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    sessions: Mutex<HashMap<String, Grant>>,
}

/// Tokens that were shown lately.
#[derive(Default)]
struct Known {
    /// The store's, when it was looked at last.
    generation: u64,
    looked_at: Option<Timestamp>,
    grants: HashMap<Arc<str>, Grant>,
}

impl LogOn {
    pub(crate) fn new(
        rule: LogOnRule,
        store: Arc<Store>,
        provider: Option<Arc<Provider>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { rule, store, provider, clock, known: Mutex::default(), sessions: Mutex::default() }
    }

    pub(crate) const fn rule(&self) -> LogOnRule {
        self.rule
    }

    /// Who sends a request with these headers over a connection of `client`. What it says in words counts first.
    pub(crate) fn grant(&self, headers: &HeaderMap, client: Option<&Arc<Client>>) -> Result<Grant, Denied> {
        let now = self.clock.now();
        if let Some(secret) = bearer(headers) {
            return self.of_secret(secret, now);
        }
        if let Some(id) = cookie(headers) {
            let session = self.sessions.lock().get(id).filter(|session| now < session.expires).cloned();
            // Its token may have been revoked since.
            return self.of_proof(&session.ok_or(Denied::Unknown)?.proof, now);
        }
        let client = Proof::Certificate(Arc::clone(client.ok_or(Denied::Unknown)?));
        self.of_proof(&client, now)
    }

    fn of_proof(&self, proof: &Proof, now: Timestamp) -> Result<Grant, Denied> {
        match proof {
            Proof::Secret(secret) => self.of_secret(secret, now),
            Proof::Certificate(client) if client.holds() => Ok(Grant {
                principal: Arc::clone(client.principal()),
                expires: now.after(TLS_RECHECK_INTERVAL),
                is_one_time: false,
                devices: Arc::clone(client.devices()),
                proof: proof.clone(),
            }),
            Proof::Certificate(_) => Err(Denied::Unknown),
        }
    }

    /// Whether a stream that was opened with `grant` may go on. Costs a look-up in memory, and one in the store each second.
    pub(crate) fn holds(&self, grant: &Grant) -> bool {
        self.of_proof(&grant.proof, self.clock.now()).is_ok_and(|now| now.principal == grant.principal)
    }

    fn of_secret(&self, secret: &str, now: Timestamp) -> Result<Grant, Denied> {
        // No token of the store has a dot.
        if let Some(provider) = self.provider.as_ref().filter(|_| secret.contains('.')) {
            let Named { principal, expires } = provider.named(secret, now)?;
            let (devices, proof) = (Arc::default(), Proof::Secret(secret.into()));
            return Ok(Grant { principal, expires, is_one_time: false, devices, proof });
        }
        let mut known = self.known.lock();
        known.look(&self.store, now).map_err(|_| Denied::Unavailable)?;
        if let Some(grant) = known.grants.get(secret) {
            return if now < grant.expires { Ok(grant.clone()) } else { Err(Denied::Unknown) };
        }
        let bearer = self.store.by_secret(secret, now).map_err(|_| Denied::Unavailable)?.ok_or(Denied::Unknown)?;
        // Written by a version that knows other patterns: what they mean is not guessed.
        let devices = Allowed::new(&[], &bearer.devices).map_err(|_| Denied::Unknown)?;
        let secret: Arc<str> = Arc::from(secret);
        let grant = Grant {
            principal: Arc::new(bearer.principal),
            expires: bearer.expires,
            is_one_time: bearer.is_one_time,
            devices: Arc::new(devices),
            proof: Proof::Secret(Arc::clone(&secret)),
        };
        if known.grants.len() >= TOKENS_KNOWN_MAX {
            known.grants.clear();
        }
        known.grants.insert(secret, grant.clone());
        Ok(grant)
    }

    /// Opens a session for a browser: the value of its cookie, and when it ends.
    ///
    /// # Errors
    /// [`Denied::Full`] when [`SESSIONS_MAX`] are open.
    pub(crate) fn open_session(&self, grant: &Grant) -> Result<(String, Timestamp), Denied> {
        let now = self.clock.now();
        let ends = grant.expires.min(now.after(SESSION_LIFE));
        let mut sessions = self.sessions.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| now < session.expires);
        }
        if sessions.len() >= SESSIONS_MAX {
            return Err(Denied::Full);
        }
        let mut bytes = [0u8; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        sessions.insert(id.clone(), Grant { expires: ends, ..grant.clone() });
        Ok((id, ends))
    }

    /// Ends the session of these headers, if there is one.
    pub(crate) fn close_session(&self, headers: &HeaderMap) {
        if let Some(id) = cookie(headers) {
            self.sessions.lock().remove(id);
        }
    }
}

impl Known {
    /// Forgets all when a token changed, by whichever process.
    fn look(&mut self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let is_recent = |at: Timestamp| (0..TOKENS_LOOK_INTERVAL.as_millis() as i64).contains(&now.ms_since(at));
        if self.looked_at.is_some_and(is_recent) {
            return Ok(());
        }
        let generation = store.generation()?;
        if generation != self.generation {
            self.grants.clear();
        }
        (self.generation, self.looked_at) = (generation, Some(now));
        Ok(())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use model::{PrincipalName, Role};

    use super::*;

    /// Milliseconds since 1970.
    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed)).unwrap()
        }

        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    /// A browser may keep a cookie for as long as it likes: once sessions ended only when the cookie was gone, or its token.
    #[test]
    fn a_session_ends_though_its_cookie_is_still_sent() {
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let store = Arc::new(Store::in_memory().unwrap());
        let holder = Principal { name: PrincipalName::new("ana").unwrap(), role: Role::Viewer, organisation: None };
        let (now, local) = (clock.now(), Principal::local());
        let by = store::By { principal: &local, now, reason: None };
        let secret = store.create_token(&by, &holder, now.after(2 * SESSION_LIFE)).unwrap();
        let log_on = LogOn::new(LogOnRule::Required, store, None, Arc::clone(&clock) as Arc<dyn Clock>);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {secret}").parse().unwrap());
        let (id, _) = log_on.open_session(&log_on.grant(&headers, None).unwrap()).unwrap();
        let cookie = HeaderMap::from_iter([(header::COOKIE, format!("{COOKIE}={id}").parse().unwrap())]);
        let later = |ms: i64| clock.0.store(now.unix_ms() + SESSION_LIFE.as_millis() as i64 + ms, Ordering::Relaxed);
        later(-1);
        assert!(log_on.grant(&cookie, None).is_ok());
        later(0);
        assert!(log_on.grant(&cookie, None).is_err() && log_on.grant(&headers, None).is_ok());
    }
}
