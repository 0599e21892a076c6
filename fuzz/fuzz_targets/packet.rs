//! Bodies of polling, which are packets in a row: what is read of them can be written and read again.

#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|body: &str| checks::packets(body));
