//! Longer and longer pauses between tries, no two nodes' alike.

use std::time::Duration;

use rand::RngExt;

pub struct Pause {
    next: Duration,
    most: Duration,
}

impl Pause {
    pub fn new(first: Duration, most: Duration) -> Self {
        let next = first.min(most);
        Self { next, most }
    }

    /// Between half of what is due and all of it.
    pub fn next(&mut self) -> Duration {
        let due = self.next;
        self.next = (due * 2).min(self.most);
        due.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut pause = Pause::new(ms(100), ms(350));
        for due in [100, 200, 350, 350] {
            let next = pause.next();
            assert!(ms(due) / 2 <= next && next <= ms(due), "{next:?}");
        }
    }
}
