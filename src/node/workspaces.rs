//! Workspaces: entered by sockets, made and looked after over REST.
//!
//! Who belongs to one without being there is a member like any other, under an id that stands for the user and is of no
//! node: so a user joins once, whichever comes first, and leaves with the last.

use std::sync::Arc;

use super::roster::Roster;
use super::visit::Visit;
use super::{Denied, Node, NotAdmitted, Participant, pack};
use crate::backplane::{
    Audience, Change, Committed, Entry, Error, Exit, Link, Queue, SharedBackplane, Shelf,
};
use crate::clock::Millis;
use crate::domain::presence::ACTIVE;
use crate::domain::workspaces::{self, View, Wish, Workspace};
use crate::domain::{Event, Member, Reject};
use crate::ids::{Position, Room, SocketId, UserId, WorkspaceId};
use crate::records::{self, Fellow};

#[derive(Debug, Clone)]
pub struct Config {
    /// Who may belong to a workspace without being there.
    pub members: u64,
}

/// A page of workspaces, and behind which the next one begins.
pub struct Page {
    pub workspaces: Vec<Workspace>,
    pub next: Option<WorkspaceId>,
}

impl Node {
    /// Commits; what the services behind us are to be told of is owed to them first.
    pub(super) async fn commit(&self, room: &Room, change: Change) -> Result<Committed, Error> {
        let is_told = change.hook;
        if is_told {
            self.owe(room).await?;
        }
        let committed = self.backplane.commit(room, change).await;
        if is_told {
            self.telling.wake(room);
        }
        committed
    }

    /// Whether the services behind us hear of what happens there.
    pub(super) fn hooks(&self, room: &Room) -> bool {
        self.config.hooks && matches!(room, Room::Workspace(_))
    }

    /// Writes down that a room has something for them.
    pub(super) async fn owe(&self, room: &Room) -> Result<(), Error> {
        let rooms = vec![room.to_string()];
        let now = std::time::Duration::ZERO;
        self.backplane.expect(Queue::Hooks, rooms, now).await
    }

    /// Brings a socket into a workspace that it asked for.
    pub(super) async fn enter_workspace(
        self: &Arc<Self>,
        participant: &Participant,
        visit: &Visit,
        room: &Room,
        since: Option<Position>,
        ask: Option<String>,
    ) -> Result<(), NotAdmitted> {
        let Room::Workspace(id) = room else {
            return Ok(());
        };
        if self.link() != Link::Up {
            return Err(Error::Unavailable("not connected".to_owned()).into());
        }
        self.roster.restore_workspace(&self.backplane, id).await?;
        visit.keep(room.clone());
        self.step_in(participant, room, None).await?;
        self.greet(participant, room, since, ask).await
    }

    /// It stays until it is deleted. Who makes it belongs to it.
    pub async fn make_workspace(
        &self,
        by: Option<(&UserId, Arc<str>)>,
        wish: &Wish,
    ) -> Result<Workspace, Denied> {
        wish.check()?;
        let workspace = Workspace {
            id: WorkspaceId::new(),
            name: wish.name.clone().unwrap_or_default(),
            description: wish.description.clone().unwrap_or_default(),
            created_by: by.as_ref().map(|(user, _)| (*user).clone()),
            created_at: self.clock().now(),
            made: true,
        };
        let first = by.as_ref().map(|(user, name)| fellow(user, name));
        match self.records() {
            Some(records) => {
                records
                    .add_workspace(&row(&workspace), first.as_ref())
                    .await?;
            }
            None => {
                let id = workspace.id.as_str();
                self.backplane.list(Shelf::Workspaces, id).await?;
            }
        }
        let room = Room::Workspace(workspace.id.clone());
        self.backplane
            .create(&room, workspace.fields(), Vec::new(), Vec::new())
            .await?;
        if let Some((user, name)) = by {
            let entry = self.membership(user, name);
            self.backplane.enter(&room, entry).await?;
        }
        let by = workspace.created_by.as_ref().map(tracing::field::display);
        tracing::info!(target: "audit", workspace = %workspace.id, user = by, "workspace made");
        Ok(workspace)
    }

    pub async fn workspace(&self, id: &WorkspaceId) -> Result<View, Denied> {
        self.roster.restore_workspace(&self.backplane, id).await?;
        self.roster.workspace(&self.backplane, id).await
    }

    /// Those that somebody made, in the order of their making.
    pub async fn workspaces(&self, after: Option<&WorkspaceId>, most: u64) -> Result<Page, Denied> {
        if let Some(records) = self.records() {
            let found = records.workspaces(after, most).await?;
            let next = (found.len() as u64 == most).then(|| found.last()).flatten();
            return Ok(Page {
                next: next.map(|last| last.id.clone()),
                workspaces: found.into_iter().map(Workspace::from).collect(),
            });
        }
        let after = after.map(WorkspaceId::as_str);
        let listed = self
            .backplane
            .listed(Shelf::Workspaces, after, most)
            .await?;
        let ids = listed.iter().filter_map(|id| WorkspaceId::parse(id).ok());
        let next = (listed.len() as u64 == most)
            .then(|| listed.last())
            .flatten();
        let next = next.and_then(|id| WorkspaceId::parse(id).ok());
        let mut workspaces = Vec::with_capacity(listed.len());
        for id in ids {
            match self.roster.workspace(&self.backplane, &id).await {
                Ok(view) => workspaces.push(view.workspace),
                // Deleted just now, or never quite made.
                Err(Denied::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Page { workspaces, next })
    }

    pub async fn change_workspace(
        &self,
        id: &WorkspaceId,
        by: Option<&UserId>,
        wish: &Wish,
    ) -> Result<View, Denied> {
        wish.check()?;
        let room = Room::Workspace(id.clone());
        if let Some(records) = self.records() {
            let (name, description) = (wish.name.as_deref(), wish.description.as_deref());
            records.update_workspace(id, name, description).await?;
        }
        let body = wish.body();
        let event = workspaces::told("workspace_changed", by, body);
        let change = self.telling(&room, &event, wish.fields());
        match self.commit(&room, change).await {
            Ok(_) => self.workspace(id).await,
            Err(error) => Err(missing(error)),
        }
    }

    /// For good: whoever is in it is told, and out.
    pub async fn delete_workspace(
        &self,
        id: &WorkspaceId,
        by: Option<&UserId>,
    ) -> Result<(), Denied> {
        let room = Room::Workspace(id.clone());
        self.workspace(id).await?;
        if let Some(records) = self.records() {
            // First: nobody makes it again of what is written.
            records.remove_workspace(id).await?;
        }
        if self.hooks(&room) {
            // The end itself leaves nothing behind in the room that could be told.
            let event = workspaces::told("workspace_deleted", by, "{}".to_owned());
            let change = Change {
                draft: self.roster.draft(&event, None, Audience::Users(Vec::new())),
                ..self.telling(&room, &event, Vec::new())
            };
            self.commit(&room, change).await.map_err(missing)?;
        }
        let draft = self.roster.draft(&Event::Ended, None, Audience::All);
        self.backplane.end(&room, draft).await.map_err(missing)?;
        if self.records().is_none() {
            self.backplane
                .unlist(Shelf::Workspaces, id.as_str())
                .await?;
        }
        tracing::info!(target: "audit", workspace = %id, by = ?by, "workspace deleted");
        Ok(())
    }

    /// The user belongs to it from now on, with or without a socket.
    pub async fn join_workspace(
        &self,
        id: &WorkspaceId,
        user: &UserId,
        name: Arc<str>,
    ) -> Result<(), Denied> {
        let room = Room::Workspace(id.clone());
        let view = self.workspace(id).await?;
        let belong = || view.people.iter().filter(|person| person.belongs);
        let is_in = belong().any(|person| person.user == *user);
        if !is_in && belong().count() as u64 >= self.config.workspaces.members {
            let most = self.config.workspaces.members;
            let sentence = format!("the workspace has {most} members, which is the most");
            return Err(Reject::new(crate::domain::Code::TooMany, sentence).into());
        }
        if let (Some(records), true) = (self.records(), view.workspace.made) {
            let fellow = fellow(user, &name);
            records.put_fellow(id, &fellow).await.map_err(gone)?;
        }
        let entry = self.membership(user, name);
        self.backplane.enter(&room, entry).await.map_err(missing)
    }

    /// The user belongs to it no more; sockets that are there stay.
    pub async fn leave_workspace(&self, id: &WorkspaceId, user: &UserId) -> Result<(), Denied> {
        let room = Room::Workspace(id.clone());
        let view = self.workspace(id).await?;
        if let Some(records) = self.records() {
            records.remove_fellow(id, user).await?;
        }
        let person = view.people.iter().find(|person| person.user == *user);
        let name = person.map_or_else(|| user.as_str().into(), |person| person.name.clone());
        let exit = Exit {
            socket: SocketId::standing_for(user),
            ..self
                .roster
                .exit(&room, SocketId::standing_for(user), user, &name)
        };
        self.backplane
            .leave(&room, vec![exit])
            .await
            .map_err(missing)
    }

    fn membership(&self, user: &UserId, name: Arc<str>) -> Entry {
        let joined = Event::Joined {
            user: user.clone(),
            name: name.clone(),
            role: None,
        };
        Entry {
            socket: SocketId::standing_for(user),
            user: user.clone(),
            member: pack(&standing(user, name, self.clock().now())),
            joined: Some(self.roster.draft(&joined, None, Audience::All)),
            create: None,
        }
    }

    /// Something that the node itself says in a workspace.
    fn telling(&self, room: &Room, event: &Event, fields: Vec<(&'static str, String)>) -> Change {
        Change {
            fields,
            hook: self.hooks(room),
            ..Change::of(self.roster.draft(event, None, Audience::All))
        }
    }
}

impl Roster {
    /// One that the backplane has no more is made again of its records.
    pub(super) async fn restore_workspace(
        &self,
        backplane: &SharedBackplane,
        id: &WorkspaceId,
    ) -> Result<(), NotAdmitted> {
        let (Some(records), room) = (&self.records, Room::Workspace(id.clone())) else {
            return Ok(());
        };
        if backplane.position(&room).await?.is_some() {
            return Ok(());
        }
        let away = |error: records::Error| {
            tracing::debug!(workspace = %id, %error, "a workspace cannot be made again now");
            NotAdmitted::Records
        };
        let Some(found) = records.workspace(id).await.map_err(away)? else {
            return Ok(());
        };
        let fellows = records.fellows(id, FELLOWS).await.map_err(away)?;
        let fields = Workspace::from(found).fields();
        backplane
            .create(&room, fields, Vec::new(), Vec::new())
            .await?;
        for Fellow { user, username } in fellows {
            let record = standing(&user, username.into(), self.clock.now());
            let entry = Entry {
                socket: SocketId::standing_for(&user),
                member: pack(&record),
                user,
                joined: None,
                create: None,
            };
            backplane.enter(&room, entry).await?;
        }
        Ok(())
    }

    async fn workspace(
        &self,
        backplane: &SharedBackplane,
        id: &WorkspaceId,
    ) -> Result<View, Denied> {
        let room = Room::Workspace(id.clone());
        let snapshot = backplane.snapshot(&room).await?;
        if snapshot.ended() || snapshot.epoch.is_none() {
            return Err(Denied::Missing("workspace"));
        }
        Ok(super::snapshots::workspace(id, &snapshot))
    }
}

/// Members that a workspace is made again with.
const FELLOWS: u64 = 1_000;

impl From<records::Workspace> for Workspace {
    fn from(row: records::Workspace) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            created_by: row.created_by,
            created_at: row.created_at,
            made: true,
        }
    }
}

fn row(made: &Workspace) -> records::Workspace {
    records::Workspace {
        id: made.id.clone(),
        name: made.name.clone(),
        description: made.description.clone(),
        created_by: made.created_by.clone(),
        created_at: made.created_at,
    }
}

fn fellow(user: &UserId, name: &Arc<str>) -> Fellow {
    Fellow {
        user: user.clone(),
        username: name.to_string(),
    }
}

/// It was deleted meanwhile.
fn gone(error: records::Error) -> Denied {
    match error {
        records::Error::Bound => Denied::Missing("workspace"),
        other => other.into(),
    }
}

/// A member without a socket.
pub(super) fn standing(user: &UserId, name: Arc<str>, now: Millis) -> Member {
    Member {
        user: user.clone(),
        name,
        role: None,
        node: String::new(),
        cursor: None,
        file: None,
        viewport: None,
        status: ACTIVE.to_owned(),
        at: now,
        backend_url: None,
        yjs: false,
    }
}

fn missing(error: Error) -> Denied {
    match error {
        Error::Missing | Error::Ended => Denied::Missing("workspace"),
        other => other.into(),
    }
}
