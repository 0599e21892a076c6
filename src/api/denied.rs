//! What the node denies, as a problem.

use std::num::NonZeroU16;

use hyper::StatusCode;

use super::access::refused as not_admitted;
use super::body::refused;
use crate::http::Problem;
use crate::node::Denied;

const UNAVAILABLE: &str = "records_unavailable";

pub(super) fn denied(why: Denied) -> Problem {
    let detail = why.to_string();
    let plain = |status, code| Problem::new(status, code, detail.clone());
    match why {
        Denied::Bad(reject) => refused(reject),
        Denied::Taken(field) => Problem {
            field: Some(field.into()),
            ..plain(StatusCode::CONFLICT, "conflict")
        },
        Denied::Unknown => plain(StatusCode::UNAUTHORIZED, "unauthorized"),
        Denied::WrongPassword => Problem {
            field: Some("current_password".into()),
            ..plain(StatusCode::FORBIDDEN, "forbidden")
        },
        Denied::TooOften(wait) => Problem {
            retry_after_s: u16::try_from(wait.as_secs() + 1)
                .ok()
                .and_then(NonZeroU16::new),
            ..plain(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
        },
        Denied::Conflict(_) => plain(StatusCode::CONFLICT, "conflict"),
        Denied::Forbidden(_) => plain(StatusCode::FORBIDDEN, "forbidden"),
        Denied::NoAccount | Denied::Off(_) | Denied::Missing(_) => {
            plain(StatusCode::NOT_FOUND, "not_found")
        }
        Denied::VersionGone(_) => plain(StatusCode::GONE, "version_gone"),
        Denied::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Denied::NoRecords => plain(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        Denied::Records(detail) => {
            // What a database says of itself is for the log.
            tracing::debug!(detail, "the database did not do it");
            let detail =
                "the database cannot be reached now; this may not have been done; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, detail)
        }
        Denied::Node(why) => not_admitted(&why),
    }
}
