//! Which tokens an account was given, so that they can be taken back together.

use sqlx::Row;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::UserId;

impl Records {
    /// Notes a token that is about to be given; and forgets those of the same user that ended before `now`.
    pub async fn note_token(
        &self,
        jti: &str,
        user: &UserId,
        expires_at: Millis,
        now: Millis,
    ) -> Result<(), Error> {
        let statement = sqlx::query("DELETE FROM tokens WHERE user_id = $1 AND expires_at < $2")
            .bind(user.as_str())
            .bind(now);
        self.run("forget_tokens", statement.execute(&self.pool))
            .await?;
        let statement =
            sqlx::query("INSERT INTO tokens (jti, user_id, expires_at) VALUES ($1, $2, $3)")
                .bind(jti)
                .bind(user.as_str())
                .bind(expires_at);
        self.run("note_token", statement.execute(&self.pool))
            .await
            .map(drop)
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
