//! What stands in frames of y-protocols as the node sends them, one message in each.

use crate::domain::Awareness;

/// Kinds of messages, and of those about the text.
const SYNC: u8 = 0;
const AWARENESS: u8 = 1;
const AUTH: u8 = 2;
const FIRST_STEP: u8 = 0;
const SECOND_STEP: u8 = 1;
const UPDATE: u8 = 2;
const DENIED: u8 = 0;

/// What is known here; the answer is what is not.
pub fn first_step(vector: &[u8], out: &mut Vec<u8>) {
    write(&[SYNC, FIRST_STEP], vector, out);
}

/// What was asked for by a first step.
pub fn second_step(update: &[u8], out: &mut Vec<u8>) {
    write(&[SYNC, SECOND_STEP], update, out);
}

pub fn update(update: &[u8], out: &mut Vec<u8>) {
    write(&[SYNC, UPDATE], update, out);
}

/// Something is not done, and a sentence why not.
pub fn denied(sentence: &str, out: &mut Vec<u8>) {
    write(&[AUTH, DENIED], sentence.as_bytes(), out);
}

/// What clients show of themselves.
pub fn awareness<'a>(entries: impl ExactSizeIterator<Item = &'a Awareness>, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    number(entries.len() as u64, &mut body);
    for entry in entries {
        number(entry.client, &mut body);
        number(entry.clock, &mut body);
        number(entry.state.len() as u64, &mut body);
        body.extend_from_slice(entry.state.as_bytes());
    }
    write(&[AWARENESS], &body, out);
}

fn write(kind: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(kind);
    number(body.len() as u64, out);
    out.extend_from_slice(body);
}

/// Seven bits a byte, the least first.
fn number(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_seven_bits_a_byte() {
        let mut out = Vec::new();
        update(&[7; 300], &mut out);
        assert_eq!((&out[..4], out.len()), (&[0, 2, 0xac, 0x02][..], 304));
        out.clear();
        denied("no", &mut out);
        assert_eq!(out, [2, 0, 2, b'n', b'o']);
    }
}
