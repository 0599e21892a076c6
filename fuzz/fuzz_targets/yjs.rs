//! Frames of Yjs clients, and updates that are forged out of the same bytes: what the scanner takes, the library takes.

#![no_main]

#[path = "../checks/yjs.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::frame(bytes);
    checks::forged(bytes);
});
