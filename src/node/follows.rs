//! Who listens to which agent: a socket that says so, and all sockets of a user who follows one.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{TryStreamExt, stream};
use parking_lot::Mutex;

use super::visit::Visit;
use super::{Departure, Node, NotAdmitted, Participant};
use crate::backplane::{Audience, Error};
use crate::dialects::workspace::{self, Scope};
use crate::domain::{Event, Voice};
use crate::hub::{Lane, frame};
use crate::ids::{AgentId, Position, Room, SocketId, UserId};

/// Agents that somebody begins to listen to at once.
const AT_ONCE: usize = 32;

/// This node's sockets that hear what their users follow.
#[derive(Default)]
pub(super) struct Followers(Mutex<HashMap<UserId, Vec<Follower>>>);

#[derive(Clone)]
struct Follower {
    participant: Arc<Participant>,
    visit: Arc<Visit>,
}

impl Followers {
    fn put(&self, participant: &Participant, visit: &Arc<Visit>) -> Follower {
        let follower = Follower {
            participant: Arc::new(participant.twin(None)),
            visit: visit.clone(),
        };
        let mut all = self.0.lock();
        let of_user = all.entry(participant.socket.user.clone()).or_default();
        of_user.push(follower.clone());
        follower
    }

    pub fn remove(&self, user: &UserId, socket: SocketId) {
        let mut all = self.0.lock();
        if let Some(of_user) = all.get_mut(user) {
            of_user.retain(|follower| follower.participant.socket.id != socket);
            if of_user.is_empty() {
                all.remove(user);
            }
        }
    }

    fn of(&self, user: &UserId) -> Vec<Follower> {
        self.0.lock().get(user).cloned().unwrap_or_default()
    }

    fn users(&self) -> Vec<UserId> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Node {
    /// Tells a socket that was welcomed that it is here, and has it listen to what its user follows.
    pub async fn open_workspaces(
        self: &Arc<Self>,
        participant: &Participant,
    ) -> Result<(), NotAdmitted> {
        let Some(visit) = &participant.visit else {
            return Ok(());
        };
        let socket = &participant.socket;
        let connected = frame::text_with(128, |out| {
            workspace::connected(&socket.user, &socket.name, out);
        });
        socket.send(Lane::Ordered, connected);
        if visit.scope == Scope::Workspaces || visit.is_for_sessions() {
            return Ok(());
        }
        if visit.voice == Voice::Own {
            self.adopt_own(&socket.user, socket.id).await;
        }
        // Listed first, looked second: what is followed in between is heard of, or seen.
        let follower = self.followers.put(participant, visit);
        let followed = self.backplane.follows(&socket.user).await?;
        self.follow_all(&follower, followed).await
    }

    async fn follow_all(
        self: &Arc<Self>,
        follower: &Follower,
        agents: Vec<AgentId>,
    ) -> Result<(), NotAdmitted> {
        let follow = |agent: AgentId| async move {
            let room = Room::Agent(agent);
            if follower.visit.keep_new(&room) {
                self.listen_in(&follower.participant, &follower.visit, &room, None, None)
                    .await?;
            }
            Ok(())
        };
        stream::iter(agents.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, follow)
            .await
    }

    /// Has a socket hear an agent, whose room it has taken down as its own.
    pub(super) async fn listen_in(
        self: &Arc<Self>,
        participant: &Participant,
        visit: &Visit,
        room: &Room,
        since: Option<Position>,
        ask: Option<String>,
    ) -> Result<(), NotAdmitted> {
        let begun = async {
            if let Room::Agent(agent) = room {
                self.agent_room(agent).await?;
            }
            self.listening.begin(room).await
        };
        if let Err(error) = begun.await {
            visit.take_room(room);
            return Err(error.into());
        }
        let opened = async {
            self.may_stay(&participant.socket)?;
            let socket = participant.socket.clone();
            self.relay.open(room, socket, since, ask).await?;
            Ok(())
        };
        let opened = opened.await;
        if opened.is_err() {
            visit.take_room(room);
            self.depart(&participant.socket, room, Departure::Clean);
        }
        opened
    }

    /// The user's sockets hear the agent from now on, on whatever node, and those that come later.
    pub async fn follow(&self, user: &UserId, agent: &AgentId) -> Result<(), NotAdmitted> {
        self.knows_agent(agent).await?;
        let most = self.config.agents.followed;
        self.backplane.follow(user, agent, most).await?;
        Ok(self.tell_followers(user, agent, true).await?)
    }

    pub async fn unfollow(&self, user: &UserId, agent: &AgentId) -> Result<(), Error> {
        self.backplane.unfollow(user, agent).await?;
        self.tell_followers(user, agent, false).await
    }

    async fn tell_followers(&self, user: &UserId, agent: &AgentId, on: bool) -> Result<(), Error> {
        let event = Event::Followed {
            user: user.clone(),
            agent: agent.clone(),
            on,
        };
        let draft = self.roster.draft(&event, None, Audience::All);
        self.backplane
            .announce(&Room::Lobby, Some(draft), None)
            .await
    }

    /// A user of this node's follows another agent, or one less.
    pub(super) fn followed(self: &Arc<Self>, user: &UserId, agent: AgentId, on: bool) {
        for follower in self.followers.of(user) {
            let (node, agent) = (self.clone(), agent.clone());
            self.chores.spawn(async move {
                if !on {
                    return node.stop_following(&follower, agent);
                }
                if let Err(error) = node.follow_all(&follower, vec![agent]).await {
                    let span = follower.participant.span();
                    tracing::warn!(parent: &span, %error, "an agent is not heard that is followed");
                }
            });
        }
    }

    fn stop_following(self: &Arc<Self>, follower: &Follower, agent: AgentId) {
        let room = Room::Agent(agent);
        if follower.visit.take_room(&room) {
            let socket = &follower.participant.socket;
            self.depart(socket, &room, Departure::Clean);
            let reply = crate::dialects::Reply::Gone {
                room: &room,
                id: None,
            };
            self.say(&follower.participant, &reply);
        }
    }

    /// Word of what somebody follows may have been missed. False when it could not be seen.
    pub(super) async fn check_followers(self: &Arc<Self>) -> bool {
        let mut all = true;
        for user in self.followers.users() {
            match self.backplane.follows(&user).await {
                Ok(agents) => {
                    for follower in self.followers.of(&user) {
                        let followed = self.follow_all(&follower, agents.clone());
                        all &= followed.await.is_ok();
                    }
                }
                Err(error) => {
                    tracing::debug!(%user, %error, "what somebody follows could not be seen");
                    all = false;
                }
            }
        }
        all
    }
}
