//! Texts of recorded sessions as they were: of the store as far as it reaches back, of the records beyond that.

use std::sync::Arc;

use crate::auth::Identity;
use crate::backplane;
use crate::clock::Millis;
use crate::domain::documents::Document;
use crate::ids::{SessionId, UserId};
use crate::node::{Denied, Node};
use crate::records::Parts;

/// A text of a version.
pub struct Past {
    pub version: u64,
    pub code: Arc<str>,
    /// Who made that version, and when, where that is known.
    pub by: Option<(UserId, Millis)>,
}

impl Node {
    /// The text as it was at a version; the newest where none is said. For who may read the session, also when it has
    /// ended.
    pub async fn text(
        &self,
        session: &SessionId,
        caller: &Identity,
        version: Option<u64>,
    ) -> Result<Past, Denied> {
        self.attends(session, caller).await?;
        let newest = self.newest(session).await?;
        let wanted = match version {
            None => return Ok(newest),
            Some(version) if version > newest.version => return Err(Denied::Missing("version")),
            Some(version) => version,
        };
        let past = |code: String, by| Past {
            version: wanted,
            code: code.into(),
            by,
        };
        match self.texts.text_at(session, wanted).await {
            Ok(Some((code, by @ Some(_)))) => return Ok(past(code, by)),
            // A snapshot does not say who made it.
            Ok(Some((code, None))) => {
                let records = self.records().ok_or(Denied::NoRecords)?;
                return Ok(past(code, records.author(session, wanted).await?));
            }
            // What is not there any more is in the records.
            Ok(None) | Err(backplane::Error::Missing | backplane::Error::Ended) => {}
            Err(error) => return Err(error.into()),
        }
        let records = self.records().ok_or(Denied::NoRecords)?;
        let parts = match records.parts(session, wanted).await? {
            Some(parts) => parts,
            None if wanted == newest.version => return Ok(newest),
            None => return Err(Denied::VersionGone(wanted)),
        };
        let made = tokio::task::spawn_blocking(move || made(&parts)).await;
        let made = made.map_err(|error| Denied::Records(error.to_string()))?;
        let (code, by) = made.ok_or(Denied::VersionGone(wanted))?;
        Ok(past(code, by))
    }

    async fn newest(&self, session: &SessionId) -> Result<Past, Denied> {
        match self.view(session).await {
            Ok(view) => Ok(Past {
                version: view.version,
                code: view.code.into(),
                by: None,
            }),
            Err(backplane::Error::Missing | backplane::Error::Ended) => {
                let records = self.records().ok_or(Denied::NoRecords)?;
                let saved = records.saved_text(session).await?;
                Ok(Past {
                    version: saved.version,
                    code: saved.code.into(),
                    by: None,
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn made(parts: &Parts) -> Option<(String, Option<(UserId, Millis)>)> {
    let snapshot = parts.snapshot.as_deref().into_iter();
    let updates = parts.updates.iter().map(Vec::as_slice);
    let (document, unread) = Document::of(snapshot.chain(updates));
    (unread == 0).then(|| (document.text(), parts.by.clone()))
}
