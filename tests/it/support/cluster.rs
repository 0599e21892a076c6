//! A Redis Cluster of children of ours.

use std::time::{Duration, Instant};

use super::redis::{RedisServer, Shared, eventually, forgetful, free_port, replicated};
use super::secured::{LOGIN, limited_user};

pub const SLOTS: u16 = 16_384;

pub struct Cluster {
    /// Masters in the order of their slots, then the replicas.
    pub servers: Vec<RedisServer>,
}

/// Silence after which the servers give one of them up.
const NODE_TIMEOUT_MS: &str = "1000";

/// Time for servers to get to know each other.
const ACQUAINTANCE: Duration = Duration::from_secs(5);

static SHARED: Shared<Cluster> = Shared::new();

impl Cluster {
    /// Three masters without replicas, for all who do them no harm.
    pub fn shared() -> std::sync::Arc<Self> {
        SHARED.get(|| Self::start(3, 0))
    }

    /// `masters` with equal shares of the slots, the first `replicas` of them with a replica each.
    pub fn start(masters: usize, replicas: usize) -> Self {
        let count = masters + replicas;
        // By default the bus is among the ephemeral ports.
        let bus = free_port().to_string();
        let mut servers = vec![server(&bus)];
        servers.extend((1..count).map(|_| server(&free_port().to_string())));
        let cluster = Self { servers };
        let (first, all) = (&cluster.servers[0], &cluster.servers);
        for (number, server) in all.iter().enumerate() {
            server.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < masters {
                let share = |number: usize| SLOTS as usize * number / masters;
                let (from, to) = (share(number), share(number + 1) - 1);
                let range = [from.to_string(), to.to_string()];
                server.cli(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            }
        }
        let known = format!("cluster_known_nodes:{count}");
        let mut met = None::<Instant>;
        eventually("all have met", || {
            // An acquaintance that takes longer than the servers wait for each other is forgotten.
            if met.is_none_or(|met| met.elapsed() > ACQUAINTANCE) {
                for server in all {
                    let port = first.port().to_string();
                    server.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
                }
                met = Some(Instant::now());
            }
            let informed = |server: &RedisServer| server.cli(&["CLUSTER", "INFO"]).contains(&known);
            all.iter().all(informed)
        });
        for (replica, master) in all[masters..].iter().zip(all) {
            let id = master.cli(&["CLUSTER", "MYID"]);
            // Refused until word of the master has come.
            eventually("a replica finds its master", || {
                replica.cli(&["CLUSTER", "REPLICATE", &id]) == "OK"
            });
        }
        eventually("the cluster serves", || all.iter().all(serves));
        eventually("the replicas follow", || {
            let follows = |s: &RedisServer| s.cli(&["INFO"]).contains("master_link_status:up");
            all[masters..].iter().all(follows)
        });
        cluster
    }

    /// One server; the others are found.
    pub fn url(&self) -> String {
        format!(
            "redis-cluster://{LOGIN}@127.0.0.1:{}",
            self.servers[0].port()
        )
    }

    /// Waits until a replica has everything that its master has.
    pub fn replicated(&self, master: usize, replica: usize) {
        replicated(&self.servers[master], &self.servers[replica]);
    }

    /// One more master, without a slot.
    pub fn grow(&mut self) {
        let bus = free_port().to_string();
        let newcomer = server(&bus);
        let port = newcomer.port().to_string();
        self.servers[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        self.servers.push(newcomer);
        let known = format!("cluster_known_nodes:{}", self.servers.len());
        let informed = |server: &RedisServer| server.cli(&["CLUSTER", "INFO"]).contains(&known);
        eventually("all know the new one", || self.servers.iter().all(informed));
        eventually("the new one serves", || self.servers.iter().all(serves));
    }

    /// Carries the keys of a slot from one master to another, to which askers are sent from now on.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let id = |server: &RedisServer| server.cli(&["CLUSTER", "MYID"]);
        set_slot(target, slot, "IMPORTING", &id(source));
        set_slot(source, slot, "MIGRATING", &id(target));
        let keys = source.cli(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"]);
        let port = target.port().to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        command.extend(keys.lines());
        assert_eq!(source.cli(&command), "OK", "of {keys}");
    }

    /// The slot is the other master's from now on.
    pub fn end_of_move(&self, slot: u16, from: usize, to: usize) {
        let id = self.servers[to].cli(&["CLUSTER", "MYID"]);
        for server in [to, from] {
            set_slot(&self.servers[server], slot, "NODE", &id);
        }
    }
}

fn set_slot(server: &RedisServer, slot: u16, state: &str, id: &str) {
    let said = server.cli(&["CLUSTER", "SETSLOT", &slot.to_string(), state, id]);
    assert_eq!(said, "OK");
}

fn server(bus: &str) -> RedisServer {
    RedisServer::start_with(|_, port| {
        let port = port.to_string();
        let mut options = forgetful(&["--port", &port, "--cluster-port", bus]);
        options.extend(["--cluster-enabled", "yes", "--cluster-node-timeout"].map(str::to_owned));
        options.push(NODE_TIMEOUT_MS.to_owned());
        // By default no master serves anybody while one is gone.
        options.extend(["--cluster-require-full-coverage", "no"].map(str::to_owned));
        options.extend(limited_user());
        options
    })
}

fn serves(server: &RedisServer) -> bool {
    server
        .cli(&["CLUSTER", "INFO"])
        .contains("cluster_state:ok")
}
