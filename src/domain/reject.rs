//! Why something is not done, in a code that programs know and a sentence for people.

/// Why a command was not carried out. `code` is one of the documented error codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub code: Code,
    pub message: String,
    pub field: Option<&'static str>,
    pub retry_in_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadFrame,
    UnknownType,
    BadField,
    Forbidden,
    NotFound,
    Conflict,
    VersionGone,
    RateLimited,
    BackplaneUnavailable,
    RecordsUnavailable,
    TooMany,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadFrame => "bad_frame",
            Code::UnknownType => "unknown_type",
            Code::BadField => "bad_field",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::VersionGone => "version_gone",
            Code::RateLimited => "rate_limited",
            Code::BackplaneUnavailable => "backplane_unavailable",
            Code::RecordsUnavailable => "records_unavailable",
            Code::TooMany => "too_many",
        }
    }
}

impl Reject {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retry_in_ms: None,
        }
    }

    pub fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field),
            ..Self::new(Code::BadField, message)
        }
    }

    pub fn unavailable() -> Self {
        Self {
            retry_in_ms: Some(1_000),
            ..Self::new(
                Code::BackplaneUnavailable,
                "the node cannot reach its cluster now; this may not have been saved; try again with the same id",
            )
        }
    }

    /// Nothing is written down at this moment.
    pub fn no_records() -> Self {
        Self {
            retry_in_ms: Some(1_000),
            ..Self::new(
                Code::RecordsUnavailable,
                "the database cannot be reached now; this was not done; try again with the same id",
            )
        }
    }

    /// Too fast: the frame was not executed.
    pub fn too_fast(what: &str, retry_in_ms: u64) -> Self {
        let message = format!("{what}; this was not done; send it again in a while");
        Self {
            retry_in_ms: Some(retry_in_ms),
            ..Self::new(Code::RateLimited, message)
        }
    }

    /// Whether the sender made a mistake, rather than having come at a bad time.
    pub fn is_bad_frame(&self) -> bool {
        matches!(
            self.code,
            Code::BadFrame | Code::UnknownType | Code::BadField
        )
    }
}
