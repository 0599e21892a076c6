//! How many sockets there are, by node and by door; and, for admins, which.
//!
//! A node knows its own sockets only. For a page the others are asked, in the order of their ids, a few ahead; one that
//! does not answer is passed over and named.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::{StreamExt, stream};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::{Caller, forbidden, trusted};
use super::asked::{Asked, Page, bad_field};
use super::docs::shapes;
use super::health::is_false;
use crate::auth::pass;
use crate::clock::rfc3339;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{NodeId, SocketId};
use crate::node::Connection;

const PAGE: Page = Page {
    usual: 100,
    most: 500,
};
/// The same between nodes: one more tells whether there are more.
const OWN: Page = Page {
    usual: 100,
    most: PAGE.most + 1,
};
/// Nodes asked at once.
const AT_ONCE: usize = 4;
/// Bytes of a node's answer: a page of sockets in very many rooms.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Sockets at doors that their node did not name.
const UNNAMED: &str = "other";

/// Of the whole cluster.
#[derive(Serialize, ToSchema)]
#[schema(as = Connections)]
pub(super) struct ConnectionsOut {
    /// Sockets open now.
    total: u64,
    /// The same by the id of their node.
    by_node: BTreeMap<String, u64>,
    /// The same by their door.
    by_door: BTreeMap<String, u64>,
    /// True: other nodes are as they were last known, because Redis is away; left out otherwise.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// A page of them, for admins and services who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    list: Option<Vec<ConnectionOut>>,
    /// Where the next page begins; left out: there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// With a list: nodes that did not answer, and whose sockets are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unreachable: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Connection)]
pub(super) struct ConnectionOut {
    socket_id: String,
    node_id: String,
    #[schema(schema_with = shapes::id)]
    user_id: String,
    username: String,
    /// As metrics call it.
    door: String,
    #[schema(format = DateTime)]
    connected_at: String,
    /// Where it hears what happens, such as `session:abc`.
    #[serde(default)]
    rooms: Vec<String>,
}

/// What a node answers another one.
#[derive(Serialize, Deserialize)]
struct OwnOut {
    list: Vec<ConnectionOut>,
}

/// A page over all nodes.
#[derive(Default)]
struct Listed {
    list: Vec<ConnectionOut>,
    next: Option<String>,
    unreachable: Vec<String>,
}

impl From<Connection> for ConnectionOut {
    fn from(connection: Connection) -> Self {
        let rooms = connection.rooms.iter().map(ToString::to_string);
        let mut rooms: Vec<String> = rooms.collect();
        rooms.sort_unstable();
        Self {
            socket_id: connection.socket.to_string(),
            node_id: connection.socket.node().to_string(),
            user_id: connection.user.to_string(),
            username: connection.name.to_string(),
            door: connection.door.to_owned(),
            connected_at: rfc3339(connection.since),
            rooms,
        }
    }
}

/// Whether the request says that another node sends it.
pub(super) fn is_of_a_node<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(pass::HEADER)
}

impl Api {
    pub(super) async fn connections(
        &self,
        caller: &Caller,
        query: Option<&str>,
    ) -> Result<Answer, Problem> {
        let asked = Asked::of(query);
        let wants_list = asked.says("limit") || asked.says("cursor");
        if wants_list {
            trusted(caller, "only a service or an admin is told who is there")?;
        }
        let (limit, cursor) = (asked.limit(PAGE)?, cursor(&asked)?);
        let cluster = self.node.cluster();
        let nodes = cluster.reports.iter();
        let by_node: BTreeMap<_, _> = nodes
            .map(|report| (report.node.clone(), report.sockets))
            .collect();
        let mut by_door = BTreeMap::new();
        for report in &cluster.reports {
            for (door, sockets) in &report.doors {
                *by_door.entry(door.clone()).or_default() += sockets;
            }
        }
        let (total, named) = (by_node.values().sum(), by_door.values().sum::<u64>());
        // A node of a version before does not tell its doors.
        if named < total {
            by_door.insert(UNNAMED.to_owned(), total - named);
        }
        let listed = if wants_list {
            let nodes = by_node.keys().filter_map(|node| NodeId::parse(node));
            Some(self.list_of(nodes.collect(), cursor, limit as usize).await)
        } else {
            None
        };
        let (list, next_cursor, unreachable) = match listed {
            Some(listed) => (Some(listed.list), listed.next, Some(listed.unreachable)),
            None => (None, None, None),
        };
        let body = ConnectionsOut {
            total,
            by_node,
            by_door,
            stale: cluster.stale,
            list,
            next_cursor,
            unreachable,
        };
        Ok(answer(StatusCode::OK, &body))
    }

    /// This node's sockets, for another node.
    pub(super) fn own_connections<B>(&self, request: &Request<B>) -> Result<Answer, Problem> {
        self.believe(request).map_err(|why| {
            tracing::debug!(why, "a pass was refused");
            forbidden("the pass is not one of this cluster's nodes for this request")
        })?;
        let asked = Asked::of(request.uri().query());
        let (after, most) = (asked.text("after"), asked.limit(OWN)?);
        let after = after.map_or(Ok(0), str::parse).map_err(|_| {
            let detail = "after is no number of a socket".to_owned();
            bad_field("after", detail)
        })?;
        let list = self.own_page(after, most as usize);
        Ok(answer(StatusCode::OK, &OwnOut { list }))
    }

    fn believe<B>(&self, request: &Request<B>) -> Result<NodeId, String> {
        let shown = request.headers().get(pass::HEADER);
        let shown = shown.and_then(|shown| shown.to_str().ok());
        let secret = self.node.secret().ok_or("this node knows no others")?;
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |said| said.as_str());
        let what = (self.node.id(), target, request.method().as_str());
        pass::verify(
            shown.unwrap_or_default(),
            what,
            &secret,
            self.node.clock().now(),
        )
    }

    fn own_page(&self, after: u64, most: usize) -> Vec<ConnectionOut> {
        let own = self.node.connections(after, most).into_iter();
        own.map(ConnectionOut::from).collect()
    }

    /// The sockets of these nodes from behind that one on. `nodes` are in the order of their ids.
    async fn list_of(&self, nodes: Vec<NodeId>, after: Option<SocketId>, limit: usize) -> Listed {
        let from = after.map(SocketId::node);
        let nodes = nodes
            .into_iter()
            .filter(|node| from.is_none_or(|from| *node >= from));
        let pages = stream::iter(nodes).map(|node| async move {
            let after = after.filter(|after| after.is_of(node));
            let after = after.map_or(0, SocketId::counter);
            (node, self.page_of(node, after, limit + 1).await)
        });
        let mut pages = pin!(pages.buffered(AT_ONCE));
        let mut listed = Listed::default();
        while let Some((node, page)) = pages.next().await {
            match page {
                Ok(page) => listed.list.extend(page),
                Err(why) => {
                    tracing::info!(%node, why, "a node's sockets are not listed");
                    listed.unreachable.push(node.to_string());
                }
            }
            if listed.list.len() > limit {
                listed.list.truncate(limit);
                let last = listed.list.last();
                listed.next = last.map(|last| last.socket_id.clone());
                break;
            }
        }
        listed
    }

    async fn page_of(
        &self,
        node: NodeId,
        after: u64,
        most: usize,
    ) -> Result<Vec<ConnectionOut>, String> {
        if node == self.node.id() {
            return Ok(self.own_page(after, most));
        }
        let target = format!("/connections?after={after}&limit={most}");
        let said = self.peers.ask(node, &target, MAX_ANSWER).await?;
        let said: OwnOut = serde_json::from_slice(&said).map_err(|error| error.to_string())?;
        Ok(said.list)
    }
}

/// Behind which socket the page begins.
fn cursor(asked: &Asked<'_>) -> Result<Option<SocketId>, Problem> {
    let read = |text: &str| {
        SocketId::parse(text).ok_or_else(|| {
            let detail = "cursor is none; right is next_cursor of the page before";
            bad_field("cursor", detail.to_owned())
        })
    };
    asked.text("cursor").map(read).transpose()
}
