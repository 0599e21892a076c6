//! Passwords: argon2id hashes, and the bcrypt hashes of an older service until they are renewed.
//!
//! Hashing is work of tens of milliseconds on a core and 19 MiB: it is done off the async threads, so many at once as
//! the node is told, and whoever would wait too long for a turn is sent away.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Nobody's: checked when there is no account, so that the answer takes as long as if there were.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hashed("nobody's").expect("a short password can be hashed"));

/// Too many passwords are being looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, by a hash that is not made any more; this one is to take its place.
    Renewed(String),
}

#[derive(Clone)]
pub struct Passwords(Arc<Semaphore>);

/// One of those who may have a password looked at now.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Passwords {
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    pub async fn turn(&self) -> Result<Turn, Busy> {
        let turn = tokio::time::timeout(PATIENCE, self.0.clone().acquire_owned());
        let _permit = turn.await.map_err(|_| Busy)?.map_err(|_| Busy)?;
        Ok(Turn { _permit })
    }
}

impl Turn {
    pub async fn hash(self, password: &str) -> Result<String, Busy> {
        let password = password.to_owned();
        self.work(move || hashed(&password)).await?.ok_or(Busy)
    }

    /// `None`: there is no such account, which takes as long.
    pub async fn verify(self, password: &str, hash: Option<&str>) -> Result<Verdict, Busy> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        self.work(move || match hash {
            None => {
                verified(&password, &NOBODY);
                Verdict::Wrong
            }
            Some(hash) => verified(&password, &hash),
        })
        .await
    }

    async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _turn = self;
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

fn hashed(password: &str) -> Option<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.ok().map(|hash| hash.to_string())
}

fn verified(password: &str, hash: &str) -> Verdict {
    if hash.starts_with("$2") {
        return match bcrypt::verify(password, hash) {
            Ok(true) => hashed(password).map_or(Verdict::Right, Verdict::Renewed),
            _ => Verdict::Wrong,
        };
    }
    // What is no hash is nobody's password.
    let Ok(parsed) = PasswordHash::new(hash) else {
        return Verdict::Wrong;
    };
    match Argon2::default().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Verdict::Right,
        Err(_) => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_an_old_hash_is_renewed() {
        let passwords = Passwords::new(1);
        let hash = passwords.turn().await.unwrap().hash("correct horse");
        let hash = hash.await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let verify = async |given: &str, hash: Option<&str>| {
            let turn = passwords.turn().await.unwrap();
            turn.verify(given, hash).await.unwrap()
        };
        for (given, right) in [("correct horse", Verdict::Right), ("wrong", Verdict::Wrong)] {
            assert_eq!(verify(given, Some(&hash)).await, right);
        }
        assert_eq!(verify("x", None).await, Verdict::Wrong);
        assert_eq!(verify("", Some("")).await, Verdict::Wrong);
        let old = bcrypt::hash("correct horse", 4).unwrap();
        assert_eq!(verify("wrong", Some(&old)).await, Verdict::Wrong);
        let Verdict::Renewed(new) = verify("correct horse", Some(&old)).await else {
            panic!("an old hash is renewed");
        };
        assert_eq!(verify("correct horse", Some(&new)).await, Verdict::Right);
    }
}
