//! Follows the frames of an incoming byte stream, to know when none is half read.
//!
//! The protocol library keeps its read buffer, which grows with the largest message. Between two messages
//! its state can be thrown away and begun afresh, which gives the memory back; only the library does not
//! say when that is. It takes the frames' headers alone to know.

/// A client's longest header: two bytes, eight of length, four of mask.
const LONGEST: usize = 14;

#[derive(Default)]
pub struct Boundary {
    header: [u8; LONGEST],
    have: u8,
    payload_left: u64,
    fragmented: bool,
}

impl Boundary {
    /// Takes in what was read.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skip = self.payload_left.min(bytes.len() as u64);
                self.payload_left -= skip;
                bytes = &bytes[skip as usize..];
                continue;
            }
            self.header[usize::from(self.have)] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            self.finish_header();
        }
    }

    /// True when everything read so far was whole messages.
    pub fn is_clean(&self) -> bool {
        self.have == 0 && self.payload_left == 0 && !self.fragmented
    }

    fn finish_header(&mut self) {
        let header = &self.header;
        if self.have < 2 {
            return;
        }
        let (extended, masked) = match header[1] & 0x7f {
            126 => (2, header[1] & 0x80 != 0),
            127 => (8, header[1] & 0x80 != 0),
            _ => (0, header[1] & 0x80 != 0),
        };
        if usize::from(self.have) < 2 + extended + if masked { 4 } else { 0 } {
            return;
        }
        self.payload_left = match extended {
            0 => u64::from(header[1] & 0x7f),
            _ => header[2..2 + extended]
                .iter()
                .fold(0, |length, byte| (length << 8) | u64::from(*byte)),
        };
        let (last, opcode) = (header[0] & 0x80 != 0, header[0] & 0x0f);
        // Control frames may come between the fragments of a message.
        if opcode < 8 {
            self.fragmented = !last;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..126 => bytes.push(0x80 | payload as u8),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + 4 + payload, 0xff);
        bytes
    }

    #[test]
    fn clean_exactly_between_messages_however_the_bytes_come() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = frame(0x81, payload);
            for chunk in [1, 3, 7, bytes.len()] {
                let mut boundary = Boundary::default();
                assert!(boundary.is_clean());
                let mut fed = 0;
                for piece in bytes.chunks(chunk) {
                    boundary.feed(piece);
                    fed += piece.len();
                    assert_eq!(boundary.is_clean(), fed == bytes.len());
                }
            }
        }
    }

    #[test]
    fn not_clean_between_fragments_even_after_a_ping() {
        let mut boundary = Boundary::default();
        for (first, clean) in [(0x01, false), (0x89, false), (0x00, false), (0x80, true)] {
            boundary.feed(&frame(first, 3));
            assert_eq!(boundary.is_clean(), clean);
        }
    }
}
