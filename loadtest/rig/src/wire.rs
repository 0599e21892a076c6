//! WebSocket frames, as far as a load generator needs them.
//!
//! Client frames carry the mask bit with a key of zero, so masking costs the generator nothing while the server
//! still has to undo it. The parser looks at headers only and hands payloads out as they lie in the buffer.
//! Extensions are never offered, so a payload is never compressed.

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// Longer frames than any server here sends: a length above it means that the parser lost its place.
const LONGEST: u64 = 64 << 20;

/// A frame lying complete in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Header and payload together.
    pub size: usize,
}

/// The first frame of `bytes`, or `None` while it is incomplete. A masked payload is handed out as it is, which
/// is right for our own key of zero.
pub fn first_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (length, mut header) = match second & 0x7F {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > LONGEST || first & 0x70 != 0 {
        return Err(format!(
            "not a WebSocket frame: first bytes {first:#04x} {second:#04x}, length {length}"
        ));
    }
    if second & 0x80 != 0 {
        header += 4;
    }
    let size = header + length as usize;
    Ok(bytes.get(header..size).map(|payload| Frame {
        opcode: first & 0x0F,
        payload,
        size,
    }))
}

/// A complete frame as a client sends it.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload, true)
}

/// A complete frame as a server sends it.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload, false)
}

fn frame(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut out = Vec::with_capacity(payload.len() + 14);
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(mask | length as u8),
        length @ 126..=0xFFFF => {
            out.push(mask | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(mask | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the three length forms, both directions, and that no cut of a frame is taken for a whole one.
    #[test]
    fn frames_of_every_length_form_come_back() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            for bytes in [client_frame(TEXT, &payload), server_frame(TEXT, &payload)] {
                let frame = first_frame(&bytes).expect("well formed").expect("complete");
                assert_eq!(
                    (frame.opcode, frame.payload, frame.size),
                    (TEXT, &payload[..], bytes.len())
                );
                for cut in [0, 1, 2, 3, 5, 9, bytes.len() - 1] {
                    assert_eq!(
                        first_frame(&bytes[..cut.min(bytes.len() - 1)]),
                        Ok(None),
                        "length {length} cut {cut}"
                    );
                }
            }
        }
    }

    /// Guards the place in the buffer: two frames and the head of a third.
    #[test]
    fn frames_in_a_row_are_taken_one_by_one() {
        let mut bytes = server_frame(TEXT, b"one");
        bytes.extend(server_frame(PING, b""));
        bytes.push(0x81);
        let one = first_frame(&bytes).expect("well formed").expect("complete");
        let two = first_frame(&bytes[one.size..])
            .expect("well formed")
            .expect("complete");
        assert_eq!((one.payload, two.opcode), (&b"one"[..], PING));
        assert_eq!(first_frame(&bytes[one.size + two.size..]), Ok(None));
    }

    /// Guards against reading on from a wrong place for ever.
    #[test]
    fn nonsense_is_an_error() {
        assert!(first_frame(b"HTTP/1.1 400 Bad Request").is_err());
        assert!(first_frame(&[0x81, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
