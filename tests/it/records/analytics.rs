//! What is counted of what was said and done: against rows written for that, and a count of them in this file.

use collabd::clock::Millis;
use collabd::records::{Counts, Team};
use sqlx::AnyPool;

use super::teams::{made, put};
use super::*;

contract!(
    what_a_team_did_is_counted,
    a_team_that_did_nothing_is_counted_too,
    what_was_said_since_is_counted,
);

const MINUTE: Millis = 60_000;
const DAY: Millis = 86_400_000;
/// 2025-01-01T00:00:00Z.
const START: Millis = 1_735_689_600_000;

/// A message as it comes to be there.
struct Said<'a> {
    session: &'a SessionId,
    user: &'a str,
    kind: &'a str,
    at: Millis,
    told: bool,
    deleted: bool,
}

/// The same tables by another way, for rows that are there without anybody having said them.
struct Rows {
    pool: AnyPool,
    next: i64,
}

impl Rows {
    async fn of(subject: &Subject) -> Self {
        let pool = AnyPool::connect(&subject.config.url).await;
        Self {
            pool: pool.expect("the database is there"),
            next: 0,
        }
    }

    async fn say(&mut self, said: Said<'_>) {
        self.next += 1;
        let statement = sqlx::query(
            "INSERT INTO messages (id, session_id, kind, user_id, username, content, mentions, resolved, created_at, \
             deleted_at, seq) VALUES ($1, $2, $3, $4, $4, 'x', '[]', 0, $5, $6, $7)",
        )
        .bind(format!("m{}", self.next))
        .bind(said.session.as_str())
        .bind(said.kind)
        .bind(said.user)
        .bind(said.at)
        .bind(said.deleted.then_some(said.at))
        .bind(said.told.then_some(self.next));
        statement.execute(&self.pool).await.expect("works");
    }

    async fn happen(&mut self, session: &SessionId, user: Option<&str>, at: Millis) {
        self.next += 1;
        let statement = sqlx::query(
            "INSERT INTO events (session_id, part, seq, happened_at, kind, user_id, body) \
             VALUES ($1, 0, $2, $3, 'code', $4, '{}')",
        )
        .bind(session.as_str())
        .bind(self.next)
        .bind(at)
        .bind(user);
        statement.execute(&self.pool).await.expect("works");
    }
}

fn said<'a>(session: &'a SessionId, user: &'a str, kind: &'a str, at: Millis) -> Said<'a> {
    Said {
        session,
        user,
        kind,
        at,
        told: true,
        deleted: false,
    }
}

fn counts(sessions: i64, messages: i64, comments: i64, active_minutes: i64) -> Counts {
    Counts {
        sessions,
        messages,
        comments,
        active_minutes,
    }
}

async fn recorded(records: &Records) -> SessionId {
    let session = session("zoe");
    records.add_session(&session).await.expect("works");
    session.id
}

/// Ann and bob, and cat who does nothing.
async fn people(records: &Records) -> Team {
    let team = made(records, "Team").await;
    put(records, &team, "bob", "member").await;
    put(records, &team, "cat", "member").await;
    team
}

async fn what_a_team_did_is_counted(subject: Subject) {
    let records = &subject.records;
    let team = people(records).await;
    let (one, two) = (recorded(records).await, recorded(records).await);
    let mut rows = Rows::of(&subject).await;
    // The first day: ann in two sessions, in one minute that is the same in both and in the next.
    rows.say(said(&one, "ann", "chat", START)).await;
    rows.say(said(&one, "ann", "chat", START + 1)).await;
    rows.say(said(&two, "ann", "comment", START + 2)).await;
    for (session, at) in [(&one, 1), (&one, 59_999), (&two, 2), (&one, 60_000)] {
        rows.happen(session, Some("ann"), START + at).await;
    }
    // The same minute of bob's is another one.
    rows.happen(&one, Some("bob"), START).await;
    // The second day, its first and its last moment.
    rows.say(said(&two, "bob", "chat", START + DAY)).await;
    rows.happen(&two, Some("bob"), START + 2 * DAY - 1).await;
    // What does not count: not told, deleted, somebody else's, nobody's, before and after.
    let pending = Said {
        told: false,
        ..said(&one, "bob", "chat", START)
    };
    let deleted = Said {
        deleted: true,
        ..said(&one, "bob", "comment", START)
    };
    let third = recorded(records).await;
    let to = START + 2 * DAY;
    for other in [
        pending,
        deleted,
        said(&third, "eve", "chat", START),
        said(&third, "ann", "chat", START - 1),
        said(&third, "ann", "comment", to),
    ] {
        rows.say(other).await;
    }
    rows.happen(&third, Some("eve"), START).await;
    rows.happen(&third, None, START).await;
    rows.happen(&third, Some("ann"), START - 1).await;
    rows.happen(&third, Some("ann"), to).await;
    let counted = records.team_counts(&team.id, START, to).await;
    let counted = counted.expect("works");
    let members: Vec<_> = counted
        .members
        .iter()
        .map(|(user, name, counts)| (user.as_str(), name.as_str(), *counts))
        .collect();
    assert_eq!(
        members,
        [
            ("ann", "The ann", counts(2, 2, 1, 2)),
            ("bob", "The bob", counts(2, 1, 0, 2)),
            ("cat", "The cat", counts(0, 0, 0, 0)),
        ]
    );
    let first = START / DAY;
    assert_eq!(
        counted.days,
        [(first, counts(2, 2, 1, 3)), (first + 1, counts(1, 1, 0, 1))]
    );
    assert_eq!(counted.all, counts(2, 3, 1, 4));
    // A part of it, cut within a minute and a day.
    let counted = records.team_counts(&team.id, START + 2, START + MINUTE);
    let counted = counted.await.expect("works");
    assert_eq!(counted.all, counts(2, 0, 1, 1));
    assert_eq!(counted.days, [(first, counts(2, 0, 1, 1))]);
}

async fn a_team_that_did_nothing_is_counted_too(subject: Subject) {
    let records = &subject.records;
    let team = people(records).await;
    let counted = records.team_counts(&team.id, START, START + DAY).await;
    let counted = counted.expect("works");
    let none: Vec<_> = counted
        .members
        .iter()
        .map(|(_, _, counts)| *counts)
        .collect();
    assert_eq!(none, [Counts::default(); 3]);
    assert_eq!((counted.days.len(), counted.all), (0, Counts::default()));
}

async fn what_was_said_since_is_counted(subject: Subject) {
    let records = &subject.records;
    let one = recorded(records).await;
    let mut rows = Rows::of(&subject).await;
    for (kind, at, told, deleted) in [
        ("chat", START - 1, true, false),
        ("chat", START, true, false),
        ("comment", START + 1, true, false),
        ("chat", START + 2, false, false),
        ("chat", START + 3, true, true),
    ] {
        let said = Said {
            told,
            deleted,
            ..said(&one, "ann", kind, at)
        };
        rows.say(said).await;
    }
    let counted = records.messages_since(START).await;
    assert_eq!(counted.expect("works"), 2);
}
