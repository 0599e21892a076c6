//! What nobody waits for: texts written where people look for them, snapshots, documents that nobody needs any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Texts;
use super::desk::{Desk, Upkeep};
use super::load::read;
use crate::backplane::documents::Base;
use crate::backplane::{Error, Link};
use crate::domain::documents::Document;
use crate::ids::{SessionId, SocketId};
use crate::node::Node;
use crate::records::Changed;
use crate::telemetry::metrics::metrics;

/// Between looks at all documents.
pub const LOOK: Duration = Duration::from_millis(100);
/// How long after a change of this node's, and of another's, the text is written where people look for it.
const OWN: Duration = Duration::from_millis(300);
const OTHERS: Duration = Duration::from_millis(900);
/// Versions beyond those that are kept before a snapshot is made, by who made the last change, and by the others.
const MUCH: u64 = 200;
const MUCH_MORE: u64 = 400;
/// The same in bytes.
const MUCH_BYTES: usize = 256 * 1024;
/// A document that was quiet for this long is tidied up.
const QUIET: Duration = Duration::from_secs(30);
/// Between tries of what fails.
const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(5);
/// Looks between those for people who are gone.
const PEOPLE: u64 = 10;
/// Versions that are kept however large they are.
const LEAST: u64 = 16;

impl Upkeep {
    pub fn changed_here(&mut self) {
        self.ours = true;
        self.changed(OWN);
    }

    pub fn changed_elsewhere(&mut self) {
        self.ours = false;
        self.changed(OTHERS);
    }

    /// Something failed: the next try waits, longer each time.
    pub fn failed(&mut self) {
        self.pause = (self.pause * 2).clamp(SHORT, LONG);
        self.not_before = Some(Instant::now() + self.pause);
    }

    pub fn worked(&mut self) {
        self.pause = Duration::ZERO;
        self.not_before = None;
    }

    pub fn is_due(&self) -> bool {
        self.not_before.is_none_or(|at| at <= Instant::now())
    }

    fn changed(&mut self, within: Duration) {
        let now = Instant::now();
        self.used = now;
        let due = now + within;
        self.show = Some(self.show.map_or(due, |known| known.min(due)));
    }
}

impl Node {
    /// Looks after all documents again and again, until the node stops.
    pub async fn attend_texts(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK);
        let mut looks = 0_u64;
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            self.texts.look_around();
            looks += 1;
            if looks.is_multiple_of(PEOPLE) {
                let living = self.totals.living();
                let is_alive = |socket: SocketId| {
                    self.life.has(socket) || living.contains(&socket.node().to_string())
                };
                for (room, gone) in self.texts.tidy_awareness(is_alive) {
                    self.relay.unaware(room, gone);
                }
                self.show_cursors().await;
            }
        }
    }
}

impl Node {
    /// Writes down where cursors of Yjs clients are, for who comes at other doors.
    async fn show_cursors(&self) {
        if self.link() != Link::Up {
            return;
        }
        for (room, socket, cursor) in self.texts.unshown(|socket| self.life.has(socket)) {
            let Some(member) = self.texts.note_cursor(socket, cursor) else {
                continue;
            };
            let shown = self.backplane.announce(&room, None, Some(member));
            if let Err(error) = shown.await {
                tracing::debug!(%room, %error, "a cursor was not written down");
            }
        }
    }
}

impl Texts {
    /// Looks once at all documents.
    pub fn look_around(self: &Arc<Self>) {
        let now = Instant::now();
        let up = *self.backplane.link().borrow() == Link::Up;
        let (mut warm, mut idle) = (0, Vec::new());
        let desks: Vec<_> = self.desks.iter().map(|desk| desk.value().clone()).collect();
        for desk in &desks {
            warm += usize::from(desk.is_warm());
            if self.hub.has(&desk.room) {
                desk.upkeep(|upkeep| upkeep.present = now);
            }
            let upkeep = desk.upkeep(|upkeep| *upkeep);
            let (used, present) = (now - upkeep.used, now - upkeep.present);
            let linger = self.config.linger;
            let is_idle = used > linger && present > linger;
            if is_idle && upkeep.show.is_none() && !upkeep.compacting {
                idle.push(desk.session.clone());
                continue;
            }
            if !up || !upkeep.is_due() {
                continue;
            }
            if desk.queue.lock().lost {
                self.tell_again(&desk.room);
            }
            if upkeep.show.is_some_and(|due| due <= now) {
                desk.upkeep(|upkeep| upkeep.show = None);
                self.run(desk, |texts, desk| async move { texts.show(&desk).await });
            }
            if !upkeep.compacting && self.is_due(desk, upkeep, used) {
                desk.upkeep(|upkeep| upkeep.compacting = true);
                self.run(desk, |texts, desk| async move {
                    let done = texts.compact(&desk).await;
                    desk.upkeep(|upkeep| {
                        upkeep.compacting = false;
                        match done {
                            Ok(()) => upkeep.worked(),
                            Err(_) => upkeep.failed(),
                        }
                    });
                    done
                });
            }
        }
        drop(desks);
        for session in idle {
            // Not if somebody is about to use it: whoever has it has it by a reference of its own.
            self.desks.remove_if(&session, |_, desk| {
                Arc::strong_count(desk) == 1 && desk.queue.lock().is_empty()
            });
        }
        metrics().documents(warm);
    }

    fn run<F>(self: &Arc<Self>, desk: &Arc<Desk>, act: impl FnOnce(Arc<Self>, Arc<Desk>) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (session, done) = (desk.session.clone(), act(self.clone(), desk.clone()));
        self.tasks.spawn(async move {
            if let Err(error) = done.await {
                tracing::debug!(%session, %error, "a document was not tidied up; that is tried again");
            }
        });
    }

    /// Writes the text where people look for it.
    pub(super) async fn show(&self, desk: &Desk) -> Result<(), Error> {
        match self.warm(desk).await {
            // There is nobody left to look.
            Err(Error::Missing | Error::Ended) => return Ok(()),
            warm => warm?,
        }
        let known = desk.with(|paper| Some((paper.epoch, paper.current()?)));
        let Some(Some((epoch, (text, version)))) = known else {
            // On its way, or about to be read again: soon.
            desk.upkeep(|upkeep| upkeep.changed(LOOK));
            return Ok(());
        };
        let shown = self.backplane.show(&desk.room, epoch, version, &text).await;
        if let Err(Error::Unavailable(_)) = &shown {
            desk.upkeep(|upkeep| upkeep.changed(OTHERS));
        }
        shown.map(|_| ())
    }

    fn is_due(&self, desk: &Desk, upkeep: Upkeep, used: Duration) -> bool {
        let Some((versions, bytes)) =
            desk.with(|paper| (paper.version - paper.base.min(paper.version), paper.bytes))
        else {
            return false;
        };
        let kept = self.config.log_length;
        let much = if upkeep.ours { MUCH } else { MUCH_MORE };
        let large = bytes > self.config.log_bytes + if upkeep.ours { 0 } else { MUCH_BYTES };
        versions > kept + much
            || (versions > kept && (bytes > MUCH_BYTES || used >= QUIET))
            || (large && versions > LEAST)
    }

    /// A snapshot in place of what is too old to be kept.
    async fn compact(&self, desk: &Desk) -> Result<(), Error> {
        let stored = self.backplane.document(&desk.room, None).await?;
        let (from, snapshot) = match &stored.base {
            Base::Snapshot(version, snapshot) => (Some(*version), Some(snapshot.clone())),
            Base::None | Base::Known => (None, None),
        };
        let begin = from.unwrap_or(0);
        let mut to = stored
            .version
            .saturating_sub(self.config.log_length)
            .max(begin);
        let mut bytes: usize = stored.log.iter().map(|(_, entry)| entry.len()).sum();
        for (version, entry) in &stored.log {
            let is_needed = *version + LEAST > stored.version;
            if *version > to && (bytes <= self.config.log_bytes || is_needed) {
                break;
            }
            bytes -= entry.len();
            to = to.max(*version);
        }
        if to > begin && stored.is_whole(0) {
            let (epoch, log) = (stored.epoch, stored.log);
            let old: Vec<_> = log
                .into_iter()
                .take_while(|(version, _)| *version <= to)
                .collect();
            self.keep_old(desk, &old).await?;
            let made = tokio::task::spawn_blocking(move || {
                let entries: Vec<_> = old
                    .iter()
                    .filter_map(|(_, entry)| read(entry).ok())
                    .collect();
                let updates = entries.iter().map(|entry| &entry.update[..]);
                let (document, unread) =
                    Document::of(snapshot.iter().map(|bytes| &bytes[..]).chain(updates));
                (unread == 0 && entries.len() == old.len()).then(|| document.state())
            });
            let made = made
                .await
                .map_err(|error| Error::Unavailable(error.to_string()))?;
            let made =
                made.ok_or_else(|| Error::Unavailable("an update cannot be read".to_owned()))?;
            if let Some(records) = self
                .roster
                .records
                .as_ref()
                .filter(|_| desk.session.is_recorded())
            {
                let kept = records.add_snapshot(&desk.session, to, &made).await;
                kept.map_err(|error| Error::Unavailable(error.to_string()))?;
            }
            let done = self
                .backplane
                .compact(&desk.room, epoch, from, to, made.into())
                .await?;
            metrics().document_compacted(done);
        }
        // Whoever was quicker made another.
        desk.with(|paper| {
            paper.base = paper.base.max(to);
            paper.bytes = bytes;
        });
        Ok(())
    }

    /// What a recorded session is replayed of outlives its log.
    async fn keep_old(&self, desk: &Desk, old: &[(u64, bytes::Bytes)]) -> Result<(), Error> {
        let Some(records) = self
            .roster
            .records
            .as_ref()
            .filter(|_| desk.session.is_recorded())
        else {
            return Ok(());
        };
        let kept = records.add_updates(&desk.session, &changed(old)).await;
        kept.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Has the records know the document, and what it came of.
    pub async fn save(&self, session: &SessionId) -> Result<(), String> {
        let Some(records) = self.roster.records.as_ref() else {
            return Ok(());
        };
        let desk = self
            .open(session)
            .await
            .map_err(|error| error.to_string())?;
        let saved = desk.upkeep(|upkeep| upkeep.saved);
        let stored = self.backplane.document(&desk.room, saved).await;
        let stored = stored.map_err(|error| error.to_string())?;
        let added = records.add_updates(session, &changed(&stored.log)).await;
        added.map_err(|error| error.to_string())?;
        let whole = self
            .whole(session)
            .await
            .map_err(|error| error.to_string())?;
        let done = records
            .save_document(session, whole.version, &whole.state)
            .await;
        done.map_err(|error| error.to_string())?;
        desk.upkeep(|upkeep| upkeep.saved = Some((stored.epoch, stored.version)));
        Ok(())
    }
}

/// Changes of a log, for the records. What cannot be read is left out.
fn changed(log: &[(u64, bytes::Bytes)]) -> Vec<Changed> {
    let changed = log.iter().filter_map(|(version, entry)| {
        let entry = read(entry).ok()?;
        Some(Changed {
            version: *version,
            user: entry.user,
            at: entry.at,
            update: entry.update,
        })
    });
    changed.collect()
}
