//! What was said and what happened in recorded sessions, for those who may read it, also when the session has ended.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::{self, StreamExt};

use super::recorded::may;
use super::{Denied, Node, snapshots};
use crate::auth::Identity;
use crate::backplane;
use crate::dialects::{Delivery, Dialect};
use crate::domain::Event;
use crate::domain::roles::Action;
use crate::domain::sessions::View;
use crate::ids::{EventId, Room, SessionId};
use crate::records::{Cursor, Message, Reactions, Records, Span, Sums, Told, Wanted};

/// Events read at once for a replay: each may have a text.
const PAGE: u32 = 8;

/// Which chat is wanted.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Behind this message, in the order of the list.
    pub after: Option<EventId>,
    /// All that answers it, and itself.
    pub thread: Option<EventId>,
}

/// A page of messages and what people made of them.
pub struct Page {
    pub messages: Vec<Message>,
    pub reactions: Reactions,
}

impl Node {
    /// The records, if the caller may read this session.
    async fn readable(
        &self,
        session: &SessionId,
        caller: &Identity,
    ) -> Result<&Arc<Records>, Denied> {
        let (_, role) = self.found(session, caller).await?;
        may(role, Action::Attend)?;
        self.records().ok_or(Denied::NoRecords)
    }

    pub async fn messages(
        &self,
        session: &SessionId,
        caller: &Identity,
        asked: &Asked,
        most: u32,
    ) -> Result<Page, Denied> {
        let records = self.readable(session, caller).await?;
        records.settle(session, self.clock().now()).await?;
        let after = self.place(records, session, caller, asked.after).await?;
        let messages = match asked.thread {
            None => {
                let chat = records.chat(session, &caller.user, after.as_ref(), most);
                chat.await?
            }
            Some(id) => {
                let one = self.place(records, session, caller, Some(id)).await?;
                let root = one.and_then(|one| one.thread).unwrap_or(id);
                let thread = records.thread(session, &caller.user, root, after.as_ref(), most);
                thread.await?
            }
        };
        let reactions = records.reactions(&messages).await?;
        Ok(Page {
            messages,
            reactions,
        })
    }

    pub async fn comments(
        &self,
        session: &SessionId,
        caller: &Identity,
        wanted: &Wanted,
        after: Option<EventId>,
        most: u32,
    ) -> Result<Page, Denied> {
        let records = self.readable(session, caller).await?;
        records.settle(session, self.clock().now()).await?;
        let after = self.place(records, session, caller, after).await?;
        let comments = records.comments(session, &caller.user, wanted, after.as_ref(), most);
        let messages = comments.await?;
        let reactions = records.reactions(&messages).await?;
        Ok(Page {
            messages,
            reactions,
        })
    }

    /// A message that a list goes on behind.
    async fn place(
        &self,
        records: &Records,
        session: &SessionId,
        caller: &Identity,
        id: Option<EventId>,
    ) -> Result<Option<Message>, Denied> {
        let Some(id) = id else {
            return Ok(None);
        };
        let found = records.message(session, id).await?;
        let found = found.filter(|message| message.may_see(&caller.user));
        found.map(Some).ok_or(Denied::Missing("message"))
    }

    pub async fn chat_sums(&self, session: &SessionId, caller: &Identity) -> Result<Sums, Denied> {
        let records = self.readable(session, caller).await?;
        records.settle(session, self.clock().now()).await?;
        Ok(records.chat_sums(session).await?)
    }

    /// The session with those who are there. Nobody is in one whose room is gone.
    pub async fn attendance(&self, session: &SessionId, caller: &Identity) -> Result<View, Denied> {
        let (_, role) = self.found(session, caller).await?;
        may(role, Action::Attend)?;
        let room = Room::Session(session.clone());
        let mut snapshot = self.backplane.snapshot(&room).await?;
        if snapshot.ended() {
            snapshot = backplane::Snapshot::default();
        }
        Ok(snapshots::view(session, snapshot))
    }

    /// A page of events behind that place.
    pub async fn events(
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
        span: &Span,
        after: Cursor,
        most: u32,
    ) -> Result<Vec<Told>, Denied> {
        let records = self.readable(session, caller).await?;
        self.catch_records_up(session).await;
        let events = records.events(session, &caller.user, span, after, most);
        Ok(events.await?)
    }

    /// All events as the review door tells them, each with the end of a line. The stream ends early when the database goes
    /// away: whoever reads it sees that it was cut.
    pub async fn replay(
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
        span: Span,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, String>> + Send + 'static, Denied> {
        let records = self.readable(session, caller).await?.clone();
        self.catch_records_up(session).await;
        let span = Span { code: true, ..span };
        let (session, reader) = (session.clone(), caller.user.clone());
        // The first page is read before anything is promised.
        let first = records
            .events(&session, &reader, &span, Cursor::default(), PAGE)
            .await?;
        let pages = stream::unfold(Reading::Begun(first), move |reading| {
            let (records, span) = (records.clone(), span.clone());
            let (session, reader) = (session.clone(), reader.clone());
            async move {
                let page = match reading {
                    Reading::Begun(page) => page,
                    Reading::Behind(last) => {
                        match records.events(&session, &reader, &span, last, PAGE).await {
                            Ok(page) => page,
                            Err(error) => return Some((Err(error.to_string()), Reading::Over)),
                        }
                    }
                    Reading::Over => return None,
                };
                let next = match page.last() {
                    Some(last) if page.len() == PAGE as usize => Reading::Behind(last.cursor),
                    _ => Reading::Over,
                };
                Some((Ok(lines(&page)), next))
            }
        });
        Ok(pages.filter(|page| {
            let is_something = page.as_ref().map_or(true, |lines| !lines.is_empty());
            std::future::ready(is_something)
        }))
    }

    /// What happened until now is read, too, as far as this node can write it down.
    async fn catch_records_up(self: &Arc<Self>, session: &SessionId) {
        let (node, session) = (self.clone(), session.clone());
        // Goes on when nobody waits for it any more: what is taken out must not be lost.
        let caught_up = self.farewells.spawn(async move {
            let texts = node.unsaved.take_texts(&session);
            if let Err(why) = node.record(&session, &texts).await {
                tracing::debug!(%session, why, "read without what happened lately");
                node.unsaved.give_back(session, false, texts);
            }
        });
        if let Err(error) = caught_up.await {
            tracing::error!(%error, "what happened lately could not be written down");
        }
    }
}

/// How far a replay is.
enum Reading {
    Begun(Vec<Told>),
    Behind(Cursor),
    Over,
}

fn lines(page: &[Told]) -> Vec<u8> {
    let mut out = Vec::new();
    for told in page {
        frame(told, &mut out);
    }
    out
}

/// An event as the review door tells it, and the end of the line. Nothing of a text that was not kept.
pub fn frame(told: &Told, out: &mut Vec<u8>) {
    let Some(event) = whole(told) else {
        return;
    };
    let delivery = Delivery {
        // Whose lines these are is said by where they are read.
        room: &Room::Lobby,
        event: &event,
        at: told.event.at,
        seq: Some(told.event.seq),
        epoch: None,
        version: told.event.version,
    };
    if Dialect::Review.encode(&delivery, out) {
        out.push(b'\n');
    }
}

/// The event with the words that its message has now.
fn whole(told: &Told) -> Option<Event> {
    let mut event: Event = serde_json::from_str(&told.event.body).ok()?;
    match (&mut event, &told.words) {
        (Event::TextChanged { code, .. }, _) => {
            *code = told.event.code.as_deref().map(Arc::from);
        }
        (Event::ChatPosted(line), Some(words)) => {
            line.text = words.content.as_str().into();
            line.mentions.clone_from(&words.mentions);
        }
        (Event::CommentPosted(comment), Some(words)) => {
            comment.line.text = words.content.as_str().into();
            comment.line.mentions.clone_from(&words.mentions);
            comment.snippet = words.snippet.as_deref().map(Arc::from);
        }
        (Event::MessageEdited { text, mentions, .. }, Some(words)) => {
            *text = words.content.as_str().into();
            mentions.clone_from(&words.mentions);
        }
        _ => {}
    }
    Some(event)
}
