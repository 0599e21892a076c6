//! The IDE bridge: is told what happens, by signed webhooks.
//!
//! Headers and signature are those of Standard Webhooks (standardwebhooks.com): `webhook-id` is the event's, the same at
//! every try, by which the bridge knows a repeat; `webhook-signature` is `v1,` and the base64 of
//! HMAC-SHA256(secret, "id.timestamp.body").

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{Access, Away, Neighbour};
use crate::clock::Clock;
use crate::ids::EventId;

const NAME: &str = "ide_bridge";
/// In front of a secret that is written in base64, as the standard has it.
const ENCODED: &str = "whsec_";

/// Something that happened.
pub struct Hook {
    pub id: EventId,
    /// Its type, which stands in the body, too.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

pub struct IdeBridge {
    neighbour: Neighbour,
    /// `None`: what is told is not signed.
    key: Option<hmac::Key>,
    clock: Clock,
}

impl IdeBridge {
    pub fn new(access: &Access, secret: Option<&str>) -> Result<Self, String> {
        let secret = secret.map(|secret| match secret.strip_prefix(ENCODED) {
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| format!("a secret behind {ENCODED} is written in base64")),
            None => Ok(secret.as_bytes().to_vec()),
        });
        let key = secret.transpose()?;
        Ok(Self {
            neighbour: Neighbour::new(NAME, access)?,
            key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)),
            clock: Clock::system(),
        })
    }

    /// Returns when the bridge has taken it.
    pub async fn tell(&self, hook: &Hook) -> Result<(), Away> {
        let seconds = self.clock.now() / 1_000;
        let headers = self.headers(hook, seconds);
        self.neighbour.post(headers, hook.body.clone()).await
    }

    fn headers(&self, hook: &Hook, seconds: i64) -> HeaderMap {
        let id = hook.id.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-event", HeaderValue::from_static(hook.kind));
        headers.insert("webhook-timestamp", seconds.into());
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert("webhook-id", value);
        }
        let signed = self
            .key
            .as_ref()
            .map(|key| sign(key, &id, seconds, &hook.body));
        if let Some(Ok(value)) = signed.map(|signature| HeaderValue::from_str(&signature)) {
            headers.insert("webhook-signature", value);
        }
        headers
    }
}

fn sign(key: &hmac::Key, id: &str, seconds: i64, body: &[u8]) -> String {
    let mut signing = hmac::Context::with_key(key);
    signing.update(format!("{id}.{seconds}.").as_bytes());
    signing.update(body);
    format!("v1,{}", STANDARD.encode(signing.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn the_signature_is_the_standards() {
        let secret = STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .expect("it is base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
