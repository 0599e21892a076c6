//! The WebSocket handshake of RFC 6455, and the subprotocol by which browsers hand over a token.

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::{Answer, BEARER, Problem, empty, offers_bearer};

/// What the answer to a handshake is made of.
pub struct Handshake {
    key: HeaderValue,
    /// A browser that offers a subprotocol wants to hear which one was taken.
    bearer: bool,
}

impl Handshake {
    /// Reads a well-formed one, or answers what is wrong with it.
    pub fn read(method: &Method, headers: &HeaderMap) -> Result<Self, Box<Answer>> {
        Ok(Self {
            key: handshake_key(method, headers)?,
            bearer: offers_bearer(headers),
        })
    }

    /// The answer after which the connection is a WebSocket.
    pub fn answer(&self) -> Answer {
        let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let accept = derive_accept_key(self.key.as_bytes());
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.bearer {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
        }
        answer
    }
}

/// Whether a request wants to become a WebSocket, well-formed or not.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    has(request.headers(), UPGRADE, "websocket")
}

/// Whether a header that is a list, in one or several lines, has the word.
fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(word))
}

/// The key of a well-formed handshake by RFC 6455, or what is wrong with it.
fn handshake_key(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Box<Answer>> {
    let upgrade_required = |detail: &str| {
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
        let mut answer = problem.answer();
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        Box::new(answer)
    };
    let asks = has(headers, UPGRADE, "websocket") && has(headers, CONNECTION, "upgrade");
    if method != Method::GET || !asks {
        return Err(upgrade_required("this is a WebSocket; connect with one"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required("Sec-WebSocket-Version is 13 here"));
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(key.clone()),
        _ => {
            let detail = "Sec-WebSocket-Key is missing or not 16 bytes in base64";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail);
            Err(Box::new(problem.answer()))
        }
    }
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(base64)
}
