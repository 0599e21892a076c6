//! One node's way to the store: every command takes its time, and some are lost, before or after they were done.
//!
//! It passes on to the store that all nodes share, and to their registry. A [`Flaw`] makes it break one promise on
//! purpose, which shows that the checker would find a node that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use collabd::backplane::documents::{Documents, Stored};
use collabd::backplane::memory::Memory;
use collabd::backplane::{
    Access, Backplane, Beat, Card, Change, Cluster, Committed, Counters, Courier, Created, Draft,
    Entry, Envelope, Error, Exit, Fields, Held, Inbox, Index, Letter, Link, Mirror, NodeReport,
    Queue, Receipt, Registry as Couriers, Replay, Shelf, Snapshot,
};
use collabd::ids::{AgentId, Epoch, NodeId, Position, Room, SessionId, SocketId, UserId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::ledger::Ledger;
use super::registry::Registry;
use super::wire::Cable;

/// How long a command waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(2);

/// A promise that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flaw {
    #[default]
    None,
    /// What is read from the log is blank: holes are passed over, not filled.
    HolesStay,
    /// Nobody knows that a command was done before.
    TwiceIsTwo,
    /// Nobody cares for the dead.
    NoReaper,
}

/// How commands fare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trip {
    /// Each way takes up to this.
    pub latency: Duration,
    /// Share of the commands that get no answer; half of them were done.
    pub lose: f64,
}

impl Trip {
    pub const CALM: Self = Self {
        latency: Duration::from_millis(3),
        lose: 0.0,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Fine,
    Cut,
    /// The node is no more: whatever it still does hears nothing back.
    Dead,
}

/// What all stations share.
pub struct Place {
    pub store: Memory,
    pub registry: Registry,
    pub ledger: Ledger,
    pub flaw: Flaw,
}

pub struct Station {
    place: Arc<Place>,
    cable: Arc<Cable>,
    link: watch::Sender<Link>,
    state: Mutex<State>,
    beaten: AtomicBool,
    dead: Mutex<Vec<NodeId>>,
}

struct State {
    rng: StdRng,
    trip: Trip,
    reach: Reach,
}

/// Which way a command is lost.
#[derive(PartialEq, Eq)]
enum Loss {
    No,
    Before,
    After,
}

impl Station {
    pub fn new(place: Arc<Place>, cable: Arc<Cable>, seed: u64, trip: Trip) -> Arc<Self> {
        Arc::new(Self {
            place,
            cable,
            link: watch::Sender::new(Link::Up),
            state: Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                trip,
                reach: Reach::Fine,
            }),
            beaten: AtomicBool::new(false),
            dead: Mutex::default(),
        })
    }

    pub fn set_trip(&self, trip: Trip) {
        self.state.lock().trip = trip;
    }

    /// The node and all it would do are gone.
    pub fn die(&self) {
        self.state.lock().reach = Reach::Dead;
        self.cable.deafen();
    }

    /// Cuts the node off; it sees that after `notice`.
    pub async fn cut(&self, time: Duration, notice: Duration) {
        self.reach(Reach::Cut);
        self.cable.deafen();
        tokio::time::sleep(notice.min(time)).await;
        if notice < time {
            self.link.send_replace(Link::Away);
            tokio::time::sleep(time - notice).await;
        }
        self.reach(Reach::Fine);
        self.cable.mend();
        // As on Redis: the rooms are listened to again, the link is up, then all is compared.
        self.link.send_if_modified(|link| {
            let was_away = *link != Link::Up;
            *link = Link::Up;
            was_away
        });
        self.cable.report(None);
    }

    fn reach(&self, reach: Reach) {
        let mut state = self.state.lock();
        if state.reach != Reach::Dead {
            state.reach = reach;
        }
    }

    /// Has a command done, with all that may happen to it on its way.
    async fn ask<T>(&self, act: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let away = *self.link.borrow() != Link::Up;
        let (there, back, loss) = {
            let State { rng, trip, .. } = &mut *self.state.lock();
            let loss = if !rng.random_bool(trip.lose) {
                Loss::No
            } else if rng.random_bool(0.5) {
                Loss::Before
            } else {
                Loss::After
            };
            let mut way = || rng.random_range(Duration::ZERO..=trip.latency);
            (way(), way(), loss)
        };
        if away {
            self.pass().await?;
            return Err(lost());
        }
        tokio::time::sleep(there).await;
        self.pass().await?;
        if loss == Loss::Before {
            return Err(lost());
        }
        let answer = act.await;
        tokio::time::sleep(back).await;
        self.pass().await?;
        if loss == Loss::After {
            return Err(lost());
        }
        answer
    }

    /// The same for what the registry keeps, which never says no.
    async fn note<T>(&self, act: impl FnOnce(&Registry) -> T) -> Result<T, Error> {
        self.ask(async { Ok(act(&self.place.registry)) }).await
    }

    /// The log as the node reads it.
    fn read(&self, mut replay: Replay) -> Replay {
        if self.place.flaw == Flaw::HolesStay
            && let Replay::Events(events) = &mut replay
        {
            for envelope in events {
                envelope.event = Bytes::new();
            }
        }
        replay
    }

    /// The way between node and store.
    async fn pass(&self) -> Result<(), Error> {
        let reach = self.state.lock().reach;
        match reach {
            Reach::Fine => Ok(()),
            Reach::Dead => std::future::pending().await,
            Reach::Cut => {
                // Who knows that the store is away fails at once, who does not waits.
                let mut link = self.link.subscribe();
                let away = link.wait_for(|link| *link == Link::Away);
                // Either way there is no answer.
                let _ = tokio::time::timeout(PATIENCE, away).await;
                Err(lost())
            }
        }
    }
}

fn lost() -> Error {
    Error::Unavailable("no answer".to_owned())
}

#[async_trait]
impl Documents for Station {
    async fn document(&self, room: &Room, since: Option<(Epoch, u64)>) -> Result<Stored, Error> {
        self.ask(self.place.store.document(room, since)).await
    }

    async fn compact(
        &self,
        room: &Room,
        epoch: Epoch,
        from: Option<u64>,
        to: u64,
        snapshot: Bytes,
    ) -> Result<bool, Error> {
        let done = self.place.store.compact(room, epoch, from, to, snapshot);
        self.ask(done).await
    }

    async fn show(
        &self,
        room: &Room,
        epoch: Epoch,
        version: u64,
        text: &str,
    ) -> Result<bool, Error> {
        self.ask(self.place.store.show(room, epoch, version, text))
            .await
    }
}

#[async_trait]
impl Mirror for Station {
    async fn mirror(&self, session: &SessionId, code: &str) -> Result<(), Error> {
        self.ask(self.place.store.mirror(session, code)).await
    }

    async fn mirrored(&self, session: &SessionId) -> Result<Option<String>, Error> {
        self.ask(self.place.store.mirrored(session)).await
    }
}

#[async_trait]
impl Courier for Station {
    async fn route(&self, letter: &Letter) -> Result<Vec<Receipt>, Error> {
        self.ask(self.place.store.route(letter)).await
    }

    async fn inbox(&self, room: &Room) -> Result<Inbox, Error> {
        self.ask(self.place.store.inbox(room)).await
    }

    async fn mark(&self, user: &UserId, at: Position) -> Result<(), Error> {
        self.ask(self.place.store.mark(user, at)).await
    }

    async fn acquaint(&self, user: &UserId, with: &[UserId]) -> Result<(), Error> {
        self.ask(self.place.store.acquaint(user, with)).await
    }

    async fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, Error> {
        self.ask(self.place.store.contacts(user)).await
    }

    async fn couriers(&self, after: Option<&UserId>, most: u64) -> Result<Couriers, Error> {
        self.ask(self.place.store.couriers(after, most)).await
    }

    async fn register(&self, user: &UserId, card: &Card) -> Result<(), Error> {
        self.ask(self.place.store.register(user, card)).await
    }

    async fn card(&self, user: &UserId) -> Result<Card, Error> {
        self.ask(self.place.store.card(user)).await
    }
}

#[async_trait]
impl Backplane for Station {
    async fn commit(&self, room: &Room, mut change: Change) -> Result<Committed, Error> {
        let once = change.once.clone();
        if self.place.flaw == Flaw::TwiceIsTwo {
            change.once = None;
        }
        self.ask(async {
            let committed = self.place.store.commit(room, change).await?;
            if let Some(once) = once {
                self.place.ledger.note(room, once, &committed);
            }
            Ok(committed)
        })
        .await
    }

    async fn announce(
        &self,
        room: &Room,
        draft: Option<Draft>,
        member: Option<(SocketId, Bytes)>,
    ) -> Result<(), Error> {
        self.ask(self.place.store.announce(room, draft, member))
            .await
    }

    async fn enter(&self, room: &Room, entry: Entry) -> Result<(), Error> {
        self.ask(self.place.store.enter(room, entry)).await
    }

    async fn report(
        &self,
        room: &Room,
        draft: Draft,
        fields: Fields,
        when: (&'static str, String),
    ) -> Result<(), Error> {
        self.ask(self.place.store.report(room, draft, fields, when))
            .await
    }

    async fn leave(&self, room: &Room, exits: Vec<Exit>) -> Result<(), Error> {
        self.ask(self.place.store.leave(room, exits)).await
    }

    async fn create(
        &self,
        room: &Room,
        fields: Fields,
        roles: Vec<(UserId, String)>,
        chat: Vec<Bytes>,
    ) -> Result<Created, Error> {
        self.ask(self.place.store.create(room, fields, roles, chat))
            .await
    }

    async fn members(
        &self,
        room: &Room,
        with: Option<&UserId>,
    ) -> Result<Vec<(SocketId, Bytes)>, Error> {
        self.ask(self.place.store.members(room, with)).await
    }

    async fn known(&self, room: &Room, user: &UserId, command: &str) -> Result<Option<u64>, Error> {
        self.ask(self.place.store.known(room, user, command)).await
    }

    async fn end(&self, room: &Room, draft: Draft) -> Result<Vec<Envelope>, Error> {
        self.ask(self.place.store.end(room, draft)).await
    }

    async fn standing(&self, room: &Room, user: &UserId) -> Result<Access, Error> {
        self.ask(self.place.store.standing(room, user)).await
    }

    async fn admitted(&self, room: &Room) -> Result<Vec<UserId>, Error> {
        self.ask(self.place.store.admitted(room)).await
    }

    async fn snapshot(&self, room: &Room) -> Result<Snapshot, Error> {
        self.ask(self.place.store.snapshot(room)).await
    }

    async fn replay(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        let replay = self.ask(self.place.store.replay(room, since)).await?;
        Ok(self.read(replay))
    }

    async fn recent(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        let recent = self.ask(self.place.store.recent(room, since)).await?;
        Ok(self.read(recent))
    }

    async fn position(&self, room: &Room) -> Result<Option<Position>, Error> {
        self.ask(self.place.store.position(room)).await
    }

    async fn rotate(&self, room: &Room, from: Epoch) -> Result<(), Error> {
        self.ask(self.place.store.rotate(room, from)).await
    }

    async fn listen(&self, room: &Room) -> Result<(), Error> {
        self.ask(async {
            self.cable.listen(room);
            self.place.store.listen(room).await
        })
        .await
    }

    async fn listen_again(&self, room: &Room) {
        self.cable.listen(room);
    }

    async fn unlisten(&self, room: &Room) {
        // Others may listen: the store goes on speaking.
        self.cable.unlisten(room);
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn hears(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn close(&self) {
        self.cable.deafen();
    }
}

#[async_trait]
impl Index for Station {
    async fn list(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        self.ask(self.place.store.list(shelf, id)).await
    }

    async fn unlist(&self, shelf: Shelf, id: &str) -> Result<(), Error> {
        self.ask(self.place.store.unlist(shelf, id)).await
    }

    async fn listed(
        &self,
        shelf: Shelf,
        after: Option<&str>,
        most: u64,
    ) -> Result<Vec<String>, Error> {
        self.ask(self.place.store.listed(shelf, after, most)).await
    }

    async fn expect(&self, queue: Queue, what: Vec<String>, within: Duration) -> Result<(), Error> {
        self.ask(self.place.store.expect(queue, what, within)).await
    }

    async fn put_off(
        &self,
        queue: Queue,
        what: Vec<String>,
        within: Duration,
    ) -> Result<Vec<String>, Error> {
        self.ask(self.place.store.put_off(queue, what, within))
            .await
    }

    async fn due(&self, queue: Queue, most: u64) -> Result<Vec<String>, Error> {
        self.ask(self.place.store.due(queue, most)).await
    }

    async fn settle(&self, queue: Queue, what: &str, overdue: Duration) -> Result<(), Error> {
        self.ask(self.place.store.settle(queue, what, overdue))
            .await
    }

    async fn follow(&self, user: &UserId, agent: &AgentId, most: u64) -> Result<(), Error> {
        self.ask(self.place.store.follow(user, agent, most)).await
    }

    async fn unfollow(&self, user: &UserId, agent: &AgentId) -> Result<(), Error> {
        self.ask(self.place.store.unfollow(user, agent)).await
    }

    async fn follows(&self, user: &UserId) -> Result<Vec<AgentId>, Error> {
        self.ask(self.place.store.follows(user)).await
    }

    async fn claim_hooks(&self, room: &Room, by: &str, time: Duration) -> Result<bool, Error> {
        self.ask(self.place.store.claim_hooks(room, by, time)).await
    }

    async fn hooks(
        &self,
        room: &Room,
        most: u64,
    ) -> Result<Vec<(String, Option<Envelope>)>, Error> {
        self.ask(self.place.store.hooks(room, most)).await
    }

    async fn tried(&self, room: &Room, place: &str) -> Result<u64, Error> {
        self.ask(self.place.store.tried(room, place)).await
    }

    async fn unhook(&self, room: &Room, place: &str, given_up: bool) -> Result<(), Error> {
        self.ask(self.place.store.unhook(room, place, given_up))
            .await
    }
}

#[async_trait]
impl Cluster for Station {
    fn is_shared(&self) -> bool {
        true
    }

    async fn beat(&self, node: NodeId, report: &NodeReport) -> Result<Beat, Error> {
        let known = self.beaten.load(Ordering::Relaxed);
        let beat = self
            .note(|registry| registry.beat(node, report, known))
            .await?;
        self.beaten.store(true, Ordering::Relaxed);
        self.dead.lock().clone_from(&beat.dead);
        Ok(beat)
    }

    async fn depart(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        self.note(|registry| registry.depart(node, within)).await
    }

    async fn hold(&self, node: NodeId, rooms: &[Room]) -> Result<(), Error> {
        self.note(|registry| registry.hold(node, rooms)).await
    }

    async fn release(&self, node: NodeId, room: &Room) {
        // Best effort: one too many costs the reaper a look.
        let _ = self.note(|registry| registry.release(node, room)).await;
    }

    async fn holdings(&self, node: NodeId) -> Result<Vec<Room>, Error> {
        self.note(|registry| registry.holdings(node)).await
    }

    async fn held(&self, node: NodeId, room: &Room, from: Option<String>) -> Result<Held, Error> {
        self.ask(self.place.store.held(node, room, from)).await
    }

    async fn headcount(&self, room: &Room) -> Result<u64, Error> {
        self.ask(self.place.store.headcount(room)).await
    }

    async fn claim(&self, dead: NodeId, by: NodeId, time: Duration) -> Result<bool, Error> {
        if self.place.flaw == Flaw::NoReaper && dead != by {
            return Ok(false);
        }
        self.note(|registry| registry.claim(dead, by, time)).await
    }

    async fn forget(&self, dead: NodeId) -> Result<(), Error> {
        self.note(|registry| registry.forget(dead)).await
    }

    async fn count(&self, _: NodeId, _: Counters, now: Counters) -> Result<Counters, Error> {
        // Nobody in this world looks at totals.
        Ok(now)
    }

    async fn admit(&self, user: &UserId, socket: SocketId, most: u64) -> Result<(), Error> {
        let dead = self.dead.lock().clone();
        self.ask(async { self.place.registry.admit(user, socket, most, &dead) })
            .await
    }

    async fn dismiss(&self, user: &UserId, socket: SocketId) -> Result<(), Error> {
        self.note(|registry| registry.dismiss(user, socket)).await
    }

    async fn vacate(&self, user: &UserId, node: NodeId) -> Result<(), Error> {
        self.note(|registry| registry.vacate(user, node)).await
    }

    async fn revoke(&self, token: &str, time: Duration) -> Result<(), Error> {
        self.ask(self.place.store.revoke(token, time)).await
    }

    async fn secret(&self, known: Option<&str>) -> Result<String, Error> {
        self.ask(self.place.store.secret(known)).await
    }

    async fn is_revoked(&self, token: &str) -> Result<bool, Error> {
        self.ask(self.place.store.is_revoked(token)).await
    }
}
