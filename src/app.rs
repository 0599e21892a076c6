//! Builds the parts, wires them, and owns the order in which they start and stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::service::TowerToHyperService;
use matchit::Router;
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
use crate::node::{Node, relay};
use crate::telemetry::metrics::metrics;
use crate::transport::{self, Bound, Door, Transport, close};

/// A node that serves.
pub struct App {
    pub addresses: Vec<SocketAddr>,
    node: Arc<Node>,
    transport: Arc<Transport>,
    listening: CancellationToken,
    background: CancellationToken,
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
    Listen(SocketAddr, std::io::Error),
    #[error("cannot use REDIS_URL: {0}")]
    Backplane(#[from] crate::backplane::Error),
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
        let addresses = bound.iter().map(|bound| bound.address).collect();
        let id = NodeId::random();
        metrics().begin(env!("CARGO_PKG_VERSION"), Dialect::Pairing.door());
        let clock = Clock::system();
        let (inlet, outlet) = relay::channel(&config.node.relay);
        let backplane: SharedBackplane = match &config.redis {
            None => Arc::new(Memory::new(config.keep, clock.clone(), Arc::new(inlet))),
            Some(redis) => Arc::new(Redis::connect(redis, config.keep, Arc::new(inlet))?),
        };
        let node = Node::new(
            id,
            config.node,
            clock,
            Arc::new(Hub::default()),
            backplane,
            outlet,
        );
        let transport = Transport::new(node.clone(), config.transport.clone());
        let app = Self {
            addresses,
            transport,
            listening: CancellationToken::new(),
            background: CancellationToken::new(),
            tasks: TaskTracker::new(),
            node: node.clone(),
        };
        app.start_background();
        let service = Arc::new(Routes {
            router: router(),
            api: Api::new(node, config.api),
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
        Ok(app)
    }

    fn start_background(&self) {
        let (transport, stop) = (self.transport.clone(), self.background.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(transport.keep_alive()).await;
        });
        let node = self.node.clone();
        self.tasks.spawn(async move { node.beat().await });
    }

    fn serve(&self, bound: Bound, routes: Arc<Routes>, config: &transport::Config, body: usize) {
        tracing::info!(address = %bound.address, node = %self.node.id, "listening");
        let id = HeaderName::from_static("x-request-id");
        let service = ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
            .layer(PropagateRequestIdLayer::new(id))
            .layer(cors(config.allowed_origins.as_deref()))
            .map_response(speak_problem)
            .layer(RequestBodyLimitLayer::new(body))
            .service(service_fn(move |request| {
                let routes = routes.clone();
                async move { Ok::<_, Infallible>(routes.answer(request).await) }
            }));
        let stop = self.listening.clone();
        let service = TowerToHyperService::new(service.boxed_clone());
        self.tasks.spawn(bound.serve(service, config.clone(), stop));
    }

    /// Leaves in order: nobody new, everyone told to come back elsewhere, then the backplane.
    pub async fn stop(self) {
        self.node.begin_stop();
        self.listening.cancel();
        self.transport
            .close_all(close::RESTARTING, "the node is restarting")
            .await;
        self.background.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.node.stop().await;
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
                let raw = found.params.get("session_id").unwrap_or_default();
                // What is no UTF-8 behind its percent signs keeps them, and is refused as an id.
                let session = percent_encoding::percent_decode_str(raw)
                    .decode_utf8()
                    .unwrap_or(raw.into());
                match found.value {
                    Target::Door(door) => {
                        let answer = self.transport.enter(*door, &session, request).await;
                        (door.path(), answer)
                    }
                    Target::Rest(rest) => (rest.path, self.api.call(rest, &session, request).await),
                }
            }
        };
        metrics().http(route, answer.status().as_u16(), started.elapsed());
        tracing::debug!(%path, status = answer.status().as_u16(), "answered");
        answer
    }
}

fn router() -> Router<Target> {
    let mut router = Router::new();
    let doors = Door::ALL.map(|door| (door.path(), Target::Door(door)));
    let rest = api::PATHS
        .iter()
        .map(|path| (path.path, Target::Rest(path)));
    for (path, target) in doors.into_iter().chain(rest) {
        router
            .insert(path, target)
            .expect("the paths of the table do not overlap");
    }
    router
}

fn cors(allowed: Option<&[String]>) -> CorsLayer {
    let origins = match allowed {
        None => AllowOrigin::from(Any),
        Some(list) => AllowOrigin::list(
            list.iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(Any)
}

/// The body limit's own answer is plain text; ours are problems.
fn speak_problem<B>(response: Response<B>) -> Response<UnsyncBoxBody<Bytes, B::Error>>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let problem = HeaderValue::from_static("application/problem+json");
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE
        && response.headers().get(CONTENT_TYPE) != Some(&problem)
    {
        let answer = api::too_large().answer();
        return answer.map(|body| body.map_err(|never| match never {}).boxed_unsync());
    }
    response.map(BodyExt::boxed_unsync)
}
