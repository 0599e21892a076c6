//! Transcripts of the pairing dialect: `>` a frame from a client, `<` what a client is sent.

use super::super::Dialect;
use super::*;
use crate::domain::presence::Present;
use crate::ids::{Epoch, EventId, Position, SessionId, UserId};

fn heard(frame: &str) -> String {
    match Dialect::Pairing.decode(frame) {
        Ok(Incoming { command, id }) => format!("> {frame}\n{command:?} id={id:?}"),
        Err(Refused { reject, id }) => format!(
            "> {frame}\n{} field={:?} id={id:?}: {}",
            reject.code.as_str(),
            reject.field,
            reject.message
        ),
    }
}

#[test]
fn both_spellings_of_every_command() {
    let frames = [
        r#"{"type":"code_change","code":"a"}"#,
        r#"{"type":"code_update","code":"a","base_version":3,"id":"k1"}"#,
        r#"{"type":"cursor_move","cursor":{"lineNumber":5,"column":10},"code":"b"}"#,
        r#"{"type":"cursor","cursor":{"lineNumber":5,"column":10,"extra":1},"code":null}"#,
        r#"{"type":"language_change","language":"go"}"#,
        r#"{"type":"language","language":"go"}"#,
        r#"{"type":"chat","message":"hi"}"#,
        r#"{"type":"chat_message","text":"h\u00e9 \ud83d\ude00"}"#,
        r#" {"type":"ping","unknown":[1,2]}"#,
    ];
    insta::assert_snapshot!(frames.map(heard).join("\n"));
}

#[test]
fn every_refusal_names_what_was_wrong() {
    let frames = [
        "",
        "nonsense",
        r#"["chat"]"#,
        r#"{"type":"chat""#,
        r#"{}"#,
        r#"{"type":5}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"chat"}"#,
        r#"{"type":"chat","message":{"a":1},"id":"k"}"#,
        r#"{"type":"code_change","id":"k"}"#,
        r#"{"type":"code_change","code":"x","base_version":-1}"#,
        r#"{"type":"cursor","cursor":[1,2]}"#,
        r#"{"type":"cursor","cursor":{"lineNumber":0,"column":1}}"#,
        r#"{"type":"cursor","cursor":{"lineNumber":1.5,"column":1}}"#,
        r#"{"type":"language","language":null}"#,
        r#"{"type":"ping","id":7}"#,
        r#"{"type":"ping","id":""}"#,
        r#"{"type":"ping","type":"ping"}"#,
    ];
    insta::assert_snapshot!(frames.map(heard).join("\n"));
}

#[test]
fn every_event_in_its_documented_shape() {
    let ann = UserId::parse("ann").unwrap();
    let cursor = Cursor {
        line: 5,
        column: 10,
    };
    let line = chat::Line {
        id: fixed_id(),
        user: ann.clone(),
        name: "Ann".into(),
        text: "hi \"there\"".into(),
        at: 1_762_943_400_007,
        reply_to: None,
        to: None,
        mentions: Vec::new(),
    };
    let durable = [
        Event::Joined {
            user: ann.clone(),
            name: "Ann".into(),
            role: None,
        },
        Event::Left {
            user: ann.clone(),
            name: None,
        },
        Event::TextChanged {
            user: ann.clone(),
            code: Some("x = 1\n".into()),
            update: None,
        },
        Event::LanguageChanged {
            user: ann.clone(),
            language: "go".into(),
        },
        Event::ChatPosted(line.clone()),
        Event::Ended,
    ];
    let passing = [None, Some("code".to_owned())].map(|code| Event::CursorMoved {
        user: ann.clone(),
        cursor,
        file: None,
        code,
    });
    let mut said: Vec<String> = Vec::new();
    for (event, seq) in durable
        .iter()
        .map(|event| (event, Some(7)))
        .chain(passing.iter().map(|event| (event, None)))
    {
        let mut out = Vec::new();
        let room = crate::ids::Room::Session(SessionId::parse("s").unwrap());
        let delivery = Delivery {
            room: &room,
            event,
            at: 1_762_943_400_007,
            seq,
            epoch: None,
            version: event.is_text().then_some(3),
        };
        assert!(Dialect::Pairing.encode(&delivery, &mut out));
        said.push(format!("< {}", String::from_utf8(out).unwrap()));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn every_reply_in_its_documented_shape() {
    let ann = UserId::parse("ann").unwrap();
    let position = Some(Position {
        epoch: Epoch(0xabc),
        seq: 12,
    });
    let view = View {
        session: SessionId::parse("s1").unwrap(),
        question_id: "q".into(),
        code: "x".into(),
        code_by: "ann".into(),
        host: String::new(),
        title: String::new(),
        default_role: String::new(),
        roles: None,
        language: "python".into(),
        created_at: "2025-11-12T10:30:00.000Z".into(),
        version: 3,
        code_version: 3,
        position,
        users: vec![Present {
            user: ann.clone(),
            name: "Ann".into(),
            cursor: None,
            file: None,
            viewport: None,
            status: "active".into(),
            yjs: false,
            at: 0,
        }],
        user_count: 1,
        chat: vec![(
            7,
            chat::Line {
                id: fixed_id(),
                user: ann,
                name: "Ann".into(),
                text: "hi".into(),
                at: 0,
                reply_to: None,
                to: None,
                mentions: Vec::new(),
            },
        )],
    };
    let reject = Reject {
        retry_in_ms: Some(1000),
        ..Reject::field("code", "too large")
    };
    let id = Some("k1");
    let replies = [
        Reply::Greeting(&view),
        Reply::Pong { position, id },
        Reply::Pong {
            position: None,
            id: None,
        },
        Reply::TextAck {
            version: 4,
            seq: 12,
            position,
            id,
        },
        Reply::Ack {
            seq: 12,
            position,
            id: "k1",
        },
        Reply::Rejected {
            reject: &reject,
            id,
        },
    ];
    let said = replies.map(|reply| {
        let mut out = Vec::new();
        Dialect::Pairing.reply(&reply, 1_762_943_400_007, &mut out);
        format!("< {}", String::from_utf8(out).unwrap())
    });
    insta::assert_snapshot!(said.join("\n"));
}

fn fixed_id() -> EventId {
    serde_json::from_str("\"0199aabb-ccdd-7eef-8011-223344556677\"").unwrap()
}
