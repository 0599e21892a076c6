//! Which rooms this node listens to: those with a socket of its own, and a little longer.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Mutex;

use crate::backplane::{Error, SharedBackplane};
use crate::ids::Room;

/// How long a room is still listened to after its last socket, who as a rule is back at once.
const LINGER: Duration = Duration::from_secs(1);

pub struct Listening {
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
    pub fn new(backplane: SharedBackplane) -> Self {
        Self {
            backplane,
            rooms: DashMap::new(),
        }
    }

    /// Returns when the room is heard. Each success is owed one [`Listening::end`].
    pub async fn begin(&self, room: &Room) -> Result<(), Error> {
        loop {
            let listened = self.rooms.entry(room.clone()).or_default().clone();
            let mut turn = listened.lock().await;
            // While we waited for our turn, an end may have taken this one out of the map.
            if !self.is_current(room, &listened) {
                continue;
            }
            if !turn.confirmed {
                if let Err(error) = self.backplane.listen(room).await {
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
        self.rooms.remove(room);
        self.backplane.unlisten(room).await;
        true
    }

    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    fn is_current(&self, room: &Room, listened: &Arc<Mutex<Listened>>) -> bool {
        let known = self.rooms.get(room);
        known.is_some_and(|known| Arc::ptr_eq(&known, listened))
    }
}
