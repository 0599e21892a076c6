//! The workspace dialect: `{type, data}`, for people and agents in workspaces, and for those who watch agents.
//!
//! All that is said is in `data`, errors and answers too; beside it stand `seq`, and the `id` that a sender gives a
//! command. Unknown fields are ignored but in updates, whose fields are between the clients; a `null` is a missing field.

mod frames;
mod greetings;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Labels;
use super::fields::{self, command_id, object, optional, required, wrong_type};
use super::socketio::Said;
use crate::domain::agents::{Complete, MAX_METRICS, MAX_RESULT, Start, Update, Word};
use crate::domain::workspaces::MAX_UPDATE;
use crate::domain::{Code, Command, Reject};
use crate::ids::{AgentId, BadId, Position, Room, UserId, WorkspaceId};

pub use self::frames::{encode, reply};
pub use self::greetings::{AgentOut, Greeting, agent_out, connected, joined, subscribed};

/// What a door lets its sockets speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    Agents,
    Workspaces,
}

/// Fields stay raw until it is known which of them the command needs; so an error can name its field.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub struct Data<'a> {
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    workspace_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    task: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    progress: Option<&'a RawValue>,
    #[serde(borrow)]
    current_step: Option<&'a RawValue>,
    #[serde(borrow)]
    metrics: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    execution_time: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

const OF_AGENTS: [&str; 5] = [
    "subscribe_agent",
    "unsubscribe_agent",
    "agent_execution_start",
    "agent_execution_update",
    "agent_execution_complete",
];
const OF_WORKSPACES: [&str; 3] = ["join_workspace", "leave_workspace", "workspace_update"];
const TEXT: &str = "a string";
/// Fields of an update that are the node's to say.
const RESERVED: [&str; 4] = ["workspace_id", "update_type", "by", "timestamp"];

/// What a frame says.
pub fn read(text: &str, scope: Scope) -> Said {
    let refused = |reject, id| Said::Refused {
        reject,
        id,
        ack: None,
    };
    let frame = match parse(text) {
        Ok(frame) => frame,
        Err(reject) => return refused(reject, None),
    };
    let id = match command_id(frame.id) {
        Ok(id) => id,
        Err(reject) => return refused(reject, None),
    };
    match command(&frame, scope) {
        Ok((command, room)) => Said::Command {
            command,
            room,
            id,
            ack: None,
        },
        Err(reject) => refused(reject, id),
    }
}

pub fn labels(text: &str) -> Labels {
    let id = parse(text).ok().and_then(|frame| command_id(frame.id).ok());
    Labels {
        id: id.flatten(),
        ack: None,
    }
}

fn parse(text: &str) -> Result<Frame<'_>, Reject> {
    object(text, "a frame is one JSON object with a type and data")
}

fn command(frame: &Frame<'_>, scope: Scope) -> Result<(Command, Option<Room>), Reject> {
    let kind: Option<Cow<'_, str>> = optional("type", frame.kind, TEXT)?;
    let Some(kind) = kind else {
        let sentence = format!("the frame has no type; right is {}", scope.commands());
        return Err(Reject::new(Code::BadFrame, sentence));
    };
    let is_elsewhere = match scope {
        Scope::All => false,
        Scope::Agents => OF_WORKSPACES.contains(&&*kind),
        Scope::Workspaces => OF_AGENTS.contains(&&*kind),
    };
    if is_elsewhere {
        let sentence = format!(
            "{kind} is not spoken at this door, but at /ws; right here is {}",
            scope.commands()
        );
        return Err(Reject::new(Code::UnknownType, sentence));
    }
    let data: Data<'_> = fields::data(frame.data)?;
    match &*kind {
        "subscribe_agent" => {
            let since = data.since()?;
            Ok((Command::Enter { since }, Some(data.agent_room()?)))
        }
        "unsubscribe_agent" => Ok((Command::Exit, Some(data.agent_room()?))),
        "join_workspace" => {
            let since = data.since()?;
            Ok((Command::Enter { since }, Some(data.workspace_room()?)))
        }
        "leave_workspace" => Ok((Command::Exit, Some(data.workspace_room()?))),
        "workspace_update" => {
            let room = data.workspace_room()?;
            Ok((update(frame.data)?, Some(room)))
        }
        "agent_execution_start" => data.start().map(reported),
        "agent_execution_update" => data.update().map(reported),
        "agent_execution_complete" => data.complete().map(reported),
        "ping" => Ok((Command::Ping, None)),
        "auth" => {
            let token = required("token", data.token, TEXT)?;
            Ok((Command::Authenticate { token }, None))
        }
        other => {
            let shown: String = other.chars().take(40).collect();
            let right = scope.commands();
            let sentence = format!("the type {shown:?} is unknown; right is {right}");
            Err(Reject::new(Code::UnknownType, sentence))
        }
    }
}

fn reported(word: Word) -> (Command, Option<Room>) {
    (Command::Report(word), None)
}

/// What an agent says over REST: the same.
pub fn report(body: &str) -> Result<(Word, Option<String>), Reject> {
    let frame: Frame<'_> = object(body, "the body is one JSON object with a type and data")?;
    let id = command_id(frame.id)?;
    match command(&frame, Scope::Agents)? {
        (Command::Report(word), _) => Ok((word, id)),
        _ => {
            let right = "agent_execution_start, agent_execution_update or agent_execution_complete";
            Err(Reject::field(
                "type",
                format!("type is another; right is {right}"),
            ))
        }
    }
}

impl Scope {
    fn commands(self) -> String {
        let mut words: Vec<&str> = Vec::new();
        if self != Scope::Workspaces {
            words.extend(OF_AGENTS);
        }
        if self != Scope::Agents {
            words.extend(OF_WORKSPACES);
        }
        format!("{}, ping or auth", words.join(", "))
    }
}

/// Something of the clients' own: all fields pass but those that the node says.
fn update(raw: Option<&RawValue>) -> Result<Command, Reject> {
    let text = raw.map_or("{}", RawValue::get);
    if text.len() > MAX_UPDATE {
        let sentence = format!(
            "data has {} bytes; right is at most {MAX_UPDATE}",
            text.len()
        );
        return Err(Reject::field("data", sentence));
    }
    let mut fields: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(text).map_err(|_| wrong_type("data", "an object"))?;
    let kind = fields.get("update_type").copied();
    let kind: String = required("update_type", kind, TEXT)?;
    for name in RESERVED {
        fields.remove(name);
    }
    let body = serde_json::to_string(&fields).expect("a map of JSON values is JSON");
    Ok(Command::ChangeWorkspace { kind, body })
}

impl Data<'_> {
    fn since(&self) -> Result<Option<Position>, Reject> {
        let right = "a position that this room's frames told";
        let text: Option<Cow<'_, str>> = optional("since", self.since, right)?;
        let text = text.filter(|text| !text.is_empty());
        let parsed = text.map(|text| text.parse().map_err(|()| wrong_type("since", right)));
        parsed.transpose()
    }

    fn agent(&self) -> Result<AgentId, Reject> {
        parsed("agent_id", self.agent_id, AgentId::parse)
    }

    fn agent_room(&self) -> Result<Room, Reject> {
        self.agent().map(Room::Agent)
    }

    fn workspace_room(&self) -> Result<Room, Reject> {
        let workspace = parsed("workspace_id", self.workspace_id, WorkspaceId::parse);
        workspace.map(Room::Workspace)
    }

    fn start(&self) -> Result<Word, Reject> {
        let workspace = self.workspace_id.filter(|raw| raw.get() != "null");
        let workspace = workspace.map(|raw| parsed("workspace_id", Some(raw), WorkspaceId::parse));
        Ok(Word::Start(Start {
            agent: self.agent()?,
            task: required("task", self.task, TEXT)?,
            user: parsed("user_id", self.user_id, UserId::parse)?,
            workspace: workspace.transpose()?,
        }))
    }

    fn update(&self) -> Result<Word, Reject> {
        Ok(Word::Update(Update {
            agent: self.agent()?,
            status: optional("status", self.status, TEXT)?,
            progress: optional("progress", self.progress, "a number from 0 to 100")?,
            step: optional("current_step", self.current_step, TEXT)?,
            metrics: json("metrics", self.metrics, MAX_METRICS)?
                .map(|metrics| match metrics.starts_with('{') {
                    true => Ok(metrics),
                    false => Err(wrong_type("metrics", "an object")),
                })
                .transpose()?,
        }))
    }

    fn complete(&self) -> Result<Word, Reject> {
        Ok(Word::Complete(Complete {
            agent: self.agent()?,
            status: required("status", self.status, "completed, failed or cancelled")?,
            result: json("result", self.result, MAX_RESULT)?,
            took: optional("execution_time", self.execution_time, "seconds")?,
        }))
    }
}

/// A JSON value, as it came.
fn json(
    field: &'static str,
    raw: Option<&RawValue>,
    most: usize,
) -> Result<Option<String>, Reject> {
    match raw.map(RawValue::get).filter(|text| *text != "null") {
        Some(text) if text.len() > most => {
            let sentence = format!("{field} has {} bytes; right is at most {most}", text.len());
            Err(Reject::field(field, sentence))
        }
        // Records keep no NUL, however it is written.
        Some(text) if text.contains("\\u0000") => {
            let sentence = format!("{field} has a NUL character; right is none");
            Err(Reject::field(field, sentence))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn parsed<T>(
    field: &'static str,
    raw: Option<&RawValue>,
    parse: impl Fn(&str) -> Result<T, BadId>,
) -> Result<T, Reject> {
    let text: Cow<'_, str> = required(field, raw, "an id")?;
    parse(&text).map_err(|bad| Reject::field(field, bad.named(field).to_string()))
}

#[cfg(test)]
mod tests;
