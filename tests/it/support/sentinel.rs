//! A pair of Redis servers, and a Sentinel that watches them: children of ours.

use super::redis::{RedisServer, Shared, eventually, forgetful, replicated};
use super::secured::{LOGIN, limited_user};

pub struct Watched {
    pub master: RedisServer,
    pub replica: RedisServer,
    sentinel: RedisServer,
}

/// The Sentinel wants to be asked with a password of its own.
const PASSWORD: &str = "watch";

static SHARED: Shared<Watched> = Shared::new();

impl Watched {
    /// For all who do it no harm.
    pub fn shared() -> std::sync::Arc<Self> {
        SHARED.get(Self::start)
    }

    pub fn start() -> Self {
        let data = |port: u16| {
            let mut options = forgetful(&["--port", &port.to_string()]);
            options.extend(limited_user());
            options
        };
        let master = RedisServer::start_with(|_, port| data(port));
        let master_port = master.port().to_string();
        let replica = RedisServer::start_with(|_, port| data(port));
        replica.cli(&["REPLICAOF", "127.0.0.1", &master_port]);
        let sentinel = RedisServer::start_with(|folder, port| {
            // Sentinels keep what they know in their configuration.
            let file = folder.join("sentinel.conf");
            let settings = format!(
                "port {port}\n\
                 requirepass {PASSWORD}\n\
                 sentinel monitor main 127.0.0.1 {master_port} 1\n\
                 sentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 2000\n"
            );
            std::fs::write(&file, settings).expect("the server's folder can be written");
            vec![file.display().to_string(), "--sentinel".to_owned()]
        });
        let pair = Self {
            master,
            replica,
            sentinel,
        };
        eventually("the replica follows", || {
            pair.replica
                .cli(&["INFO"])
                .contains("master_link_status:up")
        });
        eventually("the sentinel knows the replica", || {
            let replicas = pair
                .sentinel
                .cli(&["-a", PASSWORD, "SENTINEL", "REPLICAS", "main"]);
            replicas.contains(&pair.replica.port().to_string())
        });
        pair
    }

    pub fn url(&self) -> String {
        let port = self.sentinel.port();
        let query = format!("sentinelServiceName=main&sentinelPassword={PASSWORD}");
        format!("redis-sentinel://{LOGIN}@127.0.0.1:{port}/1?{query}")
    }

    pub fn replicated(&self) {
        replicated(&self.master, &self.replica);
    }

    /// The replica gets nothing more from its master, and keeps what it has.
    pub fn cut_off(&self) {
        for (name, value) in [("masteruser", "nobody"), ("masterauth", "wrong")] {
            assert_eq!(self.replica.cli(&["CONFIG", "SET", name, value]), "OK");
        }
        self.master.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }
}
