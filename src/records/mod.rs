//! What outlives rooms and Redis: accounts, recorded sessions, their roles and texts, teams and what they note, workspaces and
//! the runs of agents. SQL through sqlx's `Any` driver: a SQLite file alone, PostgreSQL in a
//! cluster, and one set of statements for both.
//!
//! Knows no socket, no request and no backplane. Every call ends within [`Config::timeout`]; while the database is away,
//! or its tables are not made yet, it is [`Error::Unavailable`], and once it is back all goes on without a restart.

mod analytics;
mod documents;
mod events;
mod group;
mod history;
mod insights;
mod messages;
mod migrations;
mod runs;
mod sessions;
mod teams;
mod tokens;
mod users;
mod workspaces;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Executor};
use tokio::time::MissedTickBehavior;

pub use self::analytics::{Counts, TeamCounts};
pub use self::documents::{Changed, Parts};
pub use self::events::{Cursor, Happened, Order, Span, Told, Words};
use self::group::Group;
pub use self::history::{Reactions, Sums, Wanted};
pub use self::insights::{Insight, InsightWish, Sought};
pub use self::messages::{Message, Reacted, Spot};
use self::migrations::MIGRATIONS;
pub use self::runs::Run;
pub use self::sessions::{Participant, Recorded, Saved, Wish};
pub use self::teams::{Standing, Team, TeamMember, TeamWish};
pub use self::tokens::Ground;
pub use self::users::Account;
pub use self::workspaces::{Fellow, Workspace};
use crate::ids::EventId;
use crate::telemetry::metrics::metrics;

/// How often the database is asked whether it is there.
const LOOK: Duration = Duration::from_secs(2);
/// Wait before the tables are tried to be made again, first and at most.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Config {
    pub url: String,
    /// Connections at most.
    pub pool: u32,
    /// For a connection and a statement together.
    pub timeout: Duration,
}

impl fmt::Debug for Config {
    /// The URL has a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, timeout, .. } = self;
        write!(f, "Config {{ pool: {pool}, timeout: {timeout:?} }}")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may or may not have been done.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Somebody else has it.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// What it belongs to is not there, or what belongs to it still is.
    #[error("something else must be there, or gone, before")]
    Bound,
}

/// Which databases a URL may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once(':')?;
        match scheme {
            "sqlite" => Some(Kind::Sqlite),
            "postgres" | "postgresql" => Some(Kind::Postgres),
            _ => None,
        }
    }
}

pub struct Records {
    pool: AnyPool,
    /// For making tables, which may take longer than any other statement.
    makers: AnyPool,
    timeout: Duration,
    /// Messages that are to be stored, and those that were told.
    posts: Group<(Message, Option<String>)>,
    marks: Group<(EventId, u64)>,
    /// Tables are there.
    made: AtomicBool,
    up: AtomicBool,
}

/// What the URL names, or what is wrong with it.
pub fn check(url: &str) -> Result<(Kind, AnyConnectOptions), String> {
    sqlx::any::install_default_drivers();
    let kind = Kind::of(url).ok_or("neither SQLite nor PostgreSQL")?;
    let options = url.parse().map_err(|error| match error {
        sqlx::Error::Configuration(why) => why.to_string(),
        other => other.to_string(),
    })?;
    Ok((kind, options))
}

/// Lazily made, each with what its kind of database must be told first.
fn connections(
    kind: Kind,
    options: &AnyConnectOptions,
    most: u32,
    patience: Duration,
    longest: Option<Duration>,
) -> AnyPool {
    let patience_ms = patience.as_millis();
    // 0 is no limit.
    let longest_ms = longest.map_or(0, |longest| longest.as_millis());
    // A writer waits for another for as long as its caller waits for it; what was acknowledged survives the process.
    let setup = match kind {
        Kind::Sqlite => format!(
            "PRAGMA busy_timeout = {patience_ms}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
        ),
        Kind::Postgres => format!("SET statement_timeout = {longest_ms}"),
    };
    AnyPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(patience)
        .after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move {
                let setup = sqlx::raw_sql(sqlx::AssertSqlSafe(setup));
                connection.execute(setup).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.clone())
}

impl Records {
    /// Nothing is connected yet.
    pub fn open(config: &Config) -> Result<Self, String> {
        let (kind, options) = check(&config.url)?;
        Ok(Self {
            pool: connections(
                kind,
                &options,
                config.pool,
                config.timeout,
                Some(config.timeout),
            ),
            makers: connections(kind, &options, 1, config.timeout, None),
            timeout: config.timeout,
            posts: Group::default(),
            marks: Group::default(),
            made: AtomicBool::new(false),
            up: AtomicBool::new(false),
        })
    }

    /// Whether the database answered lately.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Writes what comes in groups, and looks whether the database is there, for as long as it is awaited.
    pub async fn keep(&self) {
        let posts = self
            .posts
            .write(|rows| async move { messages::insert(self, &rows).await });
        let marks = self
            .marks
            .write(|rows| async move { messages::mark(self, &rows).await });
        tokio::join!(self.look(), posts, marks);
    }

    /// While the database is not there nobody else waits for it.
    async fn look(&self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let look = sqlx::query("SELECT 1").execute(&self.pool);
            match tokio::time::timeout(self.timeout, look).await {
                Ok(Ok(_)) => self.note(true),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the database does not answer");
                    self.note(false);
                }
                Err(_) => self.note(false),
            }
        }
    }

    /// Makes the tables, however long that takes.
    ///
    /// Ten nodes may do this at once: PostgreSQL has a lock for it, and whoever loses a race on SQLite tries again.
    pub async fn make(&self) {
        let mut wait = AGAIN;
        loop {
            match MIGRATIONS.run(&self.makers).await {
                Ok(()) => {
                    self.makers.close().await;
                    self.made.store(true, Ordering::Relaxed);
                    self.note(true);
                    return;
                }
                Err(error) => {
                    if wait == AGAIN {
                        tracing::warn!(%error, "the database's tables cannot be made now; that is tried again");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN_MOST);
                }
            }
        }
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs one statement, in time.
    async fn run<T>(
        &self,
        what: &'static str,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        self.ready()?;
        let began = std::time::Instant::now();
        let done = tokio::time::timeout(self.timeout, statement).await;
        metrics().records(what, began.elapsed());
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.refused(error)),
            Err(_) => Err(Error::Unavailable("it did not answer in time".to_owned())),
        }
    }

    fn ready(&self) -> Result<(), Error> {
        if !self.made.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("its tables are not made yet".to_owned()));
        }
        if !self.is_up() {
            return Err(Error::Unavailable("it is away".to_owned()));
        }
        Ok(())
    }

    fn refused(&self, error: sqlx::Error) -> Error {
        if let sqlx::Error::Database(refusal) = &error {
            // It lives: it has just said no.
            let text = refusal.to_string();
            if refusal.is_foreign_key_violation() {
                return Error::Bound;
            }
            if refusal.is_unique_violation() {
                let is = |field: &str| text.contains(field);
                return Error::Taken(match () {
                    () if is("email") => "email",
                    () if is("username") => "username",
                    () => "id",
                });
            }
        }
        // A statement that fails for its own sake says nothing of the others.
        if matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) {
            self.note(false);
        }
        Error::Unavailable(error.to_string())
    }

    fn note(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            if up {
                tracing::info!("the database is there");
            } else {
                tracing::warn!("the database is away");
            }
        }
    }
}
