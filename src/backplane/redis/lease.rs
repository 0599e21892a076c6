//! Until when the others believe that this node lives, by this process's own clock.
//!
//! Whoever stood still may still have commands to send when it goes on, from a time when it had members. What
//! they would write has been cleared away meanwhile, and nobody would clear it away again: they are refused here. It is
//! standing still that counts: who runs, and just cannot reach the list of nodes, is no danger.

use std::time::Instant;

use parking_lot::RwLock;

use crate::backplane::Error;
use crate::ids::NodeId;

/// `None` until the node has first said that it lives.
#[derive(Default)]
pub struct Lease(RwLock<Option<(NodeId, Instant)>>);

impl Lease {
    pub fn renew(&self, node: NodeId, until: Instant) {
        *self.0.write() = Some((node, until));
    }

    /// The backplane could not be asked: nobody can take this node for dead there, and it is running.
    pub fn excuse(&self, until: Instant) {
        if let Some((_, deadline)) = self.0.write().as_mut() {
            *deadline = until.max(*deadline);
        }
    }

    /// Whether the node has said before that it lives, under this id.
    pub fn is_of(&self, node: NodeId) -> bool {
        self.0.read().is_some_and(|(known, _)| known == node)
    }

    /// Before each write.
    pub fn check(&self) -> Result<(), Error> {
        match *self.0.read() {
            Some((_, until)) if Instant::now() > until => {
                let why = "this node's lease has run out, and is to be renewed first";
                Err(Error::Unavailable(why.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn writes_wait_for_a_lease_that_ran_out() {
        let (lease, node) = (Lease::default(), NodeId::random());
        assert_eq!(lease.check(), Ok(()));
        let now = Instant::now();
        lease.renew(node, now + Duration::from_secs(60));
        assert_eq!(lease.check(), Ok(()));
        assert!(lease.is_of(node) && !lease.is_of(NodeId::random()));
        lease.renew(node, now - Duration::from_millis(1));
        assert!(matches!(lease.check(), Err(Error::Unavailable(_))));
        lease.excuse(now + Duration::from_secs(60));
        assert_eq!(lease.check(), Ok(()));
    }
}
