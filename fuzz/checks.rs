//! What holds of Socket.IO's packets and of conversations, whatever the other end sends. The fuzzers look for a text
//! of which it does not; `tests/it/packets.rs` tries the seeds and some more with every run of the tests.

// Each target looks at one of the two.
#![allow(dead_code)]

use collabd::dialects::socketio::packet::{
    Bad, Engine, Kind, MAIN, MOST_PARTS, Packet, SEPARATOR, write,
};
use collabd::dialects::socketio::{Said, Talk};
use collabd::domain::Command;
use serde_json::value::RawValue;

/// The largest number that JavaScript holds exactly.
const MOST: u64 = (1 << 53) - 1;

/// A polling body: nothing in it panics, and each packet survives being written.
pub fn packets(body: &str) {
    for packet in Engine::read_all(body) {
        if let Ok(Engine::Message(text)) = packet {
            message(text);
        }
    }
}

/// The frames of one socket, separated as in a polling body.
pub fn conversation(frames: &str) {
    let (mut talk, mut twin) = (Talk::default(), Talk::default());
    let mut connected = false;
    for frame in frames.split(SEPARATOR) {
        let said = talk.take(frame);
        assert_eq!(format!("{said:?}"), format!("{:?}", twin.take(frame)));
        match said {
            Said::Connect { .. } => {
                assert!(!connected, "a namespace is entered once: {frame:?}");
                connected = true;
            }
            Said::Command {
                command, room, ack, ..
            } => {
                assert!(connected, "a command before the namespace: {frame:?}");
                assert!(ack.is_none_or(|ack| ack <= MOST));
                let is_rooms = matches!(
                    command,
                    Command::Enter { .. } | Command::Exit | Command::ChangeText { .. }
                );
                assert_eq!(room.is_some(), is_rooms, "{frame:?}");
            }
            Said::Refused { .. } => assert!(connected, "heard before the namespace: {frame:?}"),
            Said::Elsewhere { namespace } => assert_ne!(namespace, MAIN),
            Said::Nothing => {}
            Said::Leave | Said::Broken(_) => return,
        }
    }
}

fn message(text: &str) {
    let Ok(packet) = Packet::read(text) else {
        return;
    };
    assert!(packet.parts <= MOST_PARTS);
    assert_ne!(packet.kind, Kind::ConnectError, "only servers refuse");
    let written = as_text(&packet);
    let again = Packet::read(&written).expect("what was read is a packet when it is written");
    assert_eq!(shown(&again), shown(&packet), "{text:?} became {written:?}");

    if let Ok((name, argument)) = packet.event() {
        let out = written_by(|out| write::event(&name, &argument, out));
        let again = Packet::read(inside(&out)).expect("an event of ours is a packet");
        let (named, with) = again.event().expect("and an event");
        assert_eq!(named, name);
        assert_eq!(
            with.map(RawValue::get),
            Some(argument.map_or("null", RawValue::get))
        );
    }
    if let Some(number) = packet.ack {
        let out = written_by(|out| write::ack(number, out));
        let again = Packet::read(inside(&out)).expect("an acknowledgement of ours is a packet");
        assert_eq!((again.kind, again.ack), (Kind::Ack, Some(number)));
    }
    let out = written_by(|out| write::refused(packet.namespace, &"no", out));
    assert_eq!(Packet::read(inside(&out)).err(), Some(Bad::Type));
}

fn written_by(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("what is written is text")
}

/// The content of a message of ours, which has no packet's end in it.
fn inside(packet: &str) -> &str {
    let mut packets = Engine::read_all(packet);
    match (packets.next(), packets.next()) {
        (Some(Ok(Engine::Message(text))), None) => text,
        other => panic!("{packet:?} is no message but {other:?}"),
    }
}

/// A packet as the protocol's text has it.
fn as_text(packet: &Packet<'_>) -> String {
    let binary = packet.parts > 0;
    let mut text = match packet.kind {
        Kind::Connect => "0",
        Kind::Disconnect => "1",
        Kind::Event if binary => "5",
        Kind::Event => "2",
        Kind::Ack if binary => "6",
        Kind::Ack => "3",
        Kind::ConnectError => "4",
    }
    .to_owned();
    if binary {
        text += &format!("{}-", packet.parts);
    }
    if packet.namespace != MAIN {
        text += &format!("{},", packet.namespace);
    }
    if let Some(number) = packet.ack {
        text += &number.to_string();
    }
    text + packet.data.map_or("", RawValue::get)
}

fn shown(packet: &Packet<'_>) -> String {
    let data = packet.data.map(RawValue::get);
    let Packet {
        kind,
        namespace,
        ack,
        parts,
        ..
    } = packet;
    format!("{kind:?} {namespace:?} {ack:?} {data:?} {parts}")
}
