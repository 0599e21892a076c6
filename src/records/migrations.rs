//! The steps in which tables are made, built into the program. Knows their order and nothing of what they make.
//!
//! Listed by hand: sqlx's macro would read the folder, and for that have both databases' drivers built a second time, for
//! the compiler.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Of `migrations/NAME.sql`, its name and its text.
macro_rules! steps {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../migrations/", $name, ".sql")))),*]
    };
}

/// Oldest first. One that any database has been through is never changed again.
const STEPS: &[(&str, &str)] = steps![
    "0001_accounts",
    "0002_sessions",
    "0003_messages",
    "0004_events",
    "0005_teams",
    "0006_workspaces",
    "0007_documents",
];

pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut all = Migrator::with_migrations(STEPS.iter().map(step).collect());
    // A newer node may have made more of them, and what is there then serves an older one as well.
    all.set_ignore_missing(true);
    all
});

fn step((name, text): &(&'static str, &'static str)) -> Migration {
    let (version, words) = name.split_once('_').expect("a number, then words");
    Migration::new(
        version.parse().expect("a number"),
        words.replace('_', " ").into(),
        MigrationType::Simple,
        text.into_sql_str(),
        false,
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, iter};

    use super::*;

    /// A file is written and never carried out, or two have the same number.
    #[test]
    fn every_file_is_a_step_and_has_its_own_number() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = fs::read_dir(folder)
            .expect("it can be read")
            .map(|entry| entry.expect("it can be read").file_name())
            .map(|name| name.to_str().expect("it is plain").to_owned())
            .collect();
        files.sort();
        let names: Vec<_> = STEPS
            .iter()
            .map(|(name, _)| format!("{name}.sql"))
            .collect();
        assert_eq!(names, files);
        let versions = MIGRATIONS.iter().map(|step| step.version);
        assert!(iter::zip(versions.clone(), versions.skip(1)).all(|(one, next)| one < next));
    }
}
