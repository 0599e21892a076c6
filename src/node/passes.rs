//! The tokens that this node's sockets came in with: until when they hold, and which sockets go when one is
//! revoked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Millis;
use crate::ids::SocketId;

#[derive(Default)]
pub struct Passes(Mutex<Known>);

#[derive(Default)]
struct Known {
    passes: HashMap<SocketId, Pass>,
    by_end: BTreeSet<(Millis, SocketId)>,
    by_token: HashMap<Arc<str>, Vec<SocketId>>,
}

struct Pass {
    ends_at: Millis,
    token: Option<Arc<str>>,
    /// It has ended or was revoked. The pass stays as long as its socket: one that is still coming in must
    /// find it.
    void: bool,
}

impl Passes {
    /// The socket's pass, in place of the one it had.
    pub fn put(&self, socket: SocketId, ends_at: Millis, token: Option<Arc<str>>) {
        let mut known = self.0.lock();
        known.remove(socket);
        known.by_end.insert((ends_at, socket));
        if let Some(token) = &token {
            known
                .by_token
                .entry(token.clone())
                .or_default()
                .push(socket);
        }
        let pass = Pass {
            ends_at,
            token,
            void: false,
        };
        known.passes.insert(socket, pass);
    }

    pub fn has(&self, socket: SocketId) -> bool {
        self.0.lock().passes.contains_key(&socket)
    }

    pub fn remove(&self, socket: SocketId) {
        self.0.lock().remove(socket);
    }

    /// Marks the sockets of a token that is revoked, and names them.
    pub fn revoke(&self, token: &str) -> Vec<SocketId> {
        let mut known = self.0.lock();
        let sockets = known.by_token.get(token).cloned().unwrap_or_default();
        for socket in &sockets {
            if let Some(pass) = known.passes.get_mut(socket) {
                pass.void = true;
            }
        }
        sockets
    }

    /// Whether the token that the socket came with has ended or been revoked since.
    pub fn is_void(&self, socket: SocketId) -> bool {
        let known = self.0.lock();
        known.passes.get(&socket).is_some_and(|pass| pass.void)
    }

    /// Marks the passes that have ended since this was last asked, and names their sockets.
    pub fn ended(&self, now: Millis) -> Vec<SocketId> {
        let mut known = self.0.lock();
        let mut ended = Vec::new();
        while let Some((ends_at, socket)) = known.by_end.first().copied()
            && ends_at <= now
        {
            known.by_end.pop_first();
            if let Some(pass) = known.passes.get_mut(&socket) {
                pass.void = true;
            }
            ended.push(socket);
        }
        ended
    }

    /// Every token somebody is here with.
    pub fn tokens(&self) -> Vec<Arc<str>> {
        self.0.lock().by_token.keys().cloned().collect()
    }
}

impl Known {
    fn remove(&mut self, socket: SocketId) {
        let Some(pass) = self.passes.remove(&socket) else {
            return;
        };
        self.by_end.remove(&(pass.ends_at, socket));
        let Some(token) = pass.token else {
            return;
        };
        if let Some(sockets) = self.by_token.get_mut(&token) {
            sockets.retain(|known| *known != socket);
            if sockets.is_empty() {
                self.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    /// Guards those who renewed their token: the old one's end must not be theirs.
    #[test]
    fn a_renewed_pass_ends_when_the_new_one_does() {
        let (passes, socket) = (Passes::default(), SocketId::next(NodeId::random()));
        passes.put(socket, 10, Some("old".into()));
        passes.put(socket, 20, Some("new".into()));
        assert!(passes.ended(19).is_empty());
        assert!(passes.revoke("old").is_empty());
        assert!(!passes.is_void(socket));
        assert_eq!(passes.ended(20), [socket]);
        assert!(passes.ended(20).is_empty());
        passes.remove(socket);
        assert!(passes.tokens().is_empty());
    }

    /// Guards a socket that is still coming in when its token ends: nobody looks at it again.
    #[test]
    fn a_pass_that_has_ended_is_void_until_its_socket_goes_or_renews_it() {
        let (passes, socket) = (Passes::default(), SocketId::next(NodeId::random()));
        passes.put(socket, 10, None);
        assert_eq!(passes.ended(10), [socket]);
        assert!(passes.is_void(socket));
        passes.put(socket, 20, None);
        assert!(!passes.is_void(socket));
        passes.remove(socket);
        assert!(passes.ended(20).is_empty());
    }

    /// Guards a socket that is still coming in when its token is revoked.
    #[test]
    fn a_revoked_token_marks_each_of_its_sockets() {
        let passes = Passes::default();
        let node = NodeId::random();
        let (first, second) = (SocketId::next(node), SocketId::next(node));
        passes.put(first, 10, Some("t".into()));
        passes.put(second, 20, Some("t".into()));
        passes.remove(first);
        assert_eq!(passes.revoke("t"), [second]);
        assert!(passes.is_void(second) && !passes.is_void(first));
    }
}
