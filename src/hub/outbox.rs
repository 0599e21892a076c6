//! What a socket still has to be sent: bounded, in order, written by whoever holds its lock.
//!
//! Two lanes share one queue, so that neither can overtake the other: a frame of the ordered lane
//! stays until it is written, a latest-wins frame replaces an unwritten older one of the same key.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

/// How a frame gives way when the socket is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Never dropped.
    Ordered,
    /// Superseded by the next frame of the same key.
    Latest(u64),
    /// Never dropped; and once it is written, its socket has been told all up to this seq of its user's inbox.
    Telling(u64),
    /// The same of all that waited in an inbox, in one piece: taken whatever its size, and no bound counts it.
    Inbox(u64),
}

/// Bounds of one outbox.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub messages: usize,
    pub bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is left to write.
    Done,
    /// The kernel takes no more for now.
    Blocked,
    Failed,
}

/// Frames handed to the kernel with one call.
const SLICES: usize = 64;

#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<(Lane, Bytes)>,
    /// Bytes in the queue, the written part of the first frame included.
    bytes: usize,
    /// Bytes of the first frame that are already written.
    written: usize,
    /// Bytes of these that no bound counts.
    beyond: usize,
    /// The last seq that was told by what is written; 0: none since it was last taken.
    told: u64,
}

impl Outbox {
    /// Queues a frame, or gives it back when a bound is reached. `conflated` counts frames that
    /// gave way.
    pub fn push(
        &mut self,
        lane: Lane,
        frame: Bytes,
        bounds: &Bounds,
        conflated: &mut u64,
    ) -> Result<(), Bytes> {
        if matches!(lane, Lane::Latest(_)) && self.supersede(lane) {
            *conflated += 1;
        }
        // The first frame is on its way, however large: the bounds are on what waits behind it.
        let first = self.queue.front().map_or(0, counted);
        let waiting = self.bytes - self.beyond - first + frame.len();
        let full = self.queue.len() > bounds.messages || waiting > bounds.bytes;
        if full && !self.queue.is_empty() && !matches!(lane, Lane::Inbox(_)) {
            return Err(frame);
        }
        self.queue_up(lane, frame);
        Ok(())
    }

    /// Queues a frame beyond all bounds: the close frame.
    pub fn queue_up(&mut self, lane: Lane, frame: Bytes) {
        self.bytes += frame.len();
        if let Lane::Inbox(_) = lane {
            self.beyond += frame.len();
        }
        self.queue.push_back((lane, frame));
    }

    /// Puts back frames that were taken, before all others, of which no byte has been written. What they tell is told
    /// when the last of them is written again.
    pub fn put_back(&mut self, frames: impl DoubleEndedIterator<Item = Bytes>) {
        for frame in frames.rev() {
            let lane = match self.take_told() {
                0 => Lane::Ordered,
                seq => Lane::Telling(seq),
            };
            self.bytes += frame.len();
            self.queue.push_front((lane, frame));
        }
    }

    /// Drops what no byte of has been written.
    pub fn clear(&mut self) {
        let begun = (self.written > 0).then(|| self.queue.pop_front()).flatten();
        self.queue.clear();
        self.bytes = 0;
        self.beyond = 0;
        if let Some((lane, frame)) = begun {
            self.queue_up(lane, frame);
        }
    }

    /// Writes as much as `write` takes.
    pub fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flush {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, (_, frame)) in slices.iter_mut().zip(&self.queue) {
                let skip = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&frame[skip..]);
                count += 1;
            }
            match write(&slices[..count]) {
                Ok(0) => return Flush::Failed,
                Ok(taken) => self.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Failed,
            }
        }
        // An idle socket holds nothing; the allocator has it at hand for the next.
        self.queue = VecDeque::new();
        Flush::Done
    }

    /// Up to where what was written has told the inbox; 0: nothing new.
    pub fn take_told(&mut self) -> u64 {
        std::mem::take(&mut self.told)
    }

    /// What waits says no more how far its socket is told.
    pub fn unmark(&mut self) {
        self.told = 0;
        for (lane, _) in &mut self.queue {
            match lane {
                Lane::Telling(_) => *lane = Lane::Ordered,
                Lane::Inbox(_) => *lane = Lane::Inbox(0),
                Lane::Ordered | Lane::Latest(_) => {}
            }
        }
    }

    /// Bytes waiting.
    pub fn waiting(&self) -> usize {
        self.bytes - self.written
    }

    fn supersede(&mut self, lane: Lane) -> bool {
        // The first frame may be half written: it goes out as it is.
        let first = usize::from(self.written > 0);
        let older = self
            .queue
            .iter()
            .skip(first)
            .position(|(known, _)| *known == lane);
        let removed = older.and_then(|at| self.queue.remove(at + first));
        if let Some((_, frame)) = &removed {
            self.bytes -= frame.len();
        }
        removed.is_some()
    }

    fn advance(&mut self, mut taken: usize) {
        while let Some((lane, frame)) = self.queue.front() {
            let left = frame.len() - self.written;
            if taken < left {
                self.written += taken;
                return;
            }
            taken -= left;
            match *lane {
                Lane::Telling(seq) => self.told = seq,
                Lane::Inbox(seq) => {
                    self.told = seq;
                    self.beyond -= frame.len();
                }
                Lane::Ordered | Lane::Latest(_) => {}
            }
            self.bytes -= frame.len();
            self.written = 0;
            self.queue.pop_front();
        }
    }
}

/// Bytes of a frame as the bounds count them.
fn counted((lane, frame): &(Lane, Bytes)) -> usize {
    match lane {
        Lane::Inbox(_) => 0,
        _ => frame.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        messages: 4,
        bytes: 10,
    };

    fn push(outbox: &mut Outbox, lane: Lane, frame: &'static str) -> bool {
        let frame = Bytes::from_static(frame.as_bytes());
        outbox.push(lane, frame, &BOUNDS, &mut 0).is_ok()
    }

    /// Writes at most `chunk` bytes a call and `total` in all.
    fn drain(outbox: &mut Outbox, chunk: usize, mut total: usize) -> (String, Flush) {
        let mut out = Vec::new();
        let end = outbox.flush(|slices| {
            let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
            let take = all.len().min(chunk).min(total);
            if take == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            total -= take;
            out.extend_from_slice(&all[..take]);
            Ok(take)
        });
        (String::from_utf8(out).unwrap(), end)
    }

    #[test]
    fn order_survives_short_writes() {
        let mut outbox = Outbox::default();
        for frame in ["ab", "cd", "ef"] {
            assert!(push(&mut outbox, Lane::Ordered, frame));
        }
        assert_eq!(drain(&mut outbox, 1, 3), ("abc".into(), Flush::Blocked));
        assert_eq!(outbox.waiting(), 3);
        assert_eq!(drain(&mut outbox, 9, 99), ("def".into(), Flush::Done));
    }

    #[test]
    fn a_newer_cursor_replaces_the_older_and_keeps_its_own_place() {
        let mut outbox = Outbox::default();
        push(&mut outbox, Lane::Latest(1), "c1");
        push(&mut outbox, Lane::Latest(2), "d1");
        push(&mut outbox, Lane::Ordered, "o1");
        push(&mut outbox, Lane::Latest(1), "c2");
        assert_eq!(drain(&mut outbox, 99, 99).0, "d1o1c2");
    }

    #[test]
    fn a_frame_half_written_is_never_replaced_nor_cleared() {
        let mut outbox = Outbox::default();
        push(&mut outbox, Lane::Latest(1), "c1");
        assert_eq!(drain(&mut outbox, 1, 1).0, "c");
        push(&mut outbox, Lane::Latest(1), "c2");
        push(&mut outbox, Lane::Ordered, "o");
        outbox.clear();
        assert_eq!(drain(&mut outbox, 99, 99).0, "1");
    }

    /// Guards who was long away: a connection that is cut as too slow, again and again, because of what waits for it.
    #[test]
    fn no_bound_counts_an_inbox() {
        let mut outbox = Outbox::default();
        assert!(push(&mut outbox, Lane::Ordered, "hello"));
        assert!(push(&mut outbox, Lane::Inbox(9), "much more than may wait"));
        assert!(push(&mut outbox, Lane::Telling(10), "0123456789"));
        assert!(!push(&mut outbox, Lane::Ordered, "x"));
        drain(&mut outbox, 99, 5);
        assert!(!push(&mut outbox, Lane::Ordered, "x"));
        drain(&mut outbox, 99, 23);
        assert_eq!(outbox.take_told(), 9);
        assert!(push(&mut outbox, Lane::Ordered, "x"));
        outbox.clear();
        assert_eq!((outbox.waiting(), outbox.beyond), (0, 0));
    }

    /// Guards letters that nobody was told: the way changed before they were written.
    #[test]
    fn what_is_put_back_is_told_when_it_is_written_again() {
        let mut outbox = Outbox::default();
        push(&mut outbox, Lane::Telling(1), "l1");
        push(&mut outbox, Lane::Telling(2), "l2");
        assert_eq!(drain(&mut outbox, 99, 99).0, "l1l2");
        push(&mut outbox, Lane::Telling(3), "l3");
        outbox.put_back(
            ["l1", "l2"]
                .map(|one| Bytes::from_static(one.as_bytes()))
                .into_iter(),
        );
        assert_eq!(outbox.take_told(), 0);
        assert_eq!(drain(&mut outbox, 99, 3), ("l1l".into(), Flush::Blocked));
        assert_eq!(outbox.take_told(), 0);
        assert_eq!(drain(&mut outbox, 1, 1).0, "2");
        assert_eq!(outbox.take_told(), 2);
        assert_eq!(drain(&mut outbox, 99, 99).0, "l3");
        assert_eq!(outbox.take_told(), 3);
        outbox.put_back(std::iter::empty());
    }

    #[test]
    fn bounds_are_on_what_waits_behind_the_first_frame() {
        let mut outbox = Outbox::default();
        assert!(push(&mut outbox, Lane::Ordered, "a frame too large"));
        assert!(push(&mut outbox, Lane::Ordered, "0123456789"));
        assert!(!push(&mut outbox, Lane::Ordered, "x"));
        drain(&mut outbox, 99, 99);
        for _ in 0..5 {
            assert!(push(&mut outbox, Lane::Ordered, "x"));
        }
        assert!(!push(&mut outbox, Lane::Ordered, "x"));
    }
}
