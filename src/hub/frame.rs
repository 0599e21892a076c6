//! Whole server frames of RFC 6455, header included, ready to be written to any number of sockets.

use bytes::Bytes;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
/// Room for the longest header of an unmasked frame.
const HEADROOM: usize = 10;
/// A close frame's reason, in bytes: a control frame carries at most 125, two of them the code.
pub const MAX_REASON: usize = 123;

/// A text frame around what `fill` writes.
pub fn text_with(capacity: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    with(TEXT, capacity, fill)
}

/// The same as a binary one.
pub fn binary_with(capacity: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    with(BINARY, capacity, fill)
}

fn with(opcode: u8, capacity: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut buffer = Vec::with_capacity(HEADROOM + capacity);
    buffer.resize(HEADROOM, 0);
    fill(&mut buffer);
    let length = buffer.len() - HEADROOM;
    let (header, used) = header(opcode, length);
    let start = HEADROOM - used;
    buffer[start..HEADROOM].copy_from_slice(&header[..used]);
    Bytes::from(buffer).slice(start..)
}

pub fn text(payload: &str) -> Bytes {
    text_with(payload.len(), |buffer| {
        buffer.extend_from_slice(payload.as_bytes());
    })
}

pub fn ping() -> Bytes {
    Bytes::from_static(&[0x80 | PING, 0])
}

/// A close frame; a reason that is too long is cut at a character's end.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut frame = vec![0x80 | CLOSE, 2 + end as u8];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(&reason.as_bytes()[..end]);
    Bytes::from(frame)
}

/// What a server frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    Close,
    Ping,
}

/// The frames that stand one behind the other, as they are made here: whole, unmasked, of these kinds.
pub fn split(frames: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let (kind, behind) = match *rest {
            [first, length @ ..=125, ref behind @ ..] => ((first, u64::from(length)), behind),
            [first, 126, a, b, ref behind @ ..] => {
                ((first, u64::from(u16::from_be_bytes([a, b]))), behind)
            }
            [first, 127, a, b, c, d, e, f, g, h, ref behind @ ..] => (
                (first, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
                behind,
            ),
            _ => return None,
        };
        let (first, length) = kind;
        let (payload, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        rest = behind;
        let kind = match first & 0x0f {
            TEXT => Kind::Text,
            BINARY => Kind::Binary,
            CLOSE => Kind::Close,
            _ => Kind::Ping,
        };
        Some((kind, payload))
    })
}

fn header(opcode: u8, length: usize) -> ([u8; HEADROOM], usize) {
    let mut header = [0; HEADROOM];
    header[0] = 0x80 | opcode;
    let used = if length < 126 {
        header[1] = length as u8;
        2
    } else if let Ok(short) = u16::try_from(length) {
        header[1] = 126;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        10
    };
    (header, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_lengths_of_the_rfc() {
        for (length, start) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&"x".repeat(length));
            assert_eq!(&frame[..start.len()], start);
            assert_eq!(frame.len(), start.len() + length);
        }
    }

    #[test]
    fn frames_are_told_apart_again() {
        let long = "x".repeat(70_000);
        let row = [
            text("a"),
            ping(),
            text(&long[..300]),
            text(&long),
            close(1012, "later"),
        ]
        .concat();
        let kinds: Vec<_> = split(&row)
            .map(|(kind, payload)| (kind, payload.len()))
            .collect();
        let wanted = [
            (Kind::Text, 1),
            (Kind::Ping, 0),
            (Kind::Text, 300),
            (Kind::Text, 70_000),
            (Kind::Close, 7),
        ];
        assert_eq!(kinds, wanted);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close(4400, &"é".repeat(100));
        assert_eq!(frame[1] as usize, frame.len() - 2);
        assert!(frame.len() <= 127);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
