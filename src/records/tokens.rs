//! Which tokens an account was given, so that they can be taken back together.

use sqlx::Row;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::UserId;

/// Why a token may be given.
pub enum Ground<'a> {
    /// The account's password, by this hash, was said.
    Password(&'a str),
    /// This token was shown.
    Token(&'a str),
}

/// A message that was not told for so long is not going to be.
const UNTOLD: Millis = 86_400_000;

impl Records {
    /// Notes a token that is about to be given; and forgets those of the same user that ended before `now`. False when
    /// the ground is gone: a password was changed meanwhile, and what it was worth with it.
    pub async fn note_token(
        &self,
        jti: &str,
        user: &UserId,
        expires_at: Millis,
        now: Millis,
        ground: Ground<'_>,
    ) -> Result<bool, Error> {
        let statement = sqlx::query("DELETE FROM tokens WHERE user_id = $1 AND expires_at < $2")
            .bind(user.as_str())
            .bind(now);
        self.run("forget_tokens", statement.execute(&self.pool))
            .await?;
        // Held by a write until the end: whoever takes the ground away waits, and then finds the token.
        let hold = match ground {
            Ground::Password(hash) => {
                sqlx::query("UPDATE users SET password = password WHERE id = $1 AND password = $2")
                    .bind(user.as_str())
                    .bind(hash)
            }
            Ground::Token(shown) => {
                sqlx::query("UPDATE tokens SET jti = jti WHERE user_id = $1 AND jti = $2")
                    .bind(user.as_str())
                    .bind(shown)
            }
        };
        let note = sqlx::query("INSERT INTO tokens (jti, user_id, expires_at) VALUES ($1, $2, $3)")
            .bind(jti)
            .bind(user.as_str())
            .bind(expires_at);
        self.run("note_token", async {
            let mut step = self.pool.begin().await?;
            let held = hold.execute(&mut *step).await?.rows_affected() > 0;
            if held {
                note.execute(&mut *step).await?;
            }
            step.commit().await?;
            Ok(held)
        })
        .await
    }

    /// Forgets messages that nobody was ever told of, tokens that ended before `now`, and guests who have none: nobody gets into their accounts any more.
    /// Those who came after `lately` may be about to be given one.
    pub async fn sweep(&self, now: Millis, lately: Millis) -> Result<(), Error> {
        let statement = sqlx::query("DELETE FROM tokens WHERE expires_at < $1").bind(now);
        self.run("sweep_tokens", statement.execute(&self.pool))
            .await?;
        let statement = sqlx::query("DELETE FROM messages WHERE seq IS NULL AND created_at < $1")
            .bind(now - UNTOLD);
        self.run("sweep_messages", statement.execute(&self.pool))
            .await?;
        let statement = sqlx::query(
            "DELETE FROM users WHERE guest = 1 AND created_at < $1 \
             AND id NOT IN (SELECT user_id FROM tokens)",
        )
        .bind(lately);
        self.run("sweep_guests", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// So that it is remembered where the backplane forgets.
    pub async fn note_revoked(&self, jti: &str, ends_at: Millis) -> Result<(), Error> {
        let statement = sqlx::query(
            "INSERT INTO revoked (jti, ends_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING",
        )
        .bind(jti)
        .bind(ends_at);
        self.run("note_revoked", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    /// Those that would be believed at `now`; the others are forgotten.
    pub async fn revoked(&self, now: Millis) -> Result<Vec<(String, Millis)>, Error> {
        let statement = sqlx::query("DELETE FROM revoked WHERE ends_at < $1").bind(now);
        self.run("forget_revoked", statement.execute(&self.pool))
            .await?;
        let statement = sqlx::query("SELECT jti, ends_at FROM revoked")
            .try_map(|row: sqlx::any::AnyRow| Ok((row.try_get("jti")?, row.try_get("ends_at")?)));
        self.run("revoked", statement.fetch_all(&self.pool)).await
    }

    /// Those that have not ended, the oldest first.
    pub async fn tokens_of(
        &self,
        user: &UserId,
        now: Millis,
    ) -> Result<Vec<(String, Millis)>, Error> {
        let statement = sqlx::query(
            "SELECT jti, expires_at FROM tokens WHERE user_id = $1 AND expires_at >= $2 \
             ORDER BY expires_at, jti",
        )
        .bind(user.as_str())
        .bind(now)
        .try_map(|row: sqlx::any::AnyRow| Ok((row.try_get("jti")?, row.try_get("expires_at")?)));
        self.run("tokens_of", statement.fetch_all(&self.pool)).await
    }

    pub async fn forget_token(&self, jti: &str) -> Result<(), Error> {
        let statement = sqlx::query("DELETE FROM tokens WHERE jti = $1").bind(jti);
        self.run("forget_token", statement.execute(&self.pool))
            .await
            .map(drop)
    }
}
