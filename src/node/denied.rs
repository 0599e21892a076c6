//! Why something about accounts, recorded sessions or teams was not done.

use std::time::Duration;

use super::NotAdmitted;
use crate::auth::password::Busy;
use crate::backplane;
use crate::domain::Reject;
use crate::records;

#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error("{}", .0.message)]
    Bad(Reject),
    #[error("somebody else has this {0}")]
    Taken(&'static str),
    #[error("the name or the password is wrong")]
    Unknown,
    #[error("the current password is wrong")]
    WrongPassword,
    #[error("too many failed; come again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    #[error("there is no account of this token's user")]
    NoAccount,
    #[error("{0}")]
    Off(&'static str),
    #[error("too many passwords are being looked at; come again in a while")]
    Busy,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    Conflict(&'static str),
    #[error("there is no such {0}")]
    Missing(&'static str),
    #[error("version {0} cannot be made again: what it was made of is not kept any more")]
    VersionGone(u64),
    #[error("nothing is kept here: this node has no DATABASE_URL")]
    NoRecords,
    /// Why a database did not do it; for the log.
    #[error("{0}")]
    Records(String),
    #[error(transparent)]
    Node(#[from] NotAdmitted),
}

impl From<Reject> for Denied {
    fn from(reject: Reject) -> Self {
        Denied::Bad(reject)
    }
}

impl From<Busy> for Denied {
    fn from(_: Busy) -> Self {
        Denied::Busy
    }
}

impl From<backplane::Error> for Denied {
    fn from(error: backplane::Error) -> Self {
        Denied::Node(error.into())
    }
}

impl From<records::Error> for Denied {
    fn from(error: records::Error) -> Self {
        match error {
            records::Error::Taken(what) => Denied::Taken(what),
            records::Error::Bound => Denied::NoAccount,
            records::Error::Unavailable(detail) => Denied::Records(detail),
        }
    }
}
