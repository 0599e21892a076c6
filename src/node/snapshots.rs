//! From a room's snapshot to what people see of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::backplane::{RECORDED, ROLE, Snapshot};
use crate::clock::Millis;
use crate::dialects::{Delivery, Dialect, Reply};
use crate::domain::chat::Line;
use crate::domain::sessions::{self, View};
use crate::domain::{Event, Member, agents, presence, workspaces};
use crate::hub::frame;
use crate::ids::{AgentId, Room, SessionId, UserId, WorkspaceId};

pub fn view(session: &SessionId, snapshot: Snapshot) -> View {
    let position = snapshot.position();
    // A record this node cannot read was written by a newer one: that member is not shown.
    let members = snapshot
        .members
        .iter()
        .filter_map(|record| rmp_serde::from_slice::<Member>(record).ok());
    let users = presence::present(members);
    let chat = snapshot
        .chat
        .iter()
        .filter_map(|(seq, line)| Some((*seq, rmp_serde::from_slice::<Line>(line).ok()?)))
        .collect();
    let roles = snapshot.fields.contains_key(RECORDED).then(|| {
        let own = |(name, role): (&String, &String)| {
            Some((name.strip_prefix(ROLE)?.to_owned(), role.clone()))
        };
        snapshot.fields.iter().filter_map(own).collect()
    });
    View {
        roles,
        ..sessions::view(
            session.clone(),
            snapshot.fields,
            position,
            users,
            snapshot.users,
            chat,
        )
    }
}

pub fn workspace(id: &WorkspaceId, snapshot: &Snapshot) -> workspaces::View {
    let records = snapshot.members.iter();
    let members = records.filter_map(|record| rmp_serde::from_slice::<Member>(record).ok());
    workspaces::View {
        workspace: workspaces::workspace(id, &snapshot.fields),
        people: workspaces::people(members),
        user_count: snapshot.users,
        position: snapshot.position(),
    }
}

pub fn agent(id: &AgentId, snapshot: &Snapshot) -> agents::State {
    agents::state(id, &snapshot.fields)
}

/// The greeting as a whole frame, the same for everyone who waits for it.
/// `None`: the dialect has nothing to say of it.
pub fn greeting(dialect: Dialect, view: &View, now: Millis) -> Option<Bytes> {
    let mut said = false;
    let frame = frame::text_with(512 + view.code.len(), |out| {
        let before = out.len();
        dialect.reply(&Reply::Greeting(view), now, out);
        said = out.len() > before;
    });
    said.then_some(frame)
}

/// The current text as an ordinary update, for a socket whose own change was refused.
pub fn text(dialect: Dialect, view: &View, asker: &UserId, now: Millis) -> Bytes {
    let user = UserId::parse(&view.code_by).unwrap_or_else(|_| asker.clone());
    let room = Room::Session(view.session.clone());
    text_of(
        dialect,
        &room,
        user,
        view.code.as_str().into(),
        view.version,
        now,
    )
}

/// The same of a text alone.
pub fn text_of(
    dialect: Dialect,
    room: &Room,
    user: UserId,
    code: Arc<str>,
    version: u64,
    now: Millis,
) -> Bytes {
    let event = Event::TextChanged {
        user,
        code: Some(code),
        update: None,
    };
    let delivery = Delivery {
        room,
        event: &event,
        at: now,
        seq: None,
        epoch: None,
        version: Some(version),
    };
    frame::text_with(512, |out| {
        dialect.encode(&delivery, out);
    })
}
