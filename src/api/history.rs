//! What was said and what happened in recorded sessions, over REST.

use hyper::{Request, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::asked::{Asked, Page as Pages, bad_field};
use super::denied::denied;
use super::{Api, Endpoint, Place};
use crate::auth::Identity;
use crate::clock::{Millis, rfc3339};
use crate::dialects::review::ParticipantOut;
use crate::http::{self, Answer, Problem};
use crate::ids::{EventId, SessionId, UserId};
use crate::node::history::{Asked as Wish, Page, frame};
use crate::records::{Cursor, Message, Span, Told, Wanted};

const DAY: Millis = 86_400_000;
const PAGE: Pages = Pages {
    usual: 50,
    most: 200,
};

/// Who said it.
#[derive(Serialize, ToSchema)]
#[schema(as = Author)]
pub(super) struct UserOut<'a> {
    user_id: &'a str,
    username: &'a str,
}

/// A line of chat.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageOut<'a> {
    id: String,
    user: UserOut<'a>,
    content: &'a str,
    reply_to: Option<String>,
    thread_id: Option<String>,
    #[schema(value_type = Vec<String>)]
    mentions: &'a [UserId],
    to_user: Option<&'a str>,
    #[serde(flatten)]
    common: CommonOut<'a>,
}

/// A comment on a line of a file.
#[derive(Serialize, ToSchema)]
#[schema(as = Comment)]
pub(super) struct CommentOut<'a> {
    id: String,
    user: UserOut<'a>,
    file: &'a str,
    line: u32,
    content: &'a str,
    code_snippet: Option<&'a str>,
    reply_to: Option<String>,
    #[schema(value_type = Vec<String>)]
    mentions: &'a [UserId],
    resolved: bool,
    #[serde(flatten)]
    common: CommonOut<'a>,
}

/// What every message has.
#[derive(Serialize, ToSchema)]
#[schema(as = Said)]
pub(super) struct CommonOut<'a> {
    reactions: Vec<ReactionOut<'a>>,
    edited_at: Option<String>,
    deleted: bool,
    timestamp: String,
    seq: Option<u64>,
}

/// Who reacted so, the first first.
#[derive(Serialize, ToSchema)]
#[schema(as = Reaction)]
pub(super) struct ReactionOut<'a> {
    emoji: &'a str,
    #[schema(value_type = Vec<String>)]
    users: &'a [UserId],
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionEvent)]
pub(super) struct EventOut<'a> {
    seq: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: Option<&'a str>,
    timestamp: String,
    /// The other fields of the review door's frame.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
}

/// A page of chat.
#[derive(Serialize, ToSchema)]
#[schema(as = Messages)]
pub(super) struct MessagesOut<'a> {
    items: Vec<MessageOut<'a>>,
    /// Where the next page begins; `null`: this is the last.
    next_cursor: Option<String>,
}

/// A page of comments.
#[derive(Serialize, ToSchema)]
#[schema(as = Comments)]
pub(super) struct CommentsOut<'a> {
    items: Vec<CommentOut<'a>>,
    /// Where the next page begins; `null`: this is the last.
    next_cursor: Option<String>,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionEvents)]
pub(super) struct EventsOut<'a> {
    items: Vec<EventOut<'a>>,
    /// Where the next page begins; `null`: this is the last.
    next_cursor: Option<String>,
}

/// Who is there.
#[derive(Serialize, ToSchema)]
#[schema(as = Attendance)]
pub(super) struct PresenceOut<'a> {
    #[schema(value_type = Vec<Object>)]
    items: Vec<ParticipantOut<'a>>,
    next_cursor: Option<String>,
}

/// The text of a version.
#[derive(Serialize, ToSchema)]
#[schema(as = PastText)]
pub(super) struct TextOut<'a> {
    session_id: &'a str,
    version: u64,
    code: &'a str,
    /// Who made that version; `null` where that is not known, as of the newest.
    user_id: Option<&'a str>,
    /// And when.
    timestamp: Option<String>,
}

/// Chat, summed up.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatSums)]
pub(super) struct StatsOut<'a> {
    total: u64,
    /// The most talkative first.
    by_user: Vec<UserSumOut<'a>>,
    by_day: Vec<DaySumOut>,
    reactions: Vec<ReactionSumOut<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChatSumOfUser)]
struct UserSumOut<'a> {
    user_id: &'a str,
    username: &'a str,
    count: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChatSumOfDay)]
struct DaySumOut {
    /// By UTC, such as 2026-01-31.
    day: String,
    count: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReactionSum)]
struct ReactionSumOut<'a> {
    emoji: &'a str,
    count: u64,
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
            .map_err(|bad| bad_field("session_id", bad.to_string()))?;
        let session = &session;
        let asked = Asked::of(request.uri().query());
        match endpoint {
            Endpoint::Messages => self.messages(caller, session, &asked).await,
            Endpoint::MessageStats => self.message_stats(caller, session).await,
            Endpoint::Comments => self.comments(caller, session, &asked).await,
            Endpoint::Presence => self.presence(caller, session, &asked).await,
            Endpoint::Replay => self.replay(caller, session, &asked).await,
            Endpoint::Text => self.text(caller, session, &asked).await,
            _ => self.events(caller, session, &asked).await,
        }
    }

    async fn text(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let version = asked.number("version")?;
        let past = self.node.text(session, caller, version).await;
        let past = past.map_err(denied)?;
        let (user, at) = past.by.unzip();
        let body = TextOut {
            session_id: session.as_str(),
            version: past.version,
            code: &past.code,
            user_id: user.as_ref().map(UserId::as_str),
            timestamp: at.map(rfc3339),
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn messages(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let limit = asked.limit(PAGE)?;
        let cursor: Option<EventId> = asked.message("cursor")?;
        let wish = Wish {
            after: cursor.or(asked.message("before")?),
            thread: asked.message("thread")?,
        };
        let found = self.node.messages(session, caller, &wish, limit + 1).await;
        let found = found.map_err(denied)?;
        let (shown, next) = cut(&found.messages, limit);
        let body = MessagesOut {
            items: shown
                .iter()
                .map(|one| MessageOut::of(one, &found))
                .collect(),
            next_cursor: next,
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn message_stats(
        &self,
        caller: &Identity,
        session: &SessionId,
    ) -> Result<Answer, Problem> {
        let sums = self.node.chat_sums(session, caller).await.map_err(denied)?;
        let by_user = sums
            .by_user
            .iter()
            .map(|(user, username, count)| UserSumOut {
                user_id: user.as_str(),
                username,
                count: *count,
            });
        let by_day = sums.by_day.iter().map(|(day, count)| DaySumOut {
            day: rfc3339(day * DAY)
                .split('T')
                .next()
                .unwrap_or_default()
                .to_owned(),
            count: *count,
        });
        let reactions = sums.reactions.iter();
        let reactions = reactions.map(|(emoji, count)| ReactionSumOut {
            emoji,
            count: *count,
        });
        let body = StatsOut {
            total: sums.total,
            by_user: by_user.collect(),
            by_day: by_day.collect(),
            reactions: reactions.collect(),
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn comments(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let (limit, after) = (asked.limit(PAGE)?, asked.message("cursor")?);
        let wanted = Wanted {
            file: asked.words("file")?.map(str::to_owned),
            resolved: asked.flag("resolved")?,
        };
        let found = self
            .node
            .comments(session, caller, &wanted, after, limit + 1);
        let found = found.await.map_err(denied)?;
        let (shown, next) = cut(&found.messages, limit);
        let body = CommentsOut {
            items: shown
                .iter()
                .filter_map(|one| CommentOut::of(one, &found))
                .collect(),
            next_cursor: next,
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn presence(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let file = asked.words("file")?;
        let view = self
            .node
            .attendance(session, caller)
            .await
            .map_err(denied)?;
        let here = view
            .users
            .iter()
            .filter(|present| file.is_none_or(|file| present.looks_at(file)));
        let body = PresenceOut {
            items: here
                .filter_map(|present| ParticipantOut::of(present, &view))
                .collect(),
            next_cursor: None,
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn events(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let limit = asked.limit(PAGE)?;
        let after = asked.words("cursor")?.map(behind).transpose()?;
        let span = Span {
            kind: asked.words("type")?.map(str::to_owned),
            ..span(asked)?
        };
        let found = self
            .node
            .events(session, caller, &span, after.unwrap_or_default(), limit + 1);
        let mut found = found.await.map_err(denied)?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more);
        let next = next.map(|last| format!("{}-{}", last.cursor.part, last.cursor.seq));
        let body = EventsOut {
            items: found.iter().map(EventOut::of).collect(),
            next_cursor: next,
        };
        Ok(http::json(StatusCode::OK, &body))
    }

    async fn replay(
        &self,
        caller: &Identity,
        session: &SessionId,
        asked: &Asked<'_>,
    ) -> Result<Answer, Problem> {
        let replay = self.node.replay(session, caller, span(asked)?).await;
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

fn span(asked: &Asked<'_>) -> Result<Span, Problem> {
    Ok(Span {
        from: asked.time("from")?,
        to: asked.time("to")?,
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
        bad_field("cursor", detail.to_owned())
    })
}
