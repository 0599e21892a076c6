//! Builds the parts, wires them, and owns the order in which they start and stop.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::service::TowerToHyperService;
use matchit::Router;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use crate::api::{self, Api};
use crate::backplane::{SharedBackplane, memory::Memory, redis::Redis};
use crate::clock::Clock;
use crate::config::Config;
use crate::dialects::Dialect;
use crate::http::Answer;
use crate::hub::Hub;
use crate::ids::NodeId;
use crate::intake::Intake;
use crate::neighbours::Neighbours;
use crate::node::{Identities, Node, Parts, lobby, relay};
use crate::records::Records;
use crate::telemetry::metrics::metrics;
use crate::transport::tls::Tls;
use crate::transport::{self, Bound, Door, Origins, Transport};

/// A node that serves.
pub struct App {
    pub addresses: Vec<SocketAddr>,
    node: Arc<Node>,
    transport: Arc<Transport>,
    tls: Option<Arc<Tls>>,
    /// `None`: match events come by REST alone.
    intake: Option<Intake>,
    listening: CancellationToken,
    background: CancellationToken,
    /// Of the records, which the others still need when they stop.
    books: CancellationToken,
    tasks: TaskTracker,
}

/// What is at a path.
enum Target {
    Door(Door),
    Rest(&'static api::Path),
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {0}: {1}; another address is right: see HOST, PORT and LISTEN")]
    Listen(SocketAddr, io::Error),
    #[error("cannot use REDIS_URL: {0}")]
    Backplane(#[from] crate::backplane::Error),
    #[error("cannot check tokens: {0}")]
    Identity(String),
    #[error("cannot use DATABASE_URL: {0}")]
    Records(String),
    #[error(
        "cannot ask other services: {0}; see USER_SERVICE_URL, AI_AGENTS_URL and IDE_BRIDGE_URL"
    )]
    Neighbours(String),
    #[error("cannot speak TLS: {0}")]
    Tls(String),
    #[error("cannot take match events: {0}")]
    Intake(#[from] crate::intake::Wrong),
}

impl App {
    /// Starts a node: from here on it serves.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut bound = Vec::new();
        for address in &config.listen {
            let listener =
                transport::bind(*address).map_err(|error| StartError::Listen(*address, error))?;
            bound.push(listener);
        }
        let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
        let id = NodeId::random();
        let mut config = config;
        if let (Some(redis), None) = (&config.redis, &config.node.address) {
            config.node.address = addresses
                .first()
                .and_then(|address| redis.reachable(*address));
        }
        let most = config.transport.max_connections;
        metrics().begin(env!("CARGO_PKG_VERSION"), Dialect::Pairing.door(), most);
        let clock = Clock::system();
        let identities = Identities::new(config.auth).map_err(StartError::Identity)?;
        let neighbours = Neighbours::new(&config.neighbours).map_err(StartError::Neighbours)?;
        let records = config.records.as_ref().map(Records::open).transpose();
        let records = records.map_err(StartError::Records)?.map(Arc::new);
        let tls = config.transport.tls.as_ref().map(Tls::load).transpose();
        let tls = tls.map_err(StartError::Tls)?.map(Arc::new);
        let (inlet, attendance, outlet) = relay::channel(&config.node.relay);
        let backplane: SharedBackplane = match &config.redis {
            None => Arc::new(Memory::new(config.keep, clock.clone(), Arc::new(inlet))),
            Some(redis) => Arc::new(Redis::connect(redis, config.keep, Arc::new(inlet))?),
        };
        let parts = Parts {
            hub: Arc::new(Hub::default()),
            backplane,
            outlet,
            records,
            identities,
            neighbours,
        };
        let node = Node::new(id, config.node, clock, parts);
        let transport = Transport::new(node.clone(), config.transport.clone(), tls.clone());
        let intake = config
            .intake
            .map(|intake| Intake::new(intake, node.clone()));
        let intake = intake.transpose()?;
        let app = Self {
            addresses,
            transport,
            tls,
            intake,
            listening: CancellationToken::new(),
            background: CancellationToken::new(),
            books: CancellationToken::new(),
            tasks: TaskTracker::new(),
            node: node.clone(),
        };
        let books = app.start_background(attendance);
        // A database that is there is ready before anybody comes; one that is away is not waited for any longer.
        if let Some(records) = &config.records {
            let _ = tokio::time::timeout(records.timeout, books).await;
        }
        let service = Arc::new(Routes {
            router: router(),
            api: Api::new(node, app.transport.clone(), config.api),
            transport: app.transport.clone(),
        });
        for bound in bound {
            app.serve(
                bound,
                service.clone(),
                &config.transport,
                config.max_body_bytes,
            );
        }
        if let Some(intake) = &app.intake {
            intake.start();
        }
        Ok(app)
    }

    /// What goes on until the node stops. The answer ends when the database is ready.
    fn start_background(&self, attendance: lobby::Attendance) -> oneshot::Receiver<()> {
        let transport = self.transport.clone();
        self.until_stopped(async move { transport.keep_alive().await });
        if let Some(keys) = self.node.published_keys() {
            self.until_stopped(async move { keys.keep_fresh().await });
        }
        let (ready, books) = oneshot::channel();
        if let Some(records) = self.node.records().cloned() {
            let (node, stop) = (self.node.clone(), self.books.clone());
            self.tasks.spawn(stop.run_until_cancelled_owned(async move {
                records.make().await;
                // A shared backplane is told when it is there.
                if !node.is_clustered() {
                    node.remember_revoked().await;
                }
                drop(ready);
                records.keep().await;
            }));
        }
        if let Some(tls) = self.tls.clone() {
            self.until_stopped(async move { tls.keep_fresh().await });
        }
        // These end when the node does.
        let node = &self.node;
        self.tasks.spawn(node.clone().beat());
        self.tasks.spawn(node.clone().attend_pauses());
        self.tasks.spawn(node.clone().attend_link());
        self.tasks.spawn(node.clone().attend_lobby(attendance));
        self.tasks.spawn(node.clone().attend_tokens());
        self.tasks.spawn(node.clone().keep_marks());
        self.tasks.spawn(node.clone().attend_runs());
        self.tasks.spawn(node.clone().attend_lost_runs());
        self.tasks.spawn(node.clone().attend_hooks());
        self.tasks.spawn(node.clone().keep_texts());
        self.tasks.spawn(node.clone().attend_presence());
        self.tasks.spawn(node.clone().attend_texts());
        self.tasks.spawn(node.clone().forget_old());
        self.tasks.spawn(node.clone().sweep_accounts());
        books
    }

    fn until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.background.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    fn serve(&self, bound: Bound, routes: Arc<Routes>, config: &transport::Config, body: usize) {
        tracing::info!(address = %bound.address, node = %self.node.id(), "listening");
        let id = HeaderName::from_static("x-request-id");
        let service = ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
            .layer(PropagateRequestIdLayer::new(id))
            .map_response(harden(config.tls.is_some()))
            .layer(cors(&config.origins))
            .map_response(speak_problem)
            .layer(RequestBodyLimitLayer::new(body))
            .service(service_fn(move |request| {
                let routes = routes.clone();
                async move { Ok::<_, Infallible>(routes.answer(request).await) }
            }));
        let stop = self.listening.clone();
        let service = TowerToHyperService::new(service.boxed_clone());
        let (config, tls) = (config.clone(), self.tls.clone());
        let node = self.node.clone();
        let is_node = Arc::new(move |address| node.totals().is_node(address));
        self.tasks
            .spawn(bound.serve(service, config, tls, is_node, stop));
    }

    /// Reads the certificate again.
    pub async fn reload(&self) {
        match &self.tls {
            Some(tls) => tls.reload(true).await,
            None => tracing::info!("asked to reload, but there is no certificate to read again"),
        }
    }

    /// Leaves in order: nobody new is sent here, everyone is told to come back elsewhere, then the backplane.
    /// In a hurry nobody waits for balancers to notice, and all sockets are closed at once.
    pub async fn stop(self, hurry: bool) {
        // First of all: others take the events, while everything that those in flight need is still there.
        if let Some(intake) = &self.intake {
            intake.leave();
        }
        self.node.begin_drain(hurry).await;
        self.node.close_paced(hurry).await;
        // Before the wait: as long as somebody can knock, somebody lingers who was refused.
        self.listening.cancel();
        self.transport.emptied().await;
        if let Some(intake) = &self.intake {
            intake.left().await;
        }
        self.background.cancel();
        self.node.stop().await;
        self.books.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(records) = self.node.records() {
            records.close().await;
        }
        // Those whose handshake was under way have been refused meanwhile.
        self.transport.emptied().await;
    }
}

struct Routes {
    router: Router<Target>,
    api: Arc<Api>,
    transport: Arc<Transport>,
}

impl Routes {
    async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let (route, answer) = match self.router.at(&path) {
            Err(_) => ("other", api::not_found(&path)),
            Ok(found) => {
                let session = decoded(found.params.get("session_id"));
                let user = decoded(found.params.get("user_id"));
                let team = decoded(found.params.get("team_id"));
                let insight = decoded(found.params.get("insight_id"));
                let workspace = decoded(found.params.get("workspace_id"));
                let agent = decoded(found.params.get("agent_id"));
                match found.value {
                    // One path has a page, and a door.
                    Target::Rest(rest)
                        if rest.path == Door::Raw.path() && transport::is_upgrade(&request) =>
                    {
                        let answer = self.transport.enter(Door::Raw, "", request).await;
                        ("/ (socket)", answer)
                    }
                    Target::Door(door) => {
                        let answer = self.transport.enter(*door, &session, request).await;
                        (door.path(), answer)
                    }
                    Target::Rest(rest) => {
                        let from = self.transport.client(&request);
                        let place = api::Place {
                            path: rest,
                            session: &session,
                            user: &user,
                            team: &team,
                            insight: &insight,
                            workspace: &workspace,
                            agent: &agent,
                            from,
                        };
                        let answer = match self.pace(rest, request.method(), from) {
                            Ok(()) => self.api.call(&place, request).await,
                            Err(wait) => api::too_many(wait).answer(),
                        };
                        (rest.path, answer)
                    }
                }
            }
        };
        metrics().http(route, answer.status().as_u16(), started.elapsed());
        tracing::debug!(%path, status = answer.status().as_u16(), "answered");
        answer
    }
}

impl Routes {
    /// What is written to the database by whoever comes is counted like a handshake, and what is told to everybody.
    fn pace(&self, path: &api::Path, method: &Method, from: IpAddr) -> Result<(), Duration> {
        if path.is_paced() && method != Method::GET {
            self.transport.pace(from)
        } else {
            Ok(())
        }
    }
}

/// An id out of a path. What is no UTF-8 behind its percent signs keeps them, and is refused as an id.
fn decoded(raw: Option<&str>) -> Cow<'_, str> {
    let raw = raw.unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(raw).decode_utf8();
    decoded.unwrap_or(raw.into())
}

fn router() -> Router<Target> {
    let mut router = Router::new();
    let doors = Door::ALL.into_iter().filter(|door| *door != Door::Raw);
    let doors = doors.map(|door| (door.path(), Target::Door(door)));
    let rest = api::PATHS
        .iter()
        .map(|path| (path.path, Target::Rest(path)));
    for (path, target) in doors.chain(rest) {
        router
            .insert(path, target)
            .expect("the paths of the table do not overlap");
    }
    router
}

/// The same pages as by WebSocket. Those of the same host need no leave.
fn cors(origins: &Origins) -> CorsLayer {
    let origins = match origins {
        Origins::Any => AllowOrigin::from(Any),
        Origins::SameHost => AllowOrigin::list([]),
        Origins::Listed(list) => AllowOrigin::list(
            list.iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        // A wildcard does not cover Authorization.
        .allow_headers([
            CONTENT_TYPE,
            AUTHORIZATION,
            HeaderName::from_static(api::IDEMPOTENCY_KEY),
        ])
        .expose_headers([RETRY_AFTER])
}

/// What every answer says to browsers: to guess no types, and to come by TLS if it is spoken here.
fn harden<B>(tls: bool) -> impl Fn(Response<B>) -> Response<B> + Clone {
    move |mut response| {
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if tls {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.insert(STRICT_TRANSPORT_SECURITY, year);
        }
        response
    }
}

/// The body limit's own answer is plain text; ours are problems.
fn speak_problem<B>(response: Response<B>) -> Response<UnsyncBoxBody<Bytes, io::Error>>
where
    B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    let problem = HeaderValue::from_static("application/problem+json");
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE
        && response.headers().get(CONTENT_TYPE) != Some(&problem)
    {
        let answer = api::too_large().answer();
        return answer.map(BodyExt::boxed_unsync);
    }
    response.map(BodyExt::boxed_unsync)
}
