//! As much of y-protocols as a load generator needs: one writer's appended text, cursors, and what of it comes back.

use crate::wire;

const STRING: u8 = 4;
const ORIGIN: u8 = 0x80;
const RIGHT_ORIGIN: u8 = 0x40;

/// What a socket says first: that it has nothing.
pub fn first_step() -> Vec<u8> {
    wire::client_frame(wire::BINARY, &[0, 0, 1, 0])
}

/// ASCII text behind what the client wrote before, which ends at `clock`.
pub fn append(client: u64, clock: u64, text: &str) -> Vec<u8> {
    let mut update = vec![1, 1];
    number(client, &mut update);
    number(clock, &mut update);
    match clock.checked_sub(1) {
        None => update.extend_from_slice(b"\x04\x01\x04code"),
        Some(before) => {
            update.push(STRING | ORIGIN);
            number(client, &mut update);
            number(before, &mut update);
        }
    }
    number(text.len() as u64, &mut update);
    update.extend_from_slice(text.as_bytes());
    // Nothing is deleted.
    update.push(0);
    let mut payload = vec![0, 2];
    number(update.len() as u64, &mut payload);
    payload.extend_from_slice(&update);
    wire::client_frame(wire::BINARY, &payload)
}

/// A client's cursor, at the end of the text.
pub fn cursor(client: u64, clock: u64) -> Vec<u8> {
    let place = r#"{"tname":"code","assoc":0}"#;
    let state = format!(
        r##"{{"user":{{"name":"member {client}","color":"#30bced"}},"cursor":{{"anchor":{place},"head":{place}}}}}"##
    );
    let mut entry = vec![1];
    number(client, &mut entry);
    number(clock, &mut entry);
    number(state.len() as u64, &mut entry);
    entry.extend_from_slice(state.as_bytes());
    let mut payload = vec![1];
    number(entry.len() as u64, &mut payload);
    payload.extend_from_slice(&entry);
    wire::client_frame(wire::BINARY, &payload)
}

/// The runs of text that an update brings: client, clock and length. Nothing of any other message.
pub fn brought(payload: &[u8]) -> Vec<(u64, u64, u64)> {
    let [0, 1 | 2, rest @ ..] = payload else {
        return Vec::new();
    };
    let mut reader = Reader(rest);
    runs(&mut reader).unwrap_or_default()
}

fn runs(reader: &mut Reader<'_>) -> Option<Vec<(u64, u64, u64)>> {
    reader.number()?;
    let mut runs = Vec::new();
    for _ in 0..reader.number()? {
        let structs = reader.number()?;
        let (client, mut clock) = (reader.number()?, reader.number()?);
        for _ in 0..structs {
            let info = reader.byte()?;
            for _ in 0..(info & ORIGIN != 0) as u8 + (info & RIGHT_ORIGIN != 0) as u8 {
                reader.number()?;
                reader.number()?;
            }
            if info & (ORIGIN | RIGHT_ORIGIN) == 0 {
                reader.byte()?;
                reader.skip()?;
            }
            // Only text is written here, of one byte a character.
            let length = reader.skip()?;
            runs.push((client, clock, length));
            clock += length;
        }
    }
    Some(runs)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Passes over a string; its length.
    fn skip(&mut self) -> Option<u64> {
        let length = self.number()?;
        self.0 = self.0.get(usize::try_from(length).ok()?..)?;
        Some(length)
    }
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
    fn what_is_written_is_read_back() {
        for (clock, text) in [(0, "a"), (1, "b"), (300, "more of it")] {
            let frame = append(70_000, clock, text);
            let frame = wire::first_frame(&frame).unwrap().unwrap();
            assert_eq!(brought(frame.payload), [(70_000, clock, text.len() as u64)]);
        }
        let frame = cursor(7, 1);
        let frame = wire::first_frame(&frame).unwrap().unwrap();
        assert!(brought(frame.payload).is_empty());
    }
}
