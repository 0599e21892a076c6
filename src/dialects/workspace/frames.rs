//! Frames of the workspace dialect: events, and answers to one socket.

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::{Delivery, Reply};
use crate::clock::{Millis, rfc3339};
use crate::domain::Event;
use crate::domain::agents::{Completed, Progressed, Started};
use crate::domain::workspaces::Changed;
use crate::ids::{Position, Room};

/// What is said when a workspace is no more.
const DELETED: &str = "workspace_deleted";

#[derive(Serialize)]
pub(super) struct Told<'a, T> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    #[serde(flatten)]
    pub place: Option<Place>,
    pub data: T,
}

/// Where a durable event stands: in which room's order, and from where on its reader may ask for what follows. A
/// socket is in several rooms.
#[derive(Clone, Serialize)]
pub(super) struct Place {
    seq: u64,
    position: String,
    room: String,
}

impl Place {
    fn of(delivery: &Delivery<'_>) -> Option<Self> {
        let (seq, epoch) = delivery.seq.zip(delivery.epoch)?;
        Some(Self {
            seq,
            position: Position { epoch, seq }.to_string(),
            room: delivery.room.to_string(),
        })
    }
}

#[derive(Serialize)]
struct UserOut<'a> {
    workspace_id: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct StartOut<'a> {
    agent_id: &'a str,
    run_id: String,
    task: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<&'a str>,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct ProgressOut<'a> {
    agent_id: &'a str,
    status: &'a str,
    progress: Option<Number>,
    current_step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<&'a RawValue>,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct CompleteOut<'a> {
    agent_id: &'a str,
    run_id: String,
    status: &'a str,
    result: Option<&'a RawValue>,
    execution_time: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    timestamp: &'a str,
}

/// Written as whole where it is whole, which clients of the service this replaces expect.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Number {
    Whole(u64),
    Part(f64),
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        if number.fract() == 0.0 {
            Number::Whole(number as u64)
        } else {
            Number::Part(number)
        }
    }
}

pub fn encode(delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
    let timestamp = &*rfc3339(delivery.at);
    let place = Place::of(delivery);
    let mut pen = Pen { place, out };
    match (delivery.room, delivery.event) {
        (Room::Workspace(id), Event::Joined { user, name, .. }) => pen.write(
            "user_joined",
            UserOut {
                workspace_id: id.as_str(),
                user_id: user.as_str(),
                username: Some(name),
                timestamp,
            },
        ),
        (Room::Workspace(id), Event::Left { user, name }) => pen.write(
            "user_left",
            UserOut {
                workspace_id: id.as_str(),
                user_id: user.as_str(),
                username: name.as_deref(),
                timestamp,
            },
        ),
        (Room::Workspace(id), Event::WorkspaceChanged(changed)) => {
            pen.update(id.as_str(), changed, timestamp);
        }
        (Room::Workspace(id), Event::Ended) => {
            let gone = Changed {
                user: None,
                kind: DELETED.into(),
                body: "{}".into(),
            };
            pen.update(id.as_str(), &gone, timestamp);
        }
        (_, Event::AgentStarted(started)) => pen.start(started, timestamp),
        (_, Event::AgentProgressed(progress)) => pen.progress(progress, timestamp),
        (_, Event::AgentCompleted(completed)) => pen.complete(completed, timestamp),
        _ => return false,
    }
    true
}

/// Writes one event.
struct Pen<'a> {
    place: Option<Place>,
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    fn write(&mut self, kind: &str, data: impl Serialize) {
        let place = self.place.take();
        write(&Told { kind, place, data }, self.out);
    }

    /// The sender's own fields, then those that the node says.
    fn update(&mut self, workspace: &str, changed: &Changed, timestamp: &str) {
        #[derive(Serialize)]
        struct Said<'a> {
            workspace_id: &'a str,
            update_type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            by: Option<&'a str>,
            timestamp: &'a str,
        }
        let said = Said {
            workspace_id: workspace,
            update_type: &changed.kind,
            by: changed.user.as_ref().map(|user| user.as_str()),
            timestamp,
        };
        let said = serde_json::to_string(&said).expect("plain fields are JSON");
        // Both are objects, of which the second is never empty.
        let own = changed.body.trim_start_matches('{').trim_end();
        let own = own.strip_suffix('}').unwrap_or(own).trim();
        let comma = if own.is_empty() { "" } else { "," };
        let whole = format!("{{{own}{comma}{}", said.trim_start_matches('{'));
        let Ok(data) = RawValue::from_string(whole) else {
            // What was decoded as an object encodes as one; another node's mistake is nobody's frame.
            return;
        };
        self.write("workspace_update", data);
    }

    fn start(&mut self, started: &Started, timestamp: &str) {
        let data = StartOut {
            agent_id: started.agent.as_str(),
            run_id: started.run.to_string(),
            task: &started.task,
            user_id: started.user.as_str(),
            workspace_id: started.workspace.as_ref().map(|id| id.as_str()),
            timestamp,
        };
        self.write("agent_execution_start", data);
    }

    fn progress(&mut self, progress: &Progressed, timestamp: &str) {
        let data = ProgressOut {
            agent_id: progress.agent.as_str(),
            status: &progress.status,
            progress: progress.progress.map(Number::from),
            current_step: progress.step.as_deref(),
            metrics: progress.metrics.as_deref().and_then(raw),
            timestamp,
        };
        self.write("agent_execution_update", data);
    }

    fn complete(&mut self, completed: &Completed, timestamp: &str) {
        let data = CompleteOut {
            agent_id: completed.agent.as_str(),
            run_id: completed.run.to_string(),
            status: &completed.status,
            result: completed.result.as_deref().and_then(raw),
            execution_time: (completed.took_ms as f64 / 1_000.0).into(),
            reason: completed.reason.as_deref(),
            timestamp,
        };
        self.write("agent_execution_complete", data);
    }
}

pub(super) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

pub(super) fn write(frame: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, frame).expect("writing plain fields to memory cannot fail");
}

/// Which room an answer is about.
#[derive(Serialize, Default)]
pub(super) struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
}

impl<'a> About<'a> {
    pub fn room(room: &'a Room) -> Self {
        match room {
            Room::Workspace(id) => Self {
                workspace_id: Some(id.as_str()),
                ..Self::default()
            },
            Room::Agent(id) => Self {
                agent_id: Some(id.as_str()),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

#[derive(Serialize)]
struct AckOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    timestamp: String,
}

#[derive(Serialize)]
struct PongOut<'a> {
    timestamp: Millis,
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[derive(Serialize)]
struct AuthOut<'a> {
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    timestamp: String,
}

#[derive(Serialize)]
struct GoneOut<'a> {
    #[serde(flatten)]
    about: About<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    timestamp: String,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    timestamp: String,
}

pub fn reply(reply: &Reply<'_>, now: Millis, out: &mut Vec<u8>) {
    let text = |position: &Option<Position>| position.map(|p| p.to_string());
    let timestamp = rfc3339(now);
    let mut pen = Pen { place: None, out };
    match reply {
        Reply::Pong { position, id } => pen.write(
            "pong",
            PongOut {
                timestamp: now,
                position: text(position),
                id: *id,
            },
        ),
        Reply::TextAck {
            seq, position, id, ..
        } => pen.write(
            "ack",
            AckOut {
                seq: Some(*seq),
                position: text(position),
                id: *id,
                timestamp,
            },
        ),
        Reply::Ack { seq, position, id } => pen.write(
            "ack",
            AckOut {
                seq: Some(*seq),
                position: text(position),
                id: Some(id),
                timestamp,
            },
        ),
        Reply::AuthOk { expires_at, id } => pen.write(
            "auth_ok",
            AuthOut {
                expires_at: rfc3339(*expires_at),
                id: *id,
                timestamp,
            },
        ),
        Reply::Gone { room, id } => {
            let kind = match room {
                Room::Agent(_) => "unsubscribed",
                _ => "left",
            };
            let about = About::room(room);
            pen.write(
                kind,
                GoneOut {
                    about,
                    id: *id,
                    timestamp,
                },
            );
        }
        Reply::Rejected { reject, id } => pen.write(
            "error",
            ErrorOut {
                code: reject.code.as_str(),
                message: &reject.message,
                field: reject.field,
                retry_in_ms: reject.retry_in_ms,
                id: *id,
                timestamp,
            },
        ),
        // Rooms of this dialect are greeted in words of their own, see [`super::greetings`].
        Reply::Greeting(_)
        | Reply::Resumed { .. }
        | Reply::Done { .. }
        | Reply::Connected { .. }
        | Reply::Routed { .. }
        | Reply::NoNamespace { .. } => {}
    }
}
