//! What is said, what is heard, in the words of the wire.

use super::*;
use crate::clock::Millis;
use crate::dialects::{Delivery, Dialect, Reply};
use crate::domain::{Event, workspaces};

const AT: Millis = 1_762_943_400_007;

fn said(frame: &str, scope: Scope) -> String {
    match read(frame, scope) {
        Said::Command {
            command, room, id, ..
        } => format!("{command:?} in {room:?} id {id:?}"),
        Said::Refused { reject, id, .. } => {
            format!(
                "{} {:?} {id:?}: {}",
                reject.code.as_str(),
                reject.field,
                reject.message
            )
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn frames_become_commands() {
    let frames = [
        r#"{"type":"subscribe_agent","id":"1","data":{"agent_id":"a","since":"ff-3"}}"#,
        r#"{"type":"unsubscribe_agent","data":{"agent_id":"a"}}"#,
        r#"{"type":"join_workspace","data":{"workspace_id":"w","since":null}}"#,
        r#"{"type":"leave_workspace","data":{"workspace_id":"w"}}"#,
        r#"{"type":"workspace_update","data":{"workspace_id":"w","update_type":"x","by":"me","b":[1, 2],"a":{}}}"#,
        r#"{"type":"agent_execution_start","data":{"agent_id":"a","task":"t","user_id":"u","workspace_id":"w"}}"#,
        r#"{"type":"agent_execution_update","data":{"agent_id":"a","status":"running","progress":60,"current_step":"s","metrics":{"m":1}}}"#,
        r#"{"type":"agent_execution_complete","data":{"agent_id":"a","status":"completed","result":"done","execution_time":120}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"auth","data":{"token":"t"}}"#,
    ];
    insta::assert_snapshot!(frames.map(|frame| said(frame, Scope::All)).join("\n"));
}

#[test]
fn what_is_wrong_is_said() {
    let large = "x".repeat(MAX_UPDATE);
    let frames = [
        "[]",
        "{",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"nonsense"}"#,
        r#"{"type":"subscribe_agent"}"#,
        r#"{"type":"subscribe_agent","data":[]}"#,
        r#"{"type":"subscribe_agent","id":"q","data":{"agent_id":"a b"}}"#,
        r#"{"type":"subscribe_agent","data":{"agent_id":"a","since":"now"}}"#,
        r#"{"type":"workspace_update","data":{"workspace_id":"w"}}"#,
        &format!(
            r#"{{"type":"workspace_update","data":{{"workspace_id":"w","update_type":"x","a":"{large}"}}}}"#
        ),
        r#"{"type":"agent_execution_update","data":{"agent_id":"a","progress":"much"}}"#,
        r#"{"type":"agent_execution_update","data":{"agent_id":"a","metrics":[1]}}"#,
        r#"{"type":"agent_execution_complete","data":{"agent_id":"a","status":"completed","result":"a\u0000b"}}"#,
    ];
    insta::assert_snapshot!(frames.map(|frame| said(frame, Scope::All)).join("\n"));
}

#[test]
fn a_door_speaks_of_its_own_alone() {
    let join = r#"{"type":"join_workspace","data":{"workspace_id":"w"}}"#;
    let subscribe = r#"{"type":"subscribe_agent","data":{"agent_id":"a"}}"#;
    assert!(said(join, Scope::Agents).starts_with("unknown_type"));
    assert!(said(subscribe, Scope::Workspaces).starts_with("unknown_type"));
    assert!(said(join, Scope::Workspaces).starts_with("Enter"));
    assert!(said(subscribe, Scope::Agents).starts_with("Enter"));
}

fn written(room: &Room, event: &Event) -> String {
    let delivery = Delivery {
        room,
        event,
        at: AT,
        seq: Some(7),
        epoch: Some(crate::ids::Epoch(255)),
        version: None,
    };
    let mut out = Vec::new();
    assert!(Dialect::Workspace.encode(&delivery, &mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn an_update_keeps_its_senders_fields_and_says_who_it_was() {
    let room = Room::Workspace(WorkspaceId::parse("w").unwrap());
    let ann = UserId::parse("ann").unwrap();
    let with = workspaces::told(
        "agent_added",
        Some(&ann),
        r#"{"agent_id":"a","n":{"x":"}"}}"#.to_owned(),
    );
    let without = workspaces::told("saved", None, "{}".to_owned());
    assert_eq!(
        written(&room, &with),
        r#"{"type":"workspace_update","seq":7,"position":"ff-7","room":"workspace:w","data":{"agent_id":"a","n":{"x":"}"},"workspace_id":"w","update_type":"agent_added","by":"ann","timestamp":"2025-11-12T10:30:00.007Z"}}"#
    );
    assert_eq!(
        written(&room, &without),
        r#"{"type":"workspace_update","seq":7,"position":"ff-7","room":"workspace:w","data":{"workspace_id":"w","update_type":"saved","timestamp":"2025-11-12T10:30:00.007Z"}}"#
    );
}

#[test]
fn errors_stand_in_data() {
    let reject = Reject::field("progress", "progress is 140");
    let reply = Reply::Rejected {
        reject: &reject,
        id: Some("9"),
    };
    let mut out = Vec::new();
    Dialect::Workspace.reply(&reply, AT, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"type":"error","data":{"code":"bad_field","message":"progress is 140","field":"progress","id":"9","timestamp":"2025-11-12T10:30:00.007Z"}}"#
    );
}
