//! `collabd token`: signs a token for somebody, as the node's own settings would verify it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use collabd::auth::{self, Claims, Role};
use collabd::clock::Clock;
use collabd::config::{Config, Given};
use collabd::ids::{self, SessionId, UserId};

use crate::BAD_CONFIG;

pub fn command() -> Command {
    Command::new("token")
        .about("Prints a token signed with the first JWT_SECRET")
        .arg(
            named("user", "Whose token it is: its `sub`")
                .required(true)
                .value_parser(UserId::parse),
        )
        .arg(named("name", "A display name").value_parser(ids::name))
        .arg(
            named("role", "What it may do beyond being its user")
                .value_parser(Role::ALL.map(Role::word)),
        )
        .arg(
            named(
                "session",
                "A session it opens, and none but those given; may stand several times",
            )
            .action(ArgAction::Append)
            .value_parser(SessionId::parse),
        )
        .arg(
            named("ttl", "How long it counts: 30s, 15m, 1h, 7d")
                .default_value("1h")
                .value_parser(ttl),
        )
}

fn named(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(name.to_uppercase())
        .help(help)
        // Of the options of every subcommand these come first.
        .display_order(0)
}

/// Prints the token alone, so that a shell can take it.
pub fn run(asked: &ArgMatches, given: &Given) -> ExitCode {
    let keys = match Config::keys(given) {
        Ok(keys) => keys,
        Err(bad) => {
            for bad in bad {
                eprintln!("collabd: {bad}");
            }
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let Some(secret) = keys.secrets.first() else {
        eprintln!(
            "collabd: JWT_SECRET is not set; right is the secret that the nodes have: it signs the token"
        );
        return ExitCode::from(BAD_CONFIG);
    };
    match auth::sign(secret, &claims(asked, &keys)) {
        Ok(token) => {
            println!("{token}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("collabd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn claims(asked: &ArgMatches, keys: &auth::Config) -> Claims {
    let issued_at = Clock::system().now() / 1_000;
    let ttl = asked.get_one::<Duration>("ttl").expect("it has a default");
    let user: &UserId = asked.get_one("user").expect("it is required");
    let role = asked.get_one::<String>("role");
    Claims {
        user: user.clone(),
        name: asked.get_one::<Arc<str>>("name").cloned(),
        role: role.and_then(|word| Role::parse(word)),
        sessions: asked
            .get_many::<SessionId>("session")
            .map(|sessions| sessions.cloned().collect()),
        id: Some(uuid::Uuid::now_v7().to_string().into()),
        issuer: keys.issuer.clone(),
        audience: keys.audience.clone(),
        issued_at,
        expires_at: issued_at + ttl.as_secs() as i64,
    }
}

/// Longest life of a token, in days.
const MAX_DAYS: u64 = auth::LONGEST_LIFE.as_secs() / 86_400;

fn ttl(text: &str) -> Result<Duration, String> {
    let right = || format!("right is a number with s, m, h or d, such as 15m, up to {MAX_DAYS}d");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(right)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(right()),
    };
    let number: u64 = number.parse().map_err(|_| right())?;
    match number.checked_mul(unit) {
        Some(seconds @ 1..) if seconds <= MAX_DAYS * 86_400 => Ok(Duration::from_secs(seconds)),
        _ => Err(right()),
    }
}
