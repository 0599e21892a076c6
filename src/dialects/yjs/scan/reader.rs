//! The primitives of lib0's encoding, each checked against the bytes that are left: numbers, strings, buffers, counts.
//! Borrows, and allocates nothing but the sentence of a refusal.

use std::str;

use super::{Limits, MOST_CLOCK, Malformed};

/// The largest number that JavaScript holds exactly.
const MOST_NUMBER: u64 = (1 << 53) - 1;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
    /// Where `left` begins, counted from the frame's first byte.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, Malformed> {
        let reader = Self { left: bytes, at: 0 };
        if bytes.len() > limits.bytes {
            let (length, most) = (bytes.len(), limits.bytes);
            return Err(reader.wrong(format!("{length} bytes are too many: at most {most}")));
        }
        Ok(reader)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.left
    }

    /// A refusal, at the byte that is read next.
    pub(super) fn wrong(&self, what: impl Into<String>) -> Malformed {
        Malformed {
            at: self.at,
            what: what.into(),
        }
    }

    pub(super) fn byte(&mut self, what: &str) -> Result<u8, Malformed> {
        let (&byte, rest) = self.left.split_first().ok_or_else(|| self.short(what))?;
        self.left = rest;
        self.at += 1;
        Ok(byte)
    }

    /// A number of at most 53 bits, in its shortest form, which is the one that lib0 writes.
    pub(super) fn number(&mut self, what: &str) -> Result<u64, Malformed> {
        let at = self.at;
        let wrong = |why: &str| Malformed {
            at,
            what: format!("{what} is a number {why}"),
        };
        let mut number = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.byte(what)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(wrong(
                        "with zeros before it: the shortest form is the right one",
                    ));
                }
                if number > MOST_NUMBER {
                    break;
                }
                return Ok(number);
            }
        }
        Err(wrong(
            "of more than 53 bits, which JavaScript does not hold exactly",
        ))
    }

    pub(super) fn clock(&mut self, what: &str) -> Result<u64, Malformed> {
        let at = self.at;
        let clock = self.number(what)?;
        if clock > MOST_CLOCK {
            return Err(Malformed {
                at,
                what: format!("{what} counts {clock}: at most {MOST_CLOCK}"),
            });
        }
        Ok(clock)
    }

    /// A length that follows the clock `from`. Gives the clock after it.
    pub(super) fn until(&mut self, from: u64, what: &str) -> Result<u64, Malformed> {
        let at = self.at;
        let length = self.clock(what)?;
        after(at, from, length, what)
    }

    /// How many elements follow, of which each takes at least `least` bytes: no more than there are bytes for.
    pub(super) fn count(
        &mut self,
        least: usize,
        most: usize,
        what: &str,
    ) -> Result<usize, Malformed> {
        let at = self.at;
        let claimed = self.number(what)?;
        let room = self.left.len() / least;
        let count = usize::try_from(claimed).unwrap_or(usize::MAX);
        let wrong = |why: String| Malformed {
            at,
            what: format!("{claimed} {what}: {why}"),
        };
        if count > room {
            let left = self.left.len();
            return Err(wrong(format!(
                "the {left} bytes that follow have no room for that"
            )));
        }
        if count > most {
            return Err(wrong(format!("at most {most} are taken at once")));
        }
        Ok(count)
    }

    pub(super) fn buffer(&mut self, what: &str) -> Result<&'a [u8], Malformed> {
        let at = self.at;
        let claimed = self.number(what)?;
        let parts = usize::try_from(claimed)
            .ok()
            .and_then(|length| self.left.split_at_checked(length));
        let Some((buffer, rest)) = parts else {
            let left = self.left.len();
            return Err(Malformed {
                at,
                what: format!("{what} is said to have {claimed} bytes, but {left} follow"),
            });
        };
        self.left = rest;
        self.at += buffer.len();
        Ok(buffer)
    }

    pub(super) fn string(&mut self, what: &str) -> Result<&'a str, Malformed> {
        let buffer = self.buffer(what)?;
        str::from_utf8(buffer).map_err(|error| Malformed {
            at: self.at - buffer.len() + error.valid_up_to(),
            what: format!("{what} is not UTF-8"),
        })
    }

    /// A reader of the buffer that follows.
    pub(super) fn inside(&mut self, what: &str) -> Result<Reader<'a>, Malformed> {
        let buffer = self.buffer(what)?;
        Ok(Reader {
            left: buffer,
            at: self.at - buffer.len(),
        })
    }

    /// Nothing may follow.
    pub(super) fn end(&self, what: &str) -> Result<(), Malformed> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(self.wrong(format!("{left} bytes follow {what}, where nothing should"))),
        }
    }

    fn short(&self, what: &str) -> Malformed {
        self.wrong(format!("the bytes end before {what}"))
    }
}

/// The clock that comes `length` after `from`: Yjs writes nothing of the length 0, and clocks end.
pub(super) fn after(at: usize, from: u64, length: u64, what: &str) -> Result<u64, Malformed> {
    let to = from + length;
    let what = match length {
        0 => format!("{what} has the length 0, which Yjs does not write"),
        _ if to > MOST_CLOCK => format!("{what} ends at the clock {to}: at most {MOST_CLOCK}"),
        _ => return Ok(to),
    };
    Err(Malformed { at, what })
}
