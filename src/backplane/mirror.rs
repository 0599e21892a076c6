//! Copies of sessions' texts under the keys by which readers of code rooms know them.
//!
//! A copy is a view, up to a moment old, and nobody's truth but once: a session that is made anew begins with it.

use std::time::Duration;

use async_trait::async_trait;

use super::Error;
use crate::ids::SessionId;

/// How long a copy outlives the last change; and the session itself, when everybody is gone.
pub const MIRRORED: Duration = Duration::from_secs(1_800);

#[async_trait]
pub trait Mirror: Send + Sync {
    /// Puts the text where readers of code rooms look, for [`MIRRORED`], and keeps the session for as long. Best
    /// effort: not in one step with the change.
    async fn mirror(&self, session: &SessionId, code: &str) -> Result<(), Error>;

    /// The copy, if there is one.
    async fn mirrored(&self, session: &SessionId) -> Result<Option<String>, Error>;
}
