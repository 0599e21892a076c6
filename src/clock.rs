//! The time, as the node sees it: the system's, or a test's own.
//!
//! Wall time only, in milliseconds since 1970; waiting is tokio's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is moved by [`Clock::advance`].
    pub fn manual(start: Millis) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start))))
    }

    pub fn now(&self) -> Millis {
        match &self.0 {
            Some(manual) => manual.load(Ordering::Relaxed),
            None => Timestamp::now().as_millisecond(),
        }
    }

    /// Moves a manual clock on; the system's clock goes its own way.
    pub fn advance(&self, by: Millis) {
        if let Some(manual) = &self.0 {
            manual.fetch_add(by, Ordering::Relaxed);
        }
    }
}

/// RFC 3339 in UTC with milliseconds and `Z`: `2025-11-12T10:30:00.000Z`.
pub fn rfc3339(at: Millis) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// A time by RFC 3339, whatever its offset.
pub fn parse(text: &str) -> Option<Millis> {
    let time: Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_z() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_762_943_400_007), "2025-11-12T10:30:00.007Z");
    }
}
