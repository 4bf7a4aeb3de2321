//! Tokens of an identity provider: the good ones of each algorithm, and bad ones by what is wrong with them.

use std::sync::atomic::AtomicU32;

use model::limits::{JWT_BYTES_MAX, JWT_NOT_BEFORE_LEEWAY};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

/// Of a key of 2,048 bits that was thrown away, made and used by OpenSSL.
const RSA_MODULUS: &str = "s0zZLAGMYq_6jVGOHZoYD2l1caoPJdlVZYZ4kiFV-QbXstwjbpOuv6RazdSFZSORUbb4C1cUrIBXehxK4NFTv9Vs8NjqYkv6bw9T\
    yrC1YNRjyelZmb9ZkY4kxb4qylEXJWbfAQttUKyonVE_HmTvtddmBQCzxhURWHddMm6sWAPo-6RxTyIi53hta527G-8VGYPGOGLi\
    Mu2zEYBI3lP-jd47HER7kQsBwz7q0aP2Fc4EqzEWBeYOAsjM1650ttJ8J-QbhruheCo7h300CrPj4dyyvLXwZnN-XRJUqMjSTPGW\
    CLxTdWmYniAgkEXO-_2vDnhhFjzsZbLnGp1Z5lg09Q";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJtdXN0ZXIiLCJzdWI\
    iOiJhbmEiLCJyb2xlIjoidmlld2VyIiwiZXhwIjo0MTAyNDQ0ODAwfQ.CfHBE9rZqety-vcpduK_neltY8GY_g2AzyWCxIVcuOm9\
    TCNqZEUGCvxlmhub4yeuiTbkq0KpSVdLDB3zsoNmBcAiRmZdwsN8RaghR4JiMGahRlrxNDz3Fm7bjPJWCXqRDeoCfGKSLgsQF1ke\
    Su3Z8xJHdtLJZSONy8WpigqtqqdVWXVvmIGlxkE2gJ1Rz9jOXHCxy4L28fnHLCmrhg3a40Aibi0D8pniS_l3IYTvV6iibg25maGN\
    b3Q_ZaD3r1gP5z_aXjM2aYiGmsdbHztkadwneAwa43v3zpt1GPB2P3fCr4m8DZQTkNPwm4WUqtYG70mARxga_-aWR7HODnMJVA";

/// An identity provider with its private keys, and the file of the public ones.
pub(crate) struct Idp {
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
    folder: PathBuf,
}

fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Idp {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("muster-jwks-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let idp = Self {
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
            folder,
        };
        idp.publish(&idp.keys());
        idp
    }

    /// The keys, and one that must never be used: a secret that is public.
    fn keys(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(self.ed25519.public_key().as_ref())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "RSA", "kid": "rsa", "alg": "RS256", "n": RSA_MODULUS, "e": "AQAB"},
            {"kty": "oct", "kid": "secret", "k": base64(b"secret")},
            {"kty": "RSA", "kid": "encryption", "use": "enc", "n": RSA_MODULUS, "e": "AQAB"},
        ]})
    }

    fn publish(&self, keys: &Value) {
        std::fs::write(self.folder.join("jwks.json"), keys.to_string()).unwrap();
    }

    pub(crate) fn config(&self) -> JwtConfig {
        let (issuer, audience) = (Some("https://id.example".to_owned()), Some("muster".to_owned()));
        JwtConfig { jwks: Some(self.folder.join("jwks.json")), issuer, audience }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let bytes = message.as_bytes();
        let signature = match header["alg"].as_str() {
            Some("ES256") => self.p256.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec(),
            Some("HS256") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.ed25519.public_key().as_ref());
                hmac::sign(&key, bytes).as_ref().to_vec()
            }
            Some("none") => Vec::new(),
            _ => self.ed25519.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", base64(&signature))
    }

    /// A good token of a viewer, but for what `change` does to its claims.
    pub(crate) fn token(&self, now: Timestamp, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(now);
        change(&mut claims);
        self.sign(&json!({"alg": "EdDSA", "kid": "ed"}), &claims)
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.unix_ms() / 1_000
}

fn claims(now: Timestamp) -> Value {
    let (nbf, exp) = (seconds(now), seconds(now) + 600);
    json!({"iss": "https://id.example", "aud": ["other", "muster"], "sub": "ana", "role": "viewer", "org": "org-east",
           "nbf": nbf, "exp": exp})
}

fn noon() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-25T12:00:00Z").unwrap()
}

#[test]
fn a_good_token_of_each_algorithm_names_its_principal() {
    let idp = Idp::new();
    let provider = Provider::of(&idp.config()).unwrap().unwrap();
    for (alg, kid) in [("EdDSA", "ed"), ("ES256", "ec")] {
        let named = provider.named(&idp.sign(&json!({"alg": alg, "kid": kid, "typ": "JWT"}), &claims(noon())), noon());
        let named = named.unwrap();
        let principal = &named.principal;
        assert_eq!((principal.name.as_str(), principal.role), ("ana", Role::Viewer));
        assert_eq!(principal.organisation.as_ref().map(OrganisationName::as_str), Some("org-east"));
        assert_eq!(named.expires.ms_since(noon()), 600_000);
    }
    let named = provider.named(RSA_TOKEN, noon()).unwrap();
    assert_eq!((named.principal.name.as_str(), &named.principal.organisation), ("ana", &None));
    let (message, signature) = RSA_TOKEN.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{message}.{first}{}", &signature[1..]);
    assert_eq!(provider.named(&tampered, noon()), Err(BadToken::Signature));
}

/// What is wrong with a token, the token, and what is said of it.
fn bad(idp: &Idp) -> Vec<(&'static str, String, BadToken)> {
    let headed = |header: Value| idp.sign(&header, &claims(noon()));
    let claiming = |key: &'static str, value: Value| {
        idp.token(noon(), |claims| match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value,
        })
    };
    let good = idp.token(noon(), |_| ());
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other = base64(json!({"sub": "chief", "role": "administrator"}).to_string().as_bytes());
    let at = |offset_s: i64| json!(seconds(noon()) + offset_s);
    let leeway_s = JWT_NOT_BEFORE_LEEWAY.as_secs() as i64;
    vec![
        ("no signature: alg none", headed(json!({"alg": "none", "kid": "ed"})), BadToken::Algorithm),
        ("HS256 with a public key as its secret", headed(json!({"alg": "HS256", "kid": "ed"})), BadToken::Algorithm),
        ("the algorithm of another key", headed(json!({"alg": "ES256", "kid": "ed"})), BadToken::Algorithm),
        ("a secret of the set", headed(json!({"alg": "HS256", "kid": "secret"})), BadToken::UnknownKey),
        ("a key for encryption", headed(json!({"alg": "RS256", "kid": "encryption"})), BadToken::UnknownKey),
        ("an unknown kid", headed(json!({"alg": "EdDSA", "kid": "gone"})), BadToken::UnknownKey),
        ("no kid", headed(json!({"alg": "EdDSA"})), BadToken::UnknownKey),
        ("the key of another", headed(json!({"alg": "EdDSA", "kid": "ec"})), BadToken::Algorithm),
        ("what must be understood", headed(json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"]})), BadToken::Malformed),
        ("other claims under the signature", format!("{head}.{other}.{signature}"), BadToken::Signature),
        ("two parts", format!("{head}.{signature}"), BadToken::Malformed),
        ("padded", format!("{good}="), BadToken::Malformed),
        ("another issuer", claiming("iss", json!("https://evil.example")), BadToken::Issuer),
        ("no issuer", claiming("iss", Value::Null), BadToken::Issuer),
        ("another audience", claiming("aud", json!("mail")), BadToken::Audience),
        ("no audience", claiming("aud", Value::Null), BadToken::Audience),
        ("expired", claiming("exp", at(0)), BadToken::Expired),
        ("no exp", claiming("exp", Value::Null), BadToken::NoExpiry),
        ("not yet valid", claiming("nbf", at(leeway_s + 1)), BadToken::NotYet),
        ("no role", claiming("role", Value::Null), BadToken::Role),
        ("a role that is none", claiming("role", json!("root")), BadToken::Role),
        ("no subject", claiming("sub", Value::Null), BadToken::Subject),
        ("a name of the server's own", claiming("sub", json!("local")), BadToken::Subject),
        ("an organisation that is no name", claiming("org", json!("a b")), BadToken::Organisation),
        ("too long", claiming("x", json!("x".repeat(JWT_BYTES_MAX))), BadToken::TooLong),
    ]
}

#[test]
fn bad_tokens_open_nothing_and_are_told_why() {
    let idp = Idp::new();
    let provider = Provider::of(&idp.config()).unwrap().unwrap();
    assert!(provider.named(&idp.token(noon(), |_| ()), noon()).is_ok());
    for (name, token, why) in bad(&idp) {
        assert_eq!(provider.named(&token, noon()), Err(why), "{name}");
    }
}

#[test]
fn a_token_that_is_known_ends_when_it_says() {
    let idp = Idp::new();
    let provider = Provider::of(&idp.config()).unwrap().unwrap();
    let token = idp.token(noon(), |_| ());
    assert!(provider.named(&token, noon()).is_ok());
    assert!(provider.named(&token, noon().shifted_ms(599_999)).is_ok());
    assert_eq!(provider.named(&token, noon().shifted_ms(600_000)), Err(BadToken::Expired));
}

/// P28: nobody new while the keys cannot be read, and nobody out who is in.
#[test]
fn without_keys_known_tokens_hold_and_no_new_one_does() {
    let idp = Idp::new();
    let provider = Provider::of(&idp.config()).unwrap().unwrap();
    let (known, new) = (idp.token(noon(), |_| ()), idp.token(noon(), |claims| claims["sub"] = json!("ben")));
    assert!(provider.named(&known, noon()).is_ok());
    for broken in [json!({"keys": []}), json!(7), Value::Null] {
        match broken {
            Value::Null => std::fs::remove_file(idp.folder.join("jwks.json")).unwrap(),
            broken => idp.publish(&broken),
        }
        provider.look();
        assert!(provider.is_stale());
        assert!(provider.named(&known, noon()).is_ok());
        assert_eq!(provider.named(&new, noon()), Err(BadToken::NoKeys));
    }
    idp.publish(&idp.keys());
    provider.look();
    assert!(!provider.is_stale() && provider.named(&new, noon()).is_ok());
    // A key that is gone lets nobody in, known or not.
    let mut keys = idp.keys();
    keys["keys"].as_array_mut().unwrap().remove(0);
    idp.publish(&keys);
    provider.look();
    assert_eq!(provider.named(&known, noon()), Err(BadToken::UnknownKey));
}

#[test]
fn a_set_with_a_broken_key_is_refused_by_name() {
    let error = |keys: Value| Keys::of(keys.to_string().as_bytes()).err().unwrap();
    let broken = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": "AA", "y": "AA"}]});
    assert_eq!(error(broken), "keys[0] (`kid` \"k\") is no public key");
    let twice = json!({"kty": "RSA", "kid": "r", "n": RSA_MODULUS, "e": "AQAB"});
    assert!(error(json!({"keys": [twice, twice]})).contains("there twice"));
    assert!(error(json!({"keys": []})).contains("has no key"));
}
