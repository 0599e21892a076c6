//! Who is aware of a document: what Yjs clients show of themselves, and the cursors of those who take whole texts.
//!
//! Never stored. Each entry belongs to the socket that brought it; clients repeat what they are told, which says nothing
//! new. What changes is told to the other nodes and to this node's sockets at a pace, all of it that is there in one
//! frame; of what changed twice only the newest.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::Millis;
use crate::dialects::yjs::frames;
use crate::domain::{Awareness, Cursor};
use crate::hub::frame;
use crate::ids::{SocketId, UserId};

/// Clients say that they are there twice in this time, or are gone.
const EXPIRY: Duration = Duration::from_secs(30);
/// How often those are said again that do not speak for themselves.
const AGAIN: Duration = Duration::from_secs(15);
/// Entries of one document, and of one socket.
const MOST: usize = 5_000;
const MOST_OF_SOCKET: usize = 8;
/// How ids begin of people who take whole texts; the rest is of their names.
const PEOPLE: u64 = 0x1f_cafe;
const NAMES: u32 = 32;
/// What a client that is gone shows.
pub const GONE: &str = "null";

/// Everybody who is aware of a document.
#[derive(Default)]
pub struct Aware {
    known: HashMap<u64, Known>,
    /// Clients of this node's sockets that other nodes are to be told of.
    ours: BTreeSet<u64>,
    /// A task tells them.
    pub attended: bool,
    /// When they were last told.
    pub told: Option<tokio::time::Instant>,
    /// Other nodes were asked.
    pub asked: bool,
    /// How people are called who take whole texts.
    names: HashMap<UserId, Arc<str>>,
}

/// What came of something that a client said of itself.
#[derive(Debug, PartialEq)]
pub enum Said {
    New,
    /// Nothing new, or nothing that it may say.
    Nothing,
    /// It comes back, and everybody knows a later end of it: once it is told of that, its next clock is beyond it.
    Gone(Awareness),
}

struct Known {
    entry: Awareness,
    heard: Instant,
    /// Where whole-text sockets were told that it is.
    cursor: Option<Cursor>,
    /// It moved since newcomers at other doors are told where it is.
    unshown: bool,
    /// A person who takes whole texts, whom the node speaks for.
    spoken_for: bool,
}

impl Aware {
    /// Whether it may be something new that a socket says of a client: most of it is what it was told.
    pub fn is_news(&self, client: u64, clock: u64, state: &str, socket: SocketId) -> bool {
        // The ids that people have who take whole texts are the nodes' own.
        if client >> NAMES == PEOPLE {
            return false;
        }
        let Some(known) = self.known.get(&client) else {
            return state != GONE;
        };
        let entry = &known.entry;
        let comes_back = &*entry.state == GONE && entry.socket != socket;
        clock > entry.clock || (clock == entry.clock && state == GONE) || comes_back
    }

    /// A client of this node's says something of itself.
    pub fn say(&mut self, entry: Awareness) -> Said {
        let client = entry.client;
        let all = self.known.len();
        let is_new = !self.known.contains_key(&client);
        let of_socket = if is_new {
            self.of(entry.socket).count()
        } else {
            0
        };
        let gone = &*entry.state == GONE;
        match self.known.entry(client) {
            Slot::Occupied(mut slot) => {
                let known = slot.get();
                let same = known.entry.socket == entry.socket;
                let back = known.entry.user == entry.user && !known.spoken_for && !gone;
                let newer = known.entry.clock < entry.clock
                    || known.entry.clock == entry.clock && gone && same;
                let was_gone = &*known.entry.state == GONE;
                if back && !same && was_gone && !newer {
                    return Said::Gone(known.entry.clone());
                }
                if !newer || !(same || back) {
                    return Said::Nothing;
                }
                slot.insert(Known::of(entry));
            }
            Slot::Vacant(_) if gone || of_socket >= MOST_OF_SOCKET || all >= MOST => {
                return Said::Nothing;
            }
            Slot::Vacant(slot) => {
                slot.insert(Known::of(entry));
            }
        }
        self.ours.insert(client);
        Said::New
    }

    /// What other nodes are to be told. Those that are gone are forgotten with it.
    pub fn take_ours(&mut self) -> Vec<Awareness> {
        let ours = std::mem::take(&mut self.ours);
        let entries = ours.iter().filter_map(|client| self.known.get(client));
        entries.map(|known| known.entry.clone()).collect()
    }

    /// A node told this. What is new of it, with the cursor that was last told of each.
    pub fn hear(&mut self, entries: Vec<Awareness>) -> Vec<Awareness> {
        let mut new = Vec::with_capacity(entries.len());
        for entry in entries {
            let gone = &*entry.state == GONE;
            let all = self.known.len();
            match self.known.entry(entry.client) {
                Slot::Occupied(mut slot) => {
                    let known = slot.get_mut();
                    let newer = known.entry.clock <= entry.clock;
                    if !newer {
                        continue;
                    }
                    known.unshown |= known.entry.state != entry.state;
                    known.entry = entry.clone();
                    known.heard = Instant::now();
                }
                Slot::Vacant(_) if gone || all >= MOST => {}
                Slot::Vacant(slot) => {
                    slot.insert(Known::of(entry.clone()));
                }
            }
            new.push(entry);
        }
        new
    }

    /// The clients of a socket are gone: other nodes are to be told.
    pub fn end(&mut self, socket: SocketId) -> bool {
        let there = self.of(socket).filter(|known| &*known.entry.state != GONE);
        let clients: Vec<u64> = there.map(|known| known.entry.client).collect();
        for client in &clients {
            if let Some(known) = self.known.get_mut(client) {
                known.entry.clock += 1;
                known.entry.state = GONE.into();
                known.heard = Instant::now();
                self.ours.insert(*client);
            }
        }
        !clients.is_empty()
    }

    /// All of this node's are told again.
    pub fn say_all(&mut self, is_ours: impl Fn(SocketId) -> bool) -> bool {
        let ours = self.known.values().filter(|known| {
            let gone = &*known.entry.state == GONE;
            !gone && !known.spoken_for && is_ours(known.entry.socket)
        });
        self.ours = ours.map(|known| known.entry.client).collect();
        !self.ours.is_empty()
    }

    /// Forgets who was silent for long, or whose node is dead; and says those again who do not speak for themselves. What
    /// this node's sockets are to be told of that.
    pub fn tidy(&mut self, at: Millis, is_alive: impl Fn(SocketId) -> bool) -> Vec<Awareness> {
        let now = Instant::now();
        let mut told = Vec::new();
        self.known.retain(|_, known| {
            let silent = now - known.heard;
            if known.spoken_for {
                if silent >= AGAIN {
                    known.entry.clock = clock(at, Some(known));
                    known.heard = now;
                    told.push(known.entry.clone());
                }
                // Until its user leaves.
                return true;
            }
            let gone = &*known.entry.state == GONE;
            let stays = silent < EXPIRY && (gone || is_alive(known.entry.socket));
            if !stays && !gone {
                let state = GONE.into();
                told.push(Awareness {
                    state,
                    ..known.entry.clone()
                });
            }
            stays
        });
        told
    }

    /// Everybody, in one frame; `None`: nobody.
    pub fn frame(&self) -> Option<Bytes> {
        let there = self.known.values().map(|known| &known.entry);
        let all: Vec<&Awareness> = there.filter(|entry| &*entry.state != GONE).collect();
        let fill = |out: &mut Vec<u8>| frames::awareness(all.iter().copied(), out);
        (!all.is_empty()).then(|| frame::binary_with(1_024, fill))
    }

    /// Whether the socket speaks for itself.
    pub fn speaks(&self, socket: SocketId) -> bool {
        self.of(socket).any(|known| !known.spoken_for)
    }

    /// Notes where people are told that a client is; false when they know.
    pub fn moves(&mut self, client: u64, cursor: Cursor) -> bool {
        let known = self.known.get_mut(&client);
        known.is_some_and(|known| known.cursor.replace(cursor) != Some(cursor))
    }

    pub fn name(&mut self, user: &UserId, name: &Arc<str>) {
        if self.names.len() >= MOST && !self.names.contains_key(user) {
            // Who is still there is named again by the next who comes.
            self.names.clear();
        }
        self.names.insert(user.clone(), name.clone());
    }

    /// Sockets of this node whose cursor newcomers at other doors are not told yet, and the place of it; at most so many.
    pub fn unshown(
        &mut self,
        is_ours: impl Fn(SocketId) -> bool,
        most: usize,
    ) -> Vec<(SocketId, String)> {
        let moved = self
            .known
            .values_mut()
            .filter(|known| known.unshown && !known.spoken_for && is_ours(known.entry.socket));
        let shown = moved.take(most).filter_map(|known| {
            known.unshown = false;
            Some((known.entry.socket, head(&known.entry.state)?))
        });
        shown.collect()
    }

    /// Somebody who takes whole texts moved the cursor. What this node's sockets are to be told.
    pub fn speak_for(&mut self, user: &UserId, at: Millis, sticky: &str) -> Option<Awareness> {
        let client = client_of(user);
        let name = self.names.get(user).map_or(user.as_str(), |name| name);
        let state = state(user, name, sticky);
        let known = self.known.get(&client);
        if known.is_some_and(|known| !known.spoken_for)
            || known.is_none() && self.known.len() >= MOST
        {
            return None;
        }
        let entry = Awareness {
            client,
            clock: clock(at, known),
            state: state.into(),
            socket: SocketId::standing_for(user),
            user: user.clone(),
        };
        let spoken_for = true;
        self.known.insert(
            client,
            Known {
                spoken_for,
                ..Known::of(entry.clone())
            },
        );
        Some(entry)
    }

    /// Whether somebody who takes whole texts is among the clients.
    pub fn knows(&self, user: &UserId) -> bool {
        self.known.contains_key(&client_of(user))
    }

    /// Somebody left. What this node's sockets are to be told.
    pub fn leave(&mut self, user: &UserId, at: Millis) -> Option<Awareness> {
        let client = client_of(user);
        let known = self.known.get(&client).filter(|known| known.spoken_for)?;
        let mut entry = known.entry.clone();
        entry.clock = clock(at, Some(known));
        entry.state = GONE.into();
        self.known.remove(&client);
        Some(entry)
    }

    fn of(&self, socket: SocketId) -> impl Iterator<Item = &Known> {
        self.known
            .values()
            .filter(move |known| known.entry.socket == socket)
    }
}

impl Known {
    fn of(entry: Awareness) -> Self {
        Self {
            entry,
            heard: Instant::now(),
            cursor: None,
            unshown: true,
            spoken_for: false,
        }
    }
}

/// The same on every node, of which each says it to its own: the time when it happened.
fn clock(at: Millis, known: Option<&Known>) -> u64 {
    let after = known.map_or(0, |known| known.entry.clock + 1);
    after.max(u64::try_from(at).unwrap_or(0))
}

/// Under which client a person appears, the same on every node: beyond the random numbers that clients take.
fn client_of(user: &UserId) -> u64 {
    let hash = hash(user.as_str());
    (PEOPLE << NAMES) | (hash & 0xffff_ffff)
}

/// FNV-1a, which is the same everywhere and for ever.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What editors show of a person: a name, a colour that is always the same, and where the cursor is, for editors of two
/// kinds.
fn state(user: &UserId, name: &str, sticky: &str) -> String {
    let hue = hash(user.as_str()) % 360;
    let place: serde_json::Value = serde_json::from_str(sticky).unwrap_or_default();
    let place = serde_json::json!({ "anchor": place, "head": place });
    let user = serde_json::json!({
        "name": name,
        "color": format!("hsl({hue}, 70%, 40%)"),
        "colorLight": format!("hsla({hue}, 70%, 40%, 0.25)"),
        "id": user.as_str(),
    });
    serde_json::json!({ "user": user, "cursor": place, "selection": place }).to_string()
}

/// The place in a client's state where its cursor is, as the editors of two kinds say it.
pub fn head(state: &str) -> Option<String> {
    let state: serde_json::Value = serde_json::from_str(state).ok()?;
    let place = ["cursor", "selection"]
        .into_iter()
        .find_map(|name| state.get(name)?.get("head"))?;
    Some(place.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn entry(socket: SocketId, name: &str, client: u64, clock: u64, state: &str) -> Awareness {
        Awareness {
            client,
            clock,
            state: state.into(),
            socket,
            user: user(name),
        }
    }

    fn socket() -> SocketId {
        SocketId::next(NodeId::random())
    }

    #[test]
    fn clients_speak_for_themselves_alone() {
        let (mut aware, ann, bob) = (Aware::default(), socket(), socket());
        assert_eq!(aware.say(entry(ann, "ann", 1, 1, "{}")), Said::New);
        // Repeated, older, another's, another's end.
        for (socket, name, clock, state) in [
            (ann, "ann", 1, "{}"),
            (ann, "ann", 0, "{}"),
            (bob, "bob", 9, "{}"),
            (bob, "bob", 9, GONE),
        ] {
            assert_eq!(
                aware.say(entry(socket, name, 1, clock, state)),
                Said::Nothing
            );
        }
        // The same client comes back by another socket.
        assert_eq!(aware.say(entry(bob, "ann", 1, 2, "{}")), Said::New);
        assert_eq!(aware.take_ours().len(), 1);
        assert_eq!(aware.take_ours().len(), 0);
        assert!(aware.end(bob));
        let told = aware.take_ours();
        assert_eq!((told[0].clock, &*told[0].state), (3, GONE));
        assert_eq!(aware.hear(told).len(), 1);
        // It comes back, and is not there before its clock is beyond its end.
        let back = socket();
        let early = aware.say(entry(back, "ann", 1, 2, "{}"));
        assert!(matches!(early, Said::Gone(end) if end.clock == 3));
        assert!(aware.frame().is_none());
        assert_eq!(aware.say(entry(back, "ann", 1, 4, "{}")), Said::New);
    }

    #[test]
    fn one_socket_is_not_a_crowd() {
        let (mut aware, ann) = (Aware::default(), socket());
        let said = (0..100)
            .filter(|client| aware.say(entry(ann, "ann", *client, 1, "{}")) == Said::New)
            .count();
        assert_eq!(said, MOST_OF_SOCKET);
    }

    #[test]
    fn the_dead_are_told_of_once() {
        let (mut aware, ann) = (Aware::default(), socket());
        aware.hear(vec![entry(ann, "ann", 1, 5, "{}")]);
        assert!(aware.tidy(0, |_| true).is_empty());
        let told = aware.tidy(0, |_| false);
        assert_eq!((told[0].clock, &*told[0].state), (5, GONE));
        assert!(aware.tidy(0, |_| false).is_empty());
    }

    #[test]
    fn people_of_whole_texts_have_a_place_among_clients() {
        let (mut aware, ann) = (Aware::default(), socket());
        aware.name(&user("ann"), &"Ann".into());
        let place = r#"{"tname":"code","assoc":0}"#;
        let first = aware.speak_for(&user("ann"), 1_000, place).unwrap();
        let second = aware.speak_for(&user("ann"), 1_000, place).unwrap();
        assert_eq!(
            (first.client, first.clock + 1),
            (second.client, second.clock)
        );
        assert!(first.client > u64::from(u32::MAX) && first.client < 1 << 53);
        let state: serde_json::Value = serde_json::from_str(&first.state).unwrap();
        assert_eq!(state["user"]["name"], "Ann");
        assert_eq!(
            head(&first.state).unwrap(),
            state["cursor"]["head"].to_string()
        );
        assert!(!aware.speaks(ann));
        assert_eq!(&*aware.leave(&user("ann"), 2_000).unwrap().state, GONE);
        assert!(aware.leave(&user("ann"), 2_000).is_none());
    }

    #[test]
    fn a_state_without_a_cursor_has_none() {
        for state in ["null", "{}", r#"{"cursor":null}"#, "[1]"] {
            assert_eq!(head(state), None);
        }
    }
}
