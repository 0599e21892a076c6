//! Updates of sockets that speak Yjs: gathered for a moment, applied, and stored as one change.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::desk::{Desk, Paper};
use super::queue::Waiting;
use super::talk::{first_step, limits};
use super::{ANOTHER, By, Flight, Texts};
use crate::backplane::{Audience, Ear, Error};
use crate::dialects::yjs::{frames, scan};
use crate::domain::documents::{Document, EMPTY, merge};
use crate::domain::roles::Action;
use crate::hub::{Lane, Socket, frame};
use crate::ids::{EventId, SocketId};

/// Close codes of who sends what no document can take, and more than it may hold.
const BAD_FRAMES: u16 = 4400;
const TOO_LARGE: u16 = 1009;
/// And of who sends what takes too long, here and now.
const TOO_FAST: u16 = 4429;
/// An update of so many bytes is applied at once; of others so many structs.
const SMALL: usize = 1_024;
const PIECE: usize = 64;
/// How long an update may take. Honest ones of any size take a tenth of that.
const PATIENCE: Duration = Duration::from_secs(1);

impl Texts {
    /// Has an update stored with the next change. True when whoever sent it should wait before it sends more.
    pub fn put(self: &Arc<Self>, desk: &Arc<Desk>, waiting: Waiting) -> bool {
        let mut queue = desk.queue.lock();
        queue.push(waiting);
        if !queue.attended {
            queue.attended = true;
            let (texts, desk) = (self.clone(), desk.clone());
            self.tasks.spawn(async move { texts.attend(&desk).await });
        }
        queue.is_full()
    }

    /// Waits until there is room for more.
    pub async fn room(&self, desk: &Desk) {
        loop {
            let moved = desk.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if !desk.queue.lock().is_full() {
                return;
            }
            moved.await;
        }
    }

    async fn attend(self: &Arc<Self>, desk: &Arc<Desk>) {
        loop {
            let due = {
                let mut queue = desk.queue.lock();
                if queue.is_empty() {
                    queue.attended = false;
                    return;
                }
                // Those who were not of the last one have waited already.
                let more = std::mem::take(&mut queue.more);
                queue
                    .taken
                    .filter(|_| !more)
                    .map(|taken| taken + self.config.batch)
            };
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::time::sleep_until(due).await;
            }
            let _turn = desk.turn.lock().await;
            let batch = desk.queue.lock().take(desk.session.is_recorded());
            desk.moved.notify_waiters();
            let stored = self.store_all(desk, batch).await;
            if let Err(error) = &stored {
                tracing::debug!(session = %desk.session, %error, "updates of a text were not stored");
                if matches!(error, Error::Unavailable(_)) {
                    // It may have been done.
                    self.unsaved.note(&desk.room);
                } else {
                    self.inlet.gap(desk.room.clone());
                }
                // Once there is a document again, everybody is asked for what it lacks.
                desk.queue.lock().lost = true;
            }
            desk.upkeep(|upkeep| match stored {
                Ok(()) => upkeep.worked(),
                Err(_) => upkeep.failed(),
            });
        }
    }

    async fn store_all(&self, desk: &Desk, batch: Vec<Waiting>) -> Result<(), Error> {
        let Some(last) = batch.last().map(|waiting| waiting.socket.clone()) else {
            return Ok(());
        };
        let roles = desk
            .session
            .is_recorded()
            .then(|| Action::Contribute.roles());
        if let Some(roles) = roles {
            match self.check_role(desk, &last.user, roles).await {
                Err(Error::Forbidden) => {
                    batch.iter().for_each(|waiting| deny(desk, &waiting.socket));
                    return Ok(());
                }
                checked => checked?,
            }
            let mut queue = desk.queue.lock();
            for waiting in &batch {
                queue.denied.remove(&waiting.socket.id);
            }
        }
        self.settle(desk).await?;
        let id = EventId::new();
        let flight = Flight::new(self, desk, id);
        let taken = self.apply_all(desk, &batch, id).await?;
        if taken.is_empty() {
            // It said nothing new.
            desk.with(Paper::nothing);
            flight.landed();
            self.inlet.text_is_known(&desk.room);
            return Ok(());
        }
        let update = merge(&taken).map_err(|broken| Error::Unavailable(broken.to_string()))?;
        let mut origins = batch.iter().map(|waiting| waiting.socket.id);
        let first = origins.next();
        let by = By {
            user: &last.user,
            origin: first.filter(|first| origins.all(|other| other == *first)),
            audience: Audience::All,
            roles,
            once: None,
        };
        match self.store(desk, flight, update, by).await {
            // The role was taken away a moment ago.
            Err(Error::Forbidden) => {
                deny(desk, &last);
                Ok(())
            }
            stored => stored.map(|_| ()),
        }
    }

    /// Applies one, a piece at a time: others have a look at the document in between, and what takes the library too long
    /// is not taken.
    fn apply_one(&self, desk: &Desk, waiting: &Waiting, id: EventId) -> Option<Done> {
        let outline = &waiting.outline;
        let wrong = desk.with(|paper| {
            let (clocks, seeds) = (paper.document.clocks(), paper.document.seeds());
            let mut brought = outline.adds.iter().map(|run| run.client);
            let is_other = |client| Document::is_seed(client) && !seeds.contains(&client);
            if !clocks.is_empty() && brought.any(is_other) {
                return Some(Done::Another);
            }
            let missing = outline.missing(|client| clocks.of(client));
            missing.map(|_| Done::Missing(paper.document.vector()))
        })?;
        if wrong.is_some() {
            return wrong;
        }
        let pieces = if waiting.update.len() <= SMALL {
            vec![waiting.update.clone()]
        } else {
            match scan::pieces(&waiting.update, PIECE, &limits()) {
                Ok(pieces) => pieces,
                Err(malformed) => return Some(Done::Broken(BAD_FRAMES, malformed.to_string())),
            }
        };
        let begun = Instant::now();
        let mut new = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let taken = desk.attempt(|paper| {
                paper.begin(id);
                let taken = paper.document.take(&piece)?;
                Ok((taken, paper.document.length()))
            })?;
            match taken {
                Ok((_, length)) if length > self.config.length => {
                    let most = self.config.length;
                    let why = format!("a text has at most {most} UTF-16 units");
                    return Some(Done::Broken(TOO_LARGE, why));
                }
                Ok((taken, _)) => new.push(taken),
                Err(broken) => return Some(Done::Broken(BAD_FRAMES, broken.to_string())),
            }
            if begun.elapsed() > PATIENCE {
                let why = "the update takes too long to be put in its place";
                return Some(Done::Broken(TOO_FAST, why.to_owned()));
            }
        }
        new.retain(|one| *one != EMPTY);
        Some(Done::Taken(new))
    }

    /// Applies each alone; those that were taken. Whoever sends what cannot be applied goes, and the others go on.
    async fn apply_all(
        &self,
        desk: &Desk,
        batch: &[Waiting],
        id: EventId,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut taken = Vec::with_capacity(batch.len());
        let (mut offenders, mut asked) = (Vec::new(), false);
        let mut at = 0;
        while let Some(waiting) = batch.get(at) {
            // What it sent before is as good as any.
            let gone =
                |(socket, from): &(SocketId, usize)| *socket == waiting.socket.id && at >= *from;
            if offenders.iter().any(gone) {
                at += 1;
                continue;
            }
            let done = self.apply_one(desk, waiting, id);
            match done {
                Some(Done::Taken(new)) => taken.extend(new),
                // Another node may have told it of what this one has not heard.
                Some(Done::Missing(_)) if !asked && taken.is_empty() => {
                    asked = true;
                    self.catch_up(desk).await?;
                    continue;
                }
                Some(Done::Missing(vector)) => ask(&waiting.socket, &vector),
                Some(Done::Another) => {
                    let reason = "the document was made anew: begin with an empty one";
                    waiting.socket.close(ANOTHER, reason);
                    offenders.push((waiting.socket.id, at));
                }
                Some(Done::Broken(code, why)) => {
                    tracing::info!(target: "audit", user = %waiting.socket.user, session = %desk.session, why, "an update broke its document");
                    waiting.socket.close(code, &why);
                    offenders.push((waiting.socket.id, at));
                    // Read again, and all that were taken before with it.
                    desk.clear();
                    self.warm(desk).await?;
                    taken.clear();
                    at = 0;
                    continue;
                }
                None => {
                    return Err(Error::Unavailable(
                        "the document was thrown away".to_owned(),
                    ));
                }
            }
            at += 1;
        }
        Ok(taken)
    }
}

enum Done {
    /// What was new of it.
    Taken(Vec<Vec<u8>>),
    /// What is known here.
    Missing(Vec<u8>),
    /// It brings what a node made of a plain text in another life of the session.
    Another,
    /// The document is no good any more. With which code whoever sent it goes, and why.
    Broken(u16, String),
}

/// Asks a socket for all that is not known here.
fn ask(socket: &Socket, vector: &[u8]) {
    socket.send(Lane::Ordered, first_step(vector));
}

/// Once, not with every key.
fn deny(desk: &Desk, socket: &Socket) {
    if !desk.queue.lock().denied.insert(socket.id) {
        return;
    }
    let sentence = "your role in this session does not allow this; right is host or editor";
    let frame = frame::binary_with(128, |out| frames::denied(sentence, out));
    socket.send(Lane::Ordered, frame);
}
