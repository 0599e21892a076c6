//! The Yjs dialect: binary frames of y-protocols, for editors that merge by themselves.
//!
//! What comes from outside is read by [`scan`] before the library sees it. What it says is carried out by the node, which
//! has the document.

pub mod frames;
pub mod scan;

use super::{Delivery, Reply};
use crate::domain::Event;

pub fn encode(delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
    match delivery.event {
        Event::TextChanged {
            update: Some(update),
            ..
        } => {
            frames::update(update, out);
            true
        }
        _ => false,
    }
}

/// Of all that nodes say to one socket there is a word for one thing: why something is not done.
pub fn reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    if let Reply::Rejected { reject, .. } = reply {
        frames::denied(&reject.message, out);
    }
}
