//! Nodes as children: where the binary comes from and how a node is set up for measuring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::children::{Process, exchange, free_address, version_of};

/// What tokens of measured nodes are signed with.
pub const SECRET: &str = "a secret for measuring that is long enough";

/// How nodes are started.
#[derive(Debug, Clone, clap::Args)]
pub struct NodeOptions {
    /// The node's binary; without it the one beside the rig, built when missing.
    #[arg(long, value_name = "PATH")]
    collabd: Option<PathBuf>,
    /// A further setting of the node; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
    /// Settings that are not moved out of the way.
    #[arg(skip)]
    kept: Vec<&'static str>,
}

impl NodeOptions {
    /// Starts a node with open access, with Redis when one is given, else with its embedded backplane.
    pub fn start(&self, redis: Option<&Process>) -> Result<Process> {
        let address = free_address()?;
        let mut command = Command::new(self.binary()?);
        // A clean environment: a secret or a database set in the shell would make it a different node.
        command
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "TZ"));
        command
            .env("HOST", "127.0.0.1")
            .env("PORT", address.port().to_string())
            .env("METRICS_PORT", free_address()?.port().to_string())
            .env("AUTH", "open")
            .env("LOG_LEVEL", "WARNING")
            .env("LOG_FORMAT", "json")
            .env("MAX_CONNECTIONS", "50000")
            // The rig is faster than people, and one user of it may be many.
            .env("MESSAGE_RATE", "1000000")
            .env("MESSAGE_BURST", "1000000")
            .env("USER_MESSAGE_RATE", "1000000")
            .env("BYTE_RATE", "1000000000")
            .env("MAX_CONNECTIONS_PER_USER", "100000")
            .env("MAX_HANDSHAKES_PER_SECOND", "1000000")
            .env("DRAIN_DELAY", "0");
        if let Some(redis) = redis {
            command.env("REDIS_URL", format!("redis://{}", redis.address));
        }
        self.kept.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Process::start("collabd", command, address, |address| {
            let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            exchange(address, request.as_bytes())
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
    }

    /// The same with the node's own default of a setting that the rig moves out of its way.
    pub fn keeping(mut self, name: &'static str) -> Self {
        self.kept.push(name);
        self
    }

    /// The same with a setting more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A token for this user, as the node's own command makes it.
    pub fn token(&self, user: &str) -> Result<String> {
        let output = Command::new(self.binary()?)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .args(["token", "--user", user])
            .output()?;
        let token = String::from_utf8(output.stdout)?.trim().to_owned();
        if token.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(token)
    }

    /// What `--version` says, for the report.
    pub fn version(&self) -> Result<String> {
        version_of(&self.binary()?)
    }

    /// Settings given on the command line, for the report.
    pub fn settings(&self) -> Vec<String> {
        self.env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn binary(&self) -> Result<PathBuf> {
        if let Some(given) = &self.collabd {
            return Ok(
                fs::canonicalize(given).map_err(|error| format!("{}: {error}", given.display()))?
            );
        }
        let own = std::env::current_exe()?;
        let folder = own
            .parent()
            .ok_or("the rig's own executable has no folder")?;
        let beside = folder.join("collabd");
        if beside.is_file() {
            return Ok(beside);
        }
        let target = folder
            .parent()
            .ok_or("the rig's own executable lies in no target folder")?;
        let built = target.join("release").join("collabd");
        if !built.is_file() {
            build(target)?;
        }
        Ok(built)
    }
}

fn build(target: &Path) -> Result<()> {
    eprintln!("building collabd, there is none beside the rig");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new("cargo")
        .args(["build", "--release", "-p", "collabd", "--target-dir"])
        .arg(target)
        .current_dir(workspace)
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err("collabd could not be built; give a binary with --collabd".into()),
    }
}

fn setting(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}
