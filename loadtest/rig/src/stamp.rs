//! The mark inside a measured message: `rig:` and the sending time as 16 hexadecimal digits. As a message's id, which
//! comes back to its sender alone, it begins with `ack:`.
//!
//! It makes a delivery recognisable without parsing JSON and carries its own sending time through any server
//! that passes text on.

pub const PREFIX: &[u8] = b"rig:";
const ID_PREFIX: &[u8] = b"ack:";
pub const LENGTH: usize = PREFIX.len() + 16;

/// Text of `length` bytes (at least the stamp's) that begins with an empty stamp.
pub fn text(length: usize) -> String {
    let mut text = format!("rig:{:016x}", 0);
    while text.len() < length {
        text.push_str(" lorem ipsum dolor sit amet");
    }
    text.truncate(length.max(LENGTH));
    text
}

/// An id that is an empty stamp; with a time of its own it is no other message's of that sender.
pub fn id() -> String {
    format!("ack:{:016x}", 0)
}

/// Writes `time` into the stamp that begins at `at`.
pub fn write(bytes: &mut [u8], at: usize, time: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = &mut bytes[at + PREFIX.len()..at + LENGTH];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = DIGITS[(time >> (4 * place)) as usize & 0xF];
    }
}

/// Finds stamps. Frames of one kind have theirs in nearly the same place, so the last place is tried first.
#[derive(Debug, Clone, Copy)]
pub struct Finder {
    prefix: &'static [u8],
    last: usize,
}

impl Default for Finder {
    fn default() -> Self {
        Self {
            prefix: PREFIX,
            last: 0,
        }
    }
}

impl Finder {
    /// Of ids.
    pub fn of_ids() -> Self {
        Self {
            prefix: ID_PREFIX,
            last: 0,
        }
    }

    /// Where the stamp begins.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let here = |at: usize| {
            bytes
                .get(at..at + LENGTH)
                .is_some_and(|stamp| stamp.starts_with(self.prefix))
        };
        if !here(self.last) {
            self.last = bytes
                .windows(self.prefix.len())
                .position(|window| window == self.prefix)
                .filter(|&at| here(at))?;
        }
        Some(self.last)
    }
}

/// The time in the stamp that begins at `at`, if its digits are digits.
pub fn read(bytes: &[u8], at: usize) -> Option<u64> {
    let digits = bytes.get(at + PREFIX.len()..at + LENGTH)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the way there and back, and the hint that a shifted stamp must not fool.
    #[test]
    fn a_stamp_is_found_wherever_it_moves() {
        let mut finder = Finder::default();
        for prefix in ["", "{\"text\":\"", "{\"seq\":10,\"text\":\"", "{"] {
            let mut bytes = format!("{prefix}{}\"}}", text(40)).into_bytes();
            write(&mut bytes, prefix.len(), 0x1234_5678_9abc_def0);
            let at = finder.find(&bytes).expect("there is one");
            assert_eq!(
                (at, read(&bytes, at)),
                (prefix.len(), Some(0x1234_5678_9abc_def0))
            );
        }
        assert_eq!(finder.find(b"{\"type\":\"user_joined\"}"), None);
        assert_eq!(finder.find(b"{\"text\":\"rig:cut"), None);
    }

    /// Guards the counts: what acknowledges a message is not taken for its delivery, nor the other way round.
    #[test]
    fn ids_and_texts_are_told_apart() {
        let (text, id) = (text(30), id());
        assert_eq!(Finder::default().find(id.as_bytes()), None);
        assert_eq!(Finder::of_ids().find(text.as_bytes()), None);
        let both = format!("{id} {text}");
        assert_eq!(Finder::of_ids().find(both.as_bytes()), Some(0));
        assert_eq!(Finder::default().find(both.as_bytes()), Some(LENGTH + 1));
    }
}
