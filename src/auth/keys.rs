//! A published key set (RFC 7517), reduced to the keys that tokens may be signed with.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::BadToken;

/// Size of an RSA modulus that is safe, and that the verifier takes, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;
/// A coordinate of P-256, and an Ed25519 key, in bytes.
const POINT_BYTES: usize = 32;

/// A public key, ready to verify with.
pub(super) struct Key {
    id: Option<String>,
    /// The one algorithm it is for.
    algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

pub(super) struct Keys(Vec<Arc<Key>>);

impl Keys {
    /// Reads a set. Keys that are for something else are left out; without any other there is no set.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body)
            .map_err(|_| "the answer is no key set; right is {\"keys\":[…]}".to_owned())?;
        let mut keys = Vec::new();
        for published in set.keys {
            match Key::read(published) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(reason) => tracing::debug!(reason, "a published key is not used"),
            }
        }
        if keys.is_empty() {
            return Err("the key set holds no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key a token names, or, when it names none, the only one that fits. `None`: unknown.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<Key>>, BadToken> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        let Some(id) = id else {
            let first = fitting.next();
            return Ok(first.filter(|_| fitting.next().is_none()).cloned());
        };
        if let Some(key) = fitting.find(|key| key.id.as_deref() == Some(id)) {
            return Ok(Some(key.clone()));
        }
        match self.0.iter().find(|key| key.id.as_deref() == Some(id)) {
            Some(other) => Err(BadToken::Algorithm(
                name(algorithm).to_owned(),
                name(other.algorithm),
            )),
            None => Ok(None),
        }
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        _ => "EdDSA",
    }
}

/// What of a published key is heeded.
#[derive(Deserialize)]
struct Published {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    fn read(published: Value) -> Result<Self, &'static str> {
        let key: Published = serde_json::from_value(published).map_err(|_| "not a key")?;
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if key
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
            || !key.key_ops.as_ref().is_none_or(verifies)
        {
            return Err("not for signatures");
        }
        let (algorithm, decoding) = match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&key.n)?, bytes(&key.e)?);
                if !RSA_BYTES.contains(&n.len()) {
                    return Err("an RSA modulus not of 2048 to 8192 bits");
                }
                let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
                (Algorithm::RS256, decoding)
            }
            ("EC", Some("P-256")) => {
                let point = [&[4][..], &coordinate(&key.x)?, &coordinate(&key.y)?].concat();
                (Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let point = coordinate(&key.x)?;
                (Algorithm::EdDSA, DecodingKey::from_ed_der(&point))
            }
            _ => return Err("an unknown type or curve"),
        };
        if key.alg.as_deref().is_some_and(|alg| alg != name(algorithm)) {
            return Err("another algorithm");
        }
        Ok(Self {
            id: key.kid,
            algorithm,
            decoding,
        })
    }
}

fn bytes(part: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = part.as_deref().ok_or("a part is missing")?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a part is not base64url")
}

fn coordinate(part: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let bytes = bytes(part)?;
    if bytes.len() != POINT_BYTES {
        return Err("a coordinate not of 32 bytes");
    }
    Ok(bytes)
}
