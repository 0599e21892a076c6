//! What holds of the scanner before the Yjs library, whatever is sent: what it takes, the library takes, without a
//! panic and with nothing left pending; and both say the same of it.

#[path = "forge.rs"]
mod forge;

use std::collections::BTreeMap;

use collabd::dialects::yjs::scan::{self, Limits, Message, Outline, Run, Update, Vector};
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, IdSet, OffsetKind, Options, ReadTxn, StateVector, Text, Transact};

use self::forge::{CLIENTS, Forge};

/// Structs of a piece.
const PIECE: usize = 2;

/// A frame, as a socket brings it; or an update that stands alone.
pub fn frame(bytes: &[u8]) {
    let limits = Limits::default();
    match scan::message(bytes, &limits) {
        Err(malformed) => assert!(malformed.at <= bytes.len(), "{malformed}"),
        Ok(Message::Step1 { raw, vector }) => step1(raw, &vector),
        Ok(Message::Step2(update) | Message::Update(update)) => World::new().take(&update),
        Ok(Message::Awareness(entries)) => assert!(entries.len() <= bytes.len()),
        Ok(Message::QueryAwareness | Message::Other) => {}
    }
    if let Ok(update) = scan::update(bytes, &limits) {
        assert_eq!(update.raw, bytes);
        World::new().take(&update);
    }
}

/// Updates one after another on the same document, forged out of the bytes.
pub fn forged(bytes: &[u8]) {
    let mut world = World::new();
    let mut forge = Forge(bytes);
    while !forge.is_used_up() {
        let known = vector(&world.document);
        let one = forge.update(CLIENTS.map(|client| clock(&known, client)));
        if let Ok(update) = scan::update(&one, &Limits::default()) {
            world.take(&update);
        }
    }
    world.end();
}

struct World {
    document: Doc,
    /// Takes everything in pieces.
    pieced: Doc,
    /// What the library says was new in each update.
    news: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self {
            document: document(),
            pieced: document(),
            news: Vec::new(),
        }
    }

    /// The library reads the same out of an update; and where nothing is missing, a document has all of it afterwards.
    fn take(&mut self, update: &Update<'_>) {
        let outline = &update.outline;
        let decoded = yrs::Update::decode_v1(update.raw).expect("what is taken is an update");
        assert_eq!(runs(&decoded.insertions(true)), joined(&outline.adds));
        assert_eq!(runs(decoded.delete_set()), joined(&outline.deletes));
        let before = vector(&self.document);
        if outline.missing(|client| clock(&before, client)).is_none() {
            let news = apply(&self.document, update.raw);
            assert_eq!(vector(&self.document), after(&before, outline));
            let new = scan::update(&news, &Limits::default()).expect("news are an update");
            assert_eq!(new.outline.missing(|client| clock(&before, client)), None);
            self.news.push(news);
            self.take_pieces(update.raw);
        }
    }

    fn take_pieces(&self, update: &[u8]) {
        let limits = Limits {
            structs: PIECE,
            ..Limits::default()
        };
        let pieces =
            scan::pieces(update, PIECE, &Limits::default()).expect("what is taken has pieces");
        for piece in &pieces {
            let piece = scan::update(piece, &limits).expect("a piece is an update");
            let known = vector(&self.pieced);
            assert_eq!(piece.outline.missing(|client| clock(&known, client)), None);
            apply(&self.pieced, piece.raw);
        }
        assert_eq!(vector(&self.pieced), vector(&self.document));
    }

    /// However a document is stored and loaded again, it has as much text. Origins that no client would name may be
    /// resolved in another order; but nothing is lost.
    fn end(&self) {
        let state = self
            .document
            .transact()
            .encode_state_as_update_v1(&StateVector::default());
        let news = yrs::merge_updates_v1(&self.news).expect("news are one update");
        let limits = Limits {
            bytes: usize::MAX,
            ..Limits::default()
        };
        assert_eq!(units(&self.pieced), units(&self.document));
        for stored in [state, news] {
            let update = scan::update(&stored, &limits).expect("what the library writes is taken");
            assert_eq!(update.outline.missing(|_| 0), None);
            let again = document();
            apply(&again, &stored);
            assert_eq!(vector(&again), vector(&self.document));
            assert_eq!(units(&again), units(&self.document));
        }
    }
}

/// An empty document, as the node makes them.
fn document() -> Doc {
    let document = Doc::with_options(Options {
        offset_kind: OffsetKind::Utf16,
        client_id: ClientID::new(99),
        ..Options::default()
    });
    document.get_or_insert_text(scan::ROOT);
    document
}

/// Applies an update of which nothing is missing. What was new in it.
fn apply(document: &Doc, update: &[u8]) -> Vec<u8> {
    let update = yrs::Update::decode_v1(update).expect("an update");
    let news = {
        let mut transaction = document.transact_mut();
        transaction
            .apply_update(update)
            .expect("what is whole is applied");
        transaction.encode_update_v1()
    };
    let transaction = document.transact();
    let store = transaction.store();
    assert!(store.pending_update().is_none() && store.pending_ds().is_none());
    assert!(!transaction.has_missing_updates());
    news
}

fn vector(document: &Doc) -> StateVector {
    document.transact().state_vector()
}

fn clock(vector: &StateVector, client: u64) -> u64 {
    u64::from(vector.get(&ClientID::new(client)))
}

fn step1(raw: &[u8], vector: &Vector) {
    let decoded = StateVector::decode_v1(raw).expect("what is taken is a state vector");
    assert_eq!(decoded.len(), vector.iter().len());
    for (&client, &clock) in decoded.iter() {
        assert_eq!(vector.get(client.get()), u64::from(clock));
    }
}

fn after(before: &StateVector, outline: &Outline) -> StateVector {
    let mut after = before.clone();
    for run in &outline.adds {
        after.set_max(
            ClientID::new(run.client),
            u32::try_from(run.to).expect("clocks are in range"),
        );
    }
    after
}

fn units(document: &Doc) -> (usize, u32) {
    let text = document.get_or_insert_text(scan::ROOT);
    let transaction = document.transact();
    let units = text.get_string(&transaction).encode_utf16().count();
    (units, text.len(&transaction))
}

type Runs = BTreeMap<u64, Vec<(u64, u64)>>;

fn runs(ids: &IdSet) -> Runs {
    let mut runs = Runs::new();
    for (client, ranges) in ids.iter() {
        for range in ranges.iter() {
            push(
                &mut runs,
                client.get(),
                u64::from(range.start),
                u64::from(range.end),
            );
        }
    }
    runs
}

fn joined(all: &[Run]) -> Runs {
    let mut runs = Runs::new();
    for run in all {
        push(&mut runs, run.client, run.from, run.to);
    }
    runs
}

/// Runs that touch are one.
fn push(runs: &mut Runs, client: u64, from: u64, to: u64) {
    let runs = runs.entry(client).or_default();
    match runs.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => runs.push((from, to)),
    }
}
