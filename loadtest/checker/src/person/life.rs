//! A person from its first handshake to its end: connects, talks, waits as it was told to, comes back.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Order;
use super::dial::{Failure, dial, path};
use super::journal::Kind;
use super::mind::Mind;
use super::talk::{Ended, LOST, talk};

/// Waits between attempts double from the first to the longest, and begin anew once somebody was let in.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub async fn live(mut mind: Mind, mut orders: mpsc::Receiver<Order>) {
    let mut tries = Tries::new(mind.seat.first);
    while !mind.is_over {
        let Some(node) = tries.address(&mind.world.addresses.read()) else {
            mind.complain("there is no node to go to");
            break;
        };
        let (room, user) = (&mind.seat.room, &mind.seat.user);
        let path = path(room, user, mind.since());
        let Some(dialled) = meanwhile(&mut mind, &mut orders, dial(node, path)).await else {
            break;
        };
        let wait = match dialled {
            Ok(socket) => {
                let ended = talk(&mut mind, &mut orders, socket, node).await;
                if mind.is_here {
                    tries.begin_anew();
                }
                mind.disconnected();
                match ended {
                    Some(ended) => after(&mind, &ended, &mut tries),
                    None => break,
                }
            }
            Err(failure) => failed(&mind, failure, &mut tries),
        };
        let Some(wait) = wait else {
            break;
        };
        if meanwhile(&mut mind, &mut orders, tokio::time::sleep(wait))
            .await
            .is_none()
        {
            break;
        }
    }
    mind.end();
}

/// How long to wait before coming back; `None` when one may not.
fn after(mind: &Mind, ended: &Ended, tries: &mut Tries) -> Option<Duration> {
    mind.note(Kind::Gone(ended.code));
    match ended.code {
        1001 | LOST | 1011 | 1012 | 1013 | 4408 | 4429 | 4503 => {
            Some(ended.retry_in.unwrap_or_else(|| tries.wait()))
        }
        code => {
            mind.complain(format!("closed with {code}, which means: not as you are"));
            None
        }
    }
}

fn failed(mind: &Mind, failure: Failure, tries: &mut Tries) -> Option<Duration> {
    match failure {
        Failure::Unreachable => {
            mind.note(Kind::Unreachable);
            Some(tries.wait())
        }
        Failure::Refused {
            status,
            retry_after,
        } => {
            mind.note(Kind::Refused(status));
            if !matches!(status, 429 | 503) {
                mind.complain(format!("refused with {status}"));
                return None;
            }
            // Who all come when they were told to come all at once.
            let told = retry_after.map(|wait| wait.mul_f64(rand::random_range(1.0..1.5)));
            Some(told.unwrap_or_else(|| tries.wait()))
        }
    }
}

/// Awaits something while orders are taken; `None` when one of them ends the person.
async fn meanwhile<F: Future>(
    mind: &mut Mind,
    orders: &mut mpsc::Receiver<Order>,
    future: F,
) -> Option<F::Output> {
    tokio::pin!(future);
    loop {
        tokio::select! {
            output = &mut future => return Some(output),
            order = orders.recv() => {
                mind.obey(order.unwrap_or(Order::Vanish));
                if mind.is_over {
                    return None;
                }
            }
        }
    }
}

/// Which node comes next, and when.
struct Tries {
    first: Option<SocketAddr>,
    turn: usize,
    failed: u32,
}

impl Tries {
    fn new(first: Option<SocketAddr>) -> Self {
        Self {
            first,
            turn: rand::random_range(0..1_000),
            failed: 0,
        }
    }

    fn address(&mut self, known: &[SocketAddr]) -> Option<SocketAddr> {
        self.turn += 1;
        let any = known.get(self.turn % known.len().max(1)).copied();
        self.first.take().or(any)
    }

    fn begin_anew(&mut self) {
        self.failed = 0;
    }

    /// Jittered, so that those who lost their node together do not come together.
    fn wait(&mut self) -> Duration {
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.failed.min(10));
        self.failed += 1;
        wait.min(LONGEST_WAIT).mul_f64(rand::random_range(0.5..1.5))
    }
}
