//! One wheel for the heartbeats of all sockets: no timer per socket.
//!
//! Each socket sits in one of the wheel's slots, by its id; a slot is visited once an interval. A visit
//! sends a ping, or closes a socket that has been silent for two intervals.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::close;
use crate::dialects::{Dialect, socketio};
use crate::hub::{Lane, Socket, frame};

const SLOTS: u32 = 25;

pub struct Heartbeat {
    slots: Vec<Mutex<Vec<Weak<Socket>>>>,
    tick: AtomicU32,
    every: Duration,
    packet: Bytes,
}

impl Heartbeat {
    pub fn new(interval: Duration) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            tick: AtomicU32::new(0),
            every: interval / SLOTS,
            packet: frame::text(socketio::packet::write::PING),
        }
    }

    /// The tick it is now, for [`Socket::heard_at`].
    pub fn now(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }

    pub fn add(&self, socket: &Arc<Socket>) {
        socket.heard_at(self.now());
        let slot = socket.id.counter() % u64::from(SLOTS);
        self.slots[slot as usize]
            .lock()
            .push(Arc::downgrade(socket));
    }

    pub async fn turn(&self) {
        let mut every = tokio::time::interval(self.every);
        // After a pause of the process the missed ticks are not made up for: nobody was silent then.
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let now = self.tick.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            self.visit(now);
        }
    }

    /// In Socket.IO a ping is a packet.
    fn ping(&self, socket: &Socket) -> Bytes {
        match Dialect::of_tongue(socket.tongue) {
            Some(Dialect::SocketIo) => self.packet.clone(),
            _ => frame::ping(),
        }
    }

    fn visit(&self, now: u32) {
        let mut slot = self.slots[(now % SLOTS) as usize].lock();
        slot.retain(|socket| {
            let Some(socket) = socket.upgrade() else {
                return false;
            };
            if now.wrapping_sub(socket.last_heard()) >= 2 * SLOTS {
                socket.close(close::SILENT, "nothing was heard for two heartbeats");
                return false;
            }
            socket.send(Lane::Ordered, self.ping(&socket));
            true
        });
    }
}
