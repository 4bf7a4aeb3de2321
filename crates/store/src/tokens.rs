use model::limits::{BOOTSTRAP_TOKEN_LIFE, LISTENER_DEVICES_MAX, TOKEN_LIFE_MAX};
use model::{OrganisationName, Principal, PrincipalName, Role, Timestamp};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::change::{Change, TOKEN_CREATE, members};
use crate::organisations::may_be_named;
use crate::sqlite::{counter, misread, raise, signed, unsigned};
use crate::{By, Refusal, Store, StoreError};

/// The principal of the one-time token of an empty store.
pub const BOOTSTRAP: &str = "bootstrap";
/// Names that no principal may have, because the audit uses them for others.
pub const RESERVED: [&str; 3] = [BOOTSTRAP, "local", "muster"];
/// How the names of webhooks begin where the audit names them as principals.
pub const WEBHOOK_PREFIX: &str = "webhook:";
/// What secrets begin with, so that a scanner finds one that was published.
const PREFIX: &str = "muster_";
const SECRET_BYTES: usize = 32;

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The number of the token.
    pub token: u64,
    /// Who.
    pub principal: Principal,
    /// Not any more from then on.
    pub expires: Timestamp,
    /// The devices that it may report for, as they were written; empty: all.
    pub devices: Vec<String>,
    /// It is the one-time token of an empty store: it may only create the first lasting token of an administrator.
    pub is_one_time: bool,
}

/// What may be known of a token: never its secret, and not its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its number.
    pub token: u64,
    /// Who holds it.
    pub principal: Principal,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Not valid any more from then on.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The devices that its holder may report for, as they were written; empty: all.
    pub devices: Vec<String>,
}

impl TokenRecord {
    /// Whether it opens a door at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

const COLUMNS: &str = "id, principal, role, organisation, created_ms, created_by, expires_ms, revoked_ms, devices";

impl Store {
    /// Makes a token and returns its secret, which is not stored and cannot be shown again. A lasting token of an
    /// administrator ends the one-time token.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a reserved name, an organisation that is not there or an end in the past or beyond
    /// [`TOKEN_LIFE_MAX`]; [`Refusal::TwoPowers`]; [`Refusal::OneTime`].
    pub fn create_token(&self, by: &By<'_>, holder: &Principal, expires: Timestamp) -> Result<String, StoreError> {
        self.create_token_for(by, holder, expires, &[])
    }

    /// The same for a gateway that may report for some `devices` only: patterns, which the caller has checked; none: all.
    ///
    /// # Errors
    /// As [`Self::create_token`]; [`Refusal::Invalid`] when another than a gateway has some, or there are more than
    /// [`LISTENER_DEVICES_MAX`].
    pub fn create_token_for(
        &self,
        by: &By<'_>,
        holder: &Principal,
        expires: Timestamp,
        devices: &[String],
    ) -> Result<String, StoreError> {
        let (secret, digest) = new_secret();
        self.change(by, |change| {
            check_holder(change, holder, expires)?;
            check_devices(holder, devices)?;
            let token = change.insert_token(holder, expires, &digest, devices)?;
            if holder.role == Role::Administrator && holder.organisation.is_none() {
                end_one_time(change.transaction, by.now)?;
            }
            let detail = members([
                ("token", token.into()),
                ("role", holder.role.as_str().into()),
                ("org", holder.organisation.as_ref().map(|name| name.as_str()).into()),
                ("expires", expires.to_string().into()),
                ("devices", devices.into()),
            ]);
            change.record(TOKEN_CREATE, holder.name.as_str(), detail)
        })?;
        Ok(secret)
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] when there is no such token, or it was revoked before.
    pub fn revoke_token(&self, by: &By<'_>, token: u64) -> Result<(), StoreError> {
        self.change(by, |change| {
            let sql = "UPDATE tokens SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL RETURNING principal";
            let revoked = change
                .transaction
                .query_row(sql, params![signed(token), by.now.unix_ms()], |row| row.get::<_, String>(0));
            let unknown = Refusal::Unknown { what: "valid token", name: token.to_string() };
            let principal = revoked.optional()?.ok_or(unknown)?;
            raise(change.transaction, "tokens")?;
            change.record("token.revoke", &principal, members([("token", token.into())]))
        })
    }

    /// All tokens, also those that ended.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY id"))?;
            let tokens = statement.query_map([], record_in)?;
            Ok(tokens.collect::<Result<_, _>>()?)
        })
    }

    /// Whose secret this is at `now`; `None` when it is none, was revoked or has ended.
    ///
    /// Every answer costs one digest and one look-up of it, so that the time tells nothing: the look-up compares
    /// digests of secrets, which nobody can choose.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn by_secret(&self, secret: &str, now: Timestamp) -> Result<Option<Bearer>, StoreError> {
        let digest = digest_of(secret);
        let found = self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM tokens WHERE digest = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([digest], record_in).optional()?)
        })?;
        Ok(found.filter(|record| record.is_valid(now)).map(|record| Bearer {
            token: record.token,
            is_one_time: record.principal.name.as_str() == BOOTSTRAP,
            principal: record.principal,
            expires: record.expires,
            devices: record.devices,
        }))
    }

    /// Rises with every change of tokens, also of another process: a cache of [`Self::by_secret`] is fresh while it has
    /// not risen and `expires` has not passed. Costs a look-up.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn generation(&self) -> Result<u64, StoreError> {
        self.read(|connection| counter(connection, "tokens"))
    }

    /// On a store that never had a token: makes the one-time token of an administrator, valid for
    /// [`BOOTSTRAP_TOKEN_LIFE`]. The one thing it may do is to create a token with the role administrator for all
    /// organisations, and that ends it. When nobody used it in time, a new one is made.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn bootstrap(&self, now: Timestamp) -> Result<Option<String>, StoreError> {
        let is_wanted = |connection: &Connection| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM tokens WHERE principal != ?1
                       OR (revoked_ms IS NULL AND expires_ms > ?2))";
            let values = params![BOOTSTRAP, now.unix_ms()];
            Ok::<bool, StoreError>(connection.query_row(sql, values, |row| row.get(0))?)
        };
        if !self.read(is_wanted)? {
            return Ok(None);
        }
        let holder = Principal { name: name(BOOTSTRAP)?, role: Role::Administrator, organisation: None };
        let system = Principal { name: name("muster")?, ..holder.clone() };
        let by = By { principal: &system, now, reason: Some("no token was there") };
        let (secret, digest) = new_secret();
        let expires = now.after(BOOTSTRAP_TOKEN_LIFE);
        let is_made = self.change(&by, |change| {
            let is_wanted = is_wanted(change.transaction)?;
            if is_wanted {
                change.insert_token(&holder, expires, &digest, &[])?;
            }
            change.record("token.bootstrap", BOOTSTRAP, members([("made", is_wanted.into())]))?;
            Ok(is_wanted)
        })?;
        Ok(is_made.then_some(secret))
    }
}

impl Change<'_> {
    fn insert_token(
        &self,
        holder: &Principal,
        expires: Timestamp,
        digest: &[u8; 32],
        devices: &[String],
    ) -> Result<u64, StoreError> {
        raise(self.transaction, "tokens")?;
        self.transaction.execute(
            "INSERT INTO tokens (principal, role, organisation, digest, created_ms, created_by, expires_ms, devices)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                holder.name.as_str(),
                holder.role.as_str(),
                holder.organisation.as_ref().map(|name| name.as_str()),
                digest,
                self.by.now.unix_ms(),
                self.by.principal.name.as_str(),
                expires.unix_ms(),
                serde_json::Value::from(devices).to_string(),
            ],
        )?;
        Ok(unsigned(self.transaction.last_insert_rowid()))
    }
}

fn check_holder(change: &Change<'_>, holder: &Principal, expires: Timestamp) -> Result<(), StoreError> {
    let (by, principal) = (change.by, holder.name.as_str());
    if by.principal.name.as_str() == BOOTSTRAP && (holder.role != Role::Administrator || holder.organisation.is_some())
    {
        return Err(Refusal::OneTime.into());
    }
    let invalid =
        |field, problem: String| Refusal::Invalid { what: "token", name: principal.to_owned(), field, problem };
    if RESERVED.contains(&principal) || principal.starts_with(WEBHOOK_PREFIX) {
        return Err(invalid("principal", format!("`{principal}` is a name that Muster uses itself")).into());
    }
    if expires <= by.now {
        return Err(invalid("expires", format!("{expires} is not after {}", by.now)).into());
    }
    if expires > by.now.after(TOKEN_LIFE_MAX) {
        let days = TOKEN_LIFE_MAX.as_secs() / 86_400;
        return Err(invalid("expires", format!("{expires} is more than {days} days from now")).into());
    }
    if let Some(organisation) = &holder.organisation
        && !may_be_named(change.transaction, organisation)?
    {
        return Err(invalid("org", format!("there is no organisation `{organisation}`")).into());
    }
    let other = match holder.role {
        Role::Administrator => Role::Auditor,
        Role::Auditor => Role::Administrator,
        _ => return Ok(()),
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM tokens WHERE principal = ?1 AND role = ?2 AND revoked_ms IS NULL
               AND expires_ms > ?3)";
    let has_both: bool =
        change.transaction.query_row(sql, params![principal, other.as_str(), by.now.unix_ms()], |row| row.get(0))?;
    if has_both {
        return Err(Refusal::TwoPowers { principal: principal.to_owned(), has: other.as_str() }.into());
    }
    Ok(())
}

fn check_devices(holder: &Principal, devices: &[String]) -> Result<(), StoreError> {
    let invalid = |problem: String| {
        let name = holder.name.to_string();
        StoreError::from(Refusal::Invalid { what: "token", name, field: "devices", problem })
    };
    if !devices.is_empty() && holder.role != Role::Gateway {
        return Err(invalid(format!("role {} reports for no devices, only gateway does", holder.role)));
    }
    if devices.len() > LISTENER_DEVICES_MAX {
        return Err(invalid(format!("{} are more than {LISTENER_DEVICES_MAX}", devices.len())));
    }
    Ok(())
}

fn end_one_time(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE tokens SET revoked_ms = ?2 WHERE principal = ?1 AND revoked_ms IS NULL";
    transaction.execute(sql, params![BOOTSTRAP, now.unix_ms()])?;
    Ok(())
}

fn record_in(row: &Row<'_>) -> Result<TokenRecord, rusqlite::Error> {
    let time = |column: &'static str| {
        let unix_ms = row.get(column)?;
        Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread(column, unix_ms))
    };
    let role: String = row.get("role")?;
    let organisation: Option<String> = row.get("organisation")?;
    let organisation = organisation.map(|name| OrganisationName::new(&name)).transpose();
    let principal = Principal {
        name: name(&row.get::<_, String>("principal")?)?,
        role: role.parse().map_err(|error| misread("role", error))?,
        organisation: organisation.map_err(|error| misread("organisation", error))?,
    };
    Ok(TokenRecord {
        token: unsigned(row.get("id")?),
        principal,
        created: time("created_ms")?,
        created_by: row.get("created_by")?,
        expires: time("expires_ms")?,
        revoked: row.get::<_, Option<i64>>("revoked_ms")?.map(|_| time("revoked_ms")).transpose()?,
        devices: serde_json::from_str(row.get_ref("devices")?.as_str()?).map_err(|error| misread("devices", error))?,
    })
}

fn name(text: &str) -> Result<PrincipalName, rusqlite::Error> {
    PrincipalName::new(text).map_err(|error| misread("principal", error))
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    bytes
}

/// A new secret and its digest.
fn new_secret() -> (String, [u8; 32]) {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    let secret = format!("{PREFIX}{}", base64url(&bytes));
    let digest = digest_of(&secret);
    (secret, digest)
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64url;

    /// RFC 4648, section 10.
    #[test]
    fn base64url_agrees_with_the_standard() {
        let pairs = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in pairs {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
