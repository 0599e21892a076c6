//! The Lua scripts: called by hash, loaded when Redis does not know them.

use fred::clients::{Client, WithOptions};
use fred::error::Error as RedisError;
use fred::interfaces::LuaInterface;
use fred::types::{Key, Value};
use fred::util::sha1_hash;

pub struct Script {
    source: &'static str,
    hash: String,
}

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("lua/prelude.lua"),
            include_str!(concat!("lua/", $file))
        ))
    };
}

pub struct Scripts {
    pub commit: Script,
    pub announce: Script,
    pub enter: Script,
    pub leave: Script,
    pub create: Script,
    pub end: Script,
    pub snapshot: Script,
    pub replay: Script,
    pub beat: Script,
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            commit: script!("commit.lua"),
            announce: script!("announce.lua"),
            enter: script!("enter.lua"),
            leave: script!("leave.lua"),
            create: script!("create.lua"),
            end: script!("end.lua"),
            snapshot: script!("snapshot.lua"),
            replay: script!("replay.lua"),
            beat: script!("beat.lua"),
        }
    }
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: sha1_hash(source),
        }
    }

    /// Runs the script. A Redis that was restarted has forgotten it: it is loaded and run once more.
    pub async fn run(
        &self,
        client: &WithOptions<Client>,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Value, RedisError> {
        // Keys and arguments are reference counted: the copies for a second call cost little.
        let first = client
            .evalsha(self.hash.as_str(), keys.clone(), args.clone())
            .await;
        match first {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                let _: Value = client.script_load(self.source).await?;
                client.evalsha(self.hash.as_str(), keys, args).await
            }
            answer => answer,
        }
    }
}
