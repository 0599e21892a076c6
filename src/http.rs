//! Plain HTTP: answers in JSON, pages, problems by RFC 9457, and where a request carries its token.

pub mod fetch;

use std::borrow::Cow;
use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
    X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

pub type Answer = Response<Content>;

/// A body: at once, or piece by piece as it is made.
pub enum Content {
    Whole(Full<Bytes>),
    Pieces(Pin<Box<dyn Stream<Item = Result<Vec<u8>, String>> + Send>>),
}

impl Default for Content {
    fn default() -> Self {
        Content::Whole(Full::default())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Content::Whole(whole) => {
                let frame = ready!(Pin::new(whole).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Content::Pieces(pieces) => {
                let piece = ready!(pieces.as_mut().poll_next(cx));
                let frame = |piece: Vec<u8>| Frame::data(piece.into());
                Poll::Ready(piece.map(|piece| piece.map(frame).map_err(io::Error::other)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(whole) => whole.size_hint(),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}

/// Why a request was not served, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// One word for programs: `not_found`, `bad_field`, …
    pub code: &'static str,
    /// One sentence for people: what was wrong and what would be right.
    pub detail: String,
    pub field: Option<Cow<'static, str>>,
    /// When to come again, if that is known.
    pub retry_after_s: Option<NonZeroU16>,
}

/// Why a request was not served, by RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Wire<'a> {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// One sentence for people: what was wrong and what would be right.
    detail: &'a str,
    /// One word for programs.
    code: &'static str,
    /// Which field of the request was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            field: None,
            retry_after_s: None,
        }
    }

    pub fn answer(&self) -> Answer {
        let wire = Wire {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            field: self.field.as_deref(),
        };
        let mut answer = json(self.status, &wire);
        answer.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        let headers = answer.headers_mut();
        let retry_after = match self.status {
            StatusCode::SERVICE_UNAVAILABLE => self.retry_after_s.or(Some(NonZeroU16::MIN)),
            _ => self.retry_after_s,
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.get().into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("writing plain fields to memory cannot fail");
    with_type(status, "application/json", body)
}

/// Lines of JSON, as they are made. A stream that fails is cut off.
pub fn lines(pieces: impl Stream<Item = Result<Vec<u8>, String>> + Send + 'static) -> Answer {
    let mut answer = with_type(StatusCode::OK, "application/x-ndjson", Bytes::new());
    *answer.body_mut() = Content::Pieces(Box::pin(pieces));
    answer
}

/// Plain text.
pub fn text(body: impl Into<Bytes>) -> Answer {
    with_type(StatusCode::OK, "text/plain; charset=UTF-8", body)
}

/// A page, which may load from this node alone, talk to it alone, and stand in nobody's frame.
pub fn html(page: impl Into<Bytes>) -> Answer {
    let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(PAGE_POLICY),
    );
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

/// A part of a page, such as `text/css; charset=utf-8`.
pub fn part(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    with_type(StatusCode::OK, kind, body)
}

const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The subprotocol behind which a browser puts its token.
pub const BEARER: &str = "bearer";

/// The token a request carries: in Authorization, behind the subprotocol `bearer`, or in the query.
pub fn bearer<B>(request: &Request<B>) -> Option<String> {
    let headers = request.headers();
    let authorization = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case(BEARER);
        is_bearer.then(|| token.trim().to_owned())
    });
    let in_query = || {
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(key, value)| (key == "token").then(|| value.into_owned()))
    };
    authorization
        .or_else(|| {
            let mut offered = protocols(headers);
            offered.find(|word| *word == BEARER)?;
            offered.next().map(str::to_owned)
        })
        .or_else(in_query)
        .filter(|token| !token.is_empty())
}

pub fn offers_bearer(headers: &HeaderMap) -> bool {
    protocols(headers).any(|word| word == BEARER)
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
}

pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Content::Whole(Full::new(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the places a token may stand in, and that nothing else is taken for one.
    #[test]
    fn a_token_is_found_where_it_may_stand() {
        for (name, value, query, right) in [
            ("authorization", "Bearer abc", "", Some("abc")),
            ("authorization", "bearer  abc", "?token=q", Some("abc")),
            ("authorization", "Basic abc", "?token=q", Some("q")),
            ("sec-websocket-protocol", "bearer, abc", "", Some("abc")),
            (
                "sec-websocket-protocol",
                "chat, bearer,abc",
                "",
                Some("abc"),
            ),
            ("sec-websocket-protocol", "bearer", "?token=q", Some("q")),
            ("sec-websocket-protocol", "chat, abc", "", None),
            ("accept", "*/*", "?a=1&token=a%2Bb", Some("a+b")),
            ("accept", "*/*", "?token=", None),
        ] {
            let request = Request::builder()
                .uri(format!("/ws{query}"))
                .header(name, value)
                .body(())
                .unwrap();
            assert_eq!(
                bearer(&request).as_deref(),
                right,
                "{name}: {value} {query}"
            );
        }
    }
}
