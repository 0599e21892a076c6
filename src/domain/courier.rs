//! Events that one user sends to others: which are taken, and for whom.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, Code, Limits, Reject};
use crate::ids::{EventId, UserId};

/// Types that are always known.
pub const TYPES: [&str; 4] = [
    "position_shared",
    "comment_added",
    "position_updated",
    "share_revoked",
];

/// What a sender hands in.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    pub kind: String,
    /// Who sends it, by the sender's own word.
    pub from: UserId,
    pub to: Vec<UserId>,
    /// An object, as its sender wrote it.
    pub data: String,
    pub id: Option<String>,
}

/// What its recipients are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directed {
    pub kind: Arc<str>,
    pub from: UserId,
    /// Nobody twice, in the sender's order.
    pub to: Arc<[UserId]>,
    pub data: Arc<str>,
    /// The sender's, or one of ours; a repeat carries the same.
    pub id: Arc<str>,
    /// Whether it is the sender's.
    pub given: bool,
}

/// What a copy takes beside its data and the names in it.
const COPY_BYTES: usize = 256;

impl Directed {
    /// Bytes of all its copies, about.
    pub fn weight(&self) -> u64 {
        let names = self.to.iter().map(|user| user.as_str().len() + 3);
        let copy = COPY_BYTES + self.data.len() + names.sum::<usize>();
        copy as u64 * self.to.len() as u64
    }
}

pub fn direct(parcel: Parcel, actor: &Actor, limits: &Limits) -> Result<Directed, Reject> {
    let Parcel {
        kind,
        from,
        to,
        data,
        id,
    } = parcel;
    if !TYPES.contains(&kind.as_str()) && !limits.event_types.contains(&kind) {
        return Err(unknown(&kind, limits));
    }
    if from != actor.user {
        let sentence = format!("from_user is {from}; right is your own id, {}", actor.user);
        return Err(Reject {
            field: Some("from_user"),
            ..Reject::new(Code::Forbidden, sentence)
        });
    }
    let most = limits.recipients;
    if to.is_empty() {
        let sentence = format!("to_users is empty; right is 1 to {most} user ids");
        return Err(Reject::field("to_users", sentence));
    }
    if to.len() > most {
        let sentence = format!("to_users names {}; right is 1 to {most} user ids", to.len());
        return Err(Reject {
            field: Some("to_users"),
            ..Reject::new(Code::TooMany, sentence)
        });
    }
    if data.len() > limits.data_bytes {
        let (bytes, most) = (data.len(), limits.data_bytes);
        let sentence = format!("data has {bytes} bytes; right is at most {most}");
        return Err(Reject::field("data", sentence));
    }
    let mut named = HashSet::new();
    let to: Vec<UserId> = to.into_iter().filter(|u| named.insert(u.clone())).collect();
    Ok(Directed {
        kind: kind.into(),
        from,
        to: to.into(),
        data: data.into(),
        given: id.is_some(),
        id: id.map_or_else(|| EventId::new().to_string().into(), Arc::from),
    })
}

fn unknown(kind: &str, limits: &Limits) -> Reject {
    let shown: String = kind.chars().take(40).collect();
    let more = limits.event_types.iter().map(String::as_str);
    let right: Vec<&str> = TYPES.into_iter().chain(more).collect();
    let right = right.join(", ");
    Reject {
        field: Some("type"),
        ..Reject::new(
            Code::UnknownType,
            format!("the event type {shown:?} is unknown; right is {right}"),
        )
    }
}

/// How many of those an event was for it reached, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub all: usize,
    /// They have a courier socket.
    pub present: usize,
    /// It is kept for them.
    pub kept: usize,
    /// As much is kept for them as may be.
    pub full: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, SocketId};

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn actor() -> Actor {
        Actor {
            socket: SocketId::next(NodeId::random()),
            user: user("ann"),
            name: "Ann".into(),
            recorded: false,
            voice: crate::domain::Voice::None,
        }
    }

    fn limits() -> Limits {
        Limits {
            code_bytes: 10,
            chat_bytes: 10,
            data_bytes: 20,
            recipients: 3,
            event_types: Arc::from(["note_pinned".to_owned()]),
        }
    }

    fn parcel() -> Parcel {
        Parcel {
            kind: "comment_added".to_owned(),
            from: user("ann"),
            to: vec![user("bob"), user("cid"), user("bob")],
            data: "{}".to_owned(),
            id: Some("7".to_owned()),
        }
    }

    #[test]
    fn nobody_is_told_twice_and_an_id_is_kept() {
        let directed = direct(parcel(), &actor(), &limits()).unwrap();
        assert_eq!(directed.to[..], [user("bob"), user("cid")]);
        assert_eq!((&*directed.id, directed.given), ("7", true));
        let without = Parcel {
            id: None,
            kind: "note_pinned".to_owned(),
            ..parcel()
        };
        let directed = direct(without, &actor(), &limits()).unwrap();
        assert!(!directed.id.is_empty() && !directed.given);
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Spoil = fn(&mut Parcel);
        let cases: [(Spoil, Code, &str); 5] = [
            (|p| p.kind = "x".to_owned(), Code::UnknownType, "type"),
            (|p| p.from = user("bob"), Code::Forbidden, "from_user"),
            (|p| p.to.clear(), Code::BadField, "to_users"),
            (|p| p.to = vec![user("bob"); 4], Code::TooMany, "to_users"),
            (|p| p.data = "x".repeat(21), Code::BadField, "data"),
        ];
        for (spoil, code, field) in cases {
            let mut parcel = parcel();
            spoil(&mut parcel);
            let reject = direct(parcel, &actor(), &limits()).unwrap_err();
            assert_eq!((reject.code, reject.field), (code, Some(field)));
        }
    }
}
