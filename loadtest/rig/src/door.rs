//! How the clients of a server speak: where they come in, what they say first, what is sent and who hears it. Those of a
//! node's doors are known here; another server's are given on the command line.
//!
//! A text that changes is not heard by its sender, and while a socket is behind only the newest of a room matters: a
//! node may leave older ones out. So changes are measured one at a time in each room.

use clap::ValueEnum;
use serde::Serialize;

use crate::Result;

/// Pairing's upgrade; `{room}` and `{user}` are filled in.
pub const PAIRING_PATH: &str = "/api/v1/ws/session/{room}?user_id={user}&username={user}";
pub const PAIRING_CHAT: &str = r#"{"type":"chat","message":"{text}"}"#;
const PAIRING_CODE: &str = r#"{"type":"code_change","code":"{text}"}"#;
const SOCKET_IO_PATH: &str = "/socket.io/?EIO=4&transport=websocket&user_id={user}";
/// The namespace, then the room; that one is answered.
const CODEPAD_HELLO: [&str; 2] = ["40", r#"420["join",{"room":"{room}"}]"#];
const CODEPAD_JOINED: &str = "430";
const CODEPAD_CODE: &str = r#"42["change",{"room":"{room}","code":"{text}"}]"#;

/// The doors of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Pairing,
    /// Code rooms: Socket.IO over a WebSocket.
    Codepad,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A line of chat, which everybody hears, the sender too.
    Chat,
    /// A change of the text, which everybody else hears.
    Code,
}

/// Which door, and what is sent there.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DoorOptions {
    /// The door by which sockets come in.
    #[arg(long, value_enum, default_value = "pairing")]
    pub door: Door,
    /// What is sent [default: chat, and code where there is no chat].
    #[arg(long, value_enum)]
    event: Option<Event>,
}

impl DoorOptions {
    pub fn event(self) -> Event {
        self.event.unwrap_or(match self.door {
            Door::Pairing => Event::Chat,
            Door::Codepad => Event::Code,
        })
    }

    pub fn speech(self) -> Result<Speech> {
        Speech::of(self.door, self.event())
    }
}

/// How to talk to a server; `{room}`, `{user}` and `{text}` are filled in.
#[derive(Debug, Clone)]
pub struct Speech {
    pub path: String,
    pub message: String,
    /// What each socket sends first, frame by frame.
    pub hello: Vec<String>,
    /// The server speaks first.
    pub greeted: bool,
    /// How the message begins that tells a socket that its hello was carried out; without it nothing does.
    pub joined: Option<&'static str>,
    /// A sender hears itself.
    pub echoes: bool,
    /// Pings of Engine.IO are text, and have to be answered.
    pub engine: bool,
    /// What the server puts around a text, in bytes, roughly: the floor writes as much.
    pub around: usize,
}

impl Speech {
    pub fn of(door: Door, event: Event) -> Result<Self> {
        let pairing = Self {
            path: PAIRING_PATH.into(),
            message: PAIRING_CHAT.into(),
            hello: Vec::new(),
            greeted: true,
            joined: None,
            echoes: true,
            engine: false,
            around: 166,
        };
        match (door, event) {
            (Door::Pairing, Event::Chat) => Ok(pairing),
            (Door::Pairing, Event::Code) => Ok(Self {
                message: PAIRING_CODE.into(),
                echoes: false,
                around: 115,
                ..pairing
            }),
            (Door::Codepad, Event::Code) => Ok(Self {
                path: SOCKET_IO_PATH.into(),
                message: CODEPAD_CODE.into(),
                hello: CODEPAD_HELLO.map(String::from).into(),
                joined: Some(CODEPAD_JOINED),
                echoes: false,
                engine: true,
                around: 41,
                ..pairing
            }),
            (Door::Codepad, Event::Chat) => Err("code rooms have no chat; right is code".into()),
        }
    }

    /// The same messages, to a server that takes them as they are.
    pub fn to_floor(&self) -> Self {
        Self {
            path: PAIRING_PATH.into(),
            hello: Vec::new(),
            joined: None,
            engine: false,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp;

    /// Guards the counts: a door whose senders hear themselves, or do not, is expected to do so.
    #[test]
    fn each_door_says_what_can_be_sent_there() {
        for (door, event, echoes) in [
            (Door::Pairing, Event::Chat, true),
            (Door::Pairing, Event::Code, false),
            (Door::Codepad, Event::Code, false),
        ] {
            let speech = Speech::of(door, event).expect("it can be sent there");
            assert_eq!(speech.echoes, echoes);
            assert_eq!(speech.to_floor().echoes, echoes);
            let message = speech.message.replace("{text}", &stamp::text(30));
            assert!(stamp::Finder::default().find(message.as_bytes()).is_some());
        }
        assert!(Speech::of(Door::Codepad, Event::Chat).is_err());
    }
}
