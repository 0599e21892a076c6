//! Which rooms this node has to do with: those with a socket of its own, and a little longer. It holds them,
//! so that whoever reaps it finds its members, and listens to them.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Mutex;

use crate::backplane::{Error, SharedBackplane};
use crate::ids::{NodeId, Room};

/// How long a room is still listened to after its last socket, who as a rule is back at once.
const LINGER: Duration = Duration::from_secs(1);
/// Rooms written down with one command.
const HELD_AT_ONCE: usize = 500;

pub struct Listening {
    node: NodeId,
    backplane: SharedBackplane,
    rooms: DashMap<Room, Arc<Mutex<Listened>>>,
}

/// The lock makes begin and end of one room take turns.
#[derive(Default)]
struct Listened {
    sockets: usize,
    confirmed: bool,
}

impl Listening {
    pub fn new(node: NodeId, backplane: SharedBackplane) -> Self {
        Self {
            node,
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
            if !turn.confirmed {
                if let Err(error) = self.take_up(room).await {
                    if turn.sockets == 0 {
                        self.rooms.remove(room);
                    }
                    return Err(error);
                }
                turn.confirmed = true;
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
        self.put_down(room).await;
        self.rooms.remove(room);
        true
    }

    /// Writes every room down again, for a backplane that may have lost it.
    pub async fn hold_all(&self) -> Result<(), Error> {
        let rooms: Vec<Room> = self.rooms.iter().map(|room| room.key().clone()).collect();
        for some in rooms.chunks(HELD_AT_ONCE) {
            self.backplane.hold(self.node, some).await?;
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

    async fn take_up(&self, room: &Room) -> Result<(), Error> {
        let hold = self.backplane.hold(self.node, std::slice::from_ref(room));
        if !is_heard(room) {
            return hold.await;
        }
        let (held, heard) = tokio::join!(hold, self.backplane.listen(room));
        let taken = held.and(heard);
        if taken.is_err() {
            self.put_down(room).await;
        }
        taken
    }

    async fn put_down(&self, room: &Room) {
        if is_heard(room) {
            self.backplane.unlisten(room).await;
        }
        self.backplane.release(self.node, room).await;
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
