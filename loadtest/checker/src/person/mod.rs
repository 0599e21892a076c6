//! People in rooms who behave as clients should, and tell the checker everything.
//!
//! A [`Person`] comes back after whatever may be come back from, says where it was, repeats what was not
//! acknowledged under the same id, and believes only positions that it was told. It speaks the pairing dialect
//! over real sockets and knows nothing of who runs the nodes: addresses are a list that may change under it.

mod commands;
mod crowd;
mod dial;
mod frames;
mod journal;
mod life;
mod mind;
mod talk;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use self::crowd::Crowd;
pub use self::journal::{Entry, Journal, Kind};
use crate::{Checker, Position};

/// Orders waiting for a person; they are few, and who gives one may wait.
const ORDERS: usize = 16;

/// What all people share.
#[derive(Debug, Clone)]
pub struct World {
    pub checker: Arc<Mutex<Checker>>,
    pub journal: Arc<Journal>,
    /// Where nodes are; whoever must connect takes one of them, and the next when that fails.
    pub addresses: Arc<RwLock<Vec<SocketAddr>>>,
}

/// Who somebody is, and how it behaves.
#[derive(Debug, Clone)]
pub struct Seat {
    pub room: String,
    pub user: String,
    /// The checker's name of it; unique in the room, and the upper half of its marks.
    pub viewer: u64,
    /// Where it goes first.
    pub first: Option<SocketAddr>,
    pub manner: Manner,
}

#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// From one chat line to the next, on average. `None`: only listens.
    pub chat_every: Option<Duration>,
    /// From one text to the next.
    pub text_every: Option<Duration>,
    pub ping_every: Duration,
    /// A connection that leaves a ping unanswered this long is dead.
    pub patience: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            chat_every: None,
            text_every: None,
            ping_every: Duration::from_secs(2),
            patience: Duration::from_secs(5),
        }
    }
}

/// Where somebody is when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: Position,
    /// The text's version and a hash of it.
    pub text: Option<(u64, u64)>,
    /// Commands that were not answered yet.
    pub unanswered: usize,
}

#[derive(Debug)]
enum Order {
    Write(bool),
    Where(oneshot::Sender<Place>),
    /// Goes without a word, as when a laptop is closed, and never comes back.
    Vanish,
    /// Closes politely.
    Leave,
}

/// A person of ours, living in a task. It goes without a word when this is dropped.
#[derive(Debug)]
pub struct Person {
    pub seat: Seat,
    orders: mpsc::Sender<Order>,
    /// The node it is connected to, once it was greeted there.
    node: watch::Receiver<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Person {
    pub fn start(seat: Seat, world: World) -> Self {
        let (orders, taken) = mpsc::channel(ORDERS);
        let (told, node) = watch::channel(None);
        let mind = mind::Mind::new(seat.clone(), world, told);
        let task = tokio::spawn(life::live(mind, taken));
        Self {
            seat,
            orders,
            node,
            task,
        }
    }

    pub fn node(&self) -> Option<SocketAddr> {
        *self.node.borrow()
    }

    pub async fn write(&self, writes: bool) {
        self.order(Order::Write(writes)).await;
    }

    /// Asks the node where this person is; `None` when it is not connected, or loses its socket meanwhile.
    pub async fn place(&self) -> Option<Place> {
        let (tell, told) = oneshot::channel();
        self.order(Order::Where(tell)).await;
        let told = tokio::time::timeout(self.seat.manner.patience, told).await;
        told.ok()?.ok()
    }

    pub async fn vanish(self) {
        self.end(Order::Vanish).await;
    }

    pub async fn leave(self) {
        self.end(Order::Leave).await;
    }

    async fn end(mut self, how: Order) {
        self.order(how).await;
        // A task that ended is what was wanted, however it ended; a panic in it is printed by the runtime.
        let _ = (&mut self.task).await;
    }

    async fn order(&self, order: Order) {
        // Whoever gave up on its own (see [`Kind::Complaint`]) takes no orders.
        let _ = self.orders.send(order).await;
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.task.abort();
    }
}
