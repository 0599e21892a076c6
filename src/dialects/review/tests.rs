//! Transcripts of the review dialect: `>` a frame from a client, `<` what a client is sent.

use super::super::{Delivery, Dialect, Reply};
use super::*;
use crate::domain::chat::Line;
use crate::domain::comments::Comment;
use crate::domain::presence::Present;
use crate::domain::sessions::{self, View};
use crate::domain::{Event, Viewport};
use crate::ids::{Epoch, Position, SessionId};

const ID: &str = "0199aabb-ccdd-7eef-8011-223344556677";
const AT: i64 = 1_762_943_400_007;

fn heard(frame: &str) -> String {
    match Dialect::Review.decode(frame) {
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
fn every_command() {
    let frames = [
        r#"{"type":"chat_message","content":"hi"}"#,
        r#"{"type":"chat_message","content":"hi","data":null,"id":"k"}"#,
        r#"{"type":"chat_message","content":"hi","data":{"reply_to":"0199aabb-ccdd-7eef-8011-223344556677","to_user":"bob"}}"#,
        r#"{"type":"cursor_update","data":{"file":"a.py","line":3,"column":1,"more":1}}"#,
        r#"{"type":"viewport_update","data":{"file":"a.py","start_line":3,"end_line":9}}"#,
        r#"{"type":"presence_update","data":{"status":"idle"}}"#,
        r#"{"type":"code_comment","data":{"file":"a.py","line":3,"content":"why?","code_snippet":"x"}}"#,
        r#"{"type":"reaction","data":{"message_id":"0199aabb-ccdd-7eef-8011-223344556677","emoji":"👍","action":"add"}}"#,
        r#"{"type":"session_update","data":{"title":"T","default_role":"editor"}}"#,
        r#"{"type":"message_edit","data":{"message_id":"0199aabb-ccdd-7eef-8011-223344556677","content":"b"}}"#,
        r#"{"type":"message_delete","data":{"message_id":"0199aabb-ccdd-7eef-8011-223344556677"}}"#,
        r#"{"type":"comment_resolve","data":{"comment_id":"0199aabb-ccdd-7eef-8011-223344556677","resolved":true}}"#,
        r#"{"type":"code_change","code":"x","base_version":3}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"auth","token":"t"}"#,
    ];
    insta::assert_snapshot!(frames.map(heard).join("\n"));
}

#[test]
fn every_refusal_names_what_was_wrong() {
    let frames = [
        "[]",
        r#"{"type":"dance"}"#,
        r#"{"content":"hi"}"#,
        r#"{"type":"chat_message"}"#,
        r#"{"type":"chat_message","content":5}"#,
        r#"{"type":"chat_message","content":"hi","data":[1]}"#,
        r#"{"type":"chat_message","content":"hi","data":{"reply_to":"x"}}"#,
        r#"{"type":"chat_message","content":"hi","data":{"to_user":"a b"}}"#,
        r#"{"type":"cursor_update"}"#,
        r#"{"type":"cursor_update","data":{"file":"a","line":0,"column":1}}"#,
        r#"{"type":"cursor_update","data":{"file":"a","line":1.5,"column":1}}"#,
        r#"{"type":"viewport_update","data":{"file":"a","start_line":1}}"#,
        r#"{"type":"reaction","data":{"message_id":"0199aabb-ccdd-7eef-8011-223344556677","emoji":"x","action":"eat"}}"#,
        r#"{"type":"reaction","data":{"emoji":"x","action":"add"}}"#,
        r#"{"type":"session_update","data":{}}"#,
        r#"{"type":"comment_resolve","data":{"comment_id":"0199aabb-ccdd-7eef-8011-223344556677","resolved":"yes"}}"#,
    ];
    insta::assert_snapshot!(frames.map(heard).join("\n"));
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn line(id: EventId) -> Line {
    Line {
        id,
        user: user("ann"),
        name: "Ann".into(),
        text: "hi @bob".into(),
        at: AT,
        reply_to: None,
        to: None,
        mentions: vec![user("bob")],
    }
}

#[test]
fn every_event_in_its_documented_shape() {
    let (ann, id) = (user("ann"), EventId::parse(ID).unwrap());
    let letter = Line {
        to: Some(user("bob")),
        reply_to: Some(id),
        ..line(id)
    };
    let comment = Comment {
        line: line(id),
        file: "a.py".into(),
        row: 3,
        snippet: Some("x = 1".into()),
    };
    let events = [
        Event::Joined {
            user: ann.clone(),
            name: "Ann".into(),
            role: Some("host".into()),
        },
        Event::Left {
            user: ann.clone(),
            name: Some("Ann".into()),
        },
        Event::ChatPosted(line(id)),
        Event::ChatPosted(letter),
        Event::CommentPosted(comment),
        Event::TextChanged {
            user: ann.clone(),
            code: Some("x".into()),
            update: None,
        },
        Event::LanguageChanged {
            user: ann.clone(),
            language: "go".into(),
        },
        Event::SessionChanged {
            user: ann.clone(),
            title: Some("T".into()),
            description: None,
            default_role: Some("editor".into()),
        },
        Event::MessageEdited {
            user: ann.clone(),
            message: id,
            text: "b".into(),
            mentions: Vec::new(),
            at: AT,
        },
        Event::MessageDeleted {
            user: ann.clone(),
            message: id,
        },
        Event::Reacted {
            user: ann.clone(),
            message: id,
            emoji: "👍".into(),
            added: true,
            users: vec![ann.clone()],
        },
        Event::CommentResolved {
            user: ann.clone(),
            comment: id,
            resolved: true,
        },
        Event::ParticipantChanged {
            user: ann.clone(),
            role: Some("viewer".into()),
        },
        Event::ParticipantChanged {
            user: ann.clone(),
            role: None,
        },
        Event::CursorMoved {
            user: ann.clone(),
            cursor: Cursor { line: 3, column: 1 },
            file: Some("a.py".into()),
            code: None,
        },
        Event::CursorMoved {
            user: ann.clone(),
            cursor: Cursor { line: 3, column: 1 },
            file: None,
            code: None,
        },
        Event::ViewportChanged {
            user: ann.clone(),
            viewport: Viewport {
                file: "a.py".into(),
                start_line: 1,
                end_line: 9,
            },
        },
        Event::StatusChanged {
            user: ann,
            status: "idle".into(),
        },
        Event::Ended,
    ];
    let said = events.iter().map(|event| {
        let mut out = Vec::new();
        let room = crate::ids::Room::Session(SessionId::parse("s").unwrap());
        let delivery = Delivery {
            room: &room,
            event,
            at: AT,
            seq: event.latest_key().is_none().then_some(7),
            epoch: None,
            version: event.is_text().then_some(3),
        };
        assert!(Dialect::Review.encode(&delivery, &mut out));
        format!("< {}", String::from_utf8(out).unwrap())
    });
    insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"));
}

fn view() -> View {
    let position = Some(Position {
        epoch: Epoch(0xabc),
        seq: 12,
    });
    let present = Present {
        user: user("ann"),
        name: "Ann".into(),
        cursor: Some(Cursor { line: 3, column: 1 }),
        file: Some("a.py".into()),
        viewport: None,
        status: "active".into(),
        yjs: false,
        at: 0,
    };
    let session = SessionId::parse("r-1").unwrap();
    let fields = [("host", "ann"), ("default_role", "viewer"), ("code", "x")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let chat = vec![(3, line(EventId::parse(ID).unwrap()))];
    View {
        roles: Some([("cid".to_owned(), "editor".to_owned())].into()),
        ..sessions::view(session, fields.into(), position, vec![present], 1, chat)
    }
}

#[test]
fn everyone_is_welcomed_with_their_own_role_and_letters() {
    let (view, id) = (view(), EventId::parse(ID).unwrap());
    let welcome = Welcome::of(&view);
    let letter = Line {
        to: Some(user("bob")),
        at: AT - 1,
        text: "psst".into(),
        ..line(id)
    };
    let said = ["ann", "bob", "cid"].map(|name| {
        let letters = [(2, letter.clone())];
        let letters = if name == "bob" { &letters[..] } else { &[] };
        let mut out = Vec::new();
        welcome.write(&view, (&user(name), name), letters, AT, &mut out);
        let text = String::from_utf8(out).unwrap();
        let _: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        format!("< {text}")
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn errors_name_fields_as_the_frame_does() {
    let reject = Reject::field("emoji", "wrong");
    let mut out = Vec::new();
    let reply = Reply::Rejected {
        reject: &reject,
        id: Some("k"),
    };
    Dialect::Review.reply(&reply, AT, &mut out);
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}
