//! The mark inside a measured message: `rig:` and the sending time as 16 hexadecimal digits.
//!
//! It makes a delivery recognisable without parsing JSON and carries its own sending time through any server
//! that passes text on.

pub const PREFIX: &[u8] = b"rig:";
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

/// Writes `time` into the stamp that begins at `at`.
pub fn write(bytes: &mut [u8], at: usize, time: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = &mut bytes[at + PREFIX.len()..at + LENGTH];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = DIGITS[(time >> (4 * place)) as usize & 0xF];
    }
}

/// Finds stamps. Frames of one kind have theirs in nearly the same place, so the last place is tried first.
#[derive(Debug, Default, Clone, Copy)]
pub struct Finder {
    last: usize,
}

impl Finder {
    /// Where the stamp begins.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let here = |at: usize| {
            bytes
                .get(at..at + LENGTH)
                .is_some_and(|stamp| stamp.starts_with(PREFIX))
        };
        if !here(self.last) {
            self.last = bytes
                .windows(PREFIX.len())
                .position(|window| window == PREFIX)
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
}
