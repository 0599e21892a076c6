//! What the scanner takes and what it refuses, frame by frame.

mod clients;
mod frames;
mod needs;
mod pieces;
mod updates;
mod writing;

use super::{Limits, message, update};

/// The sentence with which a frame is refused.
fn refusal(frame: &[u8]) -> String {
    match message(frame, &Limits::default()) {
        Ok(message) => panic!("taken: {message:?}"),
        Err(malformed) => malformed.to_string(),
    }
}

/// The sentence with which an update is refused.
fn refused_update(bytes: &[u8]) -> String {
    match update(bytes, &Limits::default()) {
        Ok(update) => panic!("taken: {update:?}"),
        Err(malformed) => malformed.to_string(),
    }
}
