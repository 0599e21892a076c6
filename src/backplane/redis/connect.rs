//! How to reach Redis: from the URL to the client library's own settings.

use std::time::Duration;

use fred::types::config::{
    Config as FredConfig, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig,
    UnresponsiveConfig,
};
use fred::types::{Builder, RespVersion};

use super::unavailable;
use crate::backplane::Error;

/// How to reach Redis, and for how long to wait.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: String,
    pub key_prefix: String,
    pub command_timeout: Duration,
    /// A report older than this is a node that is gone.
    pub lease: Duration,
}

/// Commands waiting for Redis beyond this fail at once.
pub const MAX_WAITING_COMMANDS: usize = 65_536;
/// Messages waiting for the relay beyond this are a gap in every room.
pub const MAX_WAITING_MESSAGES: usize = 65_536;
/// Reconnects and errors of the command connection that we have not looked at yet; older ones are lost.
pub const MAX_WAITING_NOTICES: usize = 256;
/// Silence of an asked server after which its connection is given up.
const UNRESPONSIVE: Duration = Duration::from_secs(3);

/// Whether the URL can be used at all.
pub fn check(config: &Config) -> Result<(), Error> {
    builder(config, MAX_WAITING_NOTICES).map(|_| ())
}

/// `waiting` is the length of each of the client's queues to us, which take their memory at once.
pub fn builder(config: &Config, waiting: usize) -> Result<Builder, Error> {
    let mut redis = FredConfig::from_url(&config.url).map_err(unavailable)?;
    redis.version = RespVersion::RESP3;
    // Away at the start: wait with backoff instead of giving up.
    redis.fail_fast = false;
    let mut builder = Builder::from_config(redis);
    let mut policy = ReconnectPolicy::new_exponential(0, 50, 2_000, 2);
    policy.set_jitter(100);
    builder
        .set_policy(policy)
        .set_performance_config(PerformanceConfig {
            default_command_timeout: config.command_timeout,
            broadcast_channel_capacity: waiting,
            ..PerformanceConfig::default()
        })
        .set_connection_config(ConnectionConfig {
            connection_timeout: Duration::from_secs(5),
            internal_command_timeout: Duration::from_secs(5),
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
    Ok(builder)
}
