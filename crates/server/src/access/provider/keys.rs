use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::limits::JWKS_KEYS_MAX;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// The keys of a set, by their names.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, Key>);

/// A public key, which says by itself what signs with it.
pub(super) enum Key {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(UnparsedPublicKey<Vec<u8>>),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Written>,
}

/// A key as it is written, RFC 7517.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// The keys of a JSON Web Key Set. Those that sign nothing here are passed over: secrets, other curves, keys for encryption.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if set.keys.len() > JWKS_KEYS_MAX {
            return Err(format!("has {} keys, more than {JWKS_KEYS_MAX}", set.keys.len()));
        }
        let mut keys = HashMap::new();
        for (place, written) in set.keys.into_iter().enumerate() {
            let is_for_signing = written.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
            let Some(id) = written.kid.clone().filter(|_| is_for_signing) else { continue };
            let Some(key) = written.key().ok_or_else(|| format!("keys[{place}] (`kid` {id:?}) is no public key"))?
            else {
                continue;
            };
            if written.alg.as_deref().is_some_and(|alg| alg != key.algorithm()) {
                continue;
            }
            if keys.insert(id.clone(), key).is_some() {
                return Err(format!("keys[{place}]: `kid` {id:?} is there twice"));
            }
        }
        if keys.is_empty() {
            Err("has no key with a `kid` for RS256, ES256 or EdDSA".to_owned())
        } else {
            Ok(Self(keys))
        }
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

impl Written {
    /// The key, or nothing if it is of a kind that is not known; `None` outside when it is broken.
    fn key(&self) -> Option<Option<Key>> {
        let part = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let of_32 = |text| part(text).filter(|bytes| bytes.len() == 32);
        Some(Some(match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Key::Rsa(RsaPublicKeyComponents { n: part(&self.n)?, e: part(&self.e)? }),
            ("EC", Some("P-256")) => {
                // An uncompressed point, SEC 1 section 2.3.3: 04 x y.
                let point = [vec![4], of_32(&self.x)?, of_32(&self.y)?].concat();
                Key::P256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))
            }
            ("OKP", Some("Ed25519")) => Key::Ed25519(UnparsedPublicKey::new(&ED25519, of_32(&self.x)?)),
            _ => return Some(None),
        }))
    }
}

impl Key {
    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
            Self::P256(key) | Self::Ed25519(key) => key.verify(message, signature).is_ok(),
        }
    }
}
