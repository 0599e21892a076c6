//! The end of a run: who is there, whom the store and the nodes show, and what everyone ends with.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use collabd::backplane::Backplane;
use collabd::domain::Member;
use collabd::ids::{SessionId, SocketId, UserId};

use super::{ANSWERS, PROBES, World};
use crate::sim::client::{self, Last};
use crate::sim::host::{self, Visitor};
use crate::sim::line::Down;

/// Who has a live socket: where, who, and which.
pub type There = HashSet<(SessionId, UserId, SocketId)>;

impl World {
    /// Who has a live socket: session, user and socket.
    pub(super) fn there(&self) -> There {
        let mut there = There::new();
        for host in self.open_hosts() {
            for (socket, seated) in host.seated() {
                there.insert((seated.session, seated.user, socket));
            }
        }
        there
    }

    /// Compares who is there with what the store has and with what a newcomer is shown.
    pub(super) async fn look(self: &Arc<Self>, there: &There) {
        let sockets: HashSet<SocketId> = there.iter().map(|(_, _, socket)| *socket).collect();
        let places = self.place.registry.places();
        for (what, these, others) in [
            ("a place nobody has", &places, &sockets),
            ("a socket without a place", &sockets, &places),
        ] {
            for socket in these.difference(others) {
                self.problem(format!("{what}: {socket}"));
            }
        }
        for (number, session) in self.sessions().enumerate() {
            let users = users(there, &session);
            let stored = self.stored(&session).await;
            let members = there.iter().filter(|(at, _, _)| *at == session).count();
            if stored.len() != members {
                let words = format!("{session}: {members} sockets, members {stored:?}");
                self.problem(words);
            }
            let stored: BTreeSet<String> = stored.into_iter().collect();
            self.presence(&session, &stored, &users);
            let shown = self.probe(PROBES + number as u64, &session).await;
            self.presence(&session, &shown, &users);
        }
        // They have left, and everyone was told.
        tokio::time::sleep(ANSWERS).await;
    }

    fn presence(&self, session: &SessionId, shown: &BTreeSet<String>, there: &BTreeSet<String>) {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
        let mut checker = self.checker.lock();
        checker.presence(session.as_str(), &list(shown), &list(there));
    }

    /// The user of every member, as the store has them.
    async fn stored(&self, session: &SessionId) -> Vec<String> {
        let snapshot = self.place.store.snapshot(&host::room(session)).await;
        let members = snapshot.expect("the store is here").members;
        let member = |record: &Bytes| {
            let member: Member = rmp_serde::from_slice(record).expect("it is a member");
            member.user.to_string()
        };
        members.iter().map(member).collect()
    }

    /// Comes in anew, and goes: whom a greeting shows beside it.
    async fn probe(&self, viewer: u64, session: &SessionId) -> BTreeSet<String> {
        let hosts = self.open_hosts();
        let host = &hosts[viewer as usize % hosts.len()];
        let user = UserId::parse("probe").expect("it is an id");
        let mut end = host.connect(Visitor {
            user: user.clone(),
            session: session.clone(),
            since: None,
        });
        let Some(Down::Text(text)) = end.next().await else {
            self.problem(format!("{session}: a newcomer was refused"));
            return BTreeSet::new();
        };
        let (greeting, mut shown) = client::greeting(&text);
        end.close();
        shown.remove(user.as_str());
        let mut checker = self.checker.lock();
        checker.greeted(session.as_str(), viewer, greeting);
        checker.gone(session.as_str(), viewer);
        shown
    }

    /// What clients ended with.
    pub(super) fn judge(&self, there: &There, last: &[Last]) {
        for client in last {
            let Last {
                viewer,
                user,
                session,
                ..
            } = client;
            let who = format!("viewer {viewer} ({user} in {session})");
            if client.gone {
                continue;
            }
            if !client.settled {
                self.problem(format!("{who} is not there in the end"));
            }
            if !client.unanswered.is_empty() {
                let unanswered = &client.unanswered;
                self.problem(format!("{who} was never answered: {unanswered:?}"));
            }
            let session = SessionId::parse(session).expect("it is an id");
            let users = users(there, &session);
            if client.shown != users {
                let shown = &client.shown;
                self.problem(format!("{who} sees {shown:?}, there are {users:?}"));
            }
        }
    }
}

fn users(there: &There, session: &SessionId) -> BTreeSet<String> {
    let of_room = there.iter().filter(|(at, _, _)| at == session);
    of_room.map(|(_, user, _)| user.to_string()).collect()
}
