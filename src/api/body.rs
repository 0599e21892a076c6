//! Bodies: one JSON object, whose wrong or missing field is named.

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use crate::dialects::object::{self, Unread};
use crate::domain::Reject;
use crate::http::Problem;

/// Reads a body; `what` is right there, for the sentence.
pub(super) fn object<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Problem> {
    object::object(body, what).map_err(unread)
}

/// What could not be read.
pub(super) fn unread(unread: Unread) -> Problem {
    Problem {
        field: unread.field,
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", unread.sentence)
    }
}

/// What the domain refuses.
pub(super) fn refused(reject: Reject) -> Problem {
    Problem {
        field: reject.field.map(Into::into),
        ..Problem::new(
            StatusCode::BAD_REQUEST,
            reject.code.as_str(),
            reject.message,
        )
    }
}
