//! The rooms' numbers as the pongs tell them.

use std::time::Duration;

use super::PATIENCE;
use crate::generator::{Generator, Listener};
use crate::{Result, host};

/// What each socket's room has come to, by its last pong.
pub struct Pongs {
    seqs: Vec<u64>,
    /// Sockets whose pong came since the list was last taken.
    pub answered: Vec<usize>,
    /// When a number was last seen to change.
    pub last_growth: u64,
    unplaced: Option<String>,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Pongs {
    pub fn new(sockets: usize) -> Self {
        Self {
            seqs: vec![0; sockets],
            answered: Vec::new(),
            last_growth: 0,
            unplaced: None,
            errors: 0,
            first_error: None,
        }
    }

    /// Pings every socket and returns the sum of the numbers answered.
    pub fn ask_all(&mut self, generator: &mut Generator, ping: &[u8]) -> Result<u64> {
        self.answered.clear();
        for socket in 0..self.seqs.len() {
            generator.send(socket, ping)?;
        }
        let asked = host::now();
        while self.answered.len() < self.seqs.len() {
            generator.turn(host::now() + 50_000_000, self)?;
            self.check(generator, asked)?;
        }
        self.answered.clear();
        Ok(self.seqs.iter().sum())
    }

    /// Asks until two answers are the same: commits may still be on their way if pongs overtake them.
    pub fn ask_until_still(&mut self, generator: &mut Generator, ping: &[u8]) -> Result<u64> {
        let mut last = self.ask_all(generator, ping)?;
        loop {
            generator.serve(Duration::from_millis(100), self)?;
            match self.ask_all(generator, ping)? {
                same if same == last => return Ok(same),
                grown => last = grown,
            }
        }
    }

    /// Errs when no answer can be hoped for any more.
    pub fn check(&self, generator: &Generator, last_answer: u64) -> Result<()> {
        if let Some(pong) = &self.unplaced {
            return Err(format!("a pong carries no position to count commits by: {pong}").into());
        }
        let error = self.first_error.as_deref().unwrap_or("none");
        if let (closed @ 1.., Some(why)) = generator.closed() {
            return Err(format!(
                "{closed} sockets were closed, the first by {why}; first error frame: {error}"
            )
            .into());
        }
        if host::now() > last_answer + PATIENCE.as_nanos() as u64 {
            return Err(format!(
                "no pong for {} s; first error frame: {error}",
                PATIENCE.as_secs()
            )
            .into());
        }
        Ok(())
    }
}

impl Listener for Pongs {
    fn heard(&mut self, socket: usize, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        if text.contains("\"pong\"") {
            match position(&text) {
                Some(seq) if seq == self.seqs[socket] => {}
                Some(seq) => {
                    self.seqs[socket] = seq;
                    self.last_growth = host::now();
                }
                None => self.unplaced = Some(text.into_owned()),
            }
            self.answered.push(socket);
        } else if text.contains("\"error\"") {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| text.into_owned());
        }
    }
}

/// The number in `"position":"epoch-seq"`.
fn position(pong: &str) -> Option<u64> {
    let value = pong.split_once("\"position\":\"")?.1.split('"').next()?;
    value.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the count of commits: the number is what follows the last hyphen.
    #[test]
    fn a_position_gives_its_number() {
        assert_eq!(
            position(r#"{"type":"pong","timestamp":1,"position":"0199-ab-42"}"#),
            Some(42)
        );
        assert_eq!(
            position(r#"{"type":"pong","timestamp":1,"position":null}"#),
            None
        );
    }
}
