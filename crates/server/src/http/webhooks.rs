use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::limits::{WEBHOOK_SECRET_BYTES_MAX, WEBHOOK_SECRET_BYTES_MIN};
use model::{
    EventKind, NameError, OrganisationName, UnitName, UnknownWord, Webhook, WebhookName, WebhookSecret, ZoneName,
};
use serde::{Deserialize, Serialize};
use store::events::{Dead, Delivered};
use store::{By, StoredWebhook};
use utoipa::ToSchema;

use super::ask::json;
use super::precondition::if_match;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;
use crate::webhooks::{Progress, word_of};

/// A webhook as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookAsk {
    /// Where to: `http://` or `https://` (with `webhook_ca` in the configuration), at most 2,048 bytes, without a user. Public
    /// addresses only, and those in `webhook_networks` of the configuration.
    url: String,
    /// What it signs with, 16 to 256 bytes. Needed for a new one; absent: the one that is there stays. Never shown.
    secret: Option<String>,
    /// Whose scope it has: the caller's own or one below; absent: the caller's own.
    org: Option<String>,
    /// Only these kinds of events; empty: all.
    #[serde(default)]
    kinds: Vec<String>,
    /// Only events of these units; empty: of all.
    #[serde(default)]
    units: Vec<String>,
    /// Only events of these zones; empty: of all.
    #[serde(default)]
    zones: Vec<String>,
    /// `false`: nothing is sent; it goes on later from where it is.
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook, and how it fares.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookBody {
    webhook: String,
    url: String,
    org: Option<String>,
    kinds: Vec<String>,
    units: Vec<String>,
    zones: Vec<String>,
    enabled: bool,
    /// All up to this event is delivered, was not for it, or is in the dead-letter list.
    after: u64,
    /// Events since, those that are not for it among them.
    lag: u64,
    /// Events that were removed before they could be sent; it was sent an event `gap`.
    lost: u64,
    /// Entries of its dead-letter list that are no longer there because there were too many.
    forgotten: u64,
    /// Events delivered since the server started.
    delivered: u64,
    /// Tries that failed since the server started.
    failures: u64,
    /// Null when the last try was taken.
    failing: Option<TroubleBody>,
}

/// Failures of a webhook without a success since.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TroubleBody {
    since: String,
    failures: u32,
    /// What was wrong the last time: `unreachable`, `refused_by_receiver` or `not_allowed`; for callers of no organisation with the details.
    why: String,
}

/// The webhooks that the caller may change, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    webhooks: Vec<WebhookBody>,
}

/// What a webhook gave up, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadList {
    dead: Vec<DeadBody>,
}

/// Events that could not be delivered for too long.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadBody {
    /// The number of the first: replay from here.
    from: u64,
    /// The number of the last.
    until: u64,
    /// How many of these numbers were for the webhook.
    events: u64,
    /// When they were tried first.
    since: String,
    given_up: String,
    tries: u32,
    /// What was wrong the last time: `unreachable`, `refused_by_receiver` or `not_allowed`; for callers of no organisation with the details.
    why: String,
}

/// From where on a webhook sends again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayAsk {
    /// The number of the first event to be sent again, 1 or more; what is no longer kept comes as an event `gap`.
    from: u64,
}

/// All webhooks of the organisations that the caller commands.
#[utoipa::path(get, path = "/v1/webhooks", responses((status = 200, body = WebhookList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<WebhookList>, Problem> {
    let all = service.stored(store::Store::webhooks).await?;
    let mut webhooks = Vec::new();
    for stored in all.into_iter().filter(|one| service.owns(&asker, one.webhook.organisation.as_ref())) {
        webhooks.push(body(&service, &asker, stored).await?);
    }
    Ok(Json(WebhookList { webhooks }))
}

/// One webhook, and how it fares.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{webhook}",
    params(("webhook" = String, Path, description = "Its name")),
    responses((status = 200, body = WebhookBody, description = "With `ETag`"), (status = 404, body = Problem))
)]
pub(crate) async fn read(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(webhook): Path<String>,
) -> Result<Response, Problem> {
    let stored = find(&service, &asker, name_of(&webhook)?).await?;
    answer(&service, &asker, stored).await
}

/// Adds or changes a webhook. A new one is sent what happens from now on; a changed one goes on where it is. Events come in their order as a JSON
/// array of at most 100, as in `GET /v1/events`, by POST with `Muster-Webhook`, `Muster-Event-From`, `Muster-Event-To`, `Muster-Timestamp` and
/// `Muster-Signature: v1=` with the HMAC-SHA256 of timestamp, dot and body in hexadecimal. A status 2xx settles them, 410 disables the
/// webhook, and all else is tried again, so an event may come twice.
#[utoipa::path(
    put,
    path = "/v1/webhooks/{webhook}",
    params(
        ("webhook" = String, Path, description = "Its name: 1 to 88 bytes without blanks and slashes"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected, or *"),
        ("If-None-Match" = Option<String>, Header, description = "*: only if there is none of that name"),
    ),
    request_body = WebhookAsk,
    responses(
        (status = 200, body = WebhookBody, description = "With `ETag`"),
        (status = 400, body = Problem, description = "Also an address that webhooks may not call"),
        (status = 403, body = Problem, description = "The name or the organisation is not the caller's"),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn write(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(webhook): Path<String>,
    headers: HeaderMap,
    body: Result<Json<WebhookAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let (name, if_match) = (name_of(&webhook)?, if_match(&headers)?);
    let (changed, secret) = checked(&service, &asker, name.clone(), json(body)?)?;
    let wanted = name.clone();
    let before = service.stored(move |store| store.webhook(&wanted)).await?;
    let is_theirs = before.is_none_or(|one| service.owns(&asker, one.webhook.organisation.as_ref()));
    // The same words for a name that is taken elsewhere: who may not see it must not learn of it.
    if !is_theirs || !service.owns(&asker, changed.organisation.as_ref()) {
        return Err(Problem::forbidden("this name and organisation are not yours to change"));
    }
    let begin = service.engine.watch().map_or(0, |watch| *watch.last().borrow());
    let (now, principal) = (service.engine.live().now(), Arc::clone(&asker.principal));
    let put = move |store: &store::Store| {
        let by = By { principal: &principal, now, reason: None };
        store.put_webhook(&by, &changed, secret.as_ref(), begin, if_match)
    };
    service.stored(put).await?;
    service.level_webhooks().await?;
    let stored = find(&service, &asker, name).await?;
    answer(&service, &asker, stored).await
}

/// Removes a webhook with its dead-letter list.
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{webhook}",
    params(
        ("webhook" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected"),
    ),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(webhook): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let if_match = if_match(&headers)?;
    let name = find(&service, &asker, name_of(&webhook)?).await?.webhook.name;
    let (now, principal) = (service.engine.live().now(), Arc::clone(&asker.principal));
    let gone = move |store: &store::Store| {
        store.delete_webhook(&By { principal: &principal, now, reason: None }, &name, if_match)
    };
    service.stored(gone).await?;
    service.level_webhooks().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a webhook gave up because it could not be delivered for `webhook_give_up_hours`.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{webhook}/dead",
    params(("webhook" = String, Path, description = "Its name")),
    responses((status = 200, body = DeadList, description = "At most 1,000"), (status = 404, body = Problem))
)]
pub(crate) async fn dead(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(webhook): Path<String>,
) -> Result<Json<DeadList>, Problem> {
    let stored = find(&service, &asker, name_of(&webhook)?).await?;
    let (name, made) = (stored.webhook.name, stored.made);
    let dead = service.on_events(move |events| events.dead(&name, made)).await?;
    Ok(Json(DeadList { dead: dead.into_iter().map(|dead| DeadBody::of(dead, &asker)).collect() }))
}

/// Sends everything again from an event on, in order, whether it was delivered, given up or neither.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{webhook}/replay",
    params(("webhook" = String, Path, description = "Its name")),
    request_body = ReplayAsk,
    responses(
        (status = 200, body = WebhookBody),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
pub(crate) async fn replay(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(webhook): Path<String>,
    body: Result<Json<ReplayAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let name = find(&service, &asker, name_of(&webhook)?).await?.webhook.name;
    let ReplayAsk { from } = json(body)?;
    let last = service.engine.watch().map_or(0, |watch| *watch.last().borrow());
    if from == 0 || from > last.saturating_add(1) {
        return Err(Problem::bad("from", from, format!("events have numbers from 1 to {last}")));
    }
    service.replay_webhook(Arc::clone(&asker.principal), name.clone(), from - 1).await?;
    let stored = find(&service, &asker, name).await?;
    answer(&service, &asker, stored).await
}

/// What is written, if it can be used.
fn checked(
    service: &Service,
    asker: &Asker,
    name: WebhookName,
    ask: WebhookAsk,
) -> Result<(Webhook, Option<WebhookSecret>), Problem> {
    let WebhookAsk { url, secret, org, kinds, units, zones, enabled } = ask;
    // Who reads the answer may read the URL's credentials in its log: they are not repeated.
    service.webhooks.check(&url).map_err(|error| Problem::bad("url", "", error))?;
    let too_short = || format!("has {WEBHOOK_SECRET_BYTES_MIN} to {WEBHOOK_SECRET_BYTES_MAX} bytes");
    let secret = secret.map(|text| WebhookSecret::new(&text).ok_or_else(|| Problem::bad("secret", "", too_short())));
    let kind = |word: &String| -> Result<EventKind, Problem> {
        word.parse().map_err(|error: UnknownWord| Problem::bad("kinds", word, error))
    };
    let organisation = org.map(|org| OrganisationName::new(&org).map_err(|error| Problem::bad("org", &org, error)));
    let webhook = Webhook {
        name,
        url,
        organisation: organisation.transpose()?.or_else(|| asker.principal.organisation.clone()),
        kinds: kinds.iter().map(kind).collect::<Result<_, _>>()?,
        units: names("units", &units, UnitName::new)?,
        zones: names("zones", &zones, ZoneName::new)?,
        is_enabled: enabled,
    };
    Ok((webhook, secret.transpose()?))
}

fn names<T>(
    field: &'static str,
    words: &[String],
    name: impl Fn(&str) -> Result<T, NameError>,
) -> Result<Vec<T>, Problem> {
    words.iter().map(|word| name(word).map_err(|error| Problem::bad(field, word, error))).collect()
}

fn name_of(text: &str) -> Result<WebhookName, Problem> {
    WebhookName::new(text).map_err(|error| Problem::bad("webhook", text, error))
}

/// The webhook of a name, if it is the caller's to change; any other answers like one that is not there.
async fn find(service: &Service, asker: &Asker, name: WebhookName) -> Result<StoredWebhook, Problem> {
    let wanted = name.clone();
    let found = service.stored(move |store| store.webhook(&wanted)).await?;
    let found = found.filter(|one| service.owns(asker, one.webhook.organisation.as_ref()));
    found.ok_or_else(|| Problem::not_found(format!("there is no webhook `{name}`")))
}

async fn answer(service: &Service, asker: &Asker, stored: StoredWebhook) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", stored.version);
    Ok(([(header::ETAG, etag)], Json(body(service, asker, stored).await?)).into_response())
}

async fn body(service: &Service, asker: &Asker, stored: StoredWebhook) -> Result<WebhookBody, Problem> {
    let progress = service.webhooks.progress(&stored);
    let (name, made) = (stored.webhook.name.clone(), stored.made);
    let noted = service.on_events(move |events| events.delivered(&name, made)).await?;
    let noted = noted.unwrap_or(Delivered { after: stored.begin, ..Delivered::default() });
    let after = progress.as_ref().map_or(noted.after, |progress| progress.after());
    let last = service.engine.watch().map_or(0, |watch| *watch.last().borrow());
    let count = |of: fn(&Progress) -> u64| progress.as_deref().map_or(0, of);
    let trouble = progress.as_ref().and_then(|progress| progress.trouble());
    let Delivered { lost, forgotten, .. } = noted;
    let Webhook { name, url, organisation, kinds, units, zones, is_enabled } = stored.webhook;
    Ok(WebhookBody {
        webhook: name.to_string(),
        url,
        org: organisation.map(|one| one.to_string()),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        units: units.iter().map(ToString::to_string).collect(),
        zones: zones.iter().map(ToString::to_string).collect(),
        enabled: is_enabled,
        after,
        lag: last.saturating_sub(after),
        lost,
        forgotten,
        delivered: count(|progress| progress.delivered.load(Ordering::Relaxed)),
        failures: count(|progress| progress.failures.load(Ordering::Relaxed)),
        failing: trouble.map(|trouble| TroubleBody {
            since: trouble.since.to_string(),
            failures: trouble.failures,
            why: told(asker, trouble.why),
        }),
    })
}

/// What went wrong, as far as `asker` may know.
fn told(asker: &Asker, why: String) -> String {
    if asker.is_of_the_whole() { why } else { word_of(&why).to_owned() }
}

impl DeadBody {
    fn of(dead: Dead, asker: &Asker) -> Self {
        Self {
            from: dead.first,
            until: dead.last,
            events: dead.events,
            since: dead.since.to_string(),
            given_up: dead.given_up.to_string(),
            tries: dead.tries,
            why: told(asker, dead.why),
        }
    }
}
