//! Lets what comes together be handled together.
//!
//! The scheduler runs a task right behind the first one that woke it, so a consumer would find one item at
//! a time however many producers are ready. Yielding first lets them all go; it costs a look at the kernel,
//! so while items come singly it is tried only now and then.

use tokio::sync::mpsc;

/// While items come singly, one turn in this many looks whether they bunch.
const PROBE: u64 = 8;

#[derive(Default)]
pub struct Bunching {
    turns: u64,
    bunched: bool,
}

impl Bunching {
    /// Adds to `batch` what is in the queue and what is about to be, up to `most`.
    pub async fn gather<T>(
        &mut self,
        queue: &mut mpsc::Receiver<T>,
        batch: &mut Vec<T>,
        most: usize,
    ) {
        self.turns += 1;
        if self.bunched || batch.len() > 1 || self.turns.is_multiple_of(PROBE) {
            tokio::task::yield_now().await;
            drain(queue, batch, most);
            if batch.len() > 1 {
                tokio::task::yield_now().await;
                drain(queue, batch, most);
            }
        }
        self.bunched = batch.len() > 1;
    }
}

fn drain<T>(queue: &mut mpsc::Receiver<T>, batch: &mut Vec<T>, most: usize) {
    while batch.len() < most
        && let Ok(item) = queue.try_recv()
    {
        batch.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the joining of writes: once items bunch, producers that are ready go first.
    #[tokio::test]
    async fn what_is_about_to_come_is_waited_for() {
        let (sender, mut queue) = mpsc::channel(16);
        let mut bunching = Bunching {
            turns: 0,
            bunched: true,
        };
        for item in 0..5 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(item).await });
        }
        let mut batch = Vec::new();
        bunching.gather(&mut queue, &mut batch, 4).await;
        assert_eq!(batch.len(), 4);
    }
}
