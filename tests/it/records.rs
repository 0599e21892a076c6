//! The records' promises, held against both databases: `records::sqlite::*` and `records::postgres::*`.

mod messages;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use collabd::ids::{SessionId, UserId};
use collabd::records::{
    Account, Config, Error, Ground, Participant, Recorded, Records, Saved, Wish,
};
use tokio::task::{JoinSet, block_in_place};

use self::messages::{
    a_command_is_one_message_whoever_stores_it, a_place_in_the_order_has_one_row,
    a_reaction_is_one_for_each_user, a_reader_waits_for_what_is_being_told, letters_are_for_two,
    many_at_once_are_all_stored, what_is_deleted_has_no_words,
    what_nobody_was_told_is_nobodys_to_see,
};
use crate::support::postgres::PostgresServer;

/// A database as a node has it.
struct Subject {
    config: Config,
    records: Records,
    /// Lives as long as its database.
    _keeper: Box<dyn Any + Send + Sync>,
}

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of a test is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(url: String) -> Config {
    Config {
        url,
        pool: 4,
        timeout: Duration::from_secs(5),
    }
}

impl Subject {
    async fn sqlite() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("collabd-records-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let url = format!("sqlite:{}/test.db?mode=rwc", folder.display());
        Self::of(config(url), Box::new(Folder(folder))).await
    }

    async fn postgres() -> Self {
        let (server, url) = block_in_place(|| {
            let server = PostgresServer::shared();
            let url = server.database();
            (server, url)
        });
        Self::of(config(url), Box::new(server)).await
    }

    async fn of(config: Config, keeper: Box<dyn Any + Send + Sync>) -> Self {
        let records = open(&config).await;
        Self {
            config,
            records,
            _keeper: keeper,
        }
    }
}

async fn open(config: &Config) -> Records {
    let records = Records::open(config).expect("the URL is right");
    records.make().await;
    records
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("an id")
}

fn account(name: &str) -> Account {
    Account {
        id: user(&format!("id-{name}")),
        username: name.to_owned(),
        email: format!("{name}@example"),
        password: "hash".to_owned(),
        guest: false,
        created_at: 1_000,
    }
}

fn session(owner: &str) -> Recorded {
    Recorded {
        id: SessionId::recorded(),
        title: "It's a \"title\"; -- 🦀".to_owned(),
        description: String::new(),
        language: "python".to_owned(),
        default_role: "viewer".to_owned(),
        owner: user(owner),
        owner_name: owner.to_owned(),
        created_at: 1_000,
        updated_at: 1_000,
        ended_at: None,
    }
}

fn participant(name: &str, role: &str) -> Participant {
    Participant {
        user: user(name),
        username: name.to_owned(),
        role: role.to_owned(),
        added_at: 1_000,
    }
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Subject::sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Subject::postgres().await).await;
            })*
        }
    };
}

mod analytics;
mod insights;
mod teams;
mod workspaces;

contract!(
    a_name_and_an_address_are_one_accounts_in_any_case,
    a_hash_takes_the_place_of_the_one_that_was_seen,
    no_account_goes_before_its_tokens,
    no_token_is_given_on_a_ground_that_is_gone,
    what_was_revoked_is_remembered_while_it_would_count,
    guests_go_with_their_last_token,
    sessions_are_listed_page_by_page,
    an_ended_session_is_changed_no_more,
    an_older_text_takes_no_newer_ones_place,
    a_role_is_given_once_and_anew,
    ten_nodes_begin_at_once,
    nothing_works_without_its_tables,
    what_nobody_was_told_is_nobodys_to_see,
    a_command_is_one_message_whoever_stores_it,
    many_at_once_are_all_stored,
    letters_are_for_two,
    what_is_deleted_has_no_words,
    a_reaction_is_one_for_each_user,
    a_place_in_the_order_has_one_row,
    a_reader_waits_for_what_is_being_told,
);

async fn a_name_and_an_address_are_one_accounts_in_any_case(subject: Subject) {
    let records = &subject.records;
    let ann = account("Ann");
    records.add_account(&ann).await.expect("works");
    let other = Account {
        id: user("other"),
        email: "elsewhere@example".to_owned(),
        ..account("ANN")
    };
    let taken = records.add_account(&other).await;
    assert!(matches!(taken, Err(Error::Taken("username"))), "{taken:?}");
    let other = Account {
        username: "other".to_owned(),
        email: "ANN@example".to_owned(),
        ..other
    };
    let taken = records.add_account(&other).await;
    assert!(matches!(taken, Err(Error::Taken("email"))), "{taken:?}");
    for guest in ["g1", "g2"] {
        let guest = Account {
            email: String::new(),
            guest: true,
            ..account(guest)
        };
        records.add_account(&guest).await.expect("guests have none");
    }
    for found in [
        records.account(&ann.id).await,
        records.account_named("aNN").await,
        records.account_at("ANN@Example").await,
    ] {
        assert_eq!(found.expect("works"), Some(ann.clone()));
    }
    let nobody = records.account_named("ann' OR '1'='1").await;
    assert_eq!(nobody.expect("works"), None);
}

async fn a_hash_takes_the_place_of_the_one_that_was_seen(subject: Subject) {
    let (records, ann) = (&subject.records, account("ann"));
    records.add_account(&ann).await.expect("works");
    let change = |seen, new| records.change_password(&ann.id, seen, new);
    assert!(change("hash", "new").await.expect("works"));
    assert!(!change("hash", "newer").await.expect("works"));
    let found = records.account(&ann.id).await.expect("works");
    assert_eq!(found.expect("it is there").password, "new");
}

async fn no_account_goes_before_its_tokens(subject: Subject) {
    let (records, ann) = (&subject.records, account("ann"));
    records.add_account(&ann).await.expect("works");
    let ground = Ground::Password("hash");
    let noted = records
        .note_token("t1", &ann.id, 9_000, 1_000, ground)
        .await;
    assert!(noted.expect("works"));
    let refused = records.remove_account(&ann.id).await;
    assert!(matches!(refused, Err(Error::Bound)), "{refused:?}");
    let tokens = records.tokens_of(&ann.id, 1_000).await.expect("works");
    assert_eq!(tokens, [("t1".to_owned(), 9_000)]);
    records.forget_token("t1").await.expect("works");
    assert!(records.remove_account(&ann.id).await.expect("works"));
    assert!(!records.remove_account(&ann.id).await.expect("works"));
}

async fn no_token_is_given_on_a_ground_that_is_gone(subject: Subject) {
    let (records, ann) = (&subject.records, account("ann"));
    records.add_account(&ann).await.expect("works");
    let note = |jti, ground| records.note_token(jti, &ann.id, 9_000, 1_000, ground);
    assert!(note("t1", Ground::Password("hash")).await.expect("works"));
    assert!(note("t2", Ground::Token("t1")).await.expect("works"));
    records.forget_token("t1").await.expect("works");
    assert!(!note("t3", Ground::Token("t1")).await.expect("works"));
    let changed = records.change_password(&ann.id, "hash", "new").await;
    assert!(changed.expect("works"));
    assert!(!note("t4", Ground::Password("hash")).await.expect("works"));
    // What has ended is forgotten by the way.
    let ground = Ground::Password("new");
    let noted = records
        .note_token("t5", &ann.id, 20_000, 10_000, ground)
        .await;
    assert!(noted.expect("works"));
    let tokens = records.tokens_of(&ann.id, 0).await.expect("works");
    assert_eq!(tokens, [("t5".to_owned(), 20_000)]);
}

async fn what_was_revoked_is_remembered_while_it_would_count(subject: Subject) {
    let records = &subject.records;
    for _ in 0..2 {
        records.note_revoked("short", 1_000).await.expect("works");
        records.note_revoked("long", 5_000).await.expect("works");
    }
    let revoked = records.revoked(2_000).await.expect("works");
    assert_eq!(revoked, [("long".to_owned(), 5_000)]);
}

async fn guests_go_with_their_last_token(subject: Subject) {
    let records = &subject.records;
    for (name, guest, created_at) in [
        ("ann", false, 1_000),
        ("gone", true, 1_000),
        ("here", true, 1_000),
        ("new", true, 5_000),
    ] {
        let account = Account {
            email: String::new(),
            guest,
            created_at,
            ..account(name)
        };
        records.add_account(&account).await.expect("works");
    }
    for (jti, name, expires_at) in [("t1", "gone", 2_000), ("t2", "here", 9_000)] {
        let (user, ground) = (account(name).id, Ground::Password("hash"));
        let noted = records
            .note_token(jti, &user, expires_at, 1_000, ground)
            .await;
        assert!(noted.expect("works"));
    }
    records.sweep(3_000, 4_000).await.expect("works");
    for (name, stays) in [
        ("ann", true),
        ("gone", false),
        ("here", true),
        ("new", true),
    ] {
        let found = records.account_named(name).await.expect("works");
        assert_eq!(found.is_some(), stays, "{name}");
    }
}

async fn sessions_are_listed_page_by_page(subject: Subject) {
    let records = &subject.records;
    let (mut right, ann) = (Vec::new(), user("ann"));
    for number in 0..7 {
        let (owner, role) = match number {
            3 => ("bob", Some("editor")),
            4 => ("bob", Some("banned")),
            5 => ("bob", None),
            _ => ("ann", None),
        };
        let session = session(owner);
        records.add_session(&session).await.expect("works");
        if let Some(role) = role {
            let ann = participant("ann", role);
            let put = records.put_participant(&session.id, &ann, 2).await;
            put.expect("works");
        }
        match number {
            6 => {
                let ends = records.end_session(&session.id, 2_000).await;
                assert!(ends.expect("works"));
            }
            4 | 5 => {}
            _ => right.push(session),
        }
        // Ids are ordered by their time.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    right.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = records.sessions_of(&ann, after.as_ref(), 3).await;
        let page = page.expect("works");
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.id.clone());
        seen.extend(page);
    }
    assert_eq!(seen, right);
}

async fn an_ended_session_is_changed_no_more(subject: Subject) {
    let (records, mut session) = (&subject.records, session("ann"));
    records.add_session(&session).await.expect("works");
    session.title = "another".to_owned();
    session.updated_at = 2_000;
    let wish = Wish {
        title: Some(session.title.clone()),
        ..Wish::default()
    };
    let update = || records.update_session(&session.id, 2_000, &wish);
    assert!(update().await.expect("works"));
    let found = records.session(&session.id).await.expect("works");
    assert_eq!(found, Some(session.clone()));
    records
        .end_session(&session.id, 3_000)
        .await
        .expect("works");
    records
        .end_session(&session.id, 4_000)
        .await
        .expect("works");
    assert!(!update().await.expect("works"));
    let found = records.session(&session.id).await.expect("works");
    assert_eq!(found.expect("it is there").ended_at, Some(3_000));
}

async fn an_older_text_takes_no_newer_ones_place(subject: Subject) {
    let (records, session) = (&subject.records, session("ann"));
    records.add_session(&session).await.expect("works");
    let text = |code: &str, version| Saved {
        code: code.to_owned(),
        version,
        language: "rust".to_owned(),
    };
    for (code, version) in [("new", 5), ("old", 4)] {
        let saved = records.save_text(&session.id, &text(code, version)).await;
        saved.expect("works");
    }
    let saved = records.saved_text(&session.id).await.expect("works");
    assert_eq!(saved, text("new", 5));
}

async fn a_role_is_given_once_and_anew(subject: Subject) {
    let (records, session) = (&subject.records, session("ann"));
    records.add_session(&session).await.expect("works");
    let id = &session.id;
    for role in ["viewer", "editor"] {
        let put = records
            .put_participant(id, &participant("bob", role), 1)
            .await;
        put.expect("works");
    }
    let listed = records.participants(id, 10).await.expect("works");
    assert_eq!(listed, [participant("bob", "editor")]);
    let cat = participant("cat", "viewer");
    let one_more = records.put_participant(id, &cat, 1);
    assert!(!one_more.await.expect("works"), "there is no place left");
    let role = records.role_in(id, &user("bob")).await.expect("works");
    assert_eq!(role.as_deref(), Some("editor"));
    assert!(
        records
            .remove_participant(id, &user("bob"))
            .await
            .expect("works")
    );
    assert!(
        !records
            .remove_participant(id, &user("bob"))
            .await
            .expect("works")
    );
    assert_eq!(
        records.role_in(id, &user("bob")).await.expect("works"),
        None
    );
    // Nobody has a role in a session that never was.
    let nowhere = SessionId::recorded();
    let put = records
        .put_participant(&nowhere, &participant("bob", "host"), 1)
        .await;
    assert!(matches!(put, Err(Error::Bound)), "{put:?}");
}

/// Guards the first start of a cluster: tables are made once, and nobody fails for it.
async fn ten_nodes_begin_at_once(subject: Subject) {
    let mut nodes = JoinSet::new();
    for number in 0..10 {
        let config = subject.config.clone();
        nodes.spawn(async move {
            let records = open(&config).await;
            records.add_account(&account(&format!("n{number}"))).await
        });
    }
    while let Some(node) = nodes.join_next().await {
        node.expect("nobody panics").expect("works");
    }
}

/// Guards those who come before the database: they are told at once.
async fn nothing_works_without_its_tables(subject: Subject) {
    let records = Records::open(&subject.config).expect("the URL is right");
    let began = Instant::now();
    let refused = records.account_named("ann").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(!records.is_up());
    // Far less than it would wait for a connection.
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// Guards a database that goes and comes: askers are told, soon without waiting, and all works again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashed_is_there_again() {
    let mut server = block_in_place(PostgresServer::start);
    let records = Arc::new(open(&config(server.database())).await);
    let looking = {
        let records = records.clone();
        tokio::spawn(async move { records.keep().await })
    };
    records.add_account(&account("ann")).await.expect("works");
    block_in_place(|| server.kill());
    let refused = records.account_named("ann").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    while records.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    let refused = records.account_named("ann").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "it is known to be away"
    );
    block_in_place(|| server.run());
    while !records.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let found = records.account_named("ann").await.expect("works");
    assert_eq!(found, Some(account("ann")));
    looking.abort();
}
