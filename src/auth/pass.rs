//! What one node shows another with a request that it passes on: short-lived, for that node and that request alone,
//! signed with a secret that only nodes have.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::ids::NodeId;

/// The header that a pass stands in.
pub const HEADER: &str = "x-collabd-pass";
/// How long a pass is good; clocks of nodes may be as far apart.
const LIFE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The node it comes from, and the one it is for.
    iss: String,
    aud: String,
    /// Seconds since 1970.
    exp: i64,
    /// The client's sid, or the target of what a node asks for itself.
    sid: String,
    method: String,
}

/// What is passed on, and between whom.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    pub from: NodeId,
    pub to: NodeId,
    pub sid: &'a str,
    pub method: &'a str,
}

/// The pass for an errand.
pub fn sign(errand: &Errand<'_>, secret: &str, now: Millis) -> Result<String, String> {
    let claims = Claims {
        iss: errand.from.to_string(),
        aud: errand.to.to_string(),
        exp: (now + LIFE.as_millis() as Millis) / 1_000,
        sid: errand.sid.to_owned(),
        method: errand.method.to_owned(),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| error.to_string())
}

/// Which node passes the request on; or why the pass is not believed.
pub fn verify(
    pass: &str,
    (to, sid, method): (NodeId, &str, &str),
    secret: &str,
    now: Millis,
) -> Result<NodeId, String> {
    let mut rules = Validation::new(Algorithm::HS256);
    // Time is ours to tell.
    rules.validate_exp = false;
    rules.validate_aud = false;
    let key = DecodingKey::from_secret(secret.as_bytes());
    let read = decode::<Claims>(pass, &key, &rules).map_err(|error| error.to_string())?;
    let claims = read.claims;
    let (now, life) = (now / 1_000, LIFE.as_secs() as i64);
    if claims.exp + life < now || claims.exp > now + 3 * life {
        return Err("it is not of this time".to_owned());
    }
    if claims.aud != to.to_string() || claims.sid != sid || claims.method != method {
        return Err("it is for another node or request".to_owned());
    }
    NodeId::parse(&claims.iss).ok_or_else(|| "it names no node".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of the cluster";
    const NOW: Millis = 1_762_943_400_007;

    /// Guards requests that only look as if another node had passed them on.
    #[test]
    fn a_pass_is_for_one_node_and_one_request() {
        let (from, to) = (NodeId::random(), NodeId::random());
        let errand = Errand {
            from,
            to,
            sid: "s",
            method: "GET",
        };
        let pass = sign(&errand, SECRET, NOW).unwrap();
        let believed = |what, secret, now| verify(&pass, what, secret, now);
        assert_eq!(believed((to, "s", "GET"), SECRET, NOW), Ok(from));
        for what in [(from, "s", "GET"), (to, "t", "GET"), (to, "s", "POST")] {
            assert!(believed(what, SECRET, NOW).is_err());
        }
        assert!(believed((to, "s", "GET"), "another", NOW).is_err());
        for away in [61_000, -61_000] {
            assert!(believed((to, "s", "GET"), SECRET, NOW + away).is_err());
        }
        assert!(verify("nonsense", (to, "s", "GET"), SECRET, NOW).is_err());
    }
}
