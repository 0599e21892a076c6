//! What teams note, and how it is found again.

use collabd::ids::{InsightId, TeamId};
use collabd::records::{Insight, InsightWish, Sought};

use super::teams::made;
use super::*;

contract!(
    insights_are_listed_page_by_page,
    insights_are_found_by_what_they_say_and_nothing_else,
    insights_are_found_by_session_and_tag,
    an_insight_is_changed_with_its_tags,
    insights_go_with_their_team,
    a_team_notes_so_much,
    tags_that_are_given_at_once_are_those_of_one,
);

fn insight(team: &TeamId, title: &str, body: &str, tags: &[&str]) -> Insight {
    Insight {
        id: InsightId::new(),
        team: team.clone(),
        session: SessionId::recorded(),
        author: user("ann"),
        author_name: "Ann".to_owned(),
        title: title.to_owned(),
        body: body.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        created_at: 1_000,
        updated_at: 1_000,
    }
}

async fn added(records: &Records, insight: Insight) -> Insight {
    let added = records.add_insight(&insight, 100).await;
    assert!(added.expect("works"));
    insight
}

fn all() -> Sought {
    Sought {
        most: 100,
        ..Sought::default()
    }
}

async fn titles(records: &Records, team: &TeamId, sought: Sought) -> Vec<String> {
    let found = records.insights(team, &sought).await.expect("works");
    found.into_iter().map(|insight| insight.title).collect()
}

async fn insights_are_listed_page_by_page(subject: Subject) {
    let records = &subject.records;
    let (team, other) = (
        made(records, "Team").await.id,
        made(records, "Other").await.id,
    );
    let mut right = Vec::new();
    for number in 0..7 {
        let tags: &[&str] = if number % 2 == 0 { &["b", "a"] } else { &[] };
        let one = insight(&team, &number.to_string(), "'; -- 🦀\n%", tags);
        right.push(added(records, one).await);
        added(records, insight(&other, "Another's", "x", &["a"])).await;
    }
    right.reverse();
    let (mut seen, mut sought) = (Vec::new(), Sought { most: 3, ..all() });
    loop {
        let page = records.insights(&team, &sought).await.expect("works");
        let Some(last) = page.last() else {
            break;
        };
        assert!(page.len() <= 3);
        sought.after = Some(last.id.clone());
        seen.extend(page);
    }
    assert_eq!(seen, right);
    let found = records.insight(&right[0].id).await.expect("works");
    assert_eq!(found.as_ref(), Some(&right[0]));
    let nothing = records.insight(&InsightId::new()).await.expect("works");
    assert_eq!(nothing, None);
}

async fn insights_are_found_by_what_they_say_and_nothing_else(subject: Subject) {
    let records = &subject.records;
    let team = made(records, "Team").await.id;
    for (title, body) in [
        ("Cache", "It was 50% FASTER_now!"),
        ("cash", "ΟΔΟΣ Ærø İstanbul"),
        ("It's \\ \"x\"", "[a-c] *?"),
    ] {
        added(records, insight(&team, title, body, &[])).await;
    }
    for (text, right) in [
        ("CACHE", vec!["Cache"]),
        ("ca", vec!["cash", "Cache"]),
        ("faster_NOW!", vec!["Cache"]),
        ("0% f", vec!["Cache"]),
        ("æRØ", vec!["cash"]),
        ("οδοσ", vec!["cash"]),
        ("İSTANBUL", vec!["cash"]),
        ("%", vec!["Cache"]),
        ("_", vec!["Cache"]),
        ("!", vec!["Cache"]),
        ("fasterXnow", vec![]),
        ("\\", vec!["It's \\ \"x\""]),
        ("t's", vec!["It's \\ \"x\""]),
        ("[a-c]", vec!["It's \\ \"x\""]),
        ("c*", vec![]),
        ("' OR '1'='1", vec![]),
        ("cashο", vec![]),
        ("", vec!["It's \\ \"x\"", "cash", "Cache"]),
    ] {
        let sought = Sought {
            text: Some(text.to_owned()),
            ..all()
        };
        assert_eq!(titles(records, &team, sought).await, right, "{text:?}");
    }
}

async fn insights_are_found_by_session_and_tag(subject: Subject) {
    let records = &subject.records;
    let (team, other) = (
        made(records, "Team").await.id,
        made(records, "Other").await.id,
    );
    let one = added(records, insight(&team, "one", "x", &["perf", "'; --"])).await;
    let two = insight(&team, "two", "y", &["perf", "Perf"]);
    let two = Insight {
        session: one.session.clone(),
        ..two
    };
    added(records, two).await;
    added(records, insight(&team, "three", "x", &["perf"])).await;
    added(records, insight(&other, "four", "x", &["perf"])).await;
    let find = |session: Option<&SessionId>, tag: Option<&str>, text: Option<&str>| {
        let sought = Sought {
            session: session.cloned(),
            tag: tag.map(str::to_owned),
            text: text.map(str::to_owned),
            ..all()
        };
        titles(records, &team, sought)
    };
    let session = Some(&one.session);
    assert_eq!(find(session, None, None).await, ["two", "one"]);
    assert_eq!(
        find(None, Some("perf"), None).await,
        ["three", "two", "one"]
    );
    assert_eq!(find(None, Some("Perf"), None).await, ["two"]);
    assert_eq!(find(None, Some("'; --"), None).await, ["one"]);
    assert_eq!(find(None, Some("per"), None).await, [] as [&str; 0]);
    assert_eq!(find(session, Some("perf"), Some("X")).await, ["one"]);
    let nowhere = SessionId::recorded();
    assert_eq!(find(Some(&nowhere), None, None).await, [] as [&str; 0]);
}

async fn an_insight_is_changed_with_its_tags(subject: Subject) {
    let records = &subject.records;
    let team = made(records, "Team").await.id;
    let mut one = added(records, insight(&team, "Old", "body", &["a", "b"])).await;
    let by = |tag: Option<&str>, text: &str| {
        let sought = Sought {
            tag: tag.map(str::to_owned),
            text: Some(text.to_owned()),
            ..all()
        };
        titles(records, &team, sought)
    };
    let wish = InsightWish {
        title: Some("New".to_owned()),
        ..InsightWish::default()
    };
    let updated = records.update_insight(&one.id, 2_000, &wish).await;
    assert!(updated.expect("works"));
    assert_eq!(by(Some("b"), "NEW").await, ["New"], "the tags stay");
    assert_eq!(by(None, "old").await, [] as [&str; 0]);
    let wish = InsightWish {
        body: Some("Other".to_owned()),
        tags: Some(vec!["c".to_owned(), "a".to_owned()]),
        ..InsightWish::default()
    };
    let updated = records.update_insight(&one.id, 3_000, &wish).await;
    assert!(updated.expect("works"));
    one.title = "New".to_owned();
    one.body = "Other".to_owned();
    one.tags = vec!["c".to_owned(), "a".to_owned()];
    one.updated_at = 3_000;
    let found = records.insight(&one.id).await.expect("works");
    assert_eq!(found, Some(one.clone()));
    assert_eq!(by(Some("c"), "other").await, ["New"]);
    assert_eq!(by(Some("b"), "").await, [] as [&str; 0]);
    assert!(records.remove_insight(&one.id).await.expect("works"));
    assert!(!records.remove_insight(&one.id).await.expect("works"));
    let updated = records.update_insight(&one.id, 4_000, &wish).await;
    assert!(!updated.expect("works"), "it has gone");
    assert_eq!(by(Some("c"), "").await, [] as [&str; 0]);
}

async fn insights_go_with_their_team(subject: Subject) {
    let records = &subject.records;
    let (team, other) = (
        made(records, "Team").await.id,
        made(records, "Other").await.id,
    );
    let one = added(records, insight(&team, "one", "x", &["a"])).await;
    let kept = added(records, insight(&other, "two", "x", &["a"])).await;
    assert!(records.remove_team(&team).await.expect("works"));
    assert_eq!(records.insight(&one.id).await.expect("works"), None);
    let found = records.insight(&kept.id).await.expect("works");
    assert_eq!(found, Some(kept));
    let late = records
        .add_insight(&insight(&team, "late", "x", &["a"]), 9)
        .await;
    assert!(matches!(late, Err(Error::Bound)), "{late:?}");
}

/// Guards the bound also against those who write at the same moment.
async fn a_team_notes_so_much(subject: Subject) {
    let records = Arc::new(open(&subject.config).await);
    let team = made(&records, "Team").await.id;
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (records, team) = (records.clone(), team.clone());
        writers.spawn(async move {
            let one = insight(&team, &number.to_string(), "x", &["a"]);
            records.add_insight(&one, 3).await
        });
    }
    let mut written = 0;
    while let Some(writer) = writers.join_next().await {
        written += usize::from(writer.expect("nobody panics").expect("works"));
    }
    assert_eq!(written, 3);
    assert_eq!(titles(&records, &team, all()).await.len(), 3);
}

/// Guards what is shown and what is found by against being of two different changes.
async fn tags_that_are_given_at_once_are_those_of_one(subject: Subject) {
    let records = Arc::new(open(&subject.config).await);
    let team = made(&records, "Team").await.id;
    let one = added(&records, insight(&team, "one", "x", &["t0"])).await;
    let mut writers = JoinSet::new();
    for number in 1..8 {
        let (records, id) = (records.clone(), one.id.clone());
        writers.spawn(async move {
            let wish = InsightWish {
                tags: Some(vec![format!("t{number}"), "both".to_owned()]),
                ..InsightWish::default()
            };
            records.update_insight(&id, 2_000, &wish).await
        });
    }
    while let Some(writer) = writers.join_next().await {
        assert!(writer.expect("nobody panics").expect("works"));
    }
    let now = records.insight(&one.id).await.expect("works");
    let now = now.expect("it is there").tags;
    for number in 0..8 {
        let tag = format!("t{number}");
        let is_shown = now.contains(&tag);
        let sought = Sought {
            tag: Some(tag),
            ..all()
        };
        let is_found = !titles(&records, &team, sought).await.is_empty();
        assert_eq!(is_found, is_shown, "t{number} of {now:?}");
    }
}
