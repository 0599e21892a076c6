//! Who listens to which agent: a socket that says so, and all sockets of a user who follows one.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

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
pub(super) struct Followers {
    all: Mutex<HashMap<UserId, Vec<Follower>>>,
    /// One looks, another one may wait for its turn.
    looks: Semaphore,
    looking: tokio::sync::Mutex<()>,
}

impl Default for Followers {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            looks: Semaphore::new(2),
            looking: tokio::sync::Mutex::default(),
        }
    }
}

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
        let mut all = self.all.lock();
        let of_user = all.entry(participant.socket.user.clone()).or_default();
        of_user.push(follower.clone());
        follower
    }

    pub fn remove(&self, user: &UserId, socket: SocketId) {
        let mut all = self.all.lock();
        if let Some(of_user) = all.get_mut(user) {
            of_user.retain(|follower| follower.participant.socket.id != socket);
            if of_user.is_empty() {
                all.remove(user);
            }
        }
    }

    fn of(&self, user: &UserId) -> Vec<Follower> {
        self.all.lock().get(user).cloned().unwrap_or_default()
    }

    /// A socket of the user's whose visit is so.
    pub fn speaker(&self, user: &UserId, is_so: impl Fn(&Visit) -> bool) -> Option<SocketId> {
        let all = self.all.lock();
        let of_user = all.get(user).into_iter().flatten();
        let mut fit = of_user.filter(|follower| is_so(&follower.visit));
        fit.next().map(|follower| follower.participant.socket.id)
    }

    fn users(&self) -> Vec<UserId> {
        self.all.lock().keys().cloned().collect()
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
        if self.voice_of(visit) == Voice::Own {
            self.adopt_own(&socket.user, socket.id).await;
        }
        // Listed first, looked second: what is followed in between is heard of, or seen.
        let follower = self.followers.put(participant, visit);
        let followed = self.backplane.follows(&socket.user).await?;
        let missing = self.follow_all(&follower, followed).await;
        self.follow_later(follower, missing);
        Ok(())
    }

    /// Has a socket listen to those that it does not listen to; the answer is those that cannot be heard now.
    async fn follow_all(
        self: &Arc<Self>,
        follower: &Follower,
        agents: Vec<AgentId>,
    ) -> Vec<AgentId> {
        let Follower { participant, visit } = follower;
        let mut missing = Vec::new();
        for some in agents.chunks(AT_ONCE) {
            let listening = some.iter().map(|agent| async move {
                let room = Room::Agent(agent.clone());
                if !visit.keep_new(&room, true) {
                    return true;
                }
                let listening = self.listen_in(participant, visit, &room, None, None);
                listening.await.is_ok()
            });
            let listening = join_all(listening).await;
            let failed = some.iter().zip(listening).filter(|(_, listens)| !listens);
            missing.extend(failed.map(|(agent, _)| agent.clone()));
        }
        missing
    }

    /// One that is out of reach keeps nobody from the others; it is heard when it can be.
    fn follow_later(self: &Arc<Self>, follower: Follower, missing: Vec<AgentId>) {
        if missing.is_empty() {
            return;
        }
        let node = self.clone();
        self.chores.spawn(async move {
            let missing = Mutex::new(missing);
            let follow = || async {
                let agents = std::mem::take(&mut *missing.lock());
                if node.may_stay(&follower.participant.socket).is_err()
                    || !node.hub.has_socket(follower.participant.socket.id)
                {
                    return Ok(());
                }
                let left = node.follow_all(&follower, agents).await;
                let done = left.is_empty();
                *missing.lock() = left;
                match done {
                    true => Ok(()),
                    false => Err(Error::Unavailable(
                        "some agents are out of reach".to_owned(),
                    )),
                }
            };
            node.insist(&Room::Lobby, follow).await;
        });
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
        // From here on it is this task's to undo, until the place is settled.
        let opened = async {
            self.may_stay(&participant.socket)?;
            let socket = participant.socket.clone();
            self.relay.open(room, socket, since, ask).await?;
            Ok(())
        };
        let opened = opened.await;
        let stays = opened.is_ok() && visit.settle(room);
        if !stays {
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
                let missing = node.follow_all(&follower, vec![agent]).await;
                node.follow_later(follower, missing);
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

    /// Word of what somebody follows may have been missed: looks once more, beside whatever else goes on.
    pub(super) fn check_followers_soon(self: &Arc<Self>) {
        let node = self.clone();
        self.chores.spawn(async move {
            // Who waits already sees what this one would.
            let Ok(_place) = node.followers.looks.try_acquire() else {
                return;
            };
            let _turn = node.followers.looking.lock().await;
            let look = || async {
                match node.check_followers().await {
                    true => Ok(()),
                    false => Err(Error::Unavailable("not all could be seen".to_owned())),
                }
            };
            node.insist(&Room::Lobby, look).await;
        });
    }

    /// False when something could not be seen.
    async fn check_followers(self: &Arc<Self>) -> bool {
        let mut all = true;
        for user in self.followers.users() {
            match self.backplane.follows(&user).await {
                Ok(agents) => {
                    for follower in self.followers.of(&user) {
                        for room in follower.visit.followed() {
                            if let Room::Agent(agent) = room
                                && !agents.contains(&agent)
                            {
                                self.stop_following(&follower, agent);
                            }
                        }
                        let missing = self.follow_all(&follower, agents.clone()).await;
                        self.follow_later(follower, missing);
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
