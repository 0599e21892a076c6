//! Recorded sessions: made, changed and ended by those who may, and made again of their records when the backplane
//! has them no more.
//!
//! The records say who may do what; the room's fields say the same to every commit, so that a role that was taken away
//! is gone on every node with the next thing somebody does.

use super::roster::Roster;
use super::{Denied, Node, is_trusted};
use crate::auth::Identity;
use crate::backplane::{
    self, Audience, Change, Created, DEFAULT_ROLE, HOST, RECORDED, SharedBackplane,
};
use crate::domain::roles::{Action, Role};
use crate::domain::{Event, Reject, sessions};
use crate::ids::{Room, SessionId, UserId};
use crate::records::{Participant, Recorded};

/// What a session is to be called, and so on; `None`: as it is, or the default.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub title: Option<String>,
    pub description: Option<String>,
    pub language: Option<String>,
    pub default_role: Option<String>,
}

impl Wish {
    fn check(&self) -> Result<(), Reject> {
        let check = |text: &Option<String>, rule: fn(&str) -> Result<(), Reject>| {
            text.as_deref().map_or(Ok(()), rule)
        };
        check(&self.title, sessions::title)?;
        check(&self.description, sessions::description)?;
        check(&self.language, sessions::language)?;
        check(&self.default_role, default_role)
    }
}

fn default_role(word: &str) -> Result<(), Reject> {
    match Role::parse(word) {
        Some(Role::Editor | Role::Viewer) => Ok(()),
        _ => Err(Reject::field(
            "default_role",
            format!(
                "default_role is {:?}; right is editor or viewer",
                shown(word)
            ),
        )),
    }
}

fn shown(word: &str) -> String {
    word.chars().take(40).collect()
}

/// One of a session's people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub user: UserId,
    pub username: String,
    pub role: Role,
}

impl Node {
    /// The caller is its host.
    pub async fn create_recorded(&self, caller: &Identity, wish: Wish) -> Result<Recorded, Denied> {
        let records = self.books()?;
        if wish.title.is_none() {
            return Err(sessions::title("").expect_err("it is empty").into());
        }
        wish.check()?;
        let now = self.clock().now();
        let name = caller.name.as_deref();
        let session = Recorded {
            id: SessionId::recorded(),
            title: wish.title.unwrap_or_default(),
            description: wish.description.unwrap_or_default(),
            language: wish
                .language
                .unwrap_or_else(|| sessions::DEFAULT_LANGUAGE.to_owned()),
            default_role: wish
                .default_role
                .unwrap_or_else(|| sessions::DEFAULT_ROLE.to_owned()),
            owner: caller.user.clone(),
            owner_name: name.unwrap_or(caller.user.as_str()).to_owned(),
            created_at: now,
            updated_at: now,
            ended_at: None,
        };
        records.add_session(&session).await?;
        tracing::info!(target: "audit", session = %session.id, user = %caller.user, "session recorded");
        Ok(session)
    }

    /// A session that goes on, and what the caller is there; for who may do this.
    pub async fn recorded(
        &self,
        session: &SessionId,
        caller: &Identity,
        action: Action,
    ) -> Result<(Recorded, Role), Denied> {
        if !caller.admits(session) {
            return Err(Denied::Forbidden(
                "the token is for other sessions than this one",
            ));
        }
        let records = self.books()?;
        let found = records.session(session).await?;
        let found = found.ok_or(Denied::Missing("session"))?;
        if found.ended_at.is_some() {
            return Err(backplane::Error::Ended.into());
        }
        let role = if is_trusted(caller) || found.owner == caller.user {
            Role::Host
        } else {
            let own = records.role_in(session, &caller.user).await?;
            let word = own.as_deref().unwrap_or(&found.default_role);
            Role::parse(word).unwrap_or(Role::Viewer)
        };
        if !role.may(action) {
            return Err(Denied::Forbidden(match action {
                Action::Attend => "you are banned from this session",
                Action::Contribute => {
                    "your role in this session does not allow this; right is host or editor"
                }
                Action::Manage => "your role in this session does not allow this; right is host",
            }));
        }
        Ok((found, role))
    }

    /// The caller's own, and those where the caller has a role; the youngest first.
    pub async fn recorded_of(
        &self,
        caller: &Identity,
        after: Option<&SessionId>,
        most: u32,
    ) -> Result<Vec<Recorded>, Denied> {
        Ok(self.books()?.sessions_of(&caller.user, after, most).await?)
    }

    pub async fn update_recorded(
        &self,
        session: &SessionId,
        caller: &Identity,
        wish: Wish,
    ) -> Result<(Recorded, Role), Denied> {
        // Who gives everybody a role gives roles.
        let action = match wish.default_role {
            Some(_) => Action::Manage,
            None => Action::Contribute,
        };
        let (mut recorded, role) = self.recorded(session, caller, action).await?;
        wish.check()?;
        let set = |field: &mut String, wished: &Option<String>| {
            if let Some(wished) = wished {
                field.clone_from(wished);
            }
        };
        set(&mut recorded.title, &wish.title);
        set(&mut recorded.description, &wish.description);
        set(&mut recorded.language, &wish.language);
        set(&mut recorded.default_role, &wish.default_role);
        recorded.updated_at = self.clock().now();
        if !self.books()?.update_session(&recorded).await? {
            return Err(backplane::Error::Ended.into());
        }
        let user = caller.user.clone();
        let mut fields = Vec::new();
        fields.extend(wish.title.clone().map(|title| ("title", title)));
        fields.extend(wish.default_role.clone().map(|role| (DEFAULT_ROLE, role)));
        let event = Event::SessionChanged {
            user: user.clone(),
            title: wish.title,
            description: wish.description,
            default_role: wish.default_role,
        };
        self.tell(session, event, fields, None).await?;
        if let Some(language) = wish.language {
            let event = Event::LanguageChanged {
                user,
                language: language.clone(),
            };
            self.tell(session, event, vec![("language", language)], None)
                .await?;
            self.unsaved.note(&Room::Session(session.clone()));
        }
        Ok((recorded, role))
    }

    /// Host first, then those with a role of their own.
    pub async fn people(
        &self,
        session: &SessionId,
        caller: &Identity,
    ) -> Result<Vec<Person>, Denied> {
        let (recorded, role) = self.recorded(session, caller, Action::Attend).await?;
        let listed = self
            .books()?
            .participants(session, self.config.participants)
            .await?;
        let host = Person {
            user: recorded.owner,
            username: recorded.owner_name,
            role: Role::Host,
        };
        let others = listed.into_iter().filter_map(|participant| {
            let Participant {
                user,
                username,
                role,
                ..
            } = participant;
            let role = Role::parse(&role)?;
            Some(Person {
                user,
                username,
                role,
            })
        });
        // Who was banned is the host's business.
        let may_know = |person: &Person| person.role != Role::Banned || role == Role::Host;
        Ok(std::iter::once(host)
            .chain(others.filter(may_know))
            .collect())
    }

    /// Gives somebody a role; at once, also to their live sockets on every node.
    pub async fn assign(
        &self,
        session: &SessionId,
        caller: &Identity,
        user: &UserId,
        word: &str,
    ) -> Result<Person, Denied> {
        let (recorded, _) = self.recorded(session, caller, Action::Manage).await?;
        let role = Role::parse(word).ok_or_else(|| {
            let right = Role::ALL.map(Role::word).join(", ");
            Reject::field(
                "role",
                format!("role is {:?}; right is one of {right}", shown(word)),
            )
        })?;
        if *user == recorded.owner {
            return Err(Denied::Forbidden("the owner is always host"));
        }
        let records = self.books()?;
        if records.role_in(session, user).await?.is_none()
            && records.count_participants(session).await? >= u64::from(self.config.participants)
        {
            let most = self.config.participants;
            let sentence = format!("the session has {most} participants, as many as it may have");
            return Err(Reject::new(crate::domain::Code::TooMany, sentence).into());
        }
        let account = records.account(user).await?;
        let username = account.map_or_else(|| user.to_string(), |account| account.username);
        let participant = Participant {
            user: user.clone(),
            username: username.clone(),
            role: role.word().to_owned(),
            added_at: self.clock().now(),
        };
        records.put_participant(session, &participant).await?;
        let event = Event::ParticipantChanged {
            user: user.clone(),
            role: Some(participant.role.clone()),
        };
        let given = (user.clone(), participant.role);
        self.tell(session, event, Vec::new(), Some(given)).await?;
        tracing::info!(target: "audit", %session, %user, role = word, by = %caller.user, "role given");
        Ok(Person {
            user: user.clone(),
            username,
            role,
        })
    }

    /// Takes somebody's role, and shows them out; who was not banned may come again, with the default role.
    pub async fn dismiss_participant(
        &self,
        session: &SessionId,
        caller: &Identity,
        user: &UserId,
    ) -> Result<(), Denied> {
        let (recorded, _) = self.recorded(session, caller, Action::Manage).await?;
        if *user == recorded.owner {
            return Err(Denied::Forbidden("the owner is always host"));
        }
        self.books()?.remove_participant(session, user).await?;
        let event = Event::ParticipantChanged {
            user: user.clone(),
            role: None,
        };
        let taken = (user.clone(), String::new());
        self.tell(session, event, Vec::new(), Some(taken)).await?;
        tracing::info!(target: "audit", %session, %user, by = %caller.user, "participant removed");
        Ok(())
    }

    pub async fn end_recorded(&self, session: &SessionId, caller: &Identity) -> Result<(), Denied> {
        self.recorded(session, caller, Action::Manage).await?;
        // Before its room drops it.
        self.save_text(session).await.map_err(Denied::Records)?;
        let now = self.clock().now();
        self.books()?.end_session(session, now).await?;
        match self.end(session).await {
            // Nobody is there.
            Err(backplane::Error::Missing | backplane::Error::Ended) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Commits what the records have already; a room that is not there learns it of them.
    async fn tell(
        &self,
        session: &SessionId,
        event: Event,
        fields: backplane::Fields,
        role: Option<(UserId, String)>,
    ) -> Result<(), Denied> {
        let change = Change {
            draft: self.roster.draft(&event, None, Audience::All),
            logged: None,
            fields,
            text: None,
            history: None,
            once: None,
            role,
            by: None,
        };
        let room = Room::Session(session.clone());
        match self.backplane.commit(&room, change).await {
            Ok(_) | Err(backplane::Error::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Roster {
    /// Makes a recorded session's room of its records, unless it is there.
    pub(super) async fn restore(
        &self,
        backplane: &SharedBackplane,
        session: &SessionId,
    ) -> Result<(), Denied> {
        let records = self.records.as_deref();
        let records = records.ok_or(backplane::Error::Missing)?;
        let recorded = records.session(session).await?;
        let recorded = recorded.ok_or(backplane::Error::Missing)?;
        if recorded.ended_at.is_some() {
            return Err(backplane::Error::Ended.into());
        }
        let saved = records.saved_text(session).await?;
        let participants = records.participants(session, u32::MAX).await?;
        let mut fields = sessions::first_fields(session, recorded.created_at);
        for (name, value) in &mut fields {
            match *name {
                "code" => value.clone_from(&saved.code),
                "language" => value.clone_from(&saved.language),
                "title" => value.clone_from(&recorded.title),
                HOST => *value = recorded.owner.to_string(),
                DEFAULT_ROLE => value.clone_from(&recorded.default_role),
                _ => {}
            }
        }
        let version = saved.version.to_string();
        fields.push((RECORDED, "1".to_owned()));
        fields.push(("version", version.clone()));
        fields.push(("code_version", version));
        let roles = participants.into_iter();
        let roles = roles.map(|participant| (participant.user, participant.role));
        let room = Room::Session(session.clone());
        match backplane.create(&room, fields, roles.collect()).await? {
            Created::Ended => Err(backplane::Error::Ended.into()),
            Created::New | Created::Existing => Ok(()),
        }
    }
}
