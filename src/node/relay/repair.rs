//! Snapshots for those who come, the log for what was missed, a new start for everyone when neither
//! helps. The reading is done beside the worker and comes back as a note.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::greeting::{Taken, Told};
use super::inside::{self, Inner, Inside};
use super::letters::{self, Letters};
use super::resume::{Missed, Returning};
use super::worker::Worker;
use super::{Fill, Note, Waiter};
use crate::backplane::{Audience, Envelope, Error, Fields, Link, Replay, SharedBackplane};
use crate::dialects::Dialect;
use crate::domain::{Event, documents, sessions};
use crate::hub::{Hub, Socket};
use crate::ids::{Epoch, EventId, Position, Room, UserId};
use crate::node::roster::Roster;
use crate::node::text::{ANOTHER, Renewed, Texts};
use crate::node::{pack, snapshots};
use crate::telemetry::metrics::metrics;

/// Wait before a failed comparison is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

impl Worker {
    pub(super) fn open(&mut self, room: Room, waiter: Waiter) {
        self.hub.join(&room, waiter.socket.clone());
        let local = self.rooms.entry(room.clone()).or_default();
        local.waiting.push(waiter);
        self.fetch_snapshot(&room);
    }

    /// One snapshot at a time; whoever comes while it is taken waits for the next, so that it is never
    /// older than their coming.
    fn fetch_snapshot(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if local.snapshotting {
            return;
        }
        local.snapshotting = true;
        local.aboard = std::mem::take(&mut local.waiting);
        let restarting = local.track.restarting();
        local.entered = restarting;
        local.asked = local.track.known();
        let (kept, asked) = (local.kept.clone(), local.asked);
        let ending = local.ending.filter(|_| restarting);
        // An order that was lost is none to go on from.
        let returning = if restarting {
            Returning::nobody()
        } else {
            Returning::of(&local.aboard)
        };
        // An order that is lost greets everybody anew.
        let readers = if restarting {
            readers(self.hub.sockets_in(room).iter())
        } else {
            readers(local.aboard.iter().map(|waiter| &waiter.socket))
        };
        let (remote, room) = (self.remote(), room.clone());
        self.jobs.spawn(async move {
            let result = async {
                // The order was lost, and with it perhaps the members. Entering gives seqs: what is behind is
                // seen before.
                if restarting {
                    if let Some(epoch) = ending {
                        remote.backplane.rotate(&room, epoch).await?;
                    } else if let Some(asked) = asked
                        && remote.is_behind(&room, asked).await?
                    {
                        remote.backplane.rotate(&room, asked.epoch).await?;
                    }
                    remote.enter_all(&room, kept).await?;
                    remote.renew(&room).await?;
                }
                remote.take(&room, &returning, readers, restarting).await
            };
            let result = result.await;
            Note::Snapshot(room, result.map(Box::new))
        });
    }

    pub(super) fn snapshotted(&mut self, room: &Room, result: Result<Box<Taken>, Error>) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        local.snapshotting = false;
        let aboard = std::mem::take(&mut local.aboard);
        if local.track.restarting() && !local.entered {
            // It was under way when the order was lost: too old to start from.
            local.waiting.extend(aboard);
            return self.fetch_snapshot(room);
        }
        let again = !local.waiting.is_empty();
        if let Ok(taken) = &result {
            let at = &taken.at;
            if local.ending == Some(at.epoch) {
                // Taken before the order was to end.
                local.waiting.extend(aboard);
                return self.restart(room);
            }
            let asked = local.asked.filter(|_| !local.track.restarting());
            if asked.is_some_and(|asked| is_behind(*at, asked)) {
                local.waiting.extend(aboard);
                return self.rotate(room, at.epoch);
            }
            if local.track.has_left(at.epoch) {
                // The end of that order was lost: its seqs would be given a second time.
                local.waiting.extend(aboard);
                return self.rotate(room, at.epoch);
            }
            local.ending = None;
        }
        match result {
            Ok(taken) => self.start_from(room, *taken, aboard),
            Err(error) => self.snapshot_failed(room, &error, aboard),
        }
        if again {
            self.fetch_snapshot(room);
        }
    }

    fn start_from(&mut self, room: &Room, taken: Taken, aboard: Vec<Waiter>) {
        let Taken {
            at,
            kept,
            told,
            text,
        } = taken;
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        local.kept = kept;
        let restarted = local.track.snapshot(at);
        if restarted || local.text.is_none() {
            local.text = text.map(|version| (at.epoch, version));
        }
        if let Told::Couriers(users) = told {
            self.roster.couriers.are(users);
        }
        if let Room::User(user) = room {
            if restarted {
                self.hub.unmark(room);
            }
            self.hub.marks.begin(user, at.epoch);
        }
        if restarted {
            metrics().gap("snapshot");
            local.large.pending = None;
            local.owed.clear();
            local.progress.clear();
            let greeting = |socket: &Socket| told.again(socket);
            self.hub.restart(room, at, &greeting, &mut self.touched);
        }
        for waiter in aboard {
            let Waiter {
                socket,
                since,
                ask,
                done,
            } = waiter;
            let first = told.first(&socket, since, ask.as_deref(), restarted);
            let (frames, bytes) = self.hub.open(room, &socket, at, &first, &mut self.touched);
            let door = &self.doors[usize::from(socket.tongue) % Dialect::COUNT];
            door.sent(frames);
            metrics().sent_bytes(bytes);
            // Whoever waited may have gone; its leaving cleans up.
            let _ = done.send(Ok(()));
        }
        let held = local.track.release();
        self.go_on(room, held);
    }

    fn snapshot_failed(&mut self, room: &Room, error: &Error, aboard: Vec<Waiter>) {
        for waiter in aboard {
            let _ = waiter.done.send(Err(error.clone()));
        }
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if !local.track.restarting() {
            return;
        }
        match error {
            Error::Ended => self.end_room(room),
            _ => self.try_again(room),
        }
    }

    /// Brings the room's members into the backplane, if it lost them, and reads what was missed.
    pub(super) fn compare(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if local.track.restarting() && local.snapshotting {
            local.track.compare_again();
        } else if local.track.restarting() {
            self.restart(room);
        } else if let Some(since) = local.track.compare() {
            self.fetch_log(room.clone(), since, true);
        }
    }

    /// Reads the log once more, unless that is under way.
    pub(super) fn compare_log(&mut self, room: &Room) {
        let since = self
            .rooms
            .get_mut(room)
            .and_then(|local| local.track.compare());
        if let Some(since) = since {
            self.fetch_log(room.clone(), since, false);
        }
    }

    pub(super) fn fetch_log(&mut self, room: Room, since: Position, entering: bool) {
        let local = self.rooms.get(&room);
        let kept = local.and_then(|local| local.kept.clone());
        let last = local.and_then(|local| local.track.last());
        let text = local.and_then(|local| local.text);
        let remote = self.remote();
        self.jobs.spawn(async move {
            let result = async {
                if entering {
                    // Entering gives seqs: what is behind is seen before.
                    if remote.is_behind(&room, since).await? {
                        return Ok(Fill {
                            behind: true,
                            replay: Replay::Gone,
                            text: None,
                        });
                    }
                    remote.enter_all(&room, kept).await?;
                }
                let mut fill = fill(&remote.backplane, &room, since, last).await?;
                let speaks_of_text = match &fill.replay {
                    Replay::Events(events) => events.iter().any(|event| event.version.is_some()),
                    Replay::Gone => false,
                };
                if let Some(session) = room.session().filter(|_| speaks_of_text) {
                    let known = text.unwrap_or((since.epoch, 0));
                    fill.text = Some(remote.texts.since(session, known).await?);
                }
                Ok(fill)
            };
            let result = result.await;
            Note::Filled(room, result)
        });
    }

    pub(super) fn filled(&mut self, room: &Room, result: Result<Fill, Error>) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if local.track.restarting() {
            // Everyone starts from a snapshot that is younger.
            return;
        }
        match result {
            Ok(Fill { behind: true, .. }) => {
                if let Some(known) = local.track.known() {
                    self.rotate(room, known.epoch);
                }
            }
            Ok(Fill {
                replay: Replay::Events(events),
                text,
                ..
            }) => {
                if !events.is_empty() {
                    metrics().gap("filled");
                }
                let mut missed: Vec<Envelope> = events
                    .into_iter()
                    .filter_map(|envelope| local.track.take_logged(envelope))
                    .collect();
                complete_texts(&mut missed, text);
                let held = local.track.filled();
                for envelope in missed {
                    let at = envelope.position;
                    self.deliver(&envelope, at);
                }
                match held {
                    Some(held) => self.go_on(room, held),
                    None => self.restart(room),
                }
            }
            Ok(Fill {
                replay: Replay::Gone,
                ..
            }) => self.restart(room),
            Err(Error::Ended) => self.end_room(room),
            Err(error) => {
                metrics().gap("failed");
                tracing::debug!(%room, %error, "a hole could not be filled yet");
                local.track.give_up();
                self.try_again(room);
            }
        }
    }

    /// Begins a new order, and everyone with it.
    pub(super) fn rotate(&mut self, room: &Room, from: Epoch) {
        if let Some(local) = self.rooms.get_mut(room) {
            tracing::warn!(%room, "writes were lost: the room begins a new order");
            local.ending = Some(from);
        }
        self.restart(room);
    }

    pub(super) fn restart(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        local.track.restart();
        // A snapshot that is under way may be older than this.
        local.entered = false;
        self.fetch_snapshot(room);
    }

    fn try_again(&mut self, room: &Room) {
        let (mut link, room) = (self.backplane.link(), room.clone());
        self.jobs.spawn(async move {
            tokio::time::sleep(RETRY).await;
            // An ended channel means that the node stops.
            let _ = link.wait_for(|link| *link == Link::Up).await;
            Note::Compare(room)
        });
    }

    fn go_on(&mut self, room: &Room, held: Vec<Envelope>) {
        for envelope in held {
            self.heard(envelope);
        }
        if self
            .rooms
            .get_mut(room)
            .is_some_and(|local| local.track.again())
        {
            self.compare(room);
        }
    }

    fn remote(&self) -> Remote {
        Remote {
            backplane: self.backplane.clone(),
            roster: self.roster.clone(),
            texts: self.texts.clone(),
            hub: self.hub.clone(),
            comparing: self.comparing.clone(),
            log_length: self.log_length,
        }
    }
}

/// Users of sockets that are greeted with what was said to them alone.
fn readers<'a>(sockets: impl Iterator<Item = &'a Arc<Socket>>) -> Vec<UserId> {
    let review = Dialect::Review.tongue();
    let users = sockets.filter(|socket| socket.tongue == review);
    users.map(|socket| socket.user.clone()).collect()
}

/// What a job beside the worker needs.
struct Remote {
    backplane: SharedBackplane,
    roster: Arc<Roster>,
    texts: Arc<Texts>,
    hub: Arc<Hub>,
    comparing: Arc<Semaphore>,
    log_length: u64,
}

/// Whether the store, at `at`, lacks what was told up to `told`: it lost writes.
fn is_behind(at: Position, told: Position) -> bool {
    at.epoch == told.epoch && at.seq < told.seq
}

impl Remote {
    async fn is_behind(&self, room: &Room, told: Position) -> Result<bool, Error> {
        let at = self.backplane.position(room).await?;
        Ok(at.is_some_and(|at| is_behind(at, told)))
    }

    async fn take(
        &self,
        room: &Room,
        returning: &Returning,
        readers: Vec<UserId>,
        afresh: bool,
    ) -> Result<Taken, Error> {
        let now = self.roster.clock.now();
        match room {
            Room::Session(session) => {
                let snapshot = self.backplane.snapshot(room).await?;
                if snapshot.ended() {
                    return Err(Error::Ended);
                }
                let at = snapshot.position().ok_or(Error::Missing)?;
                let kept = sessions::kept(session, &snapshot.fields, now);
                let mut view = snapshots::view(session, snapshot);
                self.texts.complete(&mut view).await?;
                let missed = Missed::read(
                    &self.backplane,
                    room,
                    view.position,
                    Some(&view),
                    returning,
                    self.log_length,
                    now,
                );
                // Without the log everyone gets the whole.
                let missed = missed.await.unwrap_or_default();
                let letters = match &self.roster.records {
                    Some(records) if session.is_recorded() => {
                        letters::of(records, session, readers, at, now).await
                    }
                    _ => Letters::default(),
                };
                let speaks = |tongue| self.hub.speaks(room, tongue);
                let page = match speaks(Dialect::Yjs.tongue()) {
                    true => Some(self.texts.page(session, &view.users, afresh).await?),
                    false => None,
                };
                let text = Some(view.version);
                let told = Told::session(view, missed, letters, page, now, speaks);
                Ok(Taken {
                    at,
                    kept,
                    told,
                    text,
                })
            }
            Room::Workspace(_) | Room::Agent(_) => {
                let (inner, at) = inside::look(&self.backplane, room).await?;
                let kept = match &inner {
                    Inner::Workspace(view) => view.kept(),
                    Inner::Agent(_) => None,
                };
                let (log, length) = (&self.backplane, self.log_length);
                let missed = Missed::read(log, room, Some(at), None, returning, length, now);
                let inside = Inside {
                    room: room.clone(),
                    at,
                    inner,
                    // Without the log everyone gets the whole.
                    missed: missed.await.unwrap_or_default(),
                };
                let told = Told::Inside(Box::new(inside));
                Ok(Taken {
                    at,
                    kept,
                    told,
                    text: None,
                })
            }
            Room::User(_) => {
                let inbox = self.backplane.inbox(room).await?;
                let (at, speaks) = (inbox.position, |tongue| self.hub.speaks(room, tongue));
                let told = Told::inbox(&inbox, speaks);
                Ok(Taken {
                    at,
                    kept: None,
                    told,
                    text: None,
                })
            }
            Room::Couriers => {
                let snapshot = self.backplane.snapshot(room).await?;
                let at = snapshot.position().ok_or(Error::Missing)?;
                let told = Told::Couriers(snapshot.users);
                Ok(Taken {
                    at,
                    kept: None,
                    told,
                    text: None,
                })
            }
            Room::Lobby => Err(Error::Missing),
        }
    }

    /// What the room's document lost is put back. Who kept one that is no more begins anew.
    async fn renew(&self, room: &Room) -> Result<(), Error> {
        let Some(session) = room.session() else {
            return Ok(());
        };
        if self.texts.renew(session).await? == Renewed::Another {
            let sockets = self.hub.sockets_in(room).into_iter();
            for socket in sockets.filter(|socket| socket.tongue == Dialect::Yjs.tongue()) {
                socket.close(
                    ANOTHER,
                    "the document was made anew: begin with an empty one",
                );
            }
        }
        Ok(())
    }

    /// Sees to it that the backplane knows this node's members of the room; a few rooms at a time.
    async fn enter_all(&self, room: &Room, kept: Option<Fields>) -> Result<(), Error> {
        let _turn = self.comparing.acquire().await;
        self.roster
            .enter_all(&self.backplane, &self.hub, room, kept)
            .await
    }
}

/// Reads the log. `last` is the event that was told at `since`.
async fn fill(
    backplane: &SharedBackplane,
    room: &Room,
    since: Position,
    last: Option<EventId>,
) -> Result<Fill, Error> {
    // With it, one event more than is missing. A store that lost writes, and has been given as many since by others,
    // is not behind; but at this place it has another event.
    let back = u64::from(last.is_some());
    let from = Position {
        seq: since.seq.saturating_sub(back),
        ..since
    };
    let mut replay = backplane.replay(room, from).await?;
    if let (Some(last), Replay::Events(events)) = (last, &mut replay) {
        let first = (!events.is_empty()).then(|| events.remove(0).id);
        if first != Some(last) {
            return Ok(Fill {
                behind: true,
                replay: Replay::Gone,
                text: None,
            });
        }
    }
    if back > 0 && matches!(replay, Replay::Gone) {
        // That event's time in the log was over, as in a room that was long quiet; what came since may be there.
        replay = backplane.replay(room, since).await?;
    }
    Ok(Fill {
        behind: false,
        replay,
        text: None,
    })
}

/// The log leaves updates out: the last change of the text gets all of them, the others say nothing.
fn complete_texts(missed: &mut Vec<Envelope>, since: Option<(Bytes, u64)>) {
    let last = missed
        .iter()
        .rposition(|envelope| envelope.version.is_some());
    let mut at = 0;
    missed.retain(|envelope| {
        at += 1;
        envelope.version.is_none() || since.is_some() && Some(at - 1) == last
    });
    let changed = missed
        .iter_mut()
        .find(|envelope| envelope.version.is_some());
    let (Some(envelope), Some((update, version))) = (changed, since) else {
        return;
    };
    if let Ok(Event::TextChanged { user, .. }) = rmp_serde::from_slice(&envelope.event) {
        envelope.event = pack(&documents::changed(user, Some(update.into())));
        envelope.version = Some(version);
        // Its writer may have written since; whoever wrote last is not in the log's entry.
        envelope.audience = Audience::All;
    }
}
