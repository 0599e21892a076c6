//! Events on their way to the hub: read once, encoded once.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use bytes::Bytes;

use super::Note;
use super::local::{Sampled, millis};
use super::worker::Worker;
use crate::backplane::{Audience, Envelope};
use crate::dialects::{self, Dialect, Reply};
use crate::domain::{Code, Event, Reject};
use crate::hub::{self, Lane, Recipients, frame};
use crate::ids::{Position, Room, UserId};
use crate::node::{ENDED, NOT_ADMITTED, SENT_AWAY, framed};
use crate::telemetry::metrics::{SAMPLED, metrics};

impl Worker {
    /// Hands an event to the hub. Texts go their own way.
    pub(super) fn deliver(&mut self, envelope: &Envelope, at: Option<Position>) {
        let event: Event = match rmp_serde::from_slice(&envelope.event) {
            Ok(event) => event,
            Err(error) => {
                metrics().dropped("unreadable", 1);
                tracing::warn!(room = %envelope.room, %error, "an event cannot be read");
                return;
            }
        };
        match &event {
            Event::CameOnline { .. } => self.roster.couriers.came(),
            Event::WentOffline { .. } => self.roster.couriers.went(),
            _ => {}
        }
        if event.is_text() {
            return self.hear_text(envelope, &event, at);
        }
        let event = match event {
            Event::AwarenessChanged { entries } => {
                return self.hear_awareness(&envelope.room, entries);
            }
            Event::AwarenessAsked => return self.say_awareness(&envelope.room),
            event => event,
        };
        self.show_to_yjs(envelope, &event);
        if self.hold_progress(envelope, &event) {
            return;
        } else if at.is_some() {
            self.tell_progress_before(&envelope.room, &event);
            self.tell_text_before(&envelope.room);
        }
        self.hand_over(envelope, &event, at);
        if let Some(user) = event.shows_out() {
            self.show_out(&envelope.room, user);
        }
        if event == Event::Ended {
            self.end_room(&envelope.room);
        }
    }

    /// Whoever came through the session's door has nothing left to do here; the others are just out of the room.
    pub(super) fn end_room(&self, room: &Room) {
        for socket in self.hub.sockets_in(room) {
            match Dialect::of_tongue(socket.tongue) {
                Some(Dialect::SocketIo | Dialect::Raw | Dialect::Workspace) => {
                    self.hub.leave(room, &socket);
                }
                _ => socket.close(ENDED, "the session has ended"),
            }
        }
    }

    /// All sockets of a user who may not be there any more. Who did not come through the session's door may be in
    /// other rooms, and is just out of this one.
    fn show_out(&mut self, room: &Room, user: &UserId) {
        let sockets = self.hub.sockets_in(room).into_iter();
        for socket in sockets.filter(|socket| socket.user == *user) {
            let Some(dialect @ (Dialect::SocketIo | Dialect::Raw | Dialect::Workspace)) =
                Dialect::of_tongue(socket.tongue)
            else {
                socket.close(NOT_ADMITTED, SENT_AWAY);
                continue;
            };
            self.hub.leave(room, &socket);
            let reject = &Reject::new(Code::Forbidden, SENT_AWAY);
            let now = self.roster.clock.now();
            let reply = Reply::Rejected { reject, id: None };
            let frame = frame::text_with(128, |out| dialect.reply(&reply, now, out));
            socket.send(Lane::Ordered, frame);
            let exit = self.roster.exit(room, socket.id, user, &socket.name);
            let (backplane, room) = (self.backplane.clone(), room.clone());
            self.jobs.spawn(async move {
                // What fails here is done when the socket goes.
                if let Err(error) = backplane.leave(&room, vec![exit]).await {
                    tracing::debug!(%room, %error, "who was sent away is still a member");
                }
                Note::Done
            });
        }
    }

    /// What was read before, and had to wait.
    pub(super) fn hand_over_again(&mut self, envelope: &Envelope) {
        if let Ok(event) = rmp_serde::from_slice(&envelope.event) {
            self.hand_over(envelope, &event, envelope.position);
        }
    }

    pub(super) fn hand_over(&mut self, envelope: &Envelope, event: &Event, at: Option<Position>) {
        let only = match &envelope.audience {
            Audience::Users(users) => Some(users.as_slice()),
            _ => None,
        };
        let except = match envelope.audience {
            Audience::Except(socket) => Some(socket),
            _ => None,
        };
        // Who listens to an agent hears of its work there.
        let elsewhere = match (&envelope.room, event.agent()) {
            (Room::Workspace(_), Some(agent)) => self.hub.ids_in(&Room::Agent(agent.clone())),
            _ => Vec::new(),
        };
        let delivery = hub::Delivery {
            position: at,
            lane: lane(&envelope.room, event, at),
            except,
            only,
            elsewhere: &elsewhere,
        };
        let said = dialects::Delivery {
            room: &envelope.room,
            event,
            at: envelope.at,
            seq: at.map(|at| at.seq),
            epoch: at.map(|at| at.epoch),
            version: envelope.version,
        };
        let mut lengths = [0; Dialect::COUNT];
        let encode = |tongue| {
            let frame = encode(Dialect::of_tongue(tongue)?, &said)?;
            lengths[usize::from(tongue)] = frame.len();
            Some(frame)
        };
        let recipients = match (&envelope.room, only) {
            (Room::Couriers, Some(contacts)) => self.tell_contacts(contacts, &delivery, encode),
            (room, _) => self.hub.deliver(room, &delivery, encode, &mut self.touched),
        };
        let mut bytes = 0;
        for dialect in Dialect::ALL {
            let tongue = usize::from(dialect.tongue());
            self.sent(dialect.tongue(), recipients[tongue]);
            bytes += lengths[tongue] * recipients[tongue];
        }
        metrics().sent_bytes(bytes);
        let origin = envelope.origin;
        let ours = origin.is_some_and(|socket| self.roster.has(socket));
        // What goes to users was counted where it was sent: it may be heard on other nodes alone, and on many.
        self.ours += u64::from(ours && !matches!(envelope.room, Room::User(_)));
        self.routed += 1;
        if self.routed.is_multiple_of(SAMPLED) {
            metrics().heard(millis(self.roster.clock.now() - envelope.at));
            self.sampled.push(Sampled {
                at: envelope.at,
                local: ours,
                recipients: recipients.iter().sum(),
            });
        }
    }

    /// Of so many couriers that not all are told of each other: those who know this one, in their own rooms.
    fn tell_contacts(
        &mut self,
        contacts: &[UserId],
        delivery: &hub::Delivery<'_>,
        mut encode: impl FnMut(u8) -> Option<Bytes>,
    ) -> Recipients {
        let delivery = hub::Delivery {
            position: None,
            only: None,
            ..*delivery
        };
        let (mut encoded, mut sum) = ([const { None }; Dialect::COUNT], Recipients::default());
        for contact in contacts {
            let room = Room::User(contact.clone());
            let once = |tongue: u8| {
                let known = encoded.get_mut(usize::from(tongue))?;
                known.get_or_insert_with(|| encode(tongue)).clone()
            };
            let told = self.hub.deliver(&room, &delivery, once, &mut self.touched);
            for (sum, told) in sum.iter_mut().zip(told) {
                *sum += told;
            }
        }
        sum
    }
}

pub(super) fn encode(dialect: Dialect, delivery: &dialects::Delivery<'_>) -> Option<Bytes> {
    let mut known = true;
    let frame = framed(dialect, 256, |out| known = dialect.encode(delivery, out));
    known.then_some(frame)
}

/// Texts and cursors give way to newer ones when a socket is slow; nothing else does.
pub(super) fn lane(room: &Room, event: &Event, at: Option<Position>) -> Lane {
    // A socket may be in several rooms: their texts have nothing to do with each other.
    let hash = |key: (&str, &str)| {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        Lane::Latest(hasher.hash_one((room, key)))
    };
    if event.is_text() {
        return hash(("text", ""));
    }
    match (event.latest_key(), room, at) {
        (Some(key), ..) => hash(key),
        (None, Room::User(_), Some(at)) => Lane::Telling(at.seq),
        _ => Lane::Ordered,
    }
}
