//! Transcripts of the events: `>` what a client says, `<` what it is told, as a packet and as a plain frame.

use super::*;
use crate::domain::Code;
use crate::domain::courier::{Directed, Tally};
use crate::ids::UserId;

fn heard(frame: &str) -> String {
    match raw::read(frame) {
        Said::Command {
            command, room, id, ..
        } => {
            let room = room.map(|room| room.to_string());
            format!("> {frame}\n{command:?} room={room:?} id={id:?}")
        }
        Said::Refused { reject, id, .. } => {
            let (code, field, message) = (reject.code.as_str(), reject.field, &reject.message);
            format!("> {frame}\n{code} field={field:?} id={id:?}: {message}")
        }
        other => panic!("neither an event nor a mistake: {other:?}"),
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn directed() -> Directed {
    Directed {
        kind: "comment_added".into(),
        from: user("ann"),
        to: [user("bob"), user("cid")].into(),
        data: r#"{"position_id":"p","n":1.50}"#.into(),
        id: "k7".into(),
        given: true,
    }
}

/// How both kinds of client are told.
fn told(write: impl Fn(Words<'_>)) -> String {
    let (mut packet, mut frame) = (Vec::new(), Vec::new());
    write(Words::packets(&mut packet));
    write(Words::raw(&mut frame));
    [packet, frame]
        .map(|bytes| format!("< {}", String::from_utf8(bytes).unwrap()))
        .join("\n")
}

#[test]
fn every_event_of_a_client() {
    let frames = [
        r#"{"event":"join","data":{"room":"a"}}"#,
        r#"{"event":"change","data":{"room":"a","code":"x","id":"k1"}}"#,
        r#"{"event":"leave","data":{"room":"a"}}"#,
        r#" {"event":"ping"}"#,
        r#"{"event":"auth","data":{"token":"t"}}"#,
        r#"{"event":"collab_event","data":{"type":"position_shared","from_user":"ann","to_users":["bob"],"data":{"position_id":"p","share_url":null,"more":[1.50]},"id":"k2","extra":1}}"#,
        r#"{"event":"collab_event","data":{"type":"x","from_user":"ann","to_users":[],"data":{"position_id":"p","share_url":"u","shared_at":"t","comment":{"id":"c","text":"t","user":{"id":"ann"},"created_at":"t"},"updates":{"tags":[]}}}}"#,
    ];
    insta::assert_snapshot!(frames.map(heard).join("\n"));
}

#[test]
fn every_mistake_names_what_was_wrong() {
    let event = |body: &str| format!(r#"{{"event":"collab_event","data":{body}}}"#);
    let with_data = |data: &str| {
        event(&format!(
            r#"{{"type":"x","from_user":"ann","to_users":["bob"],"data":{data},"id":"k"}}"#
        ))
    };
    let mut frames: Vec<String> = [
        "",
        "nonsense",
        r#"["ping",{}]"#,
        r#"{"data":{}}"#,
        r#"{"event":7}"#,
        r#"{"event":"dance","data":{"id":"k"}}"#,
        r#"{"event":"join"}"#,
        r#"{"event":"join","data":{"room":"a/b"}}"#,
        r#"{"event":"auth","data":{}}"#,
        r#"{"event":"ping","data":{"id":7}}"#,
    ]
    .map(str::to_owned)
    .into();
    for body in [
        "[]",
        "{}",
        r#"{"type":"x","from_user":7}"#,
        r#"{"type":"x","from_user":"a/b","to_users":[],"data":{"position_id":"p"}}"#,
        r#"{"type":"x","from_user":"ann","to_users":"bob"}"#,
        r#"{"type":"x","from_user":"ann","to_users":["a/b"],"data":{"position_id":"p"}}"#,
        r#"{"type":"x","from_user":"ann","to_users":["bob"],"id":"k"}"#,
        r#"{"from_user":"ann","to_users":["bob"],"data":{"position_id":"p"}}"#,
    ] {
        frames.push(event(body));
    }
    for data in [
        "[\"p\"]",
        "null",
        "{}",
        r#"{"position_id":7}"#,
        r#"{"position_id":"p","share_url":7}"#,
        r#"{"position_id":"p","shared_at":{}}"#,
        r#"{"position_id":"p","comment":"c"}"#,
        r#"{"position_id":"p","comment":{"text":7}}"#,
        r#"{"position_id":"p","comment":{"user":"ann"}}"#,
        r#"{"position_id":"p","updates":[]}"#,
    ] {
        frames.push(with_data(data));
    }
    let heard: Vec<String> = frames.iter().map(|frame| heard(frame)).collect();
    insta::assert_snapshot!(heard.join("\n"));
}

#[test]
fn every_event_in_its_documented_shape() {
    let ann = user("ann");
    let events = [
        Event::TextChanged {
            user: ann.clone(),
            code: Some("x = \"1\"".into()),
            update: None,
        },
        Event::Ended,
        Event::CameOnline {
            user: ann.clone(),
            name: "Ann".into(),
        },
        Event::WentOffline { user: ann },
        Event::Directed(directed()),
    ];
    let shown = events.map(|event| {
        told(|words| {
            let room = crate::ids::Room::Session(crate::ids::SessionId::parse("s").unwrap());
            let delivery = Delivery {
                room: &room,
                event: &event,
                at: 0,
                seq: Some(3),
                epoch: None,
                version: None,
            };
            assert!(encode(&delivery, words));
        })
    });
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn every_reply_in_its_documented_shape() {
    let (reject, ann, event) = (
        Reject {
            field: Some("room"),
            ..Reject::new(Code::BadField, "room is missing")
        },
        user("ann"),
        directed(),
    );
    let tally = Tally {
        all: 4,
        present: 1,
        kept: 1,
        full: 1,
    };
    let without = Tally { full: 0, ..tally };
    let replies = [
        Reply::Connected {
            user: &ann,
            active: 5,
        },
        Reply::Routed {
            event: &event,
            tally,
        },
        Reply::Routed {
            event: &event,
            tally: without,
        },
        Reply::Pong {
            position: None,
            id: None,
        },
        Reply::AuthOk {
            expires_at: 1_762_943_400_007,
            id: Some("k"),
        },
        Reply::Rejected {
            reject: &reject,
            id: Some("k"),
        },
        Reply::Rejected {
            reject: &Reject::unavailable(),
            id: None,
        },
        Reply::Done { number: 7 },
    ];
    let shown = replies.map(|said| told(|words| reply(&said, 7, words)));
    insta::assert_snapshot!(shown.join("\n"));
}
