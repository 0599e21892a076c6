//! Recorded sessions: made, changed and ended by those who may, and made again of their records when the backplane
//! has them no more.
//!
//! The records say who may do what; the room's fields say the same to every commit, so that a role that was taken away
//! is gone on every node with the next thing somebody does.

use std::collections::HashMap;
use std::sync::Arc;

use super::chat::line_of;
use super::roster::Roster;
use super::{Denied, Node, is_trusted, pack};
use crate::auth::Identity;
use crate::backplane::{
    self, Audience, Change, Created, DEFAULT_ROLE, HOST, RECORDED, SharedBackplane,
};
use crate::domain::roles::{Action, Role};
use crate::domain::{Code, Event, Reject, sessions};
use crate::ids::{Room, SessionId, UserId};
use crate::records::{Participant, Recorded, Records, Wish};

impl From<sessions::Wish> for Wish {
    fn from(wish: sessions::Wish) -> Self {
        Self {
            title: wish.title,
            description: wish.description,
            language: wish.language,
            default_role: wish.default_role,
        }
    }
}

fn shown(word: &str) -> String {
    word.chars().take(40).collect()
}

/// Chat lines that a room is made again with.
const CHAT: u32 = 100;

/// One of a session's people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub user: UserId,
    pub username: String,
    pub role: Role,
}

impl Node {
    /// The caller is its host.
    pub async fn create_recorded(
        &self,
        caller: &Identity,
        wish: sessions::Wish,
    ) -> Result<Recorded, Denied> {
        let records = self.books()?;
        if caller.sessions.is_some() {
            return Err(Denied::Forbidden("the token is for certain sessions alone"));
        }
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
        let (found, role) = self.found(session, caller).await?;
        if found.ended_at.is_some() {
            return Err(backplane::Error::Ended.into());
        }
        may(role, action)?;
        Ok((found, role))
    }

    /// The same whether it has ended or not, and whatever the caller may do.
    pub(super) async fn found(
        &self,
        session: &SessionId,
        caller: &Identity,
    ) -> Result<(Recorded, Role), Denied> {
        if !caller.admits(session) {
            return Err(Denied::Forbidden(
                "the token is for other sessions than this one",
            ));
        }
        let records = self.books()?;
        let found = records.session(session).await?;
        let found = found.ok_or(Denied::Missing("session"))?;
        if is_trusted(caller) || found.owner == caller.user {
            return Ok((found, Role::Host));
        }
        let own = records.role_in(session, &caller.user).await?;
        let word = own.as_deref().unwrap_or(&found.default_role);
        let role = Role::parse(word).unwrap_or(Role::Viewer);
        Ok((found, role))
    }

    /// Whether the caller may come in, or might have before it ended.
    pub(super) async fn attends(
        &self,
        session: &SessionId,
        caller: &Identity,
    ) -> Result<(), Denied> {
        let (_, role) = self.found(session, caller).await?;
        may(role, Action::Attend)
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
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
        wish: sessions::Wish,
    ) -> Result<(Recorded, Role), Denied> {
        let (before, role) = self.recorded(session, caller, Action::Contribute).await?;
        wish.check()?;
        if wish == sessions::Wish::default() {
            return Ok((before, role));
        }
        let rewritten = self.rewrite(session, &caller.user, role, wish.into());
        let (updated, _) = rewritten.await?;
        Ok((updated, role))
    }

    /// Changes what a session is called, and so on, for somebody who may contribute. The answer has the place in the
    /// room's order at which that was told, 0 when nobody was there.
    pub(super) async fn rewrite(
        self: &Arc<Self>,
        session: &SessionId,
        user: &UserId,
        role: Role,
        wish: Wish,
    ) -> Result<(Recorded, u64), Denied> {
        // Who gives everybody a role gives roles.
        if wish.default_role.is_some() {
            may(role, Action::Manage)?;
        }
        let (node, session, user) = (self.clone(), session.clone(), user.clone());
        let room = Room::Session(session.clone());
        let updated = self.to_its_end(&room, async move {
            let records = node.books()?;
            let now = node.clock().now();
            if !records.update_session(&session, now, &wish).await? {
                return Err(backplane::Error::Ended.into());
            }
            let seq = node.tell_wish(&session, user, wish).await?;
            let updated = records.session(&session).await?;
            Ok((updated.ok_or(Denied::Missing("session"))?, seq))
        });
        updated.await
    }

    async fn tell_wish(
        &self,
        session: &SessionId,
        user: UserId,
        wish: Wish,
    ) -> Result<u64, Denied> {
        let mut seq = 0;
        let Wish {
            title,
            description,
            language,
            default_role,
        } = wish;
        if let Some(language) = language {
            let event = Event::LanguageChanged {
                user: user.clone(),
                language: language.clone(),
            };
            let field = vec![("language", language)];
            let told = self
                .roster
                .tell(&self.backplane, session, event, field, None);
            let told = told.await?;
            seq = told.unwrap_or(0);
            // The saver may just have written the former one.
            if told.is_some() {
                self.unsaved.note(&Room::Session(session.clone()));
            }
        }
        if title.is_none() && description.is_none() && default_role.is_none() {
            return Ok(seq);
        }
        let mut fields = Vec::new();
        fields.extend(title.clone().map(|title| ("title", title)));
        fields.extend(default_role.clone().map(|role| (DEFAULT_ROLE, role)));
        let event = Event::SessionChanged {
            user,
            title,
            description,
            default_role,
        };
        let told = self
            .roster
            .tell(&self.backplane, session, event, fields, None);
        let told = told.await?;
        self.unsaved.note_event(&Room::Session(session.clone()));
        Ok(told.unwrap_or(seq))
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
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
        user: &UserId,
        word: &str,
    ) -> Result<Person, Denied> {
        let (recorded, _) = self.recorded(session, caller, Action::Manage).await?;
        let role = Role::parse(word).ok_or_else(|| {
            let right = Role::ALL.map(Role::word).join(", ");
            let sentence = format!("role is {:?}; right is one of {right}", shown(word));
            Reject::field("role", sentence)
        })?;
        if *user == recorded.owner {
            return Err(Denied::Forbidden("the owner is always host"));
        }
        let records = self.books()?;
        let account = records.account(user).await?;
        let username = account.map_or_else(|| user.to_string(), |account| account.username);
        let participant = Participant {
            user: user.clone(),
            username: username.clone(),
            role: role.word().to_owned(),
            added_at: self.clock().now(),
        };
        let (node, session) = (self.clone(), session.clone());
        let (user, by) = (user.clone(), caller.user.clone());
        let person = Person {
            user: user.clone(),
            username,
            role,
        };
        let room = Room::Session(session.clone());
        let given = self.to_its_end(&room, async move {
            let records = node.books()?;
            let most = node.config.participants;
            if !records
                .put_participant(&session, &participant, most)
                .await?
            {
                let sentence =
                    format!("the session has {most} participants, as many as it may have");
                return Err(Reject::new(Code::TooMany, sentence).into());
            }
            node.tell_role(&session, &user, Some(participant.role))
                .await?;
            tracing::info!(target: "audit", %session, %user, role = role.word(), %by, "role given");
            Ok(())
        });
        given.await?;
        Ok(person)
    }

    /// Takes somebody's role, and shows them out; they may come again, with the default role.
    pub async fn dismiss_participant(
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
        user: &UserId,
    ) -> Result<(), Denied> {
        let (recorded, _) = self.recorded(session, caller, Action::Manage).await?;
        if *user == recorded.owner {
            return Err(Denied::Forbidden("the owner is always host"));
        }
        let (node, session) = (self.clone(), session.clone());
        let (user, by) = (user.clone(), caller.user.clone());
        let room = Room::Session(session.clone());
        let dismissed = self.to_its_end(&room, async move {
            node.books()?.remove_participant(&session, &user).await?;
            node.tell_role(&session, &user, None).await?;
            tracing::info!(target: "audit", %session, %user, %by, "participant removed");
            Ok(())
        });
        dismissed.await
    }

    pub async fn end_recorded(
        self: &Arc<Self>,
        session: &SessionId,
        caller: &Identity,
    ) -> Result<(), Denied> {
        let (found, role) = self.found(session, caller).await?;
        if found.ended_at.is_some() && !role.may(Action::Manage) {
            return Err(backplane::Error::Ended.into());
        }
        may(role, Action::Manage)?;
        let (node, session, user) = (self.clone(), session.clone(), caller.user.clone());
        let room = Room::Session(session.clone());
        let ended = self.to_its_end(&room, async move {
            if let Err(why) = node.record(&session, &node.unsaved.take_texts(&session)).await {
                tracing::error!(%session, why, "the last events of a session that ends were not recorded");
            }
            let now = node.clock().now();
            let ends = node.books()?.end_session(&session, now).await?;
            // At last, before its room drops it. The end does not depend on it.
            if let Err(why) = node.save_text(&session).await {
                tracing::error!(%session, why, "the last text of a session that ends was not saved");
            }
            let last = match node.end(&session).await {
                Ok(last) => last,
                // Nobody was there. Who ends it again finishes what was begun.
                Err(backplane::Error::Missing | backplane::Error::Ended)
                    if found.ended_at.is_none() =>
                {
                    Vec::new()
                }
                Err(backplane::Error::Missing) => return Err(backplane::Error::Ended.into()),
                Err(error) => return Err(error.into()),
            };
            if (ends || !last.is_empty())
                && let Err(why) = node.record_last(&session, &user, &last).await
            {
                tracing::error!(%session, why, "the end of a session was not recorded");
            }
            Ok(())
        });
        ended.await
    }

    /// Tells the room what role somebody has, by the records; once more when that changed meanwhile.
    async fn tell_role(
        &self,
        session: &SessionId,
        user: &UserId,
        mut role: Option<String>,
    ) -> Result<(), Denied> {
        loop {
            let event = Event::ParticipantChanged {
                user: user.clone(),
                role: role.clone(),
            };
            let told = (user.clone(), role.clone().unwrap_or_default());
            let told = Some(told);
            self.roster
                .tell(&self.backplane, session, event, Vec::new(), told)
                .await?;
            self.unsaved.note_event(&Room::Session(session.clone()));
            let now = self.books()?.role_in(session, user).await?;
            if now == role {
                return Ok(());
            }
            role = now;
        }
    }

    /// Goes on to its end when nobody waits for it any more: records and room must not differ for somebody who hung up.
    async fn to_its_end<T: Send + 'static>(
        &self,
        room: &Room,
        work: impl Future<Output = Result<T, Denied>> + Send + 'static,
    ) -> Result<T, Denied> {
        // Nothing is written down that the room would not hear: it is asked, because who is away may not be known to be.
        self.backplane.position(room).await?;
        let done = self.farewells.spawn(work).await;
        done.unwrap_or_else(|error| Err(Denied::Records(format!("it was cut short: {error}"))))
    }
}

pub(super) fn may(role: Role, action: Action) -> Result<(), Denied> {
    if role.may(action) {
        return Ok(());
    }
    Err(Denied::Forbidden(match action {
        Action::Attend => "you are banned from this session",
        Action::Contribute => {
            "your role in this session does not allow this; right is host or editor"
        }
        Action::Manage => "your role in this session does not allow this; right is host",
    }))
}

impl Roster {
    /// Commits what the records have already, and tells at which place; a room that is not there learns it of them.
    async fn tell(
        &self,
        backplane: &SharedBackplane,
        session: &SessionId,
        event: Event,
        fields: backplane::Fields,
        role: Option<(UserId, String)>,
    ) -> Result<Option<u64>, backplane::Error> {
        let change = Change {
            draft: self.draft(&event, None, Audience::All),
            logged: None,
            fields,
            text: None,
            history: None,
            once: None,
            role,
            by: None,
            when: None,
            hook: false,
        };
        let room = Room::Session(session.clone());
        match backplane.commit(&room, change).await {
            Ok(committed) => Ok(Some(committed.position.seq)),
            Err(backplane::Error::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a recorded session's room of its records, unless it is there.
    pub(super) async fn restore(
        &self,
        backplane: &SharedBackplane,
        session: &SessionId,
    ) -> Result<(), Denied> {
        let records = self.records.as_deref().ok_or(Denied::NoRecords)?;
        let (recorded, roles) = written(records, session).await?;
        if recorded.ended_at.is_some() {
            return Err(backplane::Error::Ended.into());
        }
        let saved = records.saved_text(session).await?;
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
        let room = Room::Session(session.clone());
        let given: Vec<_> = roles.clone().into_iter().collect();
        let chat = records.public_chat(session, CHAT).await?;
        let chat = chat.iter().map(|message| pack(&line_of(message))).collect();
        match backplane.create(&room, fields, given, chat).await? {
            Created::Ended => Err(backplane::Error::Ended.into()),
            Created::Existing => Ok(()),
            Created::New => self.catch_up(backplane, session, recorded, roles).await,
        }
    }

    /// What was written after the records were read, and told to a room that was not there yet.
    async fn catch_up(
        &self,
        backplane: &SharedBackplane,
        session: &SessionId,
        recorded: Recorded,
        roles: Roles,
    ) -> Result<(), Denied> {
        let records = self.records.as_deref().ok_or(Denied::NoRecords)?;
        let (now, mut newer) = written(records, session).await?;
        if now.ended_at.is_some() {
            let draft = self.draft(&Event::Ended, None, Audience::All);
            backplane
                .end(&Room::Session(session.clone()), draft)
                .await?;
            return Err(backplane::Error::Ended.into());
        }
        if now.default_role != recorded.default_role {
            let event = Event::SessionChanged {
                user: now.owner,
                title: None,
                description: None,
                default_role: Some(now.default_role.clone()),
            };
            let field = vec![(DEFAULT_ROLE, now.default_role)];
            self.tell(backplane, session, event, field, None).await?;
        }
        for (user, role) in &roles {
            match newer.get(user) {
                Some(same) if same == role => drop(newer.remove(user)),
                Some(_) => {}
                None => drop(newer.insert(user.clone(), String::new())),
            }
        }
        for (user, role) in newer {
            let event = Event::ParticipantChanged {
                user: user.clone(),
                role: Some(role.clone()).filter(|role| !role.is_empty()),
            };
            let told = Some((user, role));
            self.tell(backplane, session, event, Vec::new(), told)
                .await?;
        }
        Ok(())
    }
}

type Roles = HashMap<UserId, String>;

/// A session and its roles, as the records have them now.
async fn written(records: &Records, session: &SessionId) -> Result<(Recorded, Roles), Denied> {
    let recorded = records.session(session).await?;
    let recorded = recorded.ok_or(backplane::Error::Missing)?;
    let participants = records.participants(session, u32::MAX).await?.into_iter();
    let roles = participants.map(|participant| (participant.user, participant.role));
    Ok((recorded, roles.collect()))
}
