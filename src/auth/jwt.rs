//! The rules by which a token is verified, and how one is signed.
//!
//! The algorithm decides where the key comes from, never the other way round: HS256 is only ever checked
//! with a secret, the others only with a published key of their own kind. So no public key can serve as a
//! secret, and `none` is an algorithm like any other that is not known.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::claims::{Claims, Said};
use super::jwks::Jwks;
use super::{BadToken, Config, Identity, MAX_TOKEN};
use crate::clock::Millis;

/// Longest part of a strange `alg` that is repeated to who sent it, in characters.
const SHOWN: usize = 16;

/// Verifies tokens; cheap to clone, and all clones share their keys.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    secrets: Vec<DecodingKey>,
    jwks: Option<Jwks>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Verifier {
    /// A sentence when there is nothing to verify with, or JWKS cannot be asked for.
    pub fn new(config: Config) -> Result<Self, String> {
        if config.secrets.is_empty() && config.jwks.is_none() {
            return Err("neither a secret nor JWKS is there to verify tokens with".to_owned());
        }
        let secret = |secret: &String| DecodingKey::from_secret(secret.as_bytes());
        Ok(Self(Arc::new(Inner {
            secrets: config.secrets.iter().map(secret).collect(),
            jwks: config.jwks.map(Jwks::new).transpose()?,
            issuer: config.issuer,
            audience: config.audience,
        })))
    }

    /// Who the token says somebody is at this moment. Waits only when JWKS must be asked first.
    pub async fn verify(&self, token: &str, now: Millis) -> Result<Identity, BadToken> {
        let parts = Parts::of(token)?;
        let header: Head = decoded(parts.header)?;
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        let signed = match (header.alg.as_str(), &self.0.jwks) {
            ("HS256", _) if !self.0.secrets.is_empty() => self.signed_by_secret(&parts),
            ("RS256", Some(jwks)) => signed(&parts, jwks, &header, Algorithm::RS256).await?,
            ("ES256", Some(jwks)) => signed(&parts, jwks, &header, Algorithm::ES256).await?,
            ("EdDSA", Some(jwks)) => signed(&parts, jwks, &header, Algorithm::EdDSA).await?,
            (strange, _) => {
                let shown = strange.chars().take(SHOWN).collect();
                return Err(BadToken::Algorithm(shown, self.algorithms()));
            }
        };
        if !signed {
            return Err(BadToken::Signature);
        }
        let claims: Said = decoded(parts.claims)?;
        let (issuer, audience) = (self.0.issuer.as_deref(), self.0.audience.as_deref());
        claims.identity(issuer, audience, now)
    }

    /// Fetches published keys again and again, for as long as it is awaited. Nobody else fetches: without
    /// it, a token with an unknown key waits in vain.
    pub async fn keep_fresh(&self) {
        match &self.0.jwks {
            Some(jwks) => jwks.keep_fresh().await,
            None => std::future::pending().await,
        }
    }

    fn signed_by_secret(&self, parts: &Parts<'_>) -> bool {
        let mut secrets = self.0.secrets.iter();
        secrets.any(|secret| parts.signed_with(secret, Algorithm::HS256))
    }

    fn algorithms(&self) -> &'static str {
        match (self.0.secrets.is_empty(), self.0.jwks.is_some()) {
            (false, false) => "HS256",
            (true, _) => "RS256, ES256 or EdDSA",
            (false, true) => "HS256, RS256, ES256 or EdDSA",
        }
    }
}

async fn signed(
    parts: &Parts<'_>,
    jwks: &Jwks,
    header: &Head,
    algorithm: Algorithm,
) -> Result<bool, BadToken> {
    let key = jwks.key(header.kid.as_deref(), algorithm).await?;
    Ok(parts.signed_with(&key.decoding, algorithm))
}

/// The three parts of a compact JWS, still encoded.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    /// What the signature is of: header and claims with the dot between.
    message: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, BadToken> {
        if token.len() > MAX_TOKEN {
            return Err(BadToken::TooLong {
                bytes: token.len(),
                most: MAX_TOKEN,
            });
        }
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(BadToken::Malformed)?;
        if claims.contains('.') {
            return Err(BadToken::Malformed);
        }
        Ok(Self {
            header,
            claims,
            message,
            signature,
        })
    }

    fn signed_with(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        let message = self.message.as_bytes();
        crypto::verify(self.signature, message, key, algorithm).unwrap_or(false)
    }
}

/// What of a header is heeded. `jku`, `jwk` and `x5u`, by which a token would bring its own key, are not.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, BadToken> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| BadToken::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| BadToken::Malformed)
}

/// A token with these claims, by HS256.
pub fn sign(secret: &str, claims: &Claims) -> Result<String, String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .map_err(|error| format!("the token cannot be signed: {error}"))
}
