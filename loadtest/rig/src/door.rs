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
/// A recorded session's, and who comes is whose token it is.
const REVIEW_PATH: &str = "/ws/session/{room}?token={token}";
const REVIEW_CHAT: &str = r#"{"type":"chat_message","id":"{id}","content":"{text}"}"#;
const REVIEW_CHAT_BARE: &str = r#"{"type":"chat_message","content":"{text}"}"#;

/// The doors of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Pairing,
    /// Code rooms: Socket.IO over a WebSocket.
    Codepad,
    /// Recorded sessions: what is said there is in a PostgreSQL before anybody hears it.
    Review,
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
    /// Chat of the review door without ids: nothing is acknowledged, and nobody looks whether it was said before.
    #[arg(long)]
    no_ids: bool,
    /// The review door's PostgreSQL does not wait for the disk.
    #[arg(long)]
    pub no_fsync: bool,
}

impl DoorOptions {
    pub fn event(self) -> Event {
        self.event.unwrap_or(match self.door {
            Door::Pairing | Door::Review => Event::Chat,
            Door::Codepad => Event::Code,
        })
    }

    pub fn speech(self) -> Result<Speech> {
        let mut speech = Speech::of(self.door, self.event())?;
        if self.no_ids && speech.acknowledged {
            speech.message = REVIEW_CHAT_BARE.into();
            speech.acknowledged = false;
        }
        Ok(speech)
    }
}

/// How to talk to a server; `{room}`, `{user}`, `{token}`, `{id}` and `{text}` are filled in.
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
    /// Rooms are recorded sessions: made beforehand, kept in a database.
    pub recorded: bool,
    /// What is sent is stored, a row for each.
    pub stored: bool,
    /// Each message has an id, under which its sender is told that it was taken.
    pub acknowledged: bool,
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
            recorded: false,
            stored: false,
            acknowledged: false,
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
            (Door::Review, Event::Chat) => Ok(Self {
                path: REVIEW_PATH.into(),
                message: REVIEW_CHAT.into(),
                recorded: true,
                stored: true,
                acknowledged: true,
                around: 207,
                ..pairing
            }),
            (Door::Review, Event::Code) => Ok(Self {
                path: REVIEW_PATH.into(),
                message: PAIRING_CODE.into(),
                echoes: false,
                recorded: true,
                around: 115,
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
            recorded: false,
            stored: false,
            acknowledged: false,
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
            (Door::Review, Event::Chat, true),
            (Door::Review, Event::Code, false),
        ] {
            let speech = Speech::of(door, event).expect("it can be sent there");
            assert_eq!(speech.echoes, echoes);
            assert_eq!(speech.to_floor().echoes, echoes);
            let message = speech.message.replace("{text}", &stamp::text(30));
            assert!(stamp::Finder::default().find(message.as_bytes()).is_some());
        }
        assert!(Speech::of(Door::Codepad, Event::Chat).is_err());
    }

    /// Guards against acknowledgements that nobody sends, and against a floor that is asked for any.
    #[test]
    fn what_has_an_id_is_acknowledged() {
        let spoken = |event, no_ids| {
            let (door, event) = (Door::Review, Some(event));
            let options = DoorOptions {
                door,
                event,
                no_ids,
                no_fsync: false,
            };
            options.speech().expect("it can be sent there")
        };
        for (event, no_ids, acknowledged) in [
            (Event::Chat, false, true),
            (Event::Chat, true, false),
            (Event::Code, false, false),
        ] {
            let speech = spoken(event, no_ids);
            assert_eq!(speech.acknowledged, acknowledged);
            assert_eq!(speech.message.contains("{id}"), acknowledged);
            assert_eq!(speech.stored, event == Event::Chat);
            assert!(!speech.to_floor().acknowledged && !speech.to_floor().stored);
        }
    }
}
