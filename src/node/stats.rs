//! How much is going on in the whole cluster, when somebody asks: every living node's holdings are read, so that who or what
//! is on two nodes counts once.
//!
//! Looked at once for all who ask within a moment, and not at all beyond [`HELD_MOST`]: then numbers are the nodes' own
//! reports, added up.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Node;
use crate::backplane::{Error, Link, NodeReport};
use crate::clock::Millis;
use crate::ids::{NodeId, Room, SessionId, UserId};

/// How long a look counts.
const FRESH: Duration = Duration::from_secs(1);
/// Rooms and places held by all nodes, by their reports, beyond which they are not read.
const HELD_MOST: u64 = 200_000;
/// Rooms asked for their users at once.
const AT_ONCE: usize = 32;
const DAY: Millis = 86_400_000;

/// What goes on in the cluster.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Sockets.
    pub sockets: u64,
    /// Sessions with somebody in them.
    pub sessions: u64,
    /// Users, at all doors.
    pub users: u64,
    /// Messages and comments in recorded sessions since the day (UTC) began; `None`: the records do not say.
    pub messages_today: Option<u64>,
    /// Added up of reports: who or what is on two nodes counts twice.
    pub rough: bool,
    /// The other nodes could not be asked now.
    pub stale: bool,
    /// The ids of the sessions, in their order; those of this node alone when `rough` or `stale`.
    open: Arc<BTreeSet<SessionId>>,
}

/// Each once, on however many nodes.
#[derive(Default)]
struct Seen {
    sessions: BTreeSet<SessionId>,
    users: HashSet<UserId>,
}

impl Seen {
    fn take_in(&mut self, room: Room) {
        match room {
            Room::Session(session) => drop(self.sessions.insert(session)),
            // For the places of its sockets.
            Room::User(user) => drop(self.users.insert(user)),
            Room::Workspace(_) | Room::Agent(_) | Room::Couriers | Room::Lobby => {}
        }
    }
}

/// The last look.
#[derive(Default)]
pub(super) struct Looked {
    last: Mutex<Option<(Instant, Stats)>>,
    /// One looks, the others wait for what it sees.
    looking: tokio::sync::Mutex<()>,
}

impl Looked {
    fn fresh(&self) -> Option<Stats> {
        let last = self.last.lock();
        let (at, stats) = last.as_ref()?;
        (at.elapsed() < FRESH).then(|| stats.clone())
    }
}

impl Node {
    pub async fn stats(&self) -> Stats {
        if let Some(stats) = self.looked.fresh() {
            return stats;
        }
        let _turn = self.looked.looking.lock().await;
        if let Some(stats) = self.looked.fresh() {
            return stats;
        }
        let (stats, messages_today) = tokio::join!(self.survey(), self.messages_today());
        let stats = Stats {
            messages_today,
            ..stats
        };
        *self.looked.last.lock() = Some((Instant::now(), stats.clone()));
        stats
    }

    /// Sessions with how many users each has, on whatever node, in the order of their ids; and whether there are more.
    pub async fn open_sessions(
        &self,
        stats: &Stats,
        after: Option<&SessionId>,
        most: usize,
    ) -> Result<(Vec<(SessionId, u64)>, bool), Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = stats.open.range((from, Bound::Unbounded));
        let mut page: Vec<SessionId> = page.take(most + 1).cloned().collect();
        let has_more = page.len() > most;
        page.truncate(most);
        let counted = stream::iter(page).map(|session| async move {
            let room = Room::Session(session.clone());
            let users = self.backplane.headcount(&room).await?;
            Ok::<_, Error>((session, users))
        });
        let counted = counted.buffered(AT_ONCE).try_collect().await?;
        Ok((counted, has_more))
    }

    async fn survey(&self) -> Stats {
        let mut seen = Seen::default();
        let sockets = self.hub.sockets();
        seen.users
            .extend(sockets.iter().map(|socket| socket.user.clone()));
        seen.sessions.extend(self.hub.open_sessions());
        let (cluster, own) = (self.totals.cluster(), self.id().to_string());
        let mut others = cluster.reports;
        others.retain(|report| report.node != own);
        let sum = |count: fn(&NodeReport) -> u64| others.iter().map(count).sum::<u64>();
        let rough = sum(|report| report.rooms + report.users) > HELD_MOST;
        let mut stale = cluster.stale || self.link() != Link::Up;
        if !rough && !stale {
            match self.held_by(&others).await {
                Ok(rooms) => rooms.into_iter().for_each(|room| seen.take_in(room)),
                Err(error) => {
                    tracing::debug!(%error, "the nodes' holdings cannot be read now");
                    stale = true;
                }
            }
        }
        let mut stats = Stats {
            sockets: sockets.len() as u64 + sum(|report| report.sockets),
            sessions: seen.sessions.len() as u64,
            users: seen.users.len() as u64,
            messages_today: None,
            rough,
            stale,
            open: Arc::new(seen.sessions),
        };
        if rough || stale {
            stats.sessions += sum(|report| report.rooms);
            stats.users += sum(|report| report.users);
        }
        stats
    }

    async fn held_by(&self, nodes: &[NodeReport]) -> Result<Vec<Room>, Error> {
        let ids: Vec<NodeId> = nodes
            .iter()
            .filter_map(|report| NodeId::parse(&report.node))
            .collect();
        let held = stream::iter(ids).map(|node| self.backplane.holdings(node));
        let held: Vec<Vec<Room>> = held.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(held.into_iter().flatten().collect())
    }

    async fn messages_today(&self) -> Option<u64> {
        let now = self.clock().now();
        let counted = self.records()?.messages_since(now - now.rem_euclid(DAY));
        let counted = counted.await;
        if let Err(error) = &counted {
            tracing::debug!(%error, "messages are not counted now");
        }
        counted.ok()
    }
}
