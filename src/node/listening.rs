//! Which rooms this node has to do with: those with a socket of its own, and a little longer. It holds them,
//! so that whoever reaps it finds its members, and listens to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::life::Life;
use crate::backplane::{Error, SharedBackplane};
use crate::ids::{NodeId, Room};

/// How long a room is still listened to after its last socket, who as a rule is back at once.
const LINGER: Duration = Duration::from_secs(1);
/// How long rooms that were put down are remembered, and how many.
const LATELY: Duration = Duration::from_secs(60);
const LATELY_MOST: usize = 10_000;
/// Rooms written down with one command.
const HELD_AT_ONCE: usize = 500;

pub struct Listening {
    life: Arc<Life>,
    backplane: SharedBackplane,
    rooms: DashMap<Room, Arc<Mutex<Listened>>>,
    /// Rooms that were put down lately, and when: a store that loses writes may have a member there again.
    lately: parking_lot::Mutex<VecDeque<(Instant, Room)>>,
}

/// The lock makes begin and end of one room take turns.
#[derive(Default)]
struct Listened {
    /// For how many it is held, and how many of these hear it.
    holders: usize,
    hearers: usize,
    /// Under which id the room is held; `None`: it is not.
    held_by: Option<NodeId>,
    heard: bool,
}

/// What a room is taken up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Something of it belongs to this node, and nothing is heard: the places of a user.
    Holding,
    /// A socket.
    Hearing,
}

impl Listening {
    pub fn new(life: Arc<Life>, backplane: SharedBackplane) -> Self {
        Self {
            life,
            backplane,
            rooms: DashMap::new(),
            lately: parking_lot::Mutex::default(),
        }
    }

    /// Returns when the room is held and heard. Each success is owed one [`Listening::end`].
    pub async fn begin(&self, room: &Room) -> Result<(), Error> {
        self.take(room, For::Hearing).await
    }

    /// Returns when the room is held. Each success is owed one [`Listening::release`].
    pub async fn hold(&self, room: &Room) -> Result<(), Error> {
        self.take(room, For::Holding).await
    }

    /// True when this was the last socket and the room is no longer listened to, which takes a moment.
    pub async fn end(&self, room: &Room) -> bool {
        self.give_back(room, For::Hearing).await
    }

    /// The same for who held it: the last one puts it down, whatever it was held for.
    pub async fn release(&self, room: &Room) -> bool {
        self.give_back(room, For::Holding).await
    }

    async fn take(&self, room: &Room, what: For) -> Result<(), Error> {
        loop {
            let listened = self.rooms.entry(room.clone()).or_default().clone();
            let mut turn = listened.lock().await;
            // While we waited for our turn, an end may have taken this one out of the map.
            if !self.is_current(room, &listened) {
                continue;
            }
            if let Err(error) = self.take_up(room, &mut turn, what).await {
                // Otherwise whoever is there, or lingers, puts it down.
                if turn.holders == 0 && turn.held_by.is_none() {
                    self.put_down(self.life.id(), room, what == For::Hearing)
                        .await;
                    self.rooms.remove(room);
                }
                return Err(error);
            }
            turn.holders += 1;
            turn.hearers += usize::from(what == For::Hearing);
            return Ok(());
        }
    }

    async fn give_back(&self, room: &Room, what: For) -> bool {
        let Some(listened) = self.rooms.get(room).map(|known| known.clone()) else {
            return false;
        };
        {
            let mut turn = listened.lock().await;
            turn.holders -= 1;
            turn.hearers -= usize::from(what == For::Hearing);
            if turn.holders > 0 && (turn.hearers > 0 || !turn.heard) {
                return false;
            }
        }
        tokio::time::sleep(LINGER).await;
        let mut turn = listened.lock().await;
        if turn.hearers > 0 || !self.is_current(room, &listened) {
            return false;
        }
        if turn.holders > 0 {
            // The places of its user are still this node's.
            let heard = std::mem::take(&mut turn.heard);
            if heard {
                self.backplane.unlisten(room).await;
            }
            return heard;
        }
        // Out of the map last: whoever comes meanwhile waits for its turn, and then takes the room up anew.
        if let Some(node) = turn.held_by {
            self.put_down(node, room, turn.heard).await;
        }
        self.rooms.remove(room);
        turn.heard
    }

    /// Writes every room down again, for a backplane that may have lost it.
    pub async fn hold_all(&self) -> Result<(), Error> {
        let rooms: Vec<Room> = self.rooms.iter().map(|room| room.key().clone()).collect();
        for some in rooms.chunks(HELD_AT_ONCE) {
            self.backplane.hold(self.life.id(), some).await?;
        }
        Ok(())
    }

    /// Rooms listened to.
    pub fn count(&self) -> usize {
        // Those that are being taken up or put down are not counted.
        let is_heard =
            |listened: &Mutex<Listened>| listened.try_lock().is_ok_and(|turn| turn.heard);
        self.rooms.iter().filter(|room| is_heard(room)).count()
    }

    /// Sees to it that the room is held, by who this node is now, and heard if that is wanted.
    async fn take_up(&self, room: &Room, turn: &mut Listened, what: For) -> Result<(), Error> {
        let node = self.life.id();
        let holds = async {
            if turn.held_by == Some(node) {
                return Ok(());
            }
            self.backplane.hold(node, std::slice::from_ref(room)).await
        };
        let hears = async {
            if turn.heard || what == For::Holding {
                return Ok(());
            }
            self.backplane.listen(room).await
        };
        let (held, heard) = tokio::join!(holds, hears);
        if held.is_ok() && heard.is_ok() {
            turn.held_by = Some(node);
            turn.heard |= what == For::Hearing;
        }
        held.and(heard)
    }

    /// Rooms put down so lately that a store may have lost it.
    pub fn put_down_lately(&self) -> Vec<Room> {
        let lately = self.lately.lock();
        lately.iter().map(|(_, room)| room.clone()).collect()
    }

    async fn put_down(&self, node: NodeId, room: &Room, heard: bool) {
        {
            let mut lately = self.lately.lock();
            while lately
                .front()
                .is_some_and(|(at, _)| lately.len() >= LATELY_MOST || at.elapsed() > LATELY)
            {
                lately.pop_front();
            }
            lately.push_back((Instant::now(), room.clone()));
        }
        if heard {
            self.backplane.unlisten(room).await;
        }
        self.backplane.release(node, room).await;
    }

    fn is_current(&self, room: &Room, listened: &Arc<Mutex<Listened>>) -> bool {
        let known = self.rooms.get(room);
        known.is_some_and(|known| Arc::ptr_eq(&known, listened))
    }
}
