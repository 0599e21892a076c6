//! Reads what comes from outside before the Yjs library (`yrs`) sees a byte of it: whole frames of y-protocols, and
//! updates in the first encoding of Yjs.
//!
//! The library trusts its input: it allocates what a sender claims, folds numbers into 32 bits, takes a struct twice
//! where a client is named twice, and follows nested types until the stack is gone, which no unwinding catches. So what
//! passes here is exactly what Yjs writes for one plain text: every count is backed by bytes, every number is in range,
//! every string is UTF-8, and every struct is text, deleted text or a gap, in the root [`ROOT`].
//!
//! Everything else that a Yjs document can hold is refused, not skipped. Embedded objects count as characters for the
//! library but not for people, so that edits by whole-text clients would land beside their place; formatting makes the
//! library delete by itself, so that a document is not what its updates say; nested types can be as deep as a sender
//! likes; other roots would be stored for ever and shown to nobody.
//!
//! Knows neither `yrs` nor what the document holds. Takes memory in proportion to the bytes that are there, time in
//! proportion to them too (times a logarithm), and never panics.

mod awareness;
mod deletes;
mod order;
mod outline;
mod pieces;
mod reader;
mod structs;
#[cfg(test)]
mod tests;
mod vector;

use std::fmt;

pub use self::awareness::Entry;
pub use self::outline::{Id, Outline, Run};
pub use self::pieces::pieces;
use self::reader::Reader;
pub use self::vector::Vector;

/// The name of the document's one shared type: `ydoc.getText("code")`.
pub const ROOT: &str = "code";

/// The largest clock. The library subtracts clocks as signed numbers of 32 bits.
pub const MOST_CLOCK: u64 = i32::MAX as u64;

/// How much one frame may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole frame, or of an update that stands alone.
    pub bytes: usize,
    /// Clients in a state vector, in an update, or in its deletions: the library keeps them in a table that a sender
    /// can make slow by its choice of numbers.
    pub clients: usize,
    /// Structs of an update. An editor that formats a long file writes some for each line.
    pub structs: usize,
    /// Runs of an update's deletions. Who answers a first step tells all that were ever made.
    pub deletes: usize,
    /// Entries of an awareness frame. Clients send back all that they were told, so it is as many as are present.
    pub entries: usize,
    /// One client's awareness, as JSON.
    pub state_bytes: usize,
    /// How deep that JSON may nest.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            clients: 1 << 13,
            structs: 1 << 16,
            deletes: 1 << 17,
            entries: 1 << 14,
            state_bytes: 1 << 14,
            depth: 64,
        }
    }
}

/// What is wrong with a frame, as a sentence that also says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The byte at which that was seen, counted from the frame's first.
    pub at: usize,
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// One message of y-protocols, borrowed from its frame.
#[derive(Debug, PartialEq)]
pub enum Message<'a> {
    /// `00 00`: what the sender has; the state vector as it came, and read.
    Step1 { raw: &'a [u8], vector: Vector },
    /// `00 01`: what this end lacks.
    Step2(Update<'a>),
    /// `00 02`: an edit.
    Update(Update<'a>),
    /// `01`: who is present, and where.
    Awareness(Vec<Entry<'a>>),
    /// `03`: asks for all awareness.
    QueryAwareness,
    /// What a client may send and a node ignores: `02`, auth.
    Other,
}

/// An update in the first encoding of Yjs.
#[derive(Debug, PartialEq)]
pub struct Update<'a> {
    pub raw: &'a [u8],
    pub outline: Outline,
}

/// Reads a whole frame, which holds one message and nothing after it.
pub fn message<'a>(frame: &'a [u8], limits: &Limits) -> Result<Message<'a>, Malformed> {
    let mut reader = Reader::new(frame, limits)?;
    let kind = reader.number("the kind of a message")?;
    let message = match kind {
        0 => sync(&mut reader, limits)?,
        1 => {
            let mut inside = reader.inside("an awareness update")?;
            let entries = awareness::entries(&mut inside, limits)?;
            inside.end("an awareness update")?;
            Message::Awareness(entries)
        }
        2 => {
            reader.number("the kind of an auth message")?;
            reader.string("the reason in an auth message")?;
            Message::Other
        }
        3 => Message::QueryAwareness,
        _ => {
            return Err(Malformed {
                at: 0,
                what: format!(
                    "there is no message {kind}: 0 is sync, 1 awareness, 2 auth, 3 asks for awareness"
                ),
            });
        }
    };
    reader.end("a message")?;
    Ok(message)
}

/// Reads an update in the first encoding of Yjs, to its last byte.
pub fn update<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Update<'a>, Malformed> {
    let mut reader = Reader::new(bytes, limits)?;
    whole_update(&mut reader, limits)
}

fn sync<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Message<'a>, Malformed> {
    let at = reader.at();
    match reader.number("the step of a sync message")? {
        0 => {
            let mut inside = reader.inside("a state vector")?;
            let raw = inside.rest();
            let vector = Vector::read(&mut inside, limits)?;
            inside.end("a state vector")?;
            Ok(Message::Step1 { raw, vector })
        }
        1 => whole_update(&mut reader.inside("an update")?, limits).map(Message::Step2),
        2 => whole_update(&mut reader.inside("an update")?, limits).map(Message::Update),
        step => Err(Malformed {
            at,
            what: format!("there is no step {step} of sync: 0 asks, 1 answers, 2 is an edit"),
        }),
    }
}

fn whole_update<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Update<'a>, Malformed> {
    let raw = reader.rest();
    let (mut outline, order) = structs::read(reader, limits)?;
    outline.needs = order.needs;
    outline.deletes = deletes::read(reader, limits)?;
    reader.end("an update")?;
    Ok(Update { raw, outline })
}
