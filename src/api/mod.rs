//! REST, health and pages. One file per area; [`PATHS`] is the table.

mod access;
mod accounts;
mod agents;
mod asked;
mod body;
mod broadcast;
mod connections;
mod courier;
mod denied;
pub mod docs;
mod health;
mod history;
mod insights;
mod paths;
mod playground;
mod recorded;
mod sessions;
mod stats;
mod status;
mod teams;
mod workspaces;

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError};
use hyper::body::Body;
use hyper::header::ACCEPT;
use hyper::{Method, Request, StatusCode};

use self::access::noted;
pub use self::broadcast::IDEMPOTENCY_KEY;
use self::paths::Endpoint;
pub use self::paths::{PATHS, Path};
use crate::backplane::Error;
use crate::http::{Answer, Problem, empty, html, part};
use crate::ids::SessionId;
use crate::node::peers::Peers;
use crate::node::{FOR_SESSIONS, Node};

#[derive(Debug, Clone)]
pub struct Config {
    pub service: String,
    pub environment: String,
    pub body_timeout: Duration,
    /// Where clients connect to; `None`: where they came to.
    pub public_url: Option<String>,
    /// Whether they come by TLS.
    pub tls: bool,
}

pub struct Api {
    node: Arc<Node>,
    /// The way to other nodes.
    peers: Arc<dyn Peers>,
    config: Config,
}

/// Where a request came to, and from.
pub struct Place<'a> {
    pub path: &'a Path,
    /// What stands in the path for ids; empty where it has none.
    pub session: &'a str,
    pub user: &'a str,
    pub team: &'a str,
    pub insight: &'a str,
    pub workspace: &'a str,
    pub agent: &'a str,
    pub from: IpAddr,
}

impl Api {
    pub fn new(node: Arc<Node>, peers: Arc<dyn Peers>, config: Config) -> Arc<Self> {
        Arc::new(Self {
            node,
            peers,
            config,
        })
    }

    /// Answers a request.
    pub async fn call<B>(&self, place: &Place<'_>, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (path, session) = (place.path, place.session);
        // HEAD is GET without a body, which hyper leaves out by itself.
        let method = match *request.method() {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let Some((_, endpoint)) = path.methods.iter().find(|(known, _)| known == method) else {
            return path.method_not_allowed();
        };
        let wants_page = request
            .headers()
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
        let answer = match endpoint {
            Endpoint::Card if wants_page => Ok(playground::serve(&request)),
            Endpoint::Card => Ok(self.card()),
            Endpoint::Playground => Ok(playground::serve(&request)),
            Endpoint::Health => Ok(self.health()),
            Endpoint::HealthRedis => Ok(self.health_redis()),
            Endpoint::SocketHealth => Ok(self.socket_health()),
            Endpoint::Alive => Ok(self.alive()),
            Endpoint::Ready => Ok(self.ready()),
            Endpoint::Balancer => Ok(self.balancer()),
            Endpoint::OpenApi => Ok(part(JSON, docs::openapi())),
            Endpoint::AsyncApi => Ok(part(JSON, docs::asyncapi())),
            Endpoint::Docs => Ok(docs::page(request.uri().path())),
            Endpoint::PairingPage => Ok(html(include_str!("pages/pairing.html"))),
            Endpoint::PairingScript => Ok(part(SCRIPT, include_str!("pages/pairing.js"))),
            Endpoint::PairingStyle => Ok(part(CSS, include_str!("pages/pairing.css"))),
            Endpoint::HealthDatabase => Ok(self.health_database()),
            Endpoint::AccountRegister
            | Endpoint::AccountLogin
            | Endpoint::AccountGuest
            | Endpoint::AccountMe
            | Endpoint::AccountDelete
            | Endpoint::AccountRefresh
            | Endpoint::AccountPassword => {
                let served = self.serve_accounts(*endpoint, request, place.from).await;
                served.map_err(|problem| noted(path, &None, problem))
            }
            Endpoint::RecordedList
            | Endpoint::Recorded
            | Endpoint::RecordedPeople
            | Endpoint::RecordedPerson => {
                let served = self.serve_recorded(*endpoint, place, request).await;
                served.map_err(|problem| noted(path, &None, problem))
            }
            Endpoint::Messages
            | Endpoint::MessageStats
            | Endpoint::Comments
            | Endpoint::Presence
            | Endpoint::Events
            | Endpoint::Replay
            | Endpoint::Text => {
                let served = self.serve_history(*endpoint, place, &request).await;
                served.map_err(|problem| noted(path, &None, problem))
            }
            Endpoint::Teams
            | Endpoint::Team
            | Endpoint::TeamMembers
            | Endpoint::TeamMember
            | Endpoint::TeamAnalytics
            | Endpoint::Insights
            | Endpoint::Insight => {
                let served = self.serve_teams(*endpoint, place, request).await;
                served.map_err(|problem| noted(path, &None, problem))
            }
            Endpoint::Workspaces
            | Endpoint::Workspace
            | Endpoint::WorkspaceJoin
            | Endpoint::WorkspaceLeave
            | Endpoint::WorkspaceUsers
            | Endpoint::AgentsStatus
            | Endpoint::AgentRuns
            | Endpoint::AgentSubscribe
            | Endpoint::AgentUnsubscribe
            | Endpoint::AgentEvents => self.serve_work(*endpoint, place, request).await,
            Endpoint::Logout => {
                let served = self.log_out(request).await;
                served.map_err(|problem| noted(path, &None, problem))
            }
            Endpoint::SessionState
            | Endpoint::EndSession
            | Endpoint::CreateSession
            | Endpoint::Status
            | Endpoint::Connections
            | Endpoint::Broadcast
            | Endpoint::UsersOnline
            | Endpoint::Stats
            | Endpoint::Register => self.serve_known(path, *endpoint, session, request).await,
        };
        answer.unwrap_or_else(|problem| problem.answer())
    }

    /// What is only for those who say who they are, when the node wants to know.
    async fn serve_known<B>(
        &self,
        path: &Path,
        endpoint: Endpoint,
        session: &str,
        request: Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if endpoint == Endpoint::Connections && connections::is_of_a_node(&request) {
            let answer = self.own_connections(&request);
            return answer.map_err(|problem| noted(path, &None, problem));
        }
        // A recorded session is nobody's who does not show a token, on an open node, too.
        let is_recorded = SessionId::parse(session).is_ok_and(|session| session.is_recorded());
        let caller = if is_recorded {
            self.bearer(&request).await.map(Some)
        } else {
            self.caller(&request).await
        };
        let caller = caller.map_err(|problem| noted(path, &None, problem))?;
        let answer = match endpoint {
            Endpoint::SessionState => self.session_state(&caller, session).await,
            Endpoint::EndSession => self.end_session(&caller, session).await,
            Endpoint::Status => Ok(self.status()),
            Endpoint::Connections => self.connections(&caller, request.uri().query()).await,
            Endpoint::Broadcast => {
                let key = broadcast::key(&request).map(|key| key.map(str::to_owned));
                match key {
                    Ok(key) => {
                        let body = self.body(request).await?;
                        self.broadcast(&caller, key, &body).await
                    }
                    Err(problem) => Err(problem),
                }
            }
            Endpoint::UsersOnline => self.users_online(request.uri().query()).await,
            Endpoint::Stats => self.stats(&caller, request.uri().query()).await,
            Endpoint::Register => {
                let url = self.socket_url(&request);
                let body = self.body(request).await?;
                self.register(&caller, &body, url).await
            }
            _ => {
                self.create_session(&caller, &self.body(request).await?)
                    .await
            }
        };
        answer.map_err(|problem| noted(path, &caller, problem))
    }

    /// What is asked about workspaces and agents.
    async fn serve_work<B>(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        request: Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let caller = self.caller(&request).await.and_then(|caller| match caller {
            Some(identity) if identity.sessions.is_some() => Err(access::forbidden(FOR_SESSIONS)),
            caller => Ok(caller),
        });
        let caller = caller.map_err(|problem| noted(place.path, &None, problem))?;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // Read where it is wanted alone; a GET has none.
        let body = match method {
            Method::POST | Method::PATCH => self.body(request).await?,
            _ => Bytes::new(),
        };
        let query = uri.query();
        let served = match endpoint {
            Endpoint::AgentsStatus
            | Endpoint::AgentRuns
            | Endpoint::AgentSubscribe
            | Endpoint::AgentUnsubscribe
            | Endpoint::AgentEvents => {
                self.serve_agents(endpoint, place, &caller, query, &body)
                    .await
            }
            _ => {
                self.serve_workspaces(endpoint, place, &caller, &method, query, &body)
                    .await
            }
        };
        served.map_err(|problem| noted(place.path, &caller, problem))
    }

    async fn log_out<B>(&self, request: Request<B>) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let identity = self.bearer(&request).await?;
        self.logout(&identity, &self.body(request).await?).await
    }

    /// The whole body, which the listener's limit keeps small.
    async fn body<B>(&self, request: Request<B>) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = tokio::time::timeout(self.config.body_timeout, request.into_body().collect());
        match body.await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => {
                let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                if error.is::<LengthLimitError>() {
                    Err(too_large())
                } else {
                    let detail = "the body ended too early";
                    Err(Problem::new(StatusCode::BAD_REQUEST, "bad_frame", detail))
                }
            }
            Err(_) => {
                let detail = "the body did not come in time";
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
            }
        }
    }
}

const JSON: &str = "application/json";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The answer to a body beyond MAX_BODY_BYTES.
pub fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the body is larger than MAX_BODY_BYTES",
    )
}

/// The answer to too many requests that cost something.
pub fn too_many(wait: Duration) -> Problem {
    let seconds = u16::try_from(wait.as_secs() + 1).ok();
    Problem {
        retry_after_s: seconds.and_then(NonZeroU16::new),
        ..Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests from this address; come again in a while",
        )
    }
}

/// The answer for a path that is not in the table.
pub fn not_found(path: &str) -> Answer {
    let detail = format!("there is nothing at {path}; / lists what there is");
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail).answer()
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Missing => Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such session",
        ),
        Error::Ended => Problem::new(StatusCode::GONE, "ended", "the session has ended"),
        Error::Forbidden => access::forbidden("your role in this session does not allow this"),
        Error::Unavailable(_) | Error::Stale | Error::Full | Error::Unmet => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "backplane_unavailable",
            "the node cannot reach its cluster now; try again",
        ),
    }
}

fn no_content() -> Answer {
    empty(StatusCode::NO_CONTENT)
}
