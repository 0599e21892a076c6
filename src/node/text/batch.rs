//! Updates of sockets that speak Yjs: gathered for a moment, applied, and stored as one change.

use std::sync::Arc;

use tokio::time::Instant;

use super::desk::Desk;
use super::queue::Waiting;
use super::talk::first_step;
use super::{By, Flight, Texts};
use crate::backplane::{Audience, Error};
use crate::dialects::yjs::frames;
use crate::domain::documents::merge;
use crate::domain::roles::Action;
use crate::hub::{Lane, Socket, frame};
use crate::ids::EventId;

/// Close codes of who sends what no document can take, and more than it may hold.
const BAD_FRAMES: u16 = 4400;
const TOO_LARGE: u16 = 1009;

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
                queue.taken.map(|taken| taken + self.config.batch)
            };
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::time::sleep_until(due).await;
            }
            let _turn = desk.turn.lock().await;
            let batch = desk.queue.lock().take(desk.session.is_recorded());
            desk.moved.notify_waiters();
            if let Err(error) = self.store_all(desk, batch).await {
                tracing::debug!(session = %desk.session, %error, "updates of a text were not stored");
                // Once there is a document again, everybody is asked for what it lacks.
                desk.queue.lock().lost = true;
                self.tell_again(&desk.room);
            }
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
                    batch.iter().for_each(|waiting| deny(&waiting.socket));
                    return Ok(());
                }
                checked => checked?,
            }
        }
        self.settle(desk).await?;
        let id = EventId::new();
        let flight = Flight::new(self, desk, id);
        let taken = self.apply_all(desk, &batch, id).await?;
        if taken.is_empty() {
            flight.landed();
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
                deny(&last);
                Ok(())
            }
            stored => stored.map(|_| ()),
        }
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
            if offenders.contains(&waiting.socket.id) {
                at += 1;
                continue;
            }
            let done = desk.with(|paper| {
                let document = &paper.document;
                if waiting
                    .outline
                    .missing(|client| document.clock(client))
                    .is_some()
                {
                    return Done::Missing(document.vector());
                }
                let length = document.length() + waiting.outline.text_units;
                if length > self.config.length {
                    return Done::TooLarge;
                }
                paper.begin(id);
                match paper.document.apply(&waiting.update) {
                    Ok(()) => Done::Taken,
                    Err(broken) => Done::Broken(broken.to_string()),
                }
            });
            match done {
                Some(Done::Taken) => taken.push(waiting.update.clone()),
                // Another node may have told it of what this one has not heard.
                Some(Done::Missing(_)) if !asked && taken.is_empty() => {
                    asked = true;
                    self.catch_up(desk).await?;
                    continue;
                }
                Some(Done::Missing(vector)) => ask(&waiting.socket, &vector),
                Some(Done::TooLarge) => {
                    let most = self.config.length;
                    let reason = format!("a text has at most {most} UTF-16 units");
                    waiting.socket.close(TOO_LARGE, &reason);
                    offenders.push(waiting.socket.id);
                }
                Some(Done::Broken(why)) => {
                    tracing::info!(target: "audit", user = %waiting.socket.user, session = %desk.session, why, "an update broke its document");
                    waiting
                        .socket
                        .close(BAD_FRAMES, "the update makes no sense to this document");
                    offenders.push(waiting.socket.id);
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
    Taken,
    /// What is known here.
    Missing(Vec<u8>),
    TooLarge,
    Broken(String),
}

/// Asks a socket for all that is not known here.
fn ask(socket: &Socket, vector: &[u8]) {
    socket.send(Lane::Ordered, first_step(vector));
}

fn deny(socket: &Socket) {
    let sentence = "your role in this session does not allow this; right is host or editor";
    let frame = frame::binary_with(128, |out| frames::denied(sentence, out));
    socket.send(Lane::Ordered, frame);
}
