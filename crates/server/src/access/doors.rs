//! What the rest of the server asks of access.

use std::sync::Arc;

use axum::http::HeaderMap;
use model::{OrganisationName, Principal, Timestamp, UnitName};
use store::audit::{Look, Outcome, Record};
use store::{Store, StoreError};

use super::{Asker, Denied, Grant, LogOnRule, NotAudited};
use crate::http::Problem;
use crate::run::Service;
use crate::tls::Client;
use query::Scope;

/// A session that was opened.
pub(crate) struct Opened {
    /// The value of its cookie.
    pub(crate) id: String,
    pub(crate) principal: Arc<Principal>,
    pub(crate) expires: Timestamp,
}

impl Service {
    /// Who sends a request with these headers over a connection of `client`, and whose units it sees.
    pub(crate) fn asker(&self, headers: &HeaderMap, client: Option<&Arc<Client>>) -> Result<Asker, Denied> {
        if self.log_on.rule() == LogOnRule::Off {
            return Ok(Asker::local());
        }
        let grant = self.log_on.grant(headers, client)?;
        Ok(self.asker_of(grant))
    }

    fn asker_of(&self, grant: Grant) -> Asker {
        let principal = Arc::clone(&grant.principal);
        let organisation = principal.organisation.as_ref();
        let live = self.engine.live();
        let sees_all = organisation.is_none() || self.glass.is_open(&principal.name, live.now());
        let organisation = organisation.filter(|_| !sees_all);
        let scope = organisation.map_or(Scope::everything(), |one| self.scopes.of(one, live));
        Asker { principal, scope, grant: Some(grant) }
    }

    /// Who goes on asking on an open stream, with what it sees by now.
    pub(crate) fn still(&self, asker: &Asker) -> Result<Asker, Denied> {
        match &asker.grant {
            None => Ok(asker.clone()),
            Some(grant) if self.log_on.holds(grant) => Ok(self.asker_of(grant.clone())),
            Some(_) => Err(Denied::Unknown),
        }
    }

    /// A webhook as one who asks, with what its organisation sees by now. It has no token: it holds as long as it is written down.
    pub(crate) fn asker_of_webhook(&self, principal: &Arc<Principal>) -> Asker {
        let organisation = principal.organisation.as_ref();
        let scope = organisation.map_or(Scope::everything(), |one| self.scopes.of(one, self.engine.live()));
        Asker { principal: Arc::clone(principal), scope, grant: None }
    }

    /// Whether what belongs to `organisation` is the asker's own to change; what belongs to nobody is for those of the whole.
    pub(crate) fn owns(&self, asker: &Asker, organisation: Option<&OrganisationName>) -> bool {
        organisation.map_or(asker.is_of_the_whole(), |one| self.commands(asker, one))
    }

    /// Whether `asker` commands `organisation`: its units and those below it are its own to change.
    pub(crate) fn commands(&self, asker: &Asker, organisation: &OrganisationName) -> bool {
        let top = asker.principal.organisation.as_ref();
        top.is_none_or(|top| self.scopes.holds(top, organisation, self.engine.live().now()))
    }

    /// Whether there is an organisation of that name.
    pub(crate) async fn knows(&self, organisation: &OrganisationName) -> Result<bool, Problem> {
        let name = organisation.clone();
        self.stored(move |store| Ok(store.organisation(&name)?.is_some())).await
    }

    /// Puts into the audit whose places `asker` is about to see. Where nobody logs on there is nobody to name.
    pub(crate) async fn looked<N: AsRef<str>>(
        &self,
        asker: &Asker,
        action: &'static str,
        units: impl Iterator<Item = N>,
    ) -> Result<(), NotAudited> {
        if asker.grant.is_none() {
            return Ok(());
        }
        let name = |unit: N| UnitName::new(unit.as_ref()).expect("the name of a unit is one");
        let principal = Arc::clone(&asker.principal);
        let (time, units) = (self.engine.live().now(), units.map(name).collect());
        self.auditor.looked(Look { time, principal, action, resource: String::new(), units }).await
    }

    /// Puts a refusal into the audit.
    pub(crate) async fn refused(
        &self,
        principal: Option<Principal>,
        resource: String,
        why: Denied,
    ) -> Result<(), NotAudited> {
        self.note(principal, "refusal", resource, Outcome::Refused, why.to_string()).await
    }

    async fn note(
        &self,
        principal: Option<Principal>,
        action: &'static str,
        resource: String,
        outcome: Outcome,
        detail: String,
    ) -> Result<(), NotAudited> {
        let (time, detail) = (self.engine.live().now(), detail.into());
        self.auditor.note(Record { time, principal, action, resource, outcome, detail }).await
    }

    /// Puts into the audit why the glass is about to be broken.
    pub(crate) async fn broke_glass(&self, asker: &Asker, reason: &str) -> Result<(), NotAudited> {
        let principal = Some((*asker.principal).clone());
        self.note(principal, "break_glass", String::new(), Outcome::Ok, reason.to_owned()).await
    }

    /// Puts into the audit what is about to be done about an emergency, and why.
    pub(crate) async fn handled(
        &self,
        asker: &Asker,
        action: &'static str,
        emergency: &str,
        reason: Option<&str>,
    ) -> Result<(), NotAudited> {
        let (principal, detail) = (Some((*asker.principal).clone()), reason.unwrap_or_default().to_owned());
        self.note(principal, action, emergency.to_owned(), Outcome::Ok, detail).await
    }

    /// Opens a session for the token of these headers. Each try is in the audit.
    pub(crate) async fn open_session(&self, headers: &HeaderMap) -> Result<Opened, Problem> {
        // A certificate opens none: the session would outlive its connection.
        let opened = self.log_on.grant(headers, None).and_then(|grant| {
            if grant.is_one_time {
                return Err(Denied::OneTime);
            }
            let (id, expires) = self.log_on.open_session(&grant)?;
            Ok(Opened { id, expires, principal: grant.principal })
        });
        let (principal, outcome, detail) = match &opened {
            Ok(opened) => (Some((*opened.principal).clone()), Outcome::Ok, String::new()),
            Err(denied) => (None, Outcome::Refused, denied.to_string()),
        };
        self.note(principal, "log_on", "POST /v1/session".to_owned(), outcome, detail).await?;
        Ok(opened?)
    }

    /// What a cookie says so that browsers send it over encrypted connections only, where there are some.
    pub(crate) const fn secure(&self) -> &'static str {
        if self.tls.is_some() { "; Secure" } else { "" }
    }

    /// Calls the store, which may wait for the disk.
    pub(crate) async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        Ok(done.expect("a call of the store ends without a panic")?)
    }
}

impl From<NotAudited> for Problem {
    fn from(_: NotAudited) -> Self {
        Denied::Unavailable.into()
    }
}
