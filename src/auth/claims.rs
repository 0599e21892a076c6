//! What stands in a token: written by us, and read with suspicion.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{BadToken, Identity, LEEWAY, Role};
use crate::clock::Millis;
use crate::ids::{self, SessionId, UserId};

/// Longest `jti`, in characters.
const MAX_TOKEN_ID: usize = 128;

/// What [`super::sign`] puts into a token.
#[derive(Debug, Clone, Serialize)]
pub struct Claims {
    #[serde(rename = "sub")]
    pub user: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "word")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<SessionId>>,
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Unix seconds, like the next.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    #[serde(rename = "exp")]
    pub expires_at: i64,
}

fn word<S: Serializer>(role: &Option<Role>, to: S) -> Result<S::Ok, S::Error> {
    role.map(Role::word).serialize(to)
}

/// The claims as they came. Any JSON is taken for each, so that a wrong one can be named.
#[derive(Deserialize)]
pub(super) struct Said {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    name: Option<Value>,
    role: Option<Value>,
    sessions: Option<Value>,
    jti: Option<Value>,
}

impl Said {
    pub(super) fn identity(
        self,
        issuer: Option<&str>,
        audience: Option<&str>,
        now: Millis,
    ) -> Result<Identity, BadToken> {
        let expires_at = self.be_in_time(now)?;
        self.be_from(issuer)?;
        self.be_for(audience)?;
        let user = text("sub", self.sub.as_ref())?.ok_or(BadToken::MissingClaim("sub"))?;
        Ok(Identity {
            user: UserId::parse(user).map_err(|bad| wrong("sub", bad))?,
            name: text("name", self.name.as_ref())?
                .map(ids::name)
                .transpose()
                .map_err(|bad| wrong("name", bad))?,
            role: self
                .role
                .as_ref()
                .and_then(Value::as_str)
                .and_then(Role::parse),
            sessions: self.sessions.as_ref().map(sessions).transpose()?,
            id: text("jti", self.jti.as_ref())?.map(token_id).transpose()?,
            expires_at,
        })
    }

    /// When it expires, if it counts now.
    fn be_in_time(&self, now: Millis) -> Result<i64, BadToken> {
        let expires_at = seconds("exp", self.exp.as_ref())?.ok_or(BadToken::MissingClaim("exp"))?;
        if now >= super::after_leeway(expires_at) {
            return Err(BadToken::Expired);
        }
        let starts_at = seconds("nbf", self.nbf.as_ref())?.unwrap_or(i64::MIN);
        let soon = now.saturating_add(LEEWAY.as_millis() as i64);
        if soon < starts_at.saturating_mul(1_000) {
            return Err(BadToken::NotYetValid);
        }
        Ok(expires_at)
    }

    fn be_from(&self, issuer: Option<&str>) -> Result<(), BadToken> {
        match issuer {
            Some(right) if self.iss.as_ref().and_then(Value::as_str) != Some(right) => {
                Err(BadToken::Issuer)
            }
            _ => Ok(()),
        }
    }

    fn be_for(&self, audience: Option<&str>) -> Result<(), BadToken> {
        let Some(right) = audience else {
            return Ok(());
        };
        let named = match &self.aud {
            Some(Value::String(one)) => one == right,
            Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(right)),
            _ => false,
        };
        named.then_some(()).ok_or(BadToken::Audience)
    }
}

fn wrong(claim: &'static str, problem: impl ToString) -> BadToken {
    BadToken::BadClaim {
        claim,
        problem: problem.to_string(),
    }
}

fn text<'a>(claim: &'static str, said: Option<&'a Value>) -> Result<Option<&'a str>, BadToken> {
    match said {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(claim, "right is a text")),
    }
}

/// A NumericDate of RFC 7519: Unix seconds, perhaps with a fraction, which is cut off.
fn seconds(claim: &'static str, said: Option<&Value>) -> Result<Option<i64>, BadToken> {
    let Some(said) = said else {
        return Ok(None);
    };
    let whole = said.as_i64().or_else(|| said.as_f64().map(|f| f as i64));
    match whole {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(wrong(claim, "right is a time in Unix seconds")),
    }
}

fn sessions(said: &Value) -> Result<Vec<SessionId>, BadToken> {
    let list = said
        .as_array()
        .ok_or_else(|| wrong("sessions", "right is a list of session ids"))?;
    let one = |said: &Value| {
        let id = said.as_str().unwrap_or_default();
        SessionId::parse(id).map_err(|bad| wrong("sessions", bad))
    };
    list.iter().map(one).collect()
}

fn token_id(text: &str) -> Result<Arc<str>, BadToken> {
    if (1..=MAX_TOKEN_ID).contains(&text.chars().count()) {
        return Ok(text.into());
    }
    Err(wrong("jti", "right is 1 to 128 characters"))
}
