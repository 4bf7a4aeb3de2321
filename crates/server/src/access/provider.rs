//! Tokens that an identity provider signed: JSON Web Tokens (RFC 7519) of three algorithms, each bound to its key.

mod keys;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::limits::{JWKS_BYTES_MAX, JWT_BYTES_MAX, JWT_NOT_BEFORE_LEEWAY, TLS_LOOK_INTERVAL, TOKENS_KNOWN_MAX};
use model::{OrganisationName, Principal, PrincipalName, Role, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::{error, info};

use crate::config::Settings;
use crate::small_file;
use keys::Keys;

/// Whose tokens count besides those of the store.
#[derive(Debug, Clone, Default)]
pub struct JwtConfig {
    /// The public keys of the identity provider (a JSON Web Key Set). Key `jwt_jwks`.
    pub jwks: Option<PathBuf>,
    /// What `iss` must be. Key `jwt_issuer`.
    pub issuer: Option<String>,
    /// What must be in `aud`. Key `jwt_audience`.
    pub audience: Option<String>,
}

impl JwtConfig {
    /// Lays what one origin sets over this.
    pub(crate) fn lay(&mut self, settings: &Settings) {
        self.jwks = settings.jwt_jwks.clone().or_else(|| self.jwks.take());
        self.issuer = settings.jwt_issuer.clone().or_else(|| self.issuer.take());
        self.audience = settings.jwt_audience.clone().or_else(|| self.audience.take());
    }

    /// The key that is not there although another needs it.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let set = [self.jwks.is_some(), self.issuer.is_some(), self.audience.is_some()];
        let is_any = set.contains(&true);
        let keys = ["jwt_jwks", "jwt_issuer", "jwt_audience"];
        keys.into_iter().zip(set).find(|(_, is_set)| is_any && !is_set).map(|(key, _)| key)
    }
}

/// Why the keys of the identity provider cannot be used. The operator's fault; the message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The file is not there, not readable or too long.
    #[error("`jwt_jwks`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds no key set.
    #[error("`jwt_jwks`: {}: {problem}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Why a signed token opens nothing. The caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadToken {
    #[error("the token is longer than {JWT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is no signed JSON Web Token")]
    Malformed,
    #[error("the token's `kid` names no key of the identity provider")]
    UnknownKey,
    #[error("the token's `alg` is not that of its key; known are RS256, ES256 and EdDSA")]
    Algorithm,
    #[error("the token's signature is not that of its key")]
    Signature,
    #[error("the token's `iss` is not `jwt_issuer`")]
    Issuer,
    #[error("the token's `aud` does not have `jwt_audience`")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token does not hold yet")]
    NotYet,
    #[error("the token has no `exp`")]
    NoExpiry,
    #[error("the token's `role` is missing or none")]
    Role,
    #[error("the token's `sub` is missing or no name")]
    Subject,
    #[error("the token's `org` is no name")]
    Organisation,
    #[error("the keys of the identity provider cannot be read, so nobody new is let in")]
    NoKeys,
}

/// Whom a token names, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) principal: Arc<Principal>,
    pub(crate) expires: Timestamp,
}

/// The identity provider, as far as it is known here.
pub(crate) struct Provider {
    path: PathBuf,
    issuer: String,
    audience: String,
    known: Mutex<Known>,
    is_stale: AtomicBool,
}

/// The keys, and the tokens they let in.
struct Known {
    keys: Arc<Keys>,
    /// The bytes the keys were made of.
    good: Vec<u8>,
    named: HashMap<Arc<str>, Named>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader must understand: nothing is understood.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    role: Option<String>,
    org: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Provider {
    /// Reads the keys; `None` where there is no identity provider.
    ///
    /// # Errors
    /// [`JwksError`] names the file.
    pub(crate) fn of(config: &JwtConfig) -> Result<Option<Arc<Self>>, JwksError> {
        let (Some(path), Some(issuer), Some(audience)) = (&config.jwks, &config.issuer, &config.audience) else {
            return Ok(None);
        };
        let (path, issuer, audience) = (path.clone(), issuer.clone(), audience.clone());
        let known = Known { keys: Arc::default(), good: Vec::new(), named: HashMap::new() };
        let provider = Self { path, issuer, audience, known: Mutex::new(known), is_stale: AtomicBool::new(false) };
        provider.read()?;
        Ok(Some(Arc::new(provider)))
    }

    /// Whether the keys cannot be read: tokens that are known hold to their end, and no other does.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    fn read(&self) -> Result<(), JwksError> {
        let path = || self.path.clone();
        let bytes = small_file::read(&self.path, JWKS_BYTES_MAX);
        let bytes = bytes.map_err(|error| JwksError::Unreadable { path: path(), error })?;
        if self.known.lock().good == bytes {
            return Ok(());
        }
        let keys = Keys::of(&bytes).map_err(|problem| JwksError::Content { path: path(), problem })?;
        // A key that is gone lets nobody in any more.
        *self.known.lock() = Known { keys: Arc::new(keys), good: bytes, named: HashMap::new() };
        info!(path = %self.path.display(), "Keys of the identity provider were read.");
        Ok(())
    }

    /// Reads the keys again. What cannot be used is an alarm.
    pub(crate) fn look(&self) {
        match self.read() {
            Ok(()) => self.is_stale.store(false, Ordering::Release),
            Err(error) => {
                if !self.is_stale.swap(true, Ordering::AcqRel) {
                    error!(%error, "THE KEYS OF THE IDENTITY PROVIDER CANNOT BE USED: nobody new is let in by them.");
                }
            }
        }
    }

    /// Looks at the keys as long as the server runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TLS_LOOK_INTERVAL);
        loop {
            tick.tick().await;
            let provider = Arc::clone(&self);
            // The file may be on a slow disk.
            let _ = tokio::task::spawn_blocking(move || provider.look()).await;
        }
    }

    /// Whom `token` names at `now`. A look-up when it is known, or else a check of its signature.
    ///
    /// # Errors
    /// [`BadToken`] says why it opens nothing.
    pub(crate) fn named(&self, token: &str, now: Timestamp) -> Result<Named, BadToken> {
        if token.len() > JWT_BYTES_MAX {
            return Err(BadToken::TooLong);
        }
        let (keys, found) = {
            let known = self.known.lock();
            (Arc::clone(&known.keys), known.named.get(token).cloned())
        };
        if let Some(named) = found {
            return if now < named.expires { Ok(named) } else { Err(BadToken::Expired) };
        }
        if self.is_stale() {
            return Err(BadToken::NoKeys);
        }
        let named = self.check(&keys, token, now)?;
        let mut known = self.known.lock();
        if Arc::ptr_eq(&known.keys, &keys) {
            if known.named.len() >= TOKENS_KNOWN_MAX {
                known.named.clear();
            }
            known.named.insert(token.into(), named.clone());
        }
        Ok(named)
    }

    fn check(&self, keys: &Keys, token: &str, now: Timestamp) -> Result<Named, BadToken> {
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(BadToken::Malformed)?;
        let header: Header = json(header)?;
        if header.crit.is_some() {
            return Err(BadToken::Malformed);
        }
        let key = header.kid.and_then(|kid| keys.by_id(&kid)).ok_or(BadToken::UnknownKey)?;
        // The key says which algorithm is its own; the token has no choice.
        if header.alg != key.algorithm() {
            return Err(BadToken::Algorithm);
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadToken::Malformed)?;
        if !key.has_signed(message.as_bytes(), &signature) {
            return Err(BadToken::Signature);
        }
        self.holds(json(claims)?, now)
    }

    fn holds(&self, claims: Claims, now: Timestamp) -> Result<Named, BadToken> {
        if claims.iss.as_ref() != Some(&self.issuer) {
            return Err(BadToken::Issuer);
        }
        let is_ours = match claims.aud.ok_or(BadToken::Audience)? {
            Audience::One(one) => one == self.audience,
            Audience::Many(many) => many.contains(&self.audience),
        };
        if !is_ours {
            return Err(BadToken::Audience);
        }
        let expires = instant(claims.exp.ok_or(BadToken::NoExpiry)?).ok_or(BadToken::Malformed)?;
        if now >= expires {
            return Err(BadToken::Expired);
        }
        if let Some(not_before) = claims.nbf {
            let not_before = instant(not_before).ok_or(BadToken::Malformed)?;
            if now.after(JWT_NOT_BEFORE_LEEWAY) < not_before {
                return Err(BadToken::NotYet);
            }
        }
        let role: Role = claims.role.and_then(|role| role.parse().ok()).ok_or(BadToken::Role)?;
        let name = claims.sub.and_then(|name| PrincipalName::new(&name).ok()).ok_or(BadToken::Subject)?;
        if store::RESERVED.contains(&name.as_str()) {
            return Err(BadToken::Subject);
        }
        let organisation = claims.org.map(|name| OrganisationName::new(&name)).transpose();
        let organisation = organisation.map_err(|_| BadToken::Organisation)?;
        Ok(Named { principal: Arc::new(Principal { name, role, organisation }), expires })
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, BadToken> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| BadToken::Malformed)
}

/// A `NumericDate`: seconds since 1970, perhaps with a fraction.
fn instant(seconds: f64) -> Option<Timestamp> {
    // Far outside saturates, and is no instant then.
    Timestamp::from_unix_ms((seconds * 1_000.0) as i64)
}

#[cfg(test)]
pub(super) mod tests;
