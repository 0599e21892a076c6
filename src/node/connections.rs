//! The sockets of this node, one by one, in the order in which they came.

use super::Node;
use crate::clock::Millis;
use crate::dialects::Dialect;
use crate::ids::{Room, SocketId, UserId};

/// A socket as it is listed.
#[derive(Debug)]
pub struct Connection {
    pub socket: SocketId,
    pub user: UserId,
    pub name: std::sync::Arc<str>,
    pub door: &'static str,
    pub since: Millis,
    pub rooms: Vec<Room>,
}

impl Node {
    /// This node's sockets from behind the one of that number on. All of its rooms are looked through for them: not for
    /// who asks often.
    pub fn connections(&self, after: u64, most: usize) -> Vec<Connection> {
        let id = self.id();
        let mut sockets = self.hub.sockets();
        // Those of a former life are on their way out.
        sockets.retain(|socket| socket.id.is_of(id) && socket.id.counter() > after);
        sockets.sort_unstable_by_key(|socket| socket.id.counter());
        sockets.truncate(most);
        let ids: Vec<SocketId> = sockets.iter().map(|socket| socket.id).collect();
        let mut rooms = self.hub.rooms_of(&ids);
        let listed = sockets.into_iter().filter_map(|socket| {
            Some(Connection {
                socket: socket.id,
                user: socket.user.clone(),
                name: socket.name.clone(),
                door: Dialect::of_tongue(socket.tongue)?.door(),
                since: socket.since,
                rooms: rooms.remove(&socket.id).unwrap_or_default(),
            })
        });
        listed.collect()
    }
}
