//! Copies of texts in this process: they outlive the session they are of.

use async_trait::async_trait;
use dashmap::DashMap;

use super::Memory;
use crate::backplane::Error;
use crate::backplane::mirror::{MIRRORED, Mirror};
use crate::clock::Millis;
use crate::ids::{Room, SessionId};

/// Texts, and until when they are kept.
pub(super) type Copies = DashMap<SessionId, (String, Millis)>;

#[async_trait]
impl Mirror for Memory {
    async fn mirror(&self, session: &SessionId, code: &str) -> Result<(), Error> {
        let now = self.clock.now();
        let until = now + MIRRORED.as_millis() as Millis;
        self.copies.retain(|_, (_, until)| *until > now);
        self.copies
            .insert(session.clone(), (code.to_owned(), until));
        self.with(&Room::Session(session.clone()), |stored| {
            if stored.epoch.is_some() {
                stored.kept_until = Some(until);
                stored.expires = stored.expires.map(|expires| expires.max(until));
            }
        });
        Ok(())
    }

    async fn mirrored(&self, session: &SessionId) -> Result<Option<String>, Error> {
        let copy = self.copies.get(session);
        let living = copy.filter(|copy| copy.1 > self.clock.now());
        Ok(living.map(|copy| copy.0.clone()))
    }
}
