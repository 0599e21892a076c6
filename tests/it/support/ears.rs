//! An ear that keeps what it hears, for tests to wait on.

use std::time::Duration;

use collabd::backplane::{Ear, Envelope};
use collabd::ids::Room;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longest wait for something that is about to come.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Sound {
    Heard(Envelope),
    Gap(Room),
    Resumed,
}

pub struct TestEar(UnboundedSender<Sound>);

pub struct Sounds(Mutex<UnboundedReceiver<Sound>>);

pub fn ear() -> (TestEar, Sounds) {
    let (sender, receiver) = unbounded_channel();
    (TestEar(sender), Sounds(Mutex::new(receiver)))
}

impl Ear for TestEar {
    fn heard(&self, envelope: Envelope) {
        self.put(Sound::Heard(envelope));
    }

    fn gap(&self, room: Room) {
        self.put(Sound::Gap(room));
    }

    fn resumed(&self) {
        self.put(Sound::Resumed);
    }
}

impl TestEar {
    fn put(&self, sound: Sound) {
        // A test that is over listens no more.
        let _ = self.0.send(sound);
    }
}

impl Sounds {
    pub async fn next(&self) -> Sound {
        let mut receiver = self.0.lock().await;
        let next = tokio::time::timeout(PATIENCE, receiver.recv());
        next.await
            .expect("something is heard in time")
            .expect("the ear lives as long as the backplane")
    }

    pub async fn envelope(&self) -> Envelope {
        match self.next().await {
            Sound::Heard(envelope) => envelope,
            other => panic!("an event was to be heard, not {other:?}"),
        }
    }
}
