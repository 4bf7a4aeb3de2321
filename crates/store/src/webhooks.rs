use model::limits::{FILTER_WORDS_MAX, WEBHOOK_URL_BYTES_MAX, WEBHOOKS_MAX};
use model::{
    EventKind, OrganisationName, PrincipalName, UnitName, UnknownWord, Webhook, WebhookName, WebhookSecret, ZoneName,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use crate::change::{Change, members};
use crate::checks::Of;
use crate::organisations::may_be_named;
use crate::sqlite::{counter, misread, raise, signed, unsigned};
use crate::tokens::WEBHOOK_PREFIX;
use crate::{By, IfMatch, Refusal, Store, StoreError};

const WHAT: &str = "webhook";
const COLUMNS: &str = "name, url, secret, organisation, wanted, is_enabled, begin, made, version";

/// A webhook as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWebhook {
    /// What it sends to whom.
    pub webhook: Webhook,
    /// What it signs with.
    pub secret: WebhookSecret,
    /// The last event before it was made.
    pub begin: u64,
    /// The version of its first change: another one of the same name has another.
    pub made: u64,
    /// The version of its last change.
    pub version: u64,
}

impl Store {
    /// One webhook.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn webhook(&self, name: &WebhookName) -> Result<Option<StoredWebhook>, StoreError> {
        self.read(|connection| find(connection, name))
    }

    /// All webhooks, by name; at most [`WEBHOOKS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn webhooks(&self) -> Result<Vec<StoredWebhook>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks ORDER BY name");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], webhook_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Rises with every change of a webhook, also of another process.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn webhooks_version(&self) -> Result<u64, StoreError> {
        self.read(|connection| counter(connection, "webhooks"))
    }

    /// Makes a webhook, which sends what comes after event `begin`, or changes one, which goes on where it is. Without `secret` the
    /// one that is there stays. Returns the new version.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Invalid`] for a new one without a secret, an organisation that is not
    /// there, a URL or a list that is too long, or one webhook too many.
    pub fn put_webhook(
        &self,
        by: &By<'_>,
        webhook: &Webhook,
        secret: Option<&WebhookSecret>,
        begin: u64,
        if_match: IfMatch,
    ) -> Result<u64, StoreError> {
        self.change(by, |change| {
            let found = find(change.transaction, &webhook.name)?;
            if_match.check(WHAT, webhook.name.as_str(), found.as_ref().map(|found| found.version))?;
            check(change, webhook, found.is_none())?;
            let kept = secret.cloned().or_else(|| found.as_ref().map(|found| found.secret.clone()));
            let none = || of(&webhook.name).invalid("secret", "a new webhook needs one".to_owned());
            let version = raise(change.transaction, "webhooks")?;
            let stored = StoredWebhook {
                webhook: webhook.clone(),
                secret: kept.ok_or_else(none)?,
                begin: found.as_ref().map_or(begin, |found| found.begin),
                made: found.as_ref().map_or(version, |found| found.made),
                version,
            };
            change.write_webhook(&stored)?;
            let mut detail = told(&stored);
            detail.insert("secret_changed".to_owned(), secret.is_some().into());
            change.record("webhook.put", webhook.name.as_str(), detail)?;
            Ok(version)
        })
    }

    /// Ends what `version` of a webhook sends, because its receiver says that it is gone. Returns whether that was still its version.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn disable_webhook(&self, by: &By<'_>, name: &WebhookName, version: u64) -> Result<bool, StoreError> {
        if self.webhook(name)?.is_none_or(|found| found.version != version) {
            return Ok(false);
        }
        self.change(by, |change| {
            let found = find(change.transaction, name)?.filter(|found| found.version == version);
            let is_same = found.is_some();
            let mut detail = members([("done", is_same.into())]);
            if let Some(mut stored) = found {
                stored.webhook.is_enabled = false;
                stored.version = raise(change.transaction, "webhooks")?;
                change.write_webhook(&stored)?;
                detail.insert("version".to_owned(), stored.version.into());
            }
            change.record("webhook.disable", name.as_str(), detail)?;
            Ok(is_same)
        })
    }

    /// Removes a webhook.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Unknown`].
    pub fn delete_webhook(&self, by: &By<'_>, name: &WebhookName, if_match: IfMatch) -> Result<(), StoreError> {
        self.change(by, |change| {
            let found = find(change.transaction, name)?.map(|found| found.version);
            if_match.check(WHAT, name.as_str(), found)?;
            let unknown = Refusal::Unknown { what: WHAT, name: name.as_str().to_owned() };
            let before = found.ok_or(unknown)?;
            change.transaction.execute("DELETE FROM webhooks WHERE name = ?1", [name.as_str()])?;
            let version = raise(change.transaction, "webhooks")?;
            let detail = members([("version", version.into()), ("version_before", before.into())]);
            change.record("webhook.delete", name.as_str(), detail)
        })
    }

    /// Puts into the audit that a webhook is sent again what came after event `after`.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn note_replay(&self, by: &By<'_>, name: &WebhookName, after: u64) -> Result<StoredWebhook, StoreError> {
        self.change(by, |change| {
            let unknown = Refusal::Unknown { what: WHAT, name: name.as_str().to_owned() };
            let found = find(change.transaction, name)?.ok_or(unknown)?;
            change.record("webhook.replay", name.as_str(), members([("after", after.into())]))?;
            Ok(found)
        })
    }
}

impl Change<'_> {
    fn write_webhook(&self, stored: &StoredWebhook) -> Result<(), StoreError> {
        let StoredWebhook { webhook, secret, begin, made, version } = stored;
        let sql = "INSERT OR REPLACE INTO webhooks
                   (name, url, secret, organisation, wanted, is_enabled, begin, made, version)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = params![
            webhook.name.as_str(),
            webhook.url,
            secret.expose(),
            webhook.organisation.as_ref().map(OrganisationName::as_str),
            wanted(webhook).to_string(),
            webhook.is_enabled,
            signed(*begin),
            signed(*made),
            signed(*version),
        ];
        self.transaction.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

fn of(name: &WebhookName) -> Of<'_> {
    Of { what: WHAT, name: name.as_str() }
}

fn check(change: &Change<'_>, webhook: &Webhook, is_new: bool) -> Result<(), StoreError> {
    let Webhook { name, url, organisation, kinds, units, zones, .. } = webhook;
    let of = of(name);
    // The audit names it as a principal.
    if let Err(error) = PrincipalName::new(&format!("{WEBHOOK_PREFIX}{name}")) {
        return Err(of.invalid("webhook", format!("as `{WEBHOOK_PREFIX}{name}`: {error}")).into());
    }
    if url.len() > WEBHOOK_URL_BYTES_MAX {
        let problem = format!("{} bytes are more than the {WEBHOOK_URL_BYTES_MAX} allowed", url.len());
        return Err(of.invalid("url", problem).into());
    }
    if let Some(organisation) = organisation
        && !may_be_named(change.transaction, organisation)?
    {
        return Err(of.invalid("org", format!("there is no organisation `{organisation}`")).into());
    }
    for (field, count) in [("kinds", kinds.len()), ("units", units.len()), ("zones", zones.len())] {
        if count > FILTER_WORDS_MAX {
            return Err(of.invalid(field, format!("{count} are more than the {FILTER_WORDS_MAX} allowed")).into());
        }
    }
    if is_new {
        let sql = "SELECT count(*) FROM webhooks";
        let count = unsigned(change.transaction.query_row(sql, [], |row| row.get(0))?);
        if count >= WEBHOOKS_MAX as u64 {
            return Err(of.invalid("webhook", format!("there are {WEBHOOKS_MAX} webhooks already")).into());
        }
    }
    Ok(())
}

/// What the audit says of it: no secret, and no query of the URL, which may be one too.
fn told(stored: &StoredWebhook) -> serde_json::Map<String, Value> {
    let StoredWebhook { webhook, version, .. } = stored;
    members([
        ("version", (*version).into()),
        ("url", webhook.url.split('?').next().unwrap_or_default().into()),
        ("org", webhook.organisation.as_ref().map(OrganisationName::as_str).into()),
        ("wanted", wanted(webhook)),
        ("enabled", webhook.is_enabled.into()),
    ])
}

fn wanted(webhook: &Webhook) -> Value {
    json!({
        "kinds": webhook.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "units": webhook.units.iter().map(UnitName::as_str).collect::<Vec<_>>(),
        "zones": webhook.zones.iter().map(ZoneName::as_str).collect::<Vec<_>>(),
    })
}

fn find(connection: &Connection, name: &WebhookName) -> Result<Option<StoredWebhook>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE name = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([name.as_str()], webhook_in).optional()?)
}

fn webhook_in(row: &Row<'_>) -> Result<StoredWebhook, rusqlite::Error> {
    let text = |column: &str| row.get::<_, String>(column);
    let organisation: Option<String> = row.get("organisation")?;
    let organisation = organisation.map(|name| OrganisationName::new(&name)).transpose();
    let wanted: Value = serde_json::from_str(&text("wanted")?).map_err(|error| misread("wanted", error))?;
    let words = |field: &str| wanted[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let kinds: Result<Vec<EventKind>, UnknownWord> = words("kinds").map(str::parse).collect();
    let units: Result<Vec<UnitName>, _> = words("units").map(UnitName::new).collect();
    let zones: Result<Vec<ZoneName>, _> = words("zones").map(ZoneName::new).collect();
    let webhook = Webhook {
        name: WebhookName::new(&text("name")?).map_err(|error| misread("name", error))?,
        url: text("url")?,
        organisation: organisation.map_err(|error| misread("organisation", error))?,
        kinds: kinds.map_err(|error| misread("wanted", error))?,
        units: units.map_err(|error| misread("wanted", error))?,
        zones: zones.map_err(|error| misread("wanted", error))?,
        is_enabled: row.get("is_enabled")?,
    };
    Ok(StoredWebhook {
        webhook,
        secret: WebhookSecret::new(&text("secret")?).ok_or_else(|| misread("secret", "its length is none"))?,
        begin: unsigned(row.get("begin")?),
        made: unsigned(row.get("made")?),
        version: unsigned(row.get("version")?),
    })
}
