//! The settings of the database, and of what is kept there.

use super::Reader;
use crate::node::{retention, teams};
use crate::records::{self, Config, Kind};

/// Beside the process, unless another place is named.
const ALONE: &str = "sqlite:collabd.db";
const NONE: &str = "none";

impl Reader<'_> {
    pub(super) fn retention(&mut self) -> retention::Config {
        let read = retention::Config::parse(&self.text("RECORDS_RETENTION"));
        if read.is_none() {
            self.refuse_by_rule("RECORDS_RETENTION");
        }
        read.unwrap_or_default()
    }

    /// What is kept in SQL, if anything is: alone in a file, in a cluster only where that is said.
    pub(super) fn records(&mut self) -> Option<Option<Config>> {
        let (pool, timeout) = (
            self.whole("DATABASE_POOL"),
            self.seconds("DATABASE_TIMEOUT"),
        );
        let in_cluster = !self.given.value("REDIS_URL").is_empty();
        let url = match self.text("DATABASE_URL") {
            none if none == NONE => return Some(None),
            unsaid if unsaid.is_empty() && in_cluster => return Some(None),
            unsaid if unsaid.is_empty() => ALONE.to_owned(),
            url => url,
        };
        let config = Config {
            url: plain(&url),
            pool: u32::try_from(pool).unwrap_or(u32::MAX),
            timeout,
        };
        if in_cluster && Kind::of(&config.url) == Some(Kind::Sqlite) {
            let right = "postgres://… with REDIS_URL: a SQLite file is one machine's, and every node of a cluster \
                         would keep its own; or none";
            self.refuse("DATABASE_URL", right.to_owned());
            return None;
        }
        match records::check(&config.url) {
            Ok(_) if config.url.contains(":memory:") => self.refuse(
                "DATABASE_URL",
                "a file: in memory every connection would have a database of its own".to_owned(),
            ),
            Ok(_) => return Some(Some(config)),
            Err(why) => {
                let right = self.given.setting("DATABASE_URL").right;
                self.refuse("DATABASE_URL", format!("{right} ({why})"));
            }
        }
        None
    }

    pub(super) fn teams(&mut self) -> teams::Config {
        let mut most = |name| u32::try_from(self.whole(name)).unwrap_or(u32::MAX);
        teams::Config {
            per_user: most("MAX_TEAMS_PER_USER"),
            members: most("MAX_TEAM_MEMBERS"),
            insights: most("MAX_TEAM_INSIGHTS"),
        }
    }
}

/// Without the driver that other services name in it (`postgresql+asyncpg://`), and with their idea of a file's place:
/// behind three slashes it is relative, behind four it is not. The file is made if it is not there.
fn plain(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        return url.to_owned();
    };
    let scheme = scheme.split('+').next().unwrap_or_default();
    if scheme != "sqlite" {
        return format!("{scheme}:{rest}");
    }
    let rest = match rest.strip_prefix("///") {
        Some(path) if path.starts_with(['.', '/']) => path,
        _ => rest,
    };
    let (mark, has_mode) = match rest.split_once('?') {
        Some((_, query)) => ("&", query.contains("mode=")),
        None => ("?", false),
    };
    let mode = if has_mode { "" } else { "mode=rwc" };
    let mark = if has_mode { "" } else { mark };
    format!("sqlite:{rest}{mark}{mode}")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn urls_of_other_services_are_understood() {
        for (given, right) in [
            ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
            (
                "postgres://h/d?sslmode=require",
                "postgres://h/d?sslmode=require",
            ),
            ("sqlite:collabd.db", "sqlite:collabd.db?mode=rwc"),
            ("sqlite:///./app.db", "sqlite:./app.db?mode=rwc"),
            (
                "sqlite+aiosqlite:////var/app.db",
                "sqlite:/var/app.db?mode=rwc",
            ),
            ("sqlite:///var/app.db", "sqlite:///var/app.db?mode=rwc"),
            ("sqlite:a.db?mode=ro", "sqlite:a.db?mode=ro"),
            (
                "sqlite:a.db?cache=private",
                "sqlite:a.db?cache=private&mode=rwc",
            ),
        ] {
            assert_eq!(plain(given), right);
        }
    }
}
