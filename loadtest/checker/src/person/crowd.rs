//! Many people, and the questions one asks of them when everything is quiet.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::dial::{dial, path};
use super::frames::{Line, Said};
use super::talk::farewell;
use super::{Journal, Person, Place, Seat, World};
use crate::{Checker, Greeting, Position, Promise, Verdict};

/// Between two questions of the same kind.
const PAUSE: Duration = Duration::from_millis(250);
/// Time for a greeting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The checker's name of who comes when all is over.
const VISITOR: u64 = u64::MAX;
/// Rooms visited at once.
const VISITS: usize = 16;

#[derive(Debug)]
pub struct Crowd {
    pub world: World,
    pub people: Vec<Person>,
}

impl Crowd {
    pub fn new(promise: Promise, addresses: Vec<SocketAddr>) -> Self {
        let world = World {
            checker: Arc::new(Mutex::new(Checker::new(promise))),
            journal: Arc::new(Journal::default()),
            addresses: Arc::new(RwLock::new(addresses)),
        };
        Self {
            world,
            people: Vec::new(),
        }
    }

    pub fn seat(&mut self, seat: Seat) {
        self.people.push(Person::start(seat, self.world.clone()));
    }

    /// Waits until everybody is connected; says how many are not, in the end.
    pub async fn are_here(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            let away = self.people.iter().filter(|person| person.node().is_none());
            let away = away.count();
            if away == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{away} people are not connected"));
            }
            sleep(PAUSE).await;
        }
    }

    /// Ends writing, and waits until everybody was answered and all in a room are at the same place twice in a row.
    /// The checker is told where they are in any case; the error says what was not quiet.
    pub async fn settle(&self, within: Duration) -> Result<(), String> {
        join_all(self.people.iter().map(|person| person.write(false))).await;
        let deadline = Instant::now() + within;
        let mut before = None;
        loop {
            let places = join_all(self.people.iter().map(Person::place)).await;
            let unrest = self.unrest(&places);
            let same = before.as_ref() == Some(&places);
            if unrest.is_none() && same {
                self.tell(&places);
                return Ok(());
            }
            if Instant::now() > deadline {
                self.tell(&places);
                return Err(unrest.unwrap_or_else(|| "people are still told things".to_owned()));
            }
            before = Some(places);
            sleep(PAUSE).await;
        }
    }

    /// Why this is no rest, in words.
    fn unrest(&self, places: &[Option<Place>]) -> Option<String> {
        let mut rooms = HashMap::new();
        for (person, place) in self.people.iter().zip(places) {
            let Seat { room, user, .. } = &person.seat;
            let Some(place) = place else {
                return Some(format!("{user} in {room} is not connected"));
            };
            if place.unanswered > 0 {
                let left = place.unanswered;
                return Some(format!("{user} in {room} has {left} unanswered commands"));
            }
            let first = *rooms.entry(room).or_insert(*place);
            if first != *place {
                return Some(format!(
                    "in {room} {user} is at {place:?}, another at {first:?}"
                ));
            }
        }
        None
    }

    fn tell(&self, places: &[Option<Place>]) {
        let mut checker = self.world.checker.lock();
        for (person, place) in self.people.iter().zip(places) {
            if let Some(place) = place {
                let (room, viewer) = (&person.seat.room, person.seat.viewer);
                checker.settled(room, viewer, place.at, place.text);
            }
        }
    }

    /// Visits every room until its greeting shows exactly who is there, or time is over, and tells the checker
    /// what it showed last. Visitors are viewers too: they are owed everything that the store was to keep.
    pub async fn presence(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut rooms = BTreeMap::<&str, Vec<String>>::new();
        for person in &self.people {
            let there = rooms.entry(&person.seat.room).or_default();
            there.push(person.seat.user.clone());
        }
        let visits = rooms.into_iter().map(|(room, mut there)| async move {
            there.sort();
            loop {
                let shown = self.visit(room).await;
                let is_true = shown.as_ref().is_some_and(|(users, _)| *users == there);
                if is_true || Instant::now() > deadline {
                    return (room, shown, there);
                }
                sleep(PAUSE).await;
            }
        });
        let seen: Vec<_> = stream::iter(visits)
            .buffer_unordered(VISITS)
            .collect()
            .await;
        let mut checker = self.world.checker.lock();
        for (room, shown, there) in seen {
            let (users, greeting) = shown.unzip();
            checker.presence(room, &users.unwrap_or_default(), &there);
            if let Some(greeting) = greeting {
                checker.greeted(room, VISITOR, greeting);
            }
        }
    }

    /// The users whom a greeting shows, but for the visitor, and what else it tells.
    async fn visit(&self, room: &str) -> Option<(Vec<String>, Greeting)> {
        let address = {
            let addresses = self.world.addresses.read();
            addresses[rand::random_range(0..addresses.len())]
        };
        let visitor = format!("visitor-of-{room}");
        let mut socket = dial(address, path(room, &visitor, None)).await.ok()?;
        let greeting = timeout(PATIENCE, socket.next()).await;
        let greeting = greeting.ok()??.ok()?;
        farewell(&mut socket).await;
        let Message::Text(text) = greeting else {
            return None;
        };
        let Ok(Said::SessionState {
            users,
            chat,
            position,
            ..
        }) = serde_json::from_str(&text)
        else {
            return None;
        };
        let greeting = Greeting {
            at: Position::parse(&position?)?,
            history: chat.iter().filter_map(Line::mark).collect(),
        };
        let users = users.into_iter().map(|present| present.user_id);
        let mut users: Vec<String> = users.filter(|user| *user != visitor).collect();
        users.sort();
        Some((users, greeting))
    }

    pub fn verdict(&self) -> Verdict {
        self.world.checker.lock().verdict()
    }
}
