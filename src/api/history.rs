//! What was said and what happened in recorded sessions, over REST.

use hyper::{Request, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::denied::denied;
use super::query::Query;
use super::{Api, Endpoint, Place};
use crate::auth::Identity;
use crate::clock::{Millis, rfc3339};
use crate::dialects::review::ParticipantOut;
use crate::http::{self, Answer, Problem};
use crate::ids::{EventId, SessionId, UserId};
use crate::node::history::{Asked, Page, frame};
use crate::records::{Cursor, Message, Span, Told, Wanted};

const DAY: Millis = 86_400_000;

#[derive(Serialize)]
struct UserOut<'a> {
    user_id: &'a str,
    username: &'a str,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    id: String,
    user: UserOut<'a>,
    content: &'a str,
    reply_to: Option<String>,
    thread_id: Option<String>,
    mentions: &'a [UserId],
    to_user: Option<&'a str>,
    #[serde(flatten)]
    common: CommonOut<'a>,
}

#[derive(Serialize)]
struct CommentOut<'a> {
    id: String,
    user: UserOut<'a>,
    file: &'a str,
    line: u32,
    content: &'a str,
    code_snippet: Option<&'a str>,
    reply_to: Option<String>,
    mentions: &'a [UserId],
    resolved: bool,
    #[serde(flatten)]
    common: CommonOut<'a>,
}

/// What every message has.
#[derive(Serialize)]
struct CommonOut<'a> {
    reactions: Vec<ReactionOut<'a>>,
    edited_at: Option<String>,
    deleted: bool,
    timestamp: String,
    seq: Option<u64>,
}

#[derive(Serialize)]
struct ReactionOut<'a> {
    emoji: &'a str,
    users: &'a [UserId],
}

#[derive(Serialize)]
struct EventOut<'a> {
    seq: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: Option<&'a str>,
    timestamp: String,
    /// The other fields of the review door's frame.
    data: Map<String, Value>,
}

impl Api {
    pub(super) async fn serve_history<B>(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        request: &Request<B>,
    ) -> Result<Answer, Problem> {
        let caller = &self.bearer(request).await?;
        let session = SessionId::parse(place.session)
            .map_err(|bad| super::bad_field("session_id", bad.to_string()))?;
        let session = &session;
        let query = Query::of(request);
        match endpoint {
            Endpoint::Messages => self.messages(caller, session, &query).await,
            Endpoint::MessageStats => self.message_stats(caller, session).await,
            Endpoint::Comments => self.comments(caller, session, &query).await,
            Endpoint::Presence => self.presence(caller, session, &query).await,
            Endpoint::Replay => self.replay(caller, session, &query).await,
            _ => self.events(caller, session, &query).await,
        }
    }

    async fn messages(
        &self,
        caller: &Identity,
        session: &SessionId,
        query: &Query,
    ) -> Result<Answer, Problem> {
        let limit = query.limit()?;
        let cursor: Option<EventId> = query.message("cursor")?;
        let asked = Asked {
            after: cursor.or(query.message("before")?),
            thread: query.message("thread")?,
        };
        let found = self.node.messages(session, caller, &asked, limit + 1).await;
        let found = found.map_err(denied)?;
        let (shown, next) = cut(&found.messages, limit);
        let items: Vec<_> = shown
            .iter()
            .map(|one| MessageOut::of(one, &found))
            .collect();
        Ok(http::json(
            StatusCode::OK,
            &json!({ "items": items, "next_cursor": next }),
        ))
    }

    async fn message_stats(
        &self,
        caller: &Identity,
        session: &SessionId,
    ) -> Result<Answer, Problem> {
        let sums = self.node.chat_sums(session, caller).await.map_err(denied)?;
        let by_user = sums.by_user.iter().map(|(user, username, count)| {
            json!({ "user_id": user, "username": username, "count": count })
        });
        let by_day = sums.by_day.iter().map(|(day, count)| {
            let date = rfc3339(day * DAY);
            json!({ "day": date.split('T').next(), "count": count })
        });
        let reactions = sums.reactions.iter();
        let reactions = reactions.map(|(emoji, count)| json!({ "emoji": emoji, "count": count }));
        let body = json!({
            "total": sums.total,
            "by_user": by_user.collect::<Vec<_>>(),
            "by_day": by_day.collect::<Vec<_>>(),
            "reactions": reactions.collect::<Vec<_>>(),
        });
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn comments(
        &self,
        caller: &Identity,
        session: &SessionId,
        query: &Query,
    ) -> Result<Answer, Problem> {
        let (limit, after) = (query.limit()?, query.message("cursor")?);
        let wanted = Wanted {
            file: query.text("file")?.map(str::to_owned),
            resolved: query.flag("resolved")?,
        };
        let found = self
            .node
            .comments(session, caller, &wanted, after, limit + 1);
        let found = found.await.map_err(denied)?;
        let (shown, next) = cut(&found.messages, limit);
        let items: Vec<_> = shown
            .iter()
            .filter_map(|one| CommentOut::of(one, &found))
            .collect();
        Ok(http::json(
            StatusCode::OK,
            &json!({ "items": items, "next_cursor": next }),
        ))
    }

    async fn presence(
        &self,
        caller: &Identity,
        session: &SessionId,
        query: &Query,
    ) -> Result<Answer, Problem> {
        let file = query.text("file")?;
        let view = self
            .node
            .attendance(session, caller)
            .await
            .map_err(denied)?;
        let here = view
            .users
            .iter()
            .filter(|present| file.is_none_or(|file| present.looks_at(file)));
        let items: Vec<_> = here
            .filter_map(|present| ParticipantOut::of(present, &view))
            .collect();
        Ok(http::json(
            StatusCode::OK,
            &json!({ "items": items, "next_cursor": null }),
        ))
    }

    async fn events(
        &self,
        caller: &Identity,
        session: &SessionId,
        query: &Query,
    ) -> Result<Answer, Problem> {
        let limit = query.limit()?;
        let after = query.text("cursor")?.map(behind).transpose()?;
        let span = Span {
            kind: query.text("type")?.map(str::to_owned),
            ..span(query)?
        };
        let found = self
            .node
            .events(session, caller, &span, after.unwrap_or_default(), limit + 1);
        let mut found = found.await.map_err(denied)?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more);
        let next = next.map(|last| format!("{}-{}", last.cursor.part, last.cursor.seq));
        let items: Vec<_> = found.iter().map(EventOut::of).collect();
        Ok(http::json(
            StatusCode::OK,
            &json!({ "items": items, "next_cursor": next }),
        ))
    }

    async fn replay(
        &self,
        caller: &Identity,
        session: &SessionId,
        query: &Query,
    ) -> Result<Answer, Problem> {
        let replay = self.node.replay(session, caller, span(query)?).await;
        Ok(http::lines(replay.map_err(denied)?))
    }
}

impl<'a> MessageOut<'a> {
    fn of(message: &'a Message, page: &'a Page) -> Self {
        Self {
            id: message.id.to_string(),
            user: user(message),
            content: &message.content,
            reply_to: message.reply_to.map(|id| id.to_string()),
            thread_id: message.thread.map(|id| id.to_string()),
            mentions: &message.mentions,
            to_user: message.to.as_ref().map(UserId::as_str),
            common: CommonOut::of(message, page),
        }
    }
}

impl<'a> CommentOut<'a> {
    fn of(message: &'a Message, page: &'a Page) -> Option<Self> {
        let spot = message.spot.as_ref()?;
        Some(Self {
            id: message.id.to_string(),
            user: user(message),
            file: &spot.file,
            line: spot.line,
            content: &message.content,
            code_snippet: spot.snippet.as_deref(),
            reply_to: message.reply_to.map(|id| id.to_string()),
            mentions: &message.mentions,
            resolved: spot.resolved,
            common: CommonOut::of(message, page),
        })
    }
}

impl<'a> CommonOut<'a> {
    fn of(message: &Message, page: &'a Page) -> Self {
        let reactions = page
            .reactions
            .get(&message.id)
            .map_or(&[][..], Vec::as_slice);
        let reactions = reactions.iter();
        Self {
            reactions: reactions
                .map(|(emoji, users)| ReactionOut { emoji, users })
                .collect(),
            edited_at: message.edited_at.map(rfc3339),
            deleted: message.deleted_at.is_some(),
            timestamp: rfc3339(message.created_at),
            seq: message.seq,
        }
    }
}

impl<'a> EventOut<'a> {
    fn of(told: &'a Told) -> Self {
        let mut line = Vec::new();
        frame(told, &mut line);
        let mut data: Map<String, Value> = serde_json::from_slice(&line).unwrap_or_default();
        let told_at = data.remove("timestamp");
        let told_at = told_at.as_ref().and_then(Value::as_str).map(str::to_owned);
        for common in ["type", "seq", "user_id"] {
            data.remove(common);
        }
        // A text that the list leaves out: which one it was.
        if let (true, Some(version)) = (line.is_empty(), told.event.version) {
            data.insert("version".to_owned(), version.into());
        }
        Self {
            seq: told.event.seq,
            kind: &told.event.kind,
            user_id: told.event.user.as_ref().map(UserId::as_str),
            timestamp: told_at.unwrap_or_else(|| rfc3339(told.event.at)),
            data,
        }
    }
}

fn user(message: &Message) -> UserOut<'_> {
    UserOut {
        user_id: message.user.as_str(),
        username: &message.username,
    }
}

/// A page, and where the next begins, if there is one.
fn cut(messages: &[Message], limit: u32) -> (&[Message], Option<String>) {
    let has_more = messages.len() > limit as usize;
    let shown = &messages[..messages.len().min(limit as usize)];
    let next = shown.last().filter(|_| has_more);
    (shown, next.map(|last| last.id.to_string()))
}

fn span(query: &Query) -> Result<Span, Problem> {
    Ok(Span {
        from: query.time("from")?,
        to: query.time("to")?,
        ..Span::default()
    })
}

fn behind(cursor: &str) -> Result<Cursor, Problem> {
    let parts = cursor.split_once('-');
    let cursor = parts.and_then(|(part, seq)| {
        Some(Cursor {
            part: part.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    });
    cursor.ok_or_else(|| {
        let detail = "cursor is none of this list; right is a next_cursor of it, or none";
        super::bad_field("cursor", detail.to_owned())
    })
}
