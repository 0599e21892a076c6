//! Updates of sockets that speak Yjs, until the next change takes all of them together.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::dialects::yjs::scan::Outline;
use crate::hub::Socket;
use crate::ids::SocketId;

/// Updates, and bytes of them, that wait before those who send more have to.
const MOST: usize = 64;
const MOST_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    bytes: usize,
    /// A task takes them.
    pub attended: bool,
    /// Some were left when others were taken.
    pub more: bool,
    /// When one was last taken.
    pub taken: Option<Instant>,
    /// Sockets that were told that their role does not allow it.
    pub denied: HashSet<SocketId>,
    /// Some were not stored: those who sent them are to be asked for what is missing.
    pub lost: bool,
}

pub struct Waiting {
    pub socket: Arc<Socket>,
    pub update: Vec<u8>,
    pub outline: Outline,
}

impl Queue {
    pub fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.update.len();
        self.waiting.push(waiting);
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST || self.bytes >= MOST_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that may be one change: all, or those of the first one's user.
    pub fn take(&mut self, of_one_user: bool) -> Vec<Waiting> {
        self.taken = Some(Instant::now());
        let first = self
            .waiting
            .first()
            .map(|waiting| waiting.socket.user.clone());
        let all = std::mem::take(&mut self.waiting);
        // They build on nothing of each other's: nobody was told of that yet.
        let (taken, others) = all
            .into_iter()
            .partition(|waiting| !of_one_user || Some(&waiting.socket.user) == first.as_ref());
        let taken: Vec<Waiting> = taken;
        self.waiting = others;
        self.more = !self.waiting.is_empty();
        let bytes: usize = taken.iter().map(|waiting| waiting.update.len()).sum();
        self.bytes -= bytes;
        taken
    }
}
