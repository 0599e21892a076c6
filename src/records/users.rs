//! Accounts: who has a name, and by what they are known to be it.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::UserId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub username: String,
    /// Empty: a guest's.
    pub email: String,
    /// A hash, or nothing.
    pub password: String,
    pub guest: bool,
    pub created_at: Millis,
}

const COLUMNS: &str = "id, username, email, password, guest, created_at";

impl Records {
    /// [`Error::Taken`] when somebody has the name or the address, in whatever case.
    pub async fn add_account(&self, account: &Account) -> Result<(), Error> {
        let email = &account.email;
        let statement = sqlx::query(
            "INSERT INTO users (id, username, username_key, email, email_key, password, guest, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(account.id.as_str())
        .bind(account.username.as_str())
        .bind(account.username.to_lowercase())
        .bind(email.as_str())
        .bind((!email.is_empty()).then(|| email.to_lowercase()))
        .bind(account.password.as_str())
        .bind(i64::from(account.guest))
        .bind(account.created_at);
        self.run("add_account", statement.execute(&self.pool))
            .await
            .map(drop)
    }

    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, Error> {
        self.account_where("id", id.as_str()).await
    }

    pub async fn account_named(&self, username: &str) -> Result<Option<Account>, Error> {
        self.account_where("username_key", &username.to_lowercase())
            .await
    }

    pub async fn account_at(&self, email: &str) -> Result<Option<Account>, Error> {
        self.account_where("email_key", &email.to_lowercase()).await
    }

    /// Puts a new hash in the place of the one that was seen; false when that is there no more.
    pub async fn change_password(
        &self,
        id: &UserId,
        seen: &str,
        hash: &str,
    ) -> Result<bool, Error> {
        let statement =
            sqlx::query("UPDATE users SET password = $1 WHERE id = $2 AND password = $3")
                .bind(hash)
                .bind(id.as_str())
                .bind(seen);
        let done = self.run("change_password", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    pub async fn remove_account(&self, id: &UserId) -> Result<bool, Error> {
        let statement = sqlx::query("DELETE FROM users WHERE id = $1").bind(id.as_str());
        let done = self.run("remove_account", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    async fn account_where(
        &self,
        column: &'static str,
        value: &str,
    ) -> Result<Option<Account>, Error> {
        let statement = format!("SELECT {COLUMNS} FROM users WHERE {column} = $1");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(value);
        let found = self
            .run(
                "account",
                statement.try_map(read).fetch_optional(&self.pool),
            )
            .await?;
        Ok(found)
    }
}

fn read(row: AnyRow) -> Result<Account, sqlx::Error> {
    let id: String = row.try_get("id")?;
    Ok(Account {
        id: UserId::parse(&id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        password: row.try_get("password")?,
        guest: row.try_get::<i64, _>("guest")? != 0,
        created_at: row.try_get("created_at")?,
    })
}
