//! Why somebody is not let in: as an HTTP answer, or for browsers, which cannot read that, as a close code.

use std::ops::Range;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};

use super::close;
use crate::auth::BadToken;
use crate::backplane::Error;
use crate::http::{Answer, Problem};
use crate::node::{NotAdmitted, drain};

pub const ENDED: &str = "the session has ended";
pub const NO_SESSION: &str = "there is no such session, and sessions are not made by coming";
pub const AWAY: &str = "the node cannot reach its cluster now; come again";

/// When to come again to a node that can take nobody now; as a rule another one takes them. Not all at the same
/// time.
const COME_AGAIN: Range<f64> = 1.0..2.0;

#[derive(Debug)]
pub struct Refusal {
    pub problem: Problem,
    pub close: u16,
    /// What the close frame says, when that is for programs.
    pub reason: Option<String>,
    pub retry_in: Option<Duration>,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        close: u16,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            problem: Problem::new(status, code, detail),
            close,
            reason: None,
            retry_in: None,
        }
    }

    pub fn field(field: &'static str, detail: String) -> Self {
        let mut refusal = Self::new(
            StatusCode::BAD_REQUEST,
            "bad_field",
            close::BAD_FRAMES,
            detail,
        );
        refusal.problem.field = Some(field.into());
        refusal
    }

    pub fn token(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            close::BAD_TOKEN,
            detail,
        )
    }

    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", close::FORBIDDEN, detail)
    }

    /// Too many, or too often: it gets better by waiting.
    pub fn too_many(code: &'static str, detail: impl Into<String>, retry_in: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self {
            retry_in: Some(retry_in),
            ..Self::new(status, code, close::TOO_FAST, detail)
        }
    }

    pub fn unavailable(code: &'static str, detail: &str) -> Self {
        let retry_in = Duration::from_secs_f64(rand::random_range(COME_AGAIN));
        Self::later(code, detail, retry_in)
    }

    /// Too many come at once, to whichever door.
    pub fn busy(retry_in: Duration) -> Self {
        Self::later(
            "busy",
            "too many come at once; come again in a while",
            retry_in,
        )
    }

    fn later(code: &'static str, detail: &str, retry_in: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self {
            reason: Some(drain::come_back_after(retry_in)),
            retry_in: Some(retry_in),
            ..Self::new(status, code, close::AT_CAPACITY, detail)
        }
    }

    /// The close frame's reason.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.problem.detail)
    }

    pub fn answer(&self) -> Answer {
        let mut answer = self.problem.answer();
        if let Some(retry_in) = self.retry_in {
            let seconds = retry_in.as_secs_f64().ceil().max(1.0) as u64;
            let headers = answer.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Self {
        let sentence = why.to_string();
        match why {
            NotAdmitted::Token(BadToken::Unavailable) => {
                Self::unavailable("identity_unavailable", &sentence)
            }
            NotAdmitted::Token(_) | NotAdmitted::Void => Self::token(sentence),
            NotAdmitted::Forbidden(sentence) => Self::forbidden(sentence),
            NotAdmitted::Leaving => Self {
                close: close::RESTARTING,
                reason: Some(drain::come_back_in(Duration::from_secs(1))),
                ..Self::unavailable("draining", &sentence)
            },
            NotAdmitted::Backplane(Error::Full) => Self::too_many(
                "too_many",
                "you have as many sockets as a user may have; close one first",
                Duration::from_secs(1),
            ),
            NotAdmitted::Backplane(Error::Ended) => {
                Self::new(StatusCode::GONE, "ended", close::ENDED, ENDED)
            }
            NotAdmitted::Backplane(Error::Missing) => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                close::NOT_FOUND,
                NO_SESSION,
            ),
            NotAdmitted::Backplane(Error::Forbidden) => {
                Self::forbidden("you are banned from this session")
            }
            NotAdmitted::Records => Self::unavailable("records_unavailable", &sentence),
            NotAdmitted::UserService => Self::unavailable("user_service_unavailable", &sentence),
            NotAdmitted::Backplane(_) => Self::unavailable("backplane_unavailable", AWAY),
        }
    }
}
