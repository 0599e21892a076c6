//! Direct messages that greet those whom they are for. They are in the records alone: a room's history is everybody's.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::clock::Millis;
use crate::domain::chat::Line;
use crate::ids::{Position, SessionId, UserId};
use crate::node::chat::line_of;
use crate::records::{Error, Message, Records};

/// Lines for each user, with their seqs, the oldest first.
pub(super) type Letters = HashMap<UserId, Vec<(u64, Line)>>;

/// How many greet somebody.
const MOST: u32 = 50;
/// Users whose letters are read at once.
const AT_ONCE: usize = 8;
/// Nobody waits longer for them at the door.
const PATIENCE: Duration = Duration::from_secs(1);
/// What was said this lately and behind the greeting's place is heard like any other event.
const LATELY: Millis = 30_000;

/// Those of these users, as the room was at that place.
pub(super) async fn of(
    records: &Records,
    session: &SessionId,
    mut readers: Vec<UserId>,
    at: Position,
    now: Millis,
) -> Letters {
    readers.sort_unstable();
    readers.dedup();
    if readers.is_empty() {
        return Letters::default();
    }
    match tokio::time::timeout(PATIENCE, read(records, session, readers, at, now)).await {
        Ok(Ok(letters)) => letters,
        Ok(Err(error)) => {
            tracing::debug!(%session, %error, "greeted without direct messages");
            Letters::default()
        }
        Err(_) => {
            tracing::debug!(%session, "greeted without direct messages: the database is slow");
            Letters::default()
        }
    }
}

async fn read(
    records: &Records,
    session: &SessionId,
    readers: Vec<UserId>,
    at: Position,
    now: Millis,
) -> Result<Letters, Error> {
    records.settle(session, now).await?;
    if !records.has_letters(session).await? {
        return Ok(Letters::default());
    }
    let is_told = |message: &Message| {
        let seq = message.seq?;
        let comes_yet = seq > at.seq && message.created_at > now - LATELY;
        (!comes_yet).then(|| (seq, line_of(message)))
    };
    let read = stream::iter(readers).map(|reader| async move {
        let letters = records.letters(session, &reader, MOST).await?;
        let lines: Vec<_> = letters.iter().filter_map(is_told).collect();
        Ok((reader, lines))
    });
    let read: Vec<Result<_, Error>> = read.buffer_unordered(AT_ONCE).collect().await;
    read.into_iter().collect()
}
