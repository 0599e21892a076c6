//! Which rooms this node has to do with: those with a socket of its own, and a little longer. It holds them,
//! so that whoever reaps it finds its members, and listens to them.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Mutex;

use super::life::Life;
use crate::backplane::{Error, SharedBackplane};
use crate::ids::{NodeId, Room};

/// How long a room is still listened to after its last socket, who as a rule is back at once.
const LINGER: Duration = Duration::from_secs(1);
/// Rooms written down with one command.
const HELD_AT_ONCE: usize = 500;

pub struct Listening {
    life: Arc<Life>,
    backplane: SharedBackplane,
    rooms: DashMap<Room, Arc<Mutex<Listened>>>,
}

/// The lock makes begin and end of one room take turns.
#[derive(Default)]
struct Listened {
    sockets: usize,
    /// Under which id the room is held; `None`: it is neither held nor heard.
    held_by: Option<NodeId>,
}

impl Listening {
    pub fn new(life: Arc<Life>, backplane: SharedBackplane) -> Self {
        Self {
            life,
            backplane,
            rooms: DashMap::new(),
        }
    }

    /// Returns when the room is held and heard. Each success is owed one [`Listening::end`].
    pub async fn begin(&self, room: &Room) -> Result<(), Error> {
        loop {
            let listened = self.rooms.entry(room.clone()).or_default().clone();
            let mut turn = listened.lock().await;
            // While we waited for our turn, an end may have taken this one out of the map.
            if !self.is_current(room, &listened) {
                continue;
            }
            let node = self.life.id();
            if turn.held_by != Some(node) {
                if let Err(error) = self.take_up(node, room).await {
                    // Otherwise whoever is there, or lingers, puts it down.
                    if turn.sockets == 0 && turn.held_by.is_none() {
                        self.put_down(node, room).await;
                        self.rooms.remove(room);
                    }
                    return Err(error);
                }
                turn.held_by = Some(node);
            }
            turn.sockets += 1;
            return Ok(());
        }
    }

    /// True when this was the last socket and the room is no longer listened to, which takes a moment.
    pub async fn end(&self, room: &Room) -> bool {
        let Some(listened) = self.rooms.get(room).map(|known| known.clone()) else {
            return false;
        };
        {
            let mut turn = listened.lock().await;
            turn.sockets -= 1;
            if turn.sockets > 0 {
                return false;
            }
        }
        tokio::time::sleep(LINGER).await;
        let turn = listened.lock().await;
        if turn.sockets > 0 || !self.is_current(room, &listened) {
            return false;
        }
        // Out of the map last: whoever comes meanwhile waits for its turn, and then takes the room up anew.
        if let Some(node) = turn.held_by {
            self.put_down(node, room).await;
        }
        self.rooms.remove(room);
        true
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
        self.rooms
            .iter()
            .filter(|room| is_heard(room.key()))
            .count()
    }

    async fn take_up(&self, node: NodeId, room: &Room) -> Result<(), Error> {
        let hold = self.backplane.hold(node, std::slice::from_ref(room));
        if !is_heard(room) {
            return hold.await;
        }
        let (held, heard) = tokio::join!(hold, self.backplane.listen(room));
        held.and(heard)
    }

    async fn put_down(&self, node: NodeId, room: &Room) {
        if is_heard(room) {
            self.backplane.unlisten(room).await;
        }
        self.backplane.release(node, room).await;
    }

    fn is_current(&self, room: &Room, listened: &Arc<Mutex<Listened>>) -> bool {
        let known = self.rooms.get(room);
        known.is_some_and(|known| Arc::ptr_eq(&known, listened))
    }
}

/// A user's room only says where the user has sockets: nothing is told there.
fn is_heard(room: &Room) -> bool {
    !matches!(room, Room::User(_))
}
