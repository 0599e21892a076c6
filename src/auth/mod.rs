//! From a token to who somebody is.
//!
//! A token is a JWT, signed with a secret this node shares or with a key its issuer publishes. This layer
//! knows no socket and no request, and no clock: the time is passed in. It promises that nothing of a token
//! is believed before its signature is checked, and that neither a token nor a secret stands in an error, a
//! log or a `Debug` output.

mod claims;
pub mod jwks;
mod jwt;
mod keys;
pub mod pass;
pub mod password;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Millis;
use crate::ids::{SessionId, UserId};

pub use self::claims::Claims;
pub use self::jwt::{Verifier, sign};

/// How far clocks may be apart: a token counts this long before its `nbf` and after its `exp`.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// Longest life of a token made here; none of another issuer is expected to live longer.
pub const LONGEST_LIFE: Duration = Duration::from_secs(3_650 * 86_400);
/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

#[derive(Clone, Default)]
pub struct Config {
    /// Whether nobody is believed without a token.
    pub required: bool,
    /// Secrets of HS256: the first signs, all verify.
    pub secrets: Vec<String>,
    /// Where the keys of RS256, ES256 and EdDSA are published.
    pub jwks: Option<jwks::Config>,
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// What must be among a token's `aud`.
    pub audience: Option<String>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("required", &self.required)
            .field("secrets", &self.secrets.len())
            .field("jwks", &self.jwks)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish()
    }
}

/// Who a token says somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Option<Arc<str>>,
    pub role: Option<Role>,
    /// The only sessions this token opens; `None`: any.
    pub sessions: Option<Vec<SessionId>>,
    /// The token's own id, `jti`, by which it can be revoked.
    pub id: Option<Arc<str>>,
    /// Unix seconds.
    pub expires_at: i64,
}

impl Identity {
    pub fn admits(&self, session: &SessionId) -> bool {
        self.sessions
            .as_ref()
            .is_none_or(|sessions| sessions.contains(session))
    }

    /// The first moment at which the token counts no longer: its `exp` and [`LEEWAY`].
    pub fn ends_at(&self) -> Millis {
        after_leeway(self.expires_at)
    }
}

/// What a token may do beyond being its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Admin,
    Service,
    Agent,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Admin, Role::Service, Role::Agent];

    /// Any other word gives no rights.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Service => "service",
            Role::Agent => "agent",
        }
    }
}

/// Why a token is not believed; the sentence is fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("the token is not a signed JWT; right is header.claims.signature, each in base64url")]
    Malformed,
    #[error("the token has {bytes} bytes; right is at most {most}")]
    TooLong { bytes: usize, most: usize },
    /// What the token names, and what fits.
    #[error("the token's alg is {0:?}; right is {1}")]
    Algorithm(String, &'static str),
    #[error(
        "the token demands extensions (crit) that are not known here; right is a token without"
    )]
    Critical,
    #[error("the token's key is not among its issuer's; right is a kid of a key in use")]
    UnknownKey,
    #[error("the token's signature is wrong; right is one by this service's secret or key")]
    Signature,
    #[error("the token has expired; right is a new one")]
    Expired,
    #[error("the token is not valid yet; right is one whose nbf has come")]
    NotYetValid,
    #[error("the token has no claim {0}; right is one with sub and exp")]
    MissingClaim(&'static str),
    #[error("the token's claim {claim} is wrong: {problem}")]
    BadClaim {
        claim: &'static str,
        problem: String,
    },
    #[error("the token is of another issuer; right is an iss that this service trusts")]
    Issuer,
    #[error("the token is meant for another service; right is an aud that names this one")]
    Audience,
    /// Not the token's fault: come again.
    #[error("the keys that tokens are checked with cannot be fetched now; come again")]
    Unavailable,
}

/// From Unix seconds to the end of [`LEEWAY`] after them.
fn after_leeway(seconds: i64) -> Millis {
    seconds
        .saturating_add(LEEWAY.as_secs() as i64)
        .saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
