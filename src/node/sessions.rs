//! Sessions as the REST routes handle them: looked at, made from a match, ended.

use super::{Node, NotAdmitted, snapshots};
use crate::backplane::{Audience, Created, Envelope, Error};
use crate::domain::Event;
use crate::domain::sessions::{Match, View};
use crate::ids::{Room, SessionId, UserId};

impl Node {
    pub async fn view(&self, session: &SessionId) -> Result<View, Error> {
        let room = Room::Session(session.clone());
        let snapshot = self.backplane.snapshot(&room).await?;
        if snapshot.ended() {
            return Err(Error::Ended);
        }
        if snapshot.fields.is_empty() {
            return Err(Error::Missing);
        }
        let mut view = snapshots::view(session, snapshot);
        self.texts.complete(&mut view).await?;
        Ok(view)
    }

    /// Whether there is such a session at this moment.
    pub async fn has_session(&self, session: &SessionId) -> Result<(), NotAdmitted> {
        let room = Room::Session(session.clone());
        match self.backplane.position(&room).await? {
            Some(_) => Ok(()),
            // It says which of the two it is.
            None => Err(self
                .view(session)
                .await
                .err()
                .unwrap_or(Error::Missing)
                .into()),
        }
    }

    /// Whether the user is the session's host, or one of those it was matched for.
    pub async fn may_end(&self, session: &SessionId, user: &UserId) -> Result<bool, Error> {
        let view = self.view(session).await?;
        if view.host == user.as_str() {
            return Ok(true);
        }
        let room = Room::Session(session.clone());
        let matched = self.backplane.standing(&room, user).await?.matched;
        Ok(matched && self.backplane.admitted(&room).await?.contains(user))
    }

    /// Makes a session of a match, unless it is there, or was.
    pub async fn open(&self, found: &Match) -> Result<Created, Error> {
        let room = Room::Session(found.session.clone());
        let fields = found.fields(self.roster.clock.now());
        let created = self
            .backplane
            .create(&room, fields, Vec::new(), Vec::new())
            .await?;
        if created == Created::New {
            let (session, users) = (&found.session, found.users.len());
            tracing::info!(target: "audit", %session, users, "session made of a match");
        }
        Ok(created)
    }

    /// The answer is what happened last in it.
    pub async fn end(&self, session: &SessionId) -> Result<Vec<Envelope>, Error> {
        let room = Room::Session(session.clone());
        let draft = self.roster.draft(&Event::Ended, None, Audience::All);
        let last = self.backplane.end(&room, draft).await?;
        tracing::info!(target: "audit", %session, "session ended");
        Ok(last)
    }
}
