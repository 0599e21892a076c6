//! A Yjs document in this process: the one text `code`, counted in UTF-16 units as Yjs does.
//!
//! The library may panic on updates that are well-formed and make no sense. Such an update is answered with [`Broken`],
//! and the document it was applied to is no good any more: it is thrown away, and made again of what is stored.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Assoc, ClientID, Doc, GetString, IndexedSequence, OffsetKind, Options, ReadTxn, StateVector,
    StickyIndex, Text, TextRef, Transact, TransactionMut, Update,
};

use super::Edit;

/// An update that changes nothing.
pub const EMPTY: [u8; 2] = [0, 0];
/// The shared type that is the session's text.
const NAME: &str = "code";
/// How ids of clients begin that stand for what nodes made of a plain text; the life of the session is behind it, and
/// 53 bits are all. Clients take random ones, of 32 bits as a rule.
const SEEDS: u64 = 0x1f_5eed;
const LIFE_BITS: u32 = 32;

/// Why an update cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot take it: {0}")]
pub struct Broken(String);

impl Broken {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

pub struct Document {
    doc: Doc,
    text: TextRef,
}

/// What is known of each client.
pub struct Clocks(StateVector);

impl Clocks {
    /// Nobody has written anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(&self, client: u64) -> u64 {
        u64::from(self.0.get(&ClientID::new(client)))
    }
}

impl Document {
    pub fn new() -> Self {
        Self::by(u64::from(rand::random::<u32>()))
    }

    /// One whose own edits are by this client.
    pub fn by(client: u64) -> Self {
        let doc = Doc::with_options(Options {
            offset_kind: OffsetKind::Utf16,
            ..Options::with_client_id(ClientID::new(client))
        });
        let text = doc.get_or_insert_text(NAME);
        Self { doc, text }
    }

    /// One of these updates; and how many were left out because they cannot be taken, or lack what they build on.
    pub fn of<'a>(updates: impl Iterator<Item = &'a [u8]>) -> (Self, usize) {
        let (mut document, mut taken, mut unread) = (Self::new(), Vec::new(), 0);
        for update in updates {
            match document.lay(update) {
                Ok(()) => taken.push(update),
                Err(_) => {
                    unread += 1;
                    document = Self::new();
                    // They were taken once.
                    taken.retain(|update| document.lay(update).is_ok());
                }
            }
        }
        // What one brings another may wait for: only in the end it is known what is missing.
        unread += usize::from(document.doc.transact().has_missing_updates());
        (document, unread)
    }

    /// What a plain text is in a document: the same for everybody who begins with that text in that life of a session.
    pub fn seed(text: &str, life: u64) -> Vec<u8> {
        let document = Self::by(SEEDS << LIFE_BITS | u64::from(life as u32));
        document.edit(&[Edit {
            at: 0,
            removed: 0,
            inserted: text.to_owned(),
        }])
    }

    /// The same document for edits of another client.
    pub fn twin(&self, client: u64) -> Result<Self, Broken> {
        let twin = Self::by(client);
        twin.apply(&self.state())?;
        Ok(twin)
    }

    pub fn client(&self) -> u64 {
        self.doc.client_id().get()
    }

    fn lay(&self, update: &[u8]) -> Result<(), Broken> {
        self.guarded(|txn| {
            let update = Update::decode_v1(update).map_err(|error| Broken(error.to_string()))?;
            txn.apply_update(update)
                .map_err(|error| Broken(error.to_string()))
        })
    }

    /// Takes an update of somebody else, whole.
    pub fn apply(&self, update: &[u8]) -> Result<(), Broken> {
        self.take(update).map(drop)
    }

    /// The same; what was new of it, as this document says it. That alone is stored: what a sender says again of what is
    /// known may be something else than what is known.
    pub fn take(&self, update: &[u8]) -> Result<Vec<u8>, Broken> {
        self.guarded(|txn| {
            let update = Update::decode_v1(update).map_err(|error| Broken(error.to_string()))?;
            txn.apply_update(update)
                .map_err(|error| Broken(error.to_string()))?;
            match txn.has_missing_updates() {
                false => Ok(txn.encode_update_v1()),
                true => Err(Broken("it builds on what is not there".to_owned())),
            }
        })
    }

    /// Edits in the order of the text, none overlapping; the update that does the same elsewhere.
    pub fn edit(&self, edits: &[Edit]) -> Vec<u8> {
        let mut txn = self.doc.transact_mut();
        // From the end, so that places before stay where they are.
        for edit in edits.iter().rev() {
            if edit.removed > 0 {
                self.text.remove_range(&mut txn, edit.at, edit.removed);
            }
            self.text.insert(&mut txn, edit.at, &edit.inserted);
        }
        txn.encode_update_v1()
    }

    pub fn text(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }

    /// Its length in UTF-16 units.
    pub fn length(&self) -> u64 {
        u64::from(self.text.len(&self.doc.transact()))
    }

    /// All of it, as one update.
    pub fn state(&self) -> Vec<u8> {
        self.doc
            .transact()
            .encode_state_as_update_v1(&StateVector::default())
    }

    /// What is known of each client.
    pub fn vector(&self) -> Vec<u8> {
        self.doc.transact().state_vector().encode_v1()
    }

    /// How many clocks are known of each client.
    pub fn clocks(&self) -> Clocks {
        Clocks(self.doc.transact().state_vector())
    }

    /// Whether the client stands for what nodes made of a plain text.
    pub fn is_seed(client: u64) -> bool {
        client >> LIFE_BITS == SEEDS
    }

    /// The ids of what it was begun with, if that was a plain text.
    pub fn seeds(&self) -> Vec<u64> {
        let vector = self.doc.transact().state_vector();
        let clients = vector.iter().map(|(client, _)| client.get());
        clients.filter(|client| Self::is_seed(*client)).collect()
    }

    /// What somebody lacks who has so many clocks of each client. Those that are not known here do not matter, and a
    /// stranger may have chosen them to be slow to look up.
    pub fn beyond(&self, known: impl Fn(u64) -> u64) -> Vec<u8> {
        let txn = self.doc.transact();
        let mut vector = StateVector::default();
        for (client, _) in txn.state_vector().iter() {
            let clock = known(client.get());
            vector.set_max(*client, u32::try_from(clock).unwrap_or(u32::MAX));
        }
        txn.encode_diff_v1(&vector)
    }

    /// What somebody lacks who has this vector.
    pub fn since(&self, vector: &[u8]) -> Result<Vec<u8>, Broken> {
        let vector = StateVector::decode_v1(vector).map_err(|error| Broken(error.to_string()))?;
        Ok(self.doc.transact().encode_diff_v1(&vector))
    }

    /// What `other` has and this one has not; `None`: nothing.
    pub fn lacks(&self, other: &Self) -> Result<Option<Vec<u8>>, Broken> {
        let lacking = other.since(&self.vector())?;
        let before = self.doc.transact().snapshot();
        let healed = self.twin(self.client())?;
        healed.apply(&lacking)?;
        let same = healed.doc.transact().snapshot() == before;
        Ok((!same).then_some(lacking))
    }

    /// A place that moves with the text, as Yjs writes it in JSON.
    pub fn sticky(&self, index: u32) -> String {
        let txn = self.doc.transact();
        let end = self.text.len(&txn);
        let sticky = self.text.sticky_index(&txn, index.min(end), Assoc::After);
        // At the end there is nothing to stick to but the text itself.
        let sticky =
            sticky.unwrap_or_else(|| StickyIndex::from_type(&txn, &self.text, Assoc::After));
        serde_json::to_string(&sticky).expect("a place is JSON")
    }

    /// Where such a place is now; `None`: in no text of this document.
    pub fn index(&self, sticky: &str) -> Option<u32> {
        let txn = self.doc.transact();
        let found = catch_unwind(AssertUnwindSafe(|| {
            let sticky: StickyIndex = serde_json::from_str(sticky).ok()?;
            sticky.get_offset(&txn)
        }));
        Some(found.ok()??.index)
    }

    /// A transaction ends when it is dropped, and must not end a second time while the library's panic goes on: it is
    /// left as it is then, and the document with it.
    fn guarded<T>(
        &self,
        act: impl FnOnce(&mut TransactionMut<'_>) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let mut txn = ManuallyDrop::new(self.doc.transact_mut());
        let acted = catch_unwind(AssertUnwindSafe(|| act(&mut txn)));
        let panicked = || Broken("the library gave up on it".to_owned());
        let acted = acted.map_err(|_| panicked())?;
        let ended = catch_unwind(AssertUnwindSafe(|| drop(ManuallyDrop::into_inner(txn))));
        ended.map_err(|_| panicked())?;
        acted
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

/// Several updates as one.
pub fn merge(updates: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Broken> {
    let merged = catch_unwind(AssertUnwindSafe(|| yrs::merge_updates_v1(updates)));
    let merged = merged.map_err(|_| Broken("the library gave up on them".to_owned()))?;
    merged.map_err(|error| Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::documents::edits;

    fn with(text: &str) -> Document {
        let document = Document::new();
        document.edit(&edits("", text));
        document
    }

    #[test]
    fn an_edit_does_the_same_elsewhere() {
        let (here, there) = (with("one 🙂 two"), Document::new());
        there.apply(&here.state()).unwrap();
        let update = here.edit(&edits("one 🙂 two", "1 🙃 two three"));
        there.apply(&update).unwrap();
        assert_eq!(
            (here.text(), there.text()),
            ("1 🙃 two three".into(), "1 🙃 two three".into())
        );
        there.apply(&update).unwrap();
        assert_eq!(there.text(), "1 🙃 two three");
    }

    #[test]
    fn edits_made_at_once_are_all_there() {
        let here = with("one two");
        let there = here.twin(7).unwrap();
        let a = here.edit(&edits("one two", "zero one two"));
        let b = there.edit(&edits("one two", "one two three"));
        here.apply(&b).unwrap();
        there.apply(&merge(&[a, EMPTY.to_vec()]).unwrap()).unwrap();
        assert_eq!(
            (here.text(), there.text()),
            ("zero one two three".into(), "zero one two three".into())
        );
    }

    #[test]
    fn the_same_text_in_the_same_life_is_there_once() {
        let (a, b) = (Document::seed("x = 1", 9), Document::seed("x = 1", 9));
        assert_eq!(a, b);
        let document = Document::new();
        document.apply(&a).unwrap();
        document.apply(&b).unwrap();
        assert_eq!(document.text(), "x = 1");
        assert_eq!(document.seeds(), [SEEDS << LIFE_BITS | 9]);
        assert!(with("x").seeds().is_empty());
    }

    #[test]
    fn what_another_has_is_told() {
        let here = with("one");
        let there = here.twin(7).unwrap();
        assert_eq!(here.lacks(&there), Ok(None));
        there.edit(&edits("one", "on"));
        let lacking = here
            .lacks(&there)
            .unwrap()
            .expect("a deletion is something");
        here.apply(&lacking).unwrap();
        assert_eq!(here.text(), "on");
        assert_eq!(there.lacks(&here), Ok(None));
    }

    #[test]
    fn what_is_said_again_is_nothing_new() {
        let here = with("one");
        let there = here.twin(7).unwrap();
        let update = there.edit(&edits("one", "on two"));
        assert_ne!(here.take(&update).unwrap(), EMPTY);
        assert_eq!(here.take(&update).unwrap(), EMPTY);
        assert_eq!(here.take(&there.state()).unwrap(), EMPTY);
        assert_eq!(here.beyond(|_| u64::MAX), there.beyond(|_| u64::MAX));
        assert_eq!(here.beyond(|_| 0), here.state());
    }

    #[test]
    fn what_builds_on_nothing_is_refused() {
        let here = with("one");
        let update = here.edit(&edits("one", "one two"));
        assert!(Document::new().apply(&update).is_err());
        assert!(Document::new().apply(b"no update").is_err());
        assert!(merge(&[b"no update"]).is_err());
    }

    #[test]
    fn places_move_with_the_text() {
        let document = with("one\ntwo");
        let (inside, end) = (document.sticky(4), document.sticky(7));
        document.edit(&edits("one\ntwo", "zero one\ntwo!"));
        assert_eq!(document.index(&inside), Some(9));
        assert_eq!(document.index(&end), Some(13));
        let of_yjs = r#"{"type":null,"tname":"code","item":null,"assoc":0}"#;
        assert_eq!(document.index(of_yjs), Some(13));
        assert_eq!(document.index("{}"), None);
        assert_eq!(
            document.index(r#"{"item":{"client":99,"clock":5},"assoc":0}"#),
            None
        );
    }
}
