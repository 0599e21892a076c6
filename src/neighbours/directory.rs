//! What a neighbour says of things by their ids, kept for a while. Whoever wants to know of one that is being asked for
//! waits for that answer; failures are not kept, but the neighbour is spared by its circuit.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Access, Away, Neighbour};

/// Of the time for which an answer is believed, the part for which it is that there is no such thing: who has just
/// been made is soon known.
const UNKNOWN: u32 = 10;
/// All but RFC 3986's unreserved characters.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is said of one thing.
pub trait Entry: Clone + Send + Sync + 'static {
    /// Out of what was answered; unknown fields are ignored.
    fn read(id: &str, said: &Map<String, Value>) -> Self;
}

pub struct Directory<T: Entry> {
    neighbour: Neighbour,
    /// The path's first part, such as `users`.
    shelf: &'static str,
    known: Cache<String, Option<T>>,
}

impl<T: Entry> Directory<T> {
    pub fn new(name: &'static str, shelf: &'static str, access: &Access) -> Result<Self, String> {
        let neighbour = Neighbour::new(name, access).map_err(|why| format!("{name}: {why}"))?;
        let known = Cache::builder()
            .max_capacity(access.answers)
            .expire_after(Believed::<T>(access.ttl, PhantomData))
            .build();
        Ok(Self {
            neighbour,
            shelf,
            known,
        })
    }

    /// What the neighbour says of this id, now or a while ago; `None`: there is no such thing.
    pub async fn lookup(&self, id: &str) -> Result<Option<T>, Away> {
        // In a path these mean another place.
        if matches!(id, "" | "." | "..") {
            return Ok(None);
        }
        let found = self.known.try_get_with_by_ref(id, self.ask(id)).await;
        found.map_err(|away| Away::clone(&away))
    }

    async fn ask(&self, id: &str) -> Result<Option<T>, Away> {
        let path = format!("/{}/{}", self.shelf, utf8_percent_encode(id, IN_PATH));
        let said = self.neighbour.get::<Map<String, Value>>(&path).await?;
        Ok(said.map(|said| T::read(id, &said)))
    }
}

/// For how long an answer is believed.
struct Believed<T>(Duration, PhantomData<fn() -> T>);

impl<T: Entry> Expiry<String, Option<T>> for Believed<T> {
    fn expire_after_create(&self, _: &String, found: &Option<T>, _: Instant) -> Option<Duration> {
        Some(match found {
            Some(_) => self.0,
            None => self.0 / UNKNOWN,
        })
    }
}
