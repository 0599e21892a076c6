//! Where this node's sockets look, and whether they do anything: who says nothing for a while is idle, then away.
//!
//! One look around for all sockets, not a timer for each. What is found goes the way of a cursor: into the member's
//! record, and to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::Node;
use crate::backplane::{Audience, Link};
use crate::clock::Millis;
use crate::domain::presence::{self, ACTIVE, AWAY, IDLE, STATUSES};
use crate::domain::{Command, Cursor, Event, Member, Viewport};
use crate::hub::Socket;
use crate::ids::{Room, SessionId, SocketId, UserId};
use crate::node::Participant;

/// Between looks.
const LOOK: Duration = Duration::from_millis(500);
/// Sockets told of at once.
const AT_ONCE: usize = 32;

type Weary = (SocketId, Arc<Seat>, &'static str);

/// The sockets that came through sessions' doors.
#[derive(Default)]
pub(super) struct Presence(DashMap<SocketId, Arc<Seat>>);

/// What is known of one of them.
pub(super) struct Seat {
    room: Room,
    /// When it last did something.
    heard: AtomicI64,
    /// The place among [`STATUSES`].
    status: AtomicU8,
    /// Where it looks, once it said so.
    look: Mutex<Option<Box<Look>>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub cursor: Option<Cursor>,
    /// Of the cursor; `None`: the main file.
    pub file: Option<String>,
    pub viewport: Option<Viewport>,
}

impl Presence {
    pub fn begin(&self, socket: SocketId, room: Room, now: Millis) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            room,
            heard: AtomicI64::new(now),
            status: AtomicU8::new(0),
            look: Mutex::default(),
        });
        self.0.insert(socket, seat.clone());
        seat
    }

    pub fn of(&self, socket: SocketId) -> Option<Arc<Seat>> {
        self.0.get(&socket).map(|seat| seat.value().clone())
    }

    pub fn end(&self, socket: SocketId) {
        self.0.remove(&socket);
    }

    /// Those that are less active than they were, and how active they were.
    fn weary(&self, now: Millis, idle: Duration, away: Duration) -> Vec<Weary> {
        let weary = self.0.iter().filter_map(|seat| {
            let before = seat.tires(now, idle, away)?;
            Some((*seat.key(), seat.value().clone(), before))
        });
        weary.collect()
    }
}

impl Seat {
    pub fn status(&self) -> &'static str {
        let at = usize::from(self.status.load(Ordering::Relaxed));
        STATUSES.get(at).copied().unwrap_or(AWAY)
    }

    pub fn look(&self) -> Look {
        self.look.lock().as_deref().cloned().unwrap_or_default()
    }

    fn set(&self, status: &str) {
        let at = STATUSES.iter().position(|known| *known == status);
        let at = at.unwrap_or_default();
        self.status.store(at as u8, Ordering::Relaxed);
        if status == AWAY {
            *self.look.lock() = None;
        }
    }

    /// It did something.
    fn hear(&self, now: Millis) {
        self.heard.store(now, Ordering::Relaxed);
    }

    /// It is active; how active it was before, if it was less.
    fn wake(&self) -> Option<&'static str> {
        let before = self.status();
        let woke = self.status.swap(0, Ordering::Relaxed) != 0;
        woke.then_some(before)
    }

    /// What an event says of where it looks.
    pub fn note(&self, event: &Event) {
        match event {
            Event::StatusChanged { status, .. } => self.set(status),
            Event::CursorMoved { cursor, file, .. } => {
                let mut look = self.look.lock();
                let look = look.get_or_insert_default();
                look.cursor = Some(*cursor);
                look.file.clone_from(file);
            }
            Event::ViewportChanged { viewport, .. } => {
                let mut look = self.look.lock();
                look.get_or_insert_default().viewport = Some(viewport.clone());
            }
            _ => {}
        }
    }

    /// Notes that it said nothing for long, if that is new: how active it was before.
    fn tires(&self, now: Millis, idle: Duration, away: Duration) -> Option<&'static str> {
        let silent = now - self.heard.load(Ordering::Relaxed);
        let silent = Duration::from_millis(u64::try_from(silent).unwrap_or(0));
        let status = self.status();
        let now = match status {
            AWAY => return None,
            _ if silent >= away => AWAY,
            ACTIVE if silent >= idle => IDLE,
            _ => return None,
        };
        self.set(now);
        Some(status)
    }
}

impl Node {
    /// Looks around again and again, until the node stops.
    pub async fn attend_presence(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            let now = self.clock().now();
            let (idle, away) = (self.config.idle_after, self.config.away_after);
            let weary = self.roster.presence.weary(now, idle, away);
            let told =
                stream::iter(weary).for_each_concurrent(AT_ONCE, |(socket, seat, before)| {
                    let node = &self;
                    async move {
                        if let Some(socket) = node.hub.find(socket) {
                            node.show_status(&socket, &seat, before).await;
                        }
                    }
                });
            told.await;
        }
    }

    /// A socket did something: who was thought to be away is there again.
    pub(super) fn stir(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        seat: &Arc<Seat>,
        command: &Command,
    ) {
        if matches!(command, Command::Ping | Command::Authenticate { .. }) {
            return;
        }
        if matches!(command, Command::SetStatus { .. }) {
            return seat.hear(self.clock().now());
        }
        self.wake(socket, seat);
    }

    fn wake(self: &Arc<Self>, socket: &Arc<Socket>, seat: &Arc<Seat>) {
        seat.hear(self.clock().now());
        if let Some(before) = seat.wake() {
            let (node, seat) = (self.clone(), seat.clone());
            // The socket itself must not be held: the connection ends with its last owner.
            let socket = Arc::downgrade(socket);
            self.chores.spawn(async move {
                if let Some(socket) = socket.upgrade() {
                    node.show_status(&socket, &seat, before).await;
                }
            });
        }
    }

    /// The same for what is no command.
    pub(super) fn stir_now(self: &Arc<Self>, participant: &Participant) {
        if let Some(seat) = &participant.seat {
            self.wake(&participant.socket, seat);
        }
    }

    /// Tells the others how active a user is, if that changed: as active as the most active of the user's sockets.
    pub(super) async fn show_status(&self, socket: &Socket, seat: &Seat, before: &str) {
        let (user, own) = (&socket.user, seat.status());
        let elsewhere = self.elsewhere(&seat.room, socket.id, user).await;
        let with = |own| {
            let all = elsewhere.as_deref().into_iter().chain([own]);
            presence::most_active(all).unwrap_or(own).to_owned()
        };
        let status = with(own);
        let event = (status != with(before)).then(|| Event::StatusChanged {
            user: user.clone(),
            status,
        });
        self.show(socket, seat, event.as_ref()).await;
    }

    /// How active the user is without this socket; `None`: it is the user's only one.
    async fn elsewhere(&self, room: &Room, socket: SocketId, user: &UserId) -> Option<String> {
        if self.link() != Link::Up {
            return None;
        }
        // Who cannot be asked about has one socket.
        let members = self.backplane.members(room, Some(user)).await.ok()?;
        let others = members.into_iter().filter(|(id, _)| *id != socket);
        let others = others.filter_map(|(_, record)| rmp_serde::from_slice(&record).ok());
        let statuses: Vec<String> = others
            .filter(|member: &Member| member.user == *user)
            .map(|member| member.status)
            .collect();
        presence::most_active(statuses.iter().map(String::as_str)).map(str::to_owned)
    }

    /// A user whose other sockets do nothing comes, or goes: that changes how active the user is.
    pub(super) async fn show_change(
        &self,
        room: &Room,
        socket: SocketId,
        user: &UserId,
        comes: bool,
    ) {
        if !room.session().is_some_and(SessionId::is_recorded) {
            return;
        }
        let Some(status) = self.elsewhere(room, socket, user).await else {
            return;
        };
        if status == ACTIVE {
            return;
        }
        let event = Event::StatusChanged {
            user: user.clone(),
            status: if comes { ACTIVE.to_owned() } else { status },
        };
        let draft = self
            .roster
            .draft(&event, Some(socket), Audience::Except(socket));
        if let Err(error) = self.backplane.announce(room, Some(draft), None).await {
            tracing::debug!(%room, %error, "a status was not told");
        }
    }

    /// Notes where a socket looks, and tells the others at once; on an island those of them who are here.
    pub(super) async fn show(&self, socket: &Socket, seat: &Seat, event: Option<&Event>) {
        let (id, room) = (socket.id, &seat.room);
        let draft = |event| self.roster.draft(event, Some(id), Audience::Except(id));
        let draft = event.map(draft);
        let member = Some((id, self.roster.member(socket, Some(seat))));
        let told = self.link() == Link::Up
            && self
                .backplane
                .announce(room, draft.clone(), member)
                .await
                .is_ok();
        if let Some(draft) = draft.filter(|_| !told) {
            self.relay
                .local(draft.into_envelope(room.clone(), None, None));
        }
    }
}
