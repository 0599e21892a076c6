//! Settings: from flags, environment and `.env` to each part's own configuration.
//!
//! [`SETTINGS`] is the one list: name, default, what is right, what it is for. The README's table, `--help`,
//! `check-config` and every error sentence come from it.

mod agents;
mod courier;
mod example;
mod identity;
mod intake;
mod neighbours;
mod parse;
mod records;
mod settings;
mod transport;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::example::env_example;
pub use self::parse::{Bad, Given};
pub use self::settings::{SETTINGS, Setting};
use crate::backplane::redis::Durability;
use crate::backplane::{Keep, redis};
use crate::domain::Limits;
use crate::telemetry::{LogConfig, LogFormat};
use crate::{api, auth, node};

/// Everything the node is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: Vec<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    pub log: LogConfig,
    pub auth: auth::Config,
    /// `None`: nothing is kept beyond its session.
    pub records: Option<crate::records::Config>,
    pub redis: Option<redis::Config>,
    /// `None`: match events come by REST alone.
    pub intake: Option<crate::intake::Config>,
    pub neighbours: crate::neighbours::Config,
    pub keep: Keep,
    pub node: node::Config,
    pub transport: crate::transport::Config,
    pub api: api::Config,
    pub max_body_bytes: usize,
    pub worker_threads: usize,
    pub stop_timeout: Duration,
}

impl Config {
    /// Reads every setting; all that are wrong are told at once.
    pub fn read(given: &Given) -> Result<Self, Vec<Bad>> {
        let mut bad = Vec::new();
        let config = Reader {
            given,
            bad: &mut bad,
        }
        .config();
        match config {
            Some(config) if bad.is_empty() => Ok(config),
            _ => Err(bad),
        }
    }
}

/// Reads on after a mistake, to find the others.
struct Reader<'a> {
    given: &'a Given,
    bad: &'a mut Vec<Bad>,
}

impl Reader<'_> {
    fn config(mut self) -> Option<Config> {
        let auth = self.auth();
        let listen = self.listen();
        let metrics = self.metrics();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Threads wake each other at a cost, and the kernel wants a core for the network.
        let or_cores = |count: usize| {
            if count == 0 {
                cores.saturating_sub(1).max(1)
            } else {
                count
            }
        };
        let (log, redis, records) = (self.log(), self.redis(), self.records());
        let max_body_bytes = self.size("MAX_BODY_BYTES");
        let intake = self.intake(max_body_bytes);
        let keep = Keep {
            log_length: self.whole("LOG_LENGTH"),
            log_ttl: self.seconds("LOG_TTL"),
            chat_history: self.whole("CHAT_HISTORY"),
            idempotency: self.seconds("IDEMPOTENCY_TTL"),
            session_grace: self.seconds("SESSION_GRACE"),
            session_ttl: self.seconds("SESSION_TTL"),
            ended_ttl: self.seconds("ENDED_TTL"),
            inbox: self.inbox(),
            agent_ttl: self.seconds("AGENT_TTL"),
            hooks_length: self.whole("HOOKS_LENGTH"),
        };
        let neighbours = self.neighbours();
        let node = node::Config {
            name: self.node_name(),
            address: self.advertised(),
            limits: Limits {
                code_bytes: self.size("MAX_CODE_BYTES"),
                chat_bytes: self.size("MAX_CHAT_BYTES"),
                data_bytes: self.size("MAX_EVENT_BYTES"),
                recipients: self.size("MAX_RECIPIENTS"),
                event_types: self.event_types(),
            },
            leave_grace: self.seconds("LEAVE_GRACE"),
            autocreate: self.flag("SESSION_AUTOCREATE"),
            relay: node::relay::Config {
                workers: or_cores(self.size("RELAY_WORKERS")),
                queue: self.size("RELAY_QUEUE"),
                log_length: keep.log_length,
                compare_idle: self.seconds("COMPARE_IDLE"),
            },
            text: node::text::Config {
                linger: self.seconds("DOCUMENT_LINGER"),
                batch: self.seconds("DOCUMENT_BATCH"),
                log_length: self.whole("DOCUMENT_LOG_LENGTH"),
                log_bytes: self.size("DOCUMENT_LOG_BYTES"),
                length: self.whole("MAX_DOCUMENT_LENGTH"),
            },
            beat_every: self.seconds("BEAT_INTERVAL"),
            lease: self.lease(),
            reap_pause: self.seconds("REAP_PAUSE"),
            places_per_user: self.whole("MAX_CONNECTIONS_PER_USER"),
            rooms_per_socket: self.size("MAX_ROOMS_PER_SOCKET"),
            agents: self.agents(),
            workspaces: self.workspaces(),
            hooks: neighbours.bridge.is_some(),
            bridge: node::bridge::Config {
                attempts: self.whole("IDE_BRIDGE_ATTEMPTS"),
            },
            presence_limit: self.whole("PRESENCE_BROADCAST_LIMIT"),
            postage: self.postage(),
            accounts: self.accounts(),
            // A room that everybody left is gone after the grace.
            save_every: self.seconds("SAVE_INTERVAL").min(keep.session_grace / 2),
            idempotency: keep.idempotency,
            replay_step: self.seconds("REPLAY_STEP"),
            participants: u32::try_from(self.whole("MAX_PARTICIPANTS")).unwrap_or(u32::MAX),
            reactions: u32::try_from(self.whole("REACTIONS_PER_MESSAGE")).unwrap_or(u32::MAX),
            idle_after: self.seconds("IDLE_AFTER"),
            away_after: self.seconds("AWAY_AFTER"),
            retention: self.retention(),
            teams: self.teams(),
            notices: self.notices(),
            drain: node::drain::Config {
                delay: self.seconds("DRAIN_DELAY"),
                rate: self.whole("DRAIN_RATE"),
                window: self.seconds("DRAIN_WINDOW"),
            },
        };
        let transport = self.transport();
        let api = api::Config {
            service: self.text("APP_NAME"),
            environment: self.text("ENVIRONMENT"),
            body_timeout: transport.handshake_timeout,
            public_url: self.public_url(),
            tls: transport.tls.is_some(),
        };
        let worker_threads = or_cores(self.size("WORKER_THREADS"));
        let stop_timeout = self.seconds("STOP_TIMEOUT");
        Some(Config {
            listen: listen?,
            metrics: metrics?,
            log: log?,
            auth: auth?,
            redis: redis?,
            intake: intake?,
            records: records?,
            neighbours,
            keep,
            node,
            transport,
            api,
            max_body_bytes,
            worker_threads,
            stop_timeout,
        })
    }

    /// Where other nodes reach this one, if that is said.
    fn advertised(&mut self) -> Option<String> {
        let given = self.text("ADVERTISE_ADDRESS");
        if given.is_empty() {
            return None;
        }
        if !parse::is_host_and_port(&given) {
            self.refuse_by_rule("ADVERTISE_ADDRESS");
        }
        Some(given)
    }

    fn text(&mut self, name: &'static str) -> String {
        self.given.value(name).to_owned()
    }

    fn whole(&mut self, name: &'static str) -> u64 {
        self.take(name, parse::whole).unwrap_or_default()
    }

    fn size(&mut self, name: &'static str) -> usize {
        self.whole(name) as usize
    }

    fn seconds(&mut self, name: &'static str) -> Duration {
        self.take(name, parse::seconds).unwrap_or_default()
    }

    fn flag(&mut self, name: &'static str) -> bool {
        self.take(name, parse::flag).unwrap_or_default()
    }

    fn choice(&mut self, name: &'static str) -> Option<&'static str> {
        self.take(name, parse::choice)
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Setting, &str) -> Option<T>,
    ) -> Option<T> {
        let setting = self.given.setting(name);
        let value = parse(setting, self.given.value(name));
        if value.is_none() {
            self.refuse(name, setting.right.to_string());
        }
        value
    }

    fn refuse(&mut self, name: &'static str, right: String) {
        self.bad.push(Bad {
            setting: name,
            given: self.given.shown(name),
            right,
        });
    }

    fn listen(&mut self) -> Option<Vec<SocketAddr>> {
        let port = self.whole("PORT");
        let (name, list) = match self.given.value("LISTEN") {
            "" => (
                "HOST",
                format!("{}:{port}", bracketed(self.given.value("HOST"))),
            ),
            list => ("LISTEN", list.to_owned()),
        };
        let mut addresses = Vec::new();
        for entry in list.split(',').map(str::trim) {
            match parse::address(entry) {
                Some(address) => addresses.push(address),
                None => {
                    let right = self.given.setting(name).right.to_string();
                    self.refuse(name, right);
                    return None;
                }
            }
        }
        let public = addresses.iter().any(|address| !address.ip().is_loopback());
        if public && self.is_open() && !self.given.is_set("AUTH") {
            self.refuse(
                name,
                "an address of this machine alone, such as 127.0.0.1: without identity anybody could be \
                 anyone; set JWT_SECRET or JWKS_URL, or say AUTH=open if that is meant"
                    .to_owned(),
            );
            return None;
        }
        Some(addresses)
    }

    fn metrics(&mut self) -> Option<Option<SocketAddr>> {
        let port = self.whole("METRICS_PORT");
        if port == 0 {
            return Some(None);
        }
        let host = match self.given.value("METRICS_HOST") {
            "" => self.given.value("HOST"),
            host => host,
        };
        let address = parse::address(&format!("{}:{port}", bracketed(host)));
        if address.is_none() {
            let right = self.given.setting("METRICS_HOST").right.to_string();
            self.refuse("METRICS_HOST", right);
        }
        address.map(Some)
    }

    fn log(&mut self) -> Option<LogConfig> {
        let debug = self.flag("DEBUG");
        let level = self.choice("LOG_LEVEL")?;
        let format = self.choice("LOG_FORMAT")?;
        let level = match level {
            _ if debug => tracing::Level::DEBUG,
            "DEBUG" => tracing::Level::DEBUG,
            "INFO" => tracing::Level::INFO,
            "WARNING" => tracing::Level::WARN,
            _ => tracing::Level::ERROR,
        };
        let format = match format {
            _ if debug && !self.given.is_set("LOG_FORMAT") => LogFormat::Pretty,
            "json" => LogFormat::Json,
            "pretty" => LogFormat::Pretty,
            _ => LogFormat::Line,
        };
        let file = self.text("LOG_FILE");
        Some(LogConfig {
            level,
            format,
            file: (!file.is_empty()).then(|| PathBuf::from(file)),
            file_bytes: self.whole("LOG_FILE_BYTES"),
            service: self.text("APP_NAME"),
        })
    }

    fn redis(&mut self) -> Option<Option<redis::Config>> {
        let url = self.text("REDIS_URL");
        // Seen to also when nothing comes of them: a wrong word is a wrong word.
        let durability = self.choice("DURABILITY");
        let command_timeout = self.seconds("COMMAND_TIMEOUT");
        let probe_silence = self.seconds("PROBE_SILENCE");
        if url.is_empty() {
            return Some(None);
        }
        let key_prefix = self.take("KEY_PREFIX", parse::prefix)?;
        let ca = self.text("REDIS_CA");
        let config = redis::Config {
            url,
            ca: (!ca.is_empty()).then(|| PathBuf::from(ca)),
            key_prefix,
            command_timeout,
            lease: self.seconds("LEASE"),
            probe_silence,
            durability: match durability? {
                "replica" => Durability::Replica,
                _ => Durability::Master,
            },
        };
        let (name, why) = match redis::check(&config) {
            Ok(()) => return Some(Some(config)),
            Err(redis::Wrong::Url(why)) => ("REDIS_URL", why),
            Err(redis::Wrong::Ca(why)) => ("REDIS_CA", why),
        };
        let right = &self.given.setting(name).right;
        self.refuse(name, format!("{right} ({why})"));
        None
    }

    /// One beat that is late must not be a death.
    fn lease(&mut self) -> Duration {
        let (lease, beat) = (self.seconds("LEASE"), self.seconds("BEAT_INTERVAL"));
        if lease < beat * 2 {
            let right = format!(
                "at least two of BEAT_INTERVAL, {} s",
                beat.as_secs_f64() * 2.0
            );
            self.refuse("LEASE", right);
        }
        lease
    }

    fn node_name(&mut self) -> String {
        match self.text("NODE_NAME") {
            name if name.is_empty() => hostname::get()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_else(|_| "unknown".to_owned()),
            name => name,
        }
    }
}

/// An IPv6 address in brackets, as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests;
