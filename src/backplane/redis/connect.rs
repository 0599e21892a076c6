//! How to reach Redis: from the URL to the client library's own settings.
//!
//! One server, a cluster, or whichever server the sentinels name; each with or without TLS. The library
//! takes many a URL that does not mean what its author thinks; such ones are refused here. Of a cluster it
//! never learns: each of its servers is reached as if it were alone.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fred::types::config::{
    Config as FredConfig, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server,
    ServerConfig, TcpConfig, TlsConnector, UnresponsiveConfig,
};
use fred::types::{Builder, RespVersion};

use super::durable::Durability;
use crate::trust::trusting;

/// How to reach Redis, and for how long to wait.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: String,
    /// Certificates that TLS trusts instead of the system's.
    pub ca: Option<PathBuf>,
    pub key_prefix: String,
    pub command_timeout: Duration,
    /// A report older than this is a node that is gone.
    pub lease: Duration,
    /// Silence after which it is tried whether anything can be heard.
    pub probe_silence: Duration,
    pub durability: Durability,
}

impl Config {
    /// Where those who share this Redis reach a listener: at its own address, or, when it listens on all, at the one
    /// that this machine has towards Redis. Nothing is sent to find that out.
    pub fn reachable(&self, listener: SocketAddr) -> Option<String> {
        if !listener.ip().is_unspecified() {
            return Some(listener.to_string());
        }
        let (_, rest) = self.url.split_once("://")?;
        let place = rest.split(['/', '?']).next()?;
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        let has_port = place
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = if has_port {
            place.to_owned()
        } else {
            format!("{place}:6379")
        };
        let probe = |from: &str| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(&place).ok()?;
            socket.local_addr().ok()
        };
        let here = probe("0.0.0.0:0").or_else(|| probe("[::]:0"))?;
        Some(SocketAddr::new(here.ip(), listener.port()).to_string())
    }
}

/// Commands waiting for Redis beyond this fail at once.
pub const MAX_WAITING_COMMANDS: usize = 65_536;
/// Messages waiting for the relay beyond this are a gap in every room.
pub const MAX_WAITING_MESSAGES: usize = 65_536;
/// The same for each master of a cluster, which are several.
pub const MAX_WAITING_MESSAGES_EACH: usize = 16_384;
/// Reconnects and errors of the command connection that we have not looked at yet; older ones are lost.
pub const MAX_WAITING_NOTICES: usize = 256;
/// Silence of an asked server after which its connection is given up.
pub const UNRESPONSIVE: Duration = Duration::from_secs(3);
/// Time for a connection to be made and to introduce itself.
const CONNECTING: Duration = Duration::from_secs(5);

/// What a configuration got wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the URL of Redis is wrong: {0}")]
    Url(String),
    #[error("the certificates for Redis are wrong: {0}")]
    Ca(String),
}

/// Whether Redis can be reached this way at all.
pub fn check(config: &Config) -> Result<(), Wrong> {
    Way::read(config).map(|_| ())
}

/// The library's configuration, and whether TLS is wanted; that is set up by [`trust`].
fn read(url: &str) -> Result<(FredConfig, bool), String> {
    let (scheme, rest) = url.split_once("://").ok_or("it lacks a scheme")?;
    let plain = match scheme {
        "rediss" => "redis",
        "rediss-cluster" => "redis-cluster",
        "rediss-sentinel" => "redis-sentinel",
        "redis" | "redis-cluster" | "redis-sentinel" => scheme,
        _ => return Err("its scheme is none of these".to_owned()),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = place.split_once('/').map_or("", |(_, database)| database);
    let known: &[&str] = match plain {
        "redis" => &[],
        "redis-cluster" => &["node"],
        _ => &[
            "node",
            "sentinelServiceName",
            "sentinelUsername",
            "sentinelPassword",
        ],
    };
    // Not repeated: what follows a question mark in a password looks like a name, too.
    if !form_urlencoded::parse(query.as_bytes()).all(|(name, _)| known.contains(&&*name)) {
        return Err(format!("after its ? may only stand {known:?}"));
    }
    if plain == "redis-cluster" && !matches!(database, "" | "0") {
        return Err("a cluster has no databases".to_owned());
    }
    if !database.is_empty() && database.parse::<u8>().is_err() {
        return Err("its database is not a number up to 255".to_owned());
    }
    let redis = FredConfig::from_url(&format!("{plain}://{rest}"));
    let redis = redis.map_err(|error| error.details().to_owned())?;
    if redis.username.is_some() && redis.password.is_none() {
        return Err("a user without a password would not be used".to_owned());
    }
    Ok((redis, plain != scheme))
}

/// TLS that believes these certificates, or the system's.
fn trust(ca: Option<&Path>) -> Result<TlsConnector, String> {
    match ca {
        Some(path) => trusting(path).map(Into::into),
        None => TlsConnector::default_rustls().map_err(|error| format!("the system's: {error}")),
    }
}

/// The way to every server of the configuration.
pub struct Way {
    redis: FredConfig,
    command_timeout: Duration,
}

impl Way {
    pub fn read(config: &Config) -> Result<Self, Wrong> {
        let (mut redis, tls) = read(&config.url).map_err(Wrong::Url)?;
        if tls {
            let trusted = trust(config.ca.as_deref()).map_err(Wrong::Ca)?;
            redis.tls = Some(trusted.into());
        } else if config.ca.is_some() {
            let why = "the URL asks for no TLS, so nothing would be checked";
            return Err(Wrong::Ca(why.to_owned()));
        }
        redis.version = RespVersion::RESP3;
        // Away at the start: wait with backoff instead of giving up.
        redis.fail_fast = false;
        Ok(Self {
            redis,
            command_timeout: config.command_timeout,
        })
    }

    /// The servers of the URL that may be asked who has which slots; none when there is just one to talk to.
    pub fn seeds(&self) -> &[Server] {
        match &self.redis.server {
            ServerConfig::Clustered { hosts, .. } => hosts,
            _ => &[],
        }
    }

    /// How to reach this server of the cluster, or the only one there is. `waiting` is the length of each of the
    /// client's queues to us, which take their memory at once.
    pub fn to(&self, server: Option<&Server>, waiting: usize) -> Builder {
        let mut builder = self.bare(server, waiting);
        let mut policy = ReconnectPolicy::new_exponential(0, 50, 1_000, 2);
        policy.set_jitter(100);
        builder.set_policy(policy);
        builder
    }

    /// The same for one question: it is given up when it does not work.
    pub fn once(&self, server: &Server) -> Builder {
        let mut builder = self.bare(Some(server), 1);
        builder.with_config(|redis| redis.fail_fast = true);
        builder
    }

    fn bare(&self, server: Option<&Server>, waiting: usize) -> Builder {
        let mut redis = self.redis.clone();
        if let Some(server) = server {
            redis.server = ServerConfig::Centralized {
                server: server.clone(),
            };
        }
        let mut builder = Builder::from_config(redis);
        builder
            .set_performance_config(PerformanceConfig {
                default_command_timeout: self.command_timeout,
                broadcast_channel_capacity: waiting,
                ..PerformanceConfig::default()
            })
            .set_connection_config(ConnectionConfig {
                connection_timeout: CONNECTING,
                internal_command_timeout: CONNECTING,
                // A command whose connection broke is not written again: whether it was done is not known.
                max_command_attempts: 1,
                max_command_buffer_len: MAX_WAITING_COMMANDS,
                unresponsive: UnresponsiveConfig {
                    max_timeout: Some(UNRESPONSIVE),
                    interval: Duration::from_millis(500),
                },
                tcp: TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                },
                ..ConnectionConfig::default()
            });
        builder
    }
}
