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
use crate::ids::{NodeId, Room, SessionId};

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
        let (own, mut sessions, mut users) = (self.id(), BTreeSet::new(), HashSet::new());
        let sockets = self.hub.sockets();
        users.extend(sockets.iter().map(|socket| socket.user.clone()));
        sessions.extend(self.hub.open_sessions());
        let cluster = self.totals.cluster();
        let own_name = own.to_string();
        let others: Vec<&NodeReport> = cluster
            .reports
            .iter()
            .filter(|report| report.node != own_name)
            .collect();
        let sum =
            |count: fn(&NodeReport) -> u64| others.iter().map(|report| count(report)).sum::<u64>();
        let mut stats = Stats {
            sockets: sockets.len() as u64 + sum(|report| report.sockets),
            stale: cluster.stale || self.link() != Link::Up,
            ..Stats::default()
        };
        stats.rough = sum(|report| report.rooms + report.users) > HELD_MOST;
        if !stats.rough && !stats.stale {
            let ids = others
                .iter()
                .filter_map(|report| NodeId::parse(&report.node));
            match self.held_by(ids.collect()).await {
                Ok(rooms) => {
                    for room in rooms {
                        match room {
                            Room::Session(session) => drop(sessions.insert(session)),
                            Room::User(user) => drop(users.insert(user)),
                            Room::Couriers | Room::Lobby => {}
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the nodes' holdings cannot be read now");
                    stats.stale = true;
                }
            }
        }
        stats.sessions = sessions.len() as u64;
        stats.users = users.len() as u64;
        if stats.rough || stats.stale {
            stats.sessions += sum(|report| report.rooms);
            stats.users += sum(|report| report.users);
        }
        stats.open = Arc::new(sessions);
        stats
    }

    async fn held_by(&self, nodes: Vec<NodeId>) -> Result<Vec<Room>, Error> {
        let held = stream::iter(nodes).map(|node| self.backplane.holdings(node));
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
