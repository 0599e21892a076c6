//! Workspaces, who belongs to them, and the runs of agents.

use collabd::ids::{AgentId, EventId, WorkspaceId};
use collabd::records::{Fellow, Run, Workspace};

use super::*;

contract!(
    a_workspace_is_kept_with_its_people_until_it_is_deleted,
    workspaces_are_listed_page_by_page,
    a_run_is_one_however_often_it_is_noted,
    runs_are_listed_the_youngest_first_and_forgotten_by_age,
);

fn workspace(name: &str) -> Workspace {
    Workspace {
        id: WorkspaceId::new(),
        name: name.to_owned(),
        description: "It's a \"place\"; -- 🦀".to_owned(),
        created_by: Some(user("ann")),
        created_at: 1_000,
    }
}

fn fellow(name: &str) -> Fellow {
    Fellow {
        user: user(name),
        username: format!("The {name}"),
    }
}

async fn a_workspace_is_kept_with_its_people_until_it_is_deleted(subject: Subject) {
    let records = &subject.records;
    let made = workspace("Search");
    let ann = fellow("ann");
    records
        .add_workspace(&made, Some(&ann))
        .await
        .expect("works");
    let bob = fellow("bob");
    for _ in 0..2 {
        records.put_fellow(&made.id, &bob).await.expect("works");
    }
    let renamed = records.update_workspace(&made.id, Some("Find"), None).await;
    assert!(renamed.expect("works"));
    let found = records.workspace(&made.id).await.expect("works");
    let name = "Find".to_owned();
    assert_eq!(
        found,
        Some(Workspace {
            name,
            ..made.clone()
        })
    );
    let people = records.fellows(&made.id, 10).await.expect("works");
    assert_eq!(people, [ann.clone(), bob]);
    records
        .remove_fellow(&made.id, &user("bob"))
        .await
        .expect("works");
    assert_eq!(records.fellows(&made.id, 10).await.expect("works"), [ann]);

    for _ in 0..2 {
        records.remove_workspace(&made.id).await.expect("works");
    }
    assert_eq!(records.workspace(&made.id).await.expect("works"), None);
    assert_eq!(records.fellows(&made.id, 10).await.expect("works"), []);
    let gone = records.update_workspace(&made.id, Some("Lost"), None).await;
    assert!(!gone.expect("works"));
    let late = records.put_fellow(&made.id, &fellow("cat")).await;
    assert!(matches!(late, Err(Error::Bound)), "{late:?}");
}

async fn workspaces_are_listed_page_by_page(subject: Subject) {
    let records = &subject.records;
    let mut made = Vec::new();
    for number in 0..5 {
        let workspace = Workspace {
            created_by: None,
            ..workspace(&format!("No {number}"))
        };
        records
            .add_workspace(&workspace, None)
            .await
            .expect("works");
        made.push(workspace);
    }
    let first = records.workspaces(None, 3).await.expect("works");
    assert_eq!(first, made[..3]);
    let rest = records.workspaces(Some(&first[2].id), 3).await;
    assert_eq!(rest.expect("works"), made[3..]);
}

fn run(agent: &str, started_at: i64) -> Run {
    Run {
        id: EventId::new(),
        agent: AgentId::parse(agent).expect("it is an id"),
        user: user("ann"),
        workspace: WorkspaceId::parse("w").ok(),
        task: "sort 🦀".to_owned(),
        status: "failed".to_owned(),
        result: Some(r#"{"rows":[1,2]}"#.to_owned()),
        reason: None,
        started_at,
        took_ms: 1_234,
    }
}

async fn a_run_is_one_however_often_it_is_noted(subject: Subject) {
    let records = &subject.records;
    let first = run("a", 1_000);
    for _ in 0..3 {
        records.note_run(&first).await.expect("works");
    }
    let later = Run {
        status: "completed".to_owned(),
        ..first.clone()
    };
    records.note_run(&later).await.expect("works");
    let runs = records.runs_of(&first.agent, None, 10).await;
    assert_eq!(runs.expect("works"), [first]);
}

async fn runs_are_listed_the_youngest_first_and_forgotten_by_age(subject: Subject) {
    let records = &subject.records;
    let agent = AgentId::parse("a").expect("it is an id");
    let runs: Vec<Run> = (0..5).map(|number| run("a", 1_000 + number)).collect();
    for run in &runs {
        records.note_run(run).await.expect("works");
    }
    let other = Run {
        workspace: None,
        result: None,
        reason: Some("lost".to_owned()),
        ..run("b", 1_000)
    };
    records.note_run(&other).await.expect("works");
    let page = records.runs_of(&agent, None, 2).await.expect("works");
    assert_eq!(page, [runs[4].clone(), runs[3].clone()]);
    let rest = records.runs_of(&agent, Some(page[1].id), 10).await;
    let rest = rest.expect("works");
    assert_eq!(rest, [runs[2].clone(), runs[1].clone(), runs[0].clone()]);
    assert_eq!(records.prune_runs(1_002, 2).await.expect("works"), 2);
    assert_eq!(records.prune_runs(1_002, 2).await.expect("works"), 1);
    assert_eq!(records.prune_runs(1_002, 2).await.expect("works"), 0);
    let left = records.runs_of(&agent, None, 10).await.expect("works");
    assert_eq!(left, [runs[4].clone(), runs[3].clone(), runs[2].clone()]);
}
