//! Forges updates out of any bytes: well formed, and as far from what an editor would write as the format allows.
//! Structs come again with other content, begin late, stand between origins that were never neighbours, wait for each
//! other; deletions reach beyond the end.

/// The clients that write; the last is the largest number there may be.
pub const CLIENTS: [u64; 4] = [1, 2, 70_000, (1 << 53) - 1];

const TEXTS: [&str; 6] = ["a", "bc", "\r\n", "x😀y", "\u{fffd}", "漢字"];

/// What is left of the bytes; when they are used up, zeros.
pub struct Forge<'a>(pub &'a [u8]);

impl Forge<'_> {
    pub fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    /// An update for a document that has each of the clients up to these clocks.
    pub fn update(&mut self, mut clocks: [u64; CLIENTS.len()]) -> Vec<u8> {
        let first = self.below(CLIENTS.len() as u64) as usize;
        let sections = self.below(CLIENTS.len() as u64 + 1) as usize;
        let mut out = Vec::new();
        number(&mut out, sections as u64);
        for section in 0..sections {
            self.section((first + section) % CLIENTS.len(), &mut clocks, &mut out);
        }
        self.deletes(&clocks, &mut out);
        out
    }

    fn section(&mut self, client: usize, clocks: &mut [u64; CLIENTS.len()], out: &mut Vec<u8>) {
        let structs = 1 + self.below(4);
        let mut clock = match self.below(8) {
            0 => self.below(clocks[client]),
            1 => clocks[client] + self.below(3),
            _ => clocks[client],
        };
        for one in [structs, CLIENTS[client], clock] {
            number(out, one);
        }
        for _ in 0..structs {
            clock += self.item(client, clock, clocks, out);
        }
        clocks[client] = clocks[client].max(clock);
    }

    /// One struct. Gives its length.
    fn item(
        &mut self,
        client: usize,
        clock: u64,
        clocks: &[u64; CLIENTS.len()],
        out: &mut Vec<u8>,
    ) -> u64 {
        let kind = *self.one_of(&[4, 4, 4, 4, 4, 1, 1, 10]);
        if kind == 10 {
            out.push(kind);
            return self.length(out);
        }
        let origins = [0x80, 0x40].map(|flag| (flag, self.origin(client, clock, clocks)));
        let flags = origins
            .iter()
            .filter(|(_, origin)| origin.is_some())
            .map(|(flag, _)| flag);
        out.push(flags.sum::<u8>() | kind);
        for (client, clock) in origins.iter().filter_map(|(_, origin)| *origin) {
            number(out, client);
            number(out, clock);
        }
        if origins.iter().all(|(_, origin)| origin.is_none()) {
            out.extend(b"\x01\x04code");
        }
        if kind == 1 {
            return self.length(out);
        }
        let text = *self.one_of(&TEXTS);
        number(out, text.len() as u64);
        out.extend(text.as_bytes());
        text.encode_utf16().count() as u64
    }

    fn origin(
        &mut self,
        client: usize,
        clock: u64,
        clocks: &[u64; CLIENTS.len()],
    ) -> Option<(u64, u64)> {
        let of = self.below(CLIENTS.len() as u64 + 2) as usize;
        let end = if of == client {
            clock
        } else {
            *clocks.get(of)?
        };
        let last = end.checked_sub(1)?;
        let clock = if self.below(2) == 0 {
            last
        } else {
            self.below(end + 1)
        };
        Some((CLIENTS[of], clock))
    }

    fn deletes(&mut self, clocks: &[u64; CLIENTS.len()], out: &mut Vec<u8>) {
        let place = self.below(2 * CLIENTS.len() as u64) as usize;
        let Some(&end) = clocks.get(place) else {
            return number(out, 0);
        };
        let (from, between) = (self.below(end), 1 + self.below(4));
        for one in [
            1,
            CLIENTS[place],
            2,
            from,
            between,
            from + between + self.below(3),
        ] {
            number(out, one);
        }
        self.length(out);
    }

    fn length(&mut self, out: &mut Vec<u8>) -> u64 {
        let length = 1 + self.below(3);
        number(out, length);
        length
    }

    fn one_of<'o, T>(&mut self, of: &'o [T]) -> &'o T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// A number from 0 until `end`, or 0.
    fn below(&mut self, end: u64) -> u64 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        u64::from(byte).checked_rem(end).unwrap_or(0)
    }
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
