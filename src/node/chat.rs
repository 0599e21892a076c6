//! What goes into the records before anybody is told: messages, comments, what people make of them, and what the session
//! is called.
//!
//! A message is stored as pending, committed, then marked as told. Said again under the same id it is the same message,
//! wherever the first attempt ended. What changes a message is written first, too; whoever told the others what was not
//! true any more by then tells them once more, so that the last thing told is what stands in the records.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::commands::Asker;
use super::{Denied, Node, NotAdmitted, pack};
use crate::backplane::{self, Audience, Change, Committed, History, Link};
use crate::clock::Millis;
use crate::domain::chat::{Line, mentioned};
use crate::domain::comments::Comment;
use crate::domain::roles::{Action, Role};
use crate::domain::{Code, Deed, Event, Member, Reject};
use crate::ids::{EventId, Room, SessionId, UserId};
use crate::records::{self, Message, Reacted, Records, Spot};

/// Times that a change is told anew because it changed again meanwhile.
const AGAIN: usize = 8;
/// Users that a name may be of, beyond those who are there now.
const PEOPLE: u32 = 1_000;

/// Why an id cannot be used again so soon.
const SAID: &str = "this id was used for something else a moment ago; right is another id, or none";

/// Users of a session by their names.
type People = HashMap<UserId, String>;

impl Asker {
    /// Writes something down and tells the others, then the one who asked.
    pub(super) async fn carry_out(self, deed: Deed) {
        match self.record(deed).await {
            Ok(Some(committed)) => self.acknowledge(committed, false),
            Ok(None) => {}
            Err(why) => self.reject(self.reason(why)),
        }
    }

    async fn record(&self, deed: Deed) -> Result<Option<Committed>, Denied> {
        let node = &self.node;
        if node.link() != Link::Up {
            return Err(backplane::Error::Unavailable("not connected".to_owned()).into());
        }
        let session = self.room.session().ok_or(backplane::Error::Missing)?;
        let user = &self.participant.socket.user;
        // What was told is not done again: it may have been undone since.
        let known = match &self.id {
            Some(id) => node.backplane.known(&self.room, user, id).await?,
            None => None,
        };
        let access = node.backplane.standing(&self.room, user).await?;
        let role = access.role.as_deref().and_then(Role::parse);
        let role = role.ok_or(backplane::Error::Missing)?;
        if !role.may(Action::Contribute) {
            return Err(backplane::Error::Forbidden.into());
        }
        let talk = Talk {
            asker: self,
            records: node.books()?,
            session,
            user,
            role,
            known,
        };
        if let Some(seq) = known
            && !matches!(deed, Deed::Post(_) | Deed::Comment(_))
        {
            self.settle_seq(seq);
            return Ok(None);
        }
        match deed {
            Deed::Post(line) => talk.post(line, None).await,
            Deed::Comment(comment) => {
                let Comment {
                    line,
                    file,
                    row,
                    snippet,
                } = comment;
                let spot = Spot {
                    file: file.to_string(),
                    line: row,
                    snippet: snippet.map(|snippet| snippet.to_string()),
                    resolved: false,
                };
                talk.post(line, Some(spot)).await
            }
            Deed::React {
                message,
                emoji,
                add,
            } => talk.react(message, emoji, add).await,
            Deed::Edit { message, text } => talk.edit(message, &text).await.map(Some),
            Deed::Delete { message } => talk.delete(message).await,
            Deed::Resolve { comment, resolved } => talk.resolve(comment, resolved).await,
            Deed::ChangeSession(wish) => {
                let told = node.rewrite(session, user, role, wish.into()).await?;
                self.settle_seq(told.1);
                Ok(None)
            }
        }
    }

    /// Tells the sender that it was done, when it was done by somebody else than the commit.
    fn settle_seq(&self, seq: u64) {
        if let Some(id) = self.id.as_deref() {
            self.node
                .say_at(&self.participant, |position| crate::dialects::Reply::Ack {
                    seq,
                    position,
                    id,
                });
        }
    }

    fn reason(&self, why: Denied) -> Reject {
        match why {
            Denied::Bad(reject) => reject,
            Denied::Forbidden(sentence) => Reject::new(Code::Forbidden, sentence),
            Denied::Missing(what) => Reject::new(
                Code::NotFound,
                format!("there is no such {what} in this session"),
            ),
            Denied::Records(detail) => {
                tracing::debug!(parent: &self.participant.span(), detail, "records failed");
                Reject::no_records()
            }
            Denied::NoRecords => Reject::no_records(),
            Denied::Node(NotAdmitted::Backplane(error)) => self.refusal(error),
            other => {
                tracing::debug!(parent: &self.participant.span(), %other, "a deed failed");
                Reject::unavailable()
            }
        }
    }
}

/// Somebody who may say something in a session.
struct Talk<'a> {
    asker: &'a Asker,
    records: &'a Records,
    session: &'a SessionId,
    user: &'a UserId,
    role: Role,
    /// Where the command was committed already.
    known: Option<u64>,
}

impl Talk<'_> {
    async fn post(&self, mut line: Line, spot: Option<Spot>) -> Result<Option<Committed>, Denied> {
        let thread = match line.reply_to {
            Some(id) => Some(self.answered(id, &line, spot.is_some()).await?),
            None => None,
        };
        if line.to.is_some() || line.text.contains('@') {
            let mut people = self.people().await?;
            if let Some(to) = &line.to {
                if !people.contains_key(to) {
                    return Err(Denied::Missing("user"));
                }
                people.retain(|user, _| user == to || user == self.user);
            }
            line.mentions = found(&line.text, &people);
        }
        let message = message_of(self.session, line, spot, thread);
        let (id, command) = (message.id, self.asker.id.as_deref());
        let since = message.created_at - self.asker.node.config.idempotency.as_millis() as Millis;
        let stored = self.records.post(message.clone(), command, since).await?;
        let is_new = stored.id == id;
        if (is_new && self.known.is_some()) || !stored.says(&message) {
            if is_new {
                self.records.unsay(id).await?;
            }
            return Err(Reject::new(Code::Conflict, SAID).into());
        }
        if let Some(seq) = stored.seq.or(self.known) {
            self.mark(&stored, seq).await;
            self.asker.settle_seq(seq);
            return Ok(None);
        }
        let (line, event) = event_of(&stored);
        let public = stored.to.is_none() && stored.spot.is_none();
        let history = public.then(|| History::Push(pack(&line)));
        let once = self.asker.id.clone();
        match self.commit(&event, &stored, history, once).await {
            Ok(committed) if committed.repeated && is_new => {
                // Said twice at once, the other attempt told it; or something else was said by this id at that moment.
                let now = self.asker.node.clock().now();
                match self.records.message_soon(self.session, id, now).await? {
                    Some(_) => Ok(Some(committed)),
                    None => Err(Reject::new(Code::Conflict, SAID).into()),
                }
            }
            Ok(committed) => {
                self.mark(&stored, committed.position.seq).await;
                Ok(Some(committed))
            }
            Err(error) => {
                if !matches!(error, backplane::Error::Unavailable(_)) {
                    self.records.unsay(stored.id).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Notes that a message was told. What fails here is made up for when the room's log is recorded.
    async fn mark(&self, message: &Message, seq: u64) {
        if message.seq.is_some() {
            return;
        }
        let marked = async {
            if self.records.told(message.id, seq).await? {
                return Ok(());
            }
            if self
                .records
                .message(self.session, message.id)
                .await?
                .is_none()
            {
                // Another attempt by the same id gave it up in between.
                let command = self.asker.id.as_deref();
                self.records
                    .post(message.clone(), command, message.created_at - 1)
                    .await?;
                self.records.told(message.id, seq).await?;
            }
            Ok(())
        };
        let marked: Result<(), records::Error> = marked.await;
        if let Err(error) = marked {
            tracing::debug!(session = %self.session, %error, "a message is marked later");
        }
    }

    /// The root of the thread that a message answers by answering that one.
    async fn answered(
        &self,
        id: EventId,
        line: &Line,
        is_comment: bool,
    ) -> Result<EventId, Denied> {
        let answered = self.find(id).await?;
        if answered.spot.is_some() != is_comment {
            return Err(Denied::Missing("message to answer"));
        }
        if let Some(to) = &answered.to {
            let between = [to, &answered.user];
            let fits = line.to.as_ref().is_some_and(|to| between.contains(&to));
            if !fits {
                let sentence = "an answer to a direct message is one, too, to the other of the two";
                return Err(Reject::field("to_user", sentence).into());
            }
        } else if line.to.is_some() {
            let sentence = "what everybody may read is not answered by a direct message";
            return Err(Reject::field("reply_to", sentence).into());
        }
        Ok(answered.thread.unwrap_or(id))
    }

    async fn edit(&self, id: EventId, text: &str) -> Result<Committed, Denied> {
        let message = self.find(id).await?;
        if message.user != *self.user {
            return Err(Denied::Forbidden("only its author edits a message"));
        }
        let mentions = if text.contains('@') {
            let mut people = self.people().await?;
            if let Some(to) = &message.to {
                people.retain(|user, _| user == to || user == self.user);
            }
            found(text, &people)
        } else {
            Vec::new()
        };
        let now = self.asker.node.clock().now();
        if !self.records.edit(id, text, &mentions, now).await? {
            return Err(Denied::Missing("message"));
        }
        self.tell(id, |message| Event::MessageEdited {
            user: message.user.clone(),
            message: id,
            text: message.content.as_str().into(),
            mentions: message.mentions.clone(),
            at: message.edited_at.unwrap_or(now),
        })
        .await
    }

    async fn delete(&self, id: EventId) -> Result<Option<Committed>, Denied> {
        let message = self.seen(id).await?;
        if message.user != *self.user && !self.role.may(Action::Manage) {
            return Err(Denied::Forbidden(
                "only its author and the host delete a message",
            ));
        }
        if message.deleted_at.is_some() {
            return self.nothing_new().await;
        }
        let now = self.asker.node.clock().now();
        self.records.delete(id, now).await?;
        let told = self.tell(id, |_| Event::MessageDeleted {
            user: self.user.clone(),
            message: id,
        });
        told.await.map(Some)
    }

    /// It is as it was to be: only the sender is told.
    async fn nothing_new(&self) -> Result<Option<Committed>, Denied> {
        let at = self.asker.node.backplane.position(&self.asker.room).await?;
        self.asker.settle_seq(at.map_or(0, |at| at.seq));
        Ok(None)
    }

    async fn resolve(&self, id: EventId, resolved: bool) -> Result<Option<Committed>, Denied> {
        let comment = self.find(id).await?;
        if comment.spot.is_none() {
            return Err(Denied::Missing("comment"));
        }
        if comment.thread.is_some() {
            let sentence = "this comment answers another; right is the id of the first one";
            return Err(Reject::field("comment_id", sentence).into());
        }
        if !self.records.resolve(id, resolved).await? {
            return self.nothing_new().await;
        }
        let told = self.tell(id, |comment| Event::CommentResolved {
            user: self.user.clone(),
            comment: id,
            resolved: comment.spot.as_ref().is_some_and(|spot| spot.resolved),
        });
        told.await.map(Some)
    }

    async fn react(
        &self,
        id: EventId,
        emoji: String,
        add: bool,
    ) -> Result<Option<Committed>, Denied> {
        let message = self.find(id).await?;
        let now = self.asker.node.clock().now();
        let is_new = if add {
            let most = self.asker.node.config.reactions;
            match self.records.react(id, &emoji, self.user, now, most).await? {
                Reacted::Full => {
                    let sentence = format!("a message has at most {most} reactions");
                    return Err(Reject::new(Code::TooMany, sentence).into());
                }
                reacted => reacted == Reacted::New,
            }
        } else {
            self.records.unreact(id, &emoji, self.user).await?
        };
        if !is_new {
            return self.nothing_new().await;
        }
        let mut once = self.asker.id.clone();
        let mut first = None;
        for _ in 0..AGAIN {
            let users = self.records.reacted(id, &emoji).await?;
            let event = Event::Reacted {
                user: self.user.clone(),
                message: id,
                emoji: emoji.clone(),
                added: add,
                users: users.clone(),
            };
            let committed = self.commit(&event, &message, None, once.take()).await;
            if committed.is_err() {
                self.untold(event);
            }
            first.get_or_insert(committed?);
            if self.records.reacted(id, &emoji).await? == users {
                break;
            }
        }
        Ok(first)
    }

    /// Whoever saves the session tells it.
    fn untold(&self, event: Event) {
        self.asker.node.unsaved.note_untold(self.session, event);
    }

    /// Tells what a message is now, as often as it takes until that is what it is.
    async fn tell(
        &self,
        id: EventId,
        say: impl Fn(&Message) -> Event,
    ) -> Result<Committed, Denied> {
        let mut once = self.asker.id.clone();
        let mut first = None;
        for _ in 0..AGAIN {
            let now = self.records.message(self.session, id).await?;
            let now = now.ok_or(Denied::Missing("message"))?;
            let event = match (&now.deleted_at, say(&now)) {
                // What was told of it last may be what it said.
                (Some(_), Event::MessageEdited { user, message, .. }) => {
                    Event::MessageDeleted { user, message }
                }
                (_, event) => event,
            };
            let committed = self.commit(&event, &now, history(&now), once.take());
            let committed = committed.await;
            if committed.is_err() {
                self.untold(event);
            }
            first.get_or_insert(committed?);
            if self.records.message(self.session, id).await? == Some(now) {
                break;
            }
        }
        first.ok_or_else(|| backplane::Error::Missing.into())
    }

    /// A message of this session that goes on, if the user may see it.
    async fn find(&self, id: EventId) -> Result<Message, Denied> {
        let found = self.seen(id).await?;
        let found = Some(found).filter(|message| message.deleted_at.is_none());
        found.ok_or(Denied::Missing("message"))
    }

    /// The same, deleted or not. Who was told of it a moment ago finds it.
    async fn seen(&self, id: EventId) -> Result<Message, Denied> {
        let now = self.asker.node.clock().now();
        let found = self.records.message_soon(self.session, id, now).await?;
        let found = found.filter(|message| message.may_see(self.user));
        found.ok_or(Denied::Missing("message"))
    }

    /// Who has a role of their own and who is there, but nobody who is banned.
    async fn people(&self) -> Result<People, Denied> {
        let node = &self.asker.node;
        let mut people = People::new();
        let members = node.backplane.members(&self.asker.room, None).await?;
        let members = members.iter().map(|(_, record)| record);
        for member in members.filter_map(|it| rmp_serde::from_slice::<Member>(it).ok()) {
            people.insert(member.user, member.name.to_string());
        }
        if let Some(recorded) = self.records.session(self.session).await? {
            people.insert(recorded.owner, recorded.owner_name);
        }
        for participant in self.records.participants(self.session, PEOPLE).await? {
            if participant.role == Role::Banned.word() {
                people.remove(&participant.user);
            } else {
                let name = participant.username;
                people.entry(participant.user).or_insert(name);
            }
        }
        Ok(people)
    }

    async fn commit(
        &self,
        event: &Event,
        about: &Message,
        history: Option<History>,
        once: Option<String>,
    ) -> Result<Committed, backplane::Error> {
        let asker = self.asker;
        let socket = asker.participant.socket.id;
        let change = Change {
            draft: asker
                .node
                .roster
                .draft(event, Some(socket), audience(about)),
            logged: None,
            fields: Vec::new(),
            text: None,
            history,
            once: once.map(|id| (self.user.clone(), id)),
            role: None,
            by: asker.by(),
            when: None,
            hook: false,
        };
        let committed = asker.node.backplane.commit(&asker.room, change).await;
        match &committed {
            Ok(committed) => asker.note(committed),
            // It may have been done.
            Err(backplane::Error::Unavailable(_)) => asker.node.unsaved.note(&asker.room),
            Err(_) => {}
        }
        committed
    }
}

fn found(text: &str, people: &People) -> Vec<UserId> {
    mentioned(
        text,
        people.iter().map(|(user, name)| (user, name.as_str())),
    )
}

/// Bytes by which a room's history knows a line: those with which every packed [`Line`] begins, but for the first.
fn known_by(id: EventId) -> Bytes {
    #[derive(serde::Serialize)]
    struct Known {
        id: EventId,
    }
    pack(&Known { id }).slice(1..)
}

fn message_of(
    session: &SessionId,
    line: Line,
    spot: Option<Spot>,
    thread: Option<EventId>,
) -> Message {
    Message {
        id: line.id,
        session: session.clone(),
        user: line.user,
        username: line.name.to_string(),
        content: line.text.to_string(),
        to: line.to,
        reply_to: line.reply_to,
        thread,
        mentions: line.mentions,
        spot,
        created_at: line.at,
        edited_at: None,
        deleted_at: None,
        seq: None,
    }
}

/// A stored message as it is told.
pub(super) fn event_of(message: &Message) -> (Line, Event) {
    let line = line_of(message);
    let event = match &message.spot {
        None => Event::ChatPosted(line.clone()),
        Some(spot) => Event::CommentPosted(Comment {
            line: line.clone(),
            file: spot.file.as_str().into(),
            row: spot.line,
            snippet: spot.snippet.as_deref().map(Arc::from),
        }),
    };
    (line, event)
}

pub(super) fn line_of(message: &Message) -> Line {
    Line {
        id: message.id,
        user: message.user.clone(),
        name: message.username.as_str().into(),
        text: message.content.as_str().into(),
        at: message.created_at,
        reply_to: message.reply_to,
        to: message.to.clone(),
        mentions: message.mentions.clone(),
    }
}

impl Node {
    /// Tells what somebody could not tell, as it is now.
    pub(super) async fn tell_again(
        &self,
        session: &SessionId,
        untold: &Event,
    ) -> Result<(), Denied> {
        let records = self.books()?;
        let Some(id) = untold.message() else {
            return Ok(());
        };
        let Some(message) = records.message(session, id).await? else {
            return Ok(());
        };
        let mut event = untold.clone();
        let mut changed = None;
        match &mut event {
            Event::Reacted { emoji, users, .. } => *users = records.reacted(id, emoji).await?,
            Event::CommentResolved { resolved, .. } => {
                *resolved = message.spot.as_ref().is_some_and(|spot| spot.resolved);
            }
            other => {
                let user = message.user.clone();
                changed = history(&message);
                *other = match message.deleted_at {
                    Some(_) => Event::MessageDeleted { user, message: id },
                    None => Event::MessageEdited {
                        user,
                        message: id,
                        text: message.content.as_str().into(),
                        mentions: message.mentions.clone(),
                        at: message.edited_at.unwrap_or(message.created_at),
                    },
                };
            }
        }
        let change = Change {
            draft: self.roster.draft(&event, None, audience(&message)),
            logged: None,
            fields: Vec::new(),
            text: None,
            history: changed,
            once: None,
            role: None,
            by: None,
            when: None,
            hook: false,
        };
        let room = Room::Session(session.clone());
        match self.backplane.commit(&room, change).await {
            // A room that is made again is made of the records.
            Ok(_) | Err(backplane::Error::Missing | backplane::Error::Ended) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Who hears of a message.
fn audience(message: &Message) -> Audience {
    match &message.to {
        None => Audience::All,
        Some(to) => Audience::Users(vec![to.clone(), message.user.clone()]),
    }
}

/// What the room's history says of a message from now on.
fn history(message: &Message) -> Option<History> {
    let public = message.to.is_none() && message.spot.is_none();
    public.then(|| History::Replace {
        known_by: known_by(message.id),
        line: message
            .deleted_at
            .is_none()
            .then(|| pack(&line_of(message))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_in_a_history_and_an_answer_to_it_is_another() {
        let line = |id, reply_to| Line {
            id,
            user: UserId::parse("ann").unwrap(),
            name: "Ann".into(),
            text: "hi".into(),
            at: 7,
            reply_to,
            to: None,
            mentions: Vec::new(),
        };
        let (one, other) = (EventId::new(), EventId::new());
        let known = known_by(one);
        let has = |line: &Line| pack(line).windows(known.len()).any(|part| *part == known);
        assert!(has(&line(one, None)));
        assert!(has(&line(one, Some(other))));
        assert!(!has(&line(other, Some(one))));
    }
}
