//! Conversations: frame after frame of one socket.

#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|frames: &str| checks::conversation(frames));
