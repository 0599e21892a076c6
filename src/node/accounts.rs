//! Accounts: made, entered with a password, left, and the tokens they are given.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Denied, Node, NotAdmitted};
use crate::auth::password::{Passwords, Verdict};
use crate::auth::{Claims, Identity, LEEWAY};
use crate::clock::Millis;
use crate::domain::{Reject, accounts};
use crate::ids::UserId;
use crate::limits::Failures;
use crate::records::{self, Account, Ground, Records};

/// How often a guest's name is thought up anew when somebody has it.
const GUEST_NAMES: u32 = 5;

/// Between looks for what has ended.
const SWEEP: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Life of a token.
    pub token_ttl: Duration,
    /// Tokens of an account that live at the same time; the oldest goes for one more.
    pub tokens: usize,
    /// Passwords looked at, at once.
    pub hashes: usize,
}

pub struct Accounts {
    config: Config,
    passwords: Passwords,
    failures: Failures,
}

/// Who registers.
pub struct Newcomer {
    pub username: String,
    pub email: String,
    pub password: String,
}

/// By what somebody says which account is theirs.
pub enum Claimed {
    Username(String),
    Email(String),
}

impl Claimed {
    /// What cannot be anybody's is not looked for.
    fn check(&self) -> Result<(), Reject> {
        match self {
            Claimed::Username(name) => accounts::username(name),
            Claimed::Email(email) => accounts::email(email),
        }
    }
}

/// A token and whose it is.
pub struct Given {
    pub token: String,
    pub life: Duration,
    pub account: Account,
}

impl Accounts {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            passwords: Passwords::new(config.hashes),
            failures: Failures::default(),
        }
    }
}

const OTHERS: &str = "accounts are kept by the issuer of JWKS_URL's tokens, not here";

impl Node {
    /// What is kept in SQL.
    pub fn records(&self) -> Option<&Arc<Records>> {
        self.roster.records.as_ref()
    }

    pub(super) fn books(&self) -> Result<&Records, Denied> {
        self.roster.records.as_deref().ok_or(Denied::NoRecords)
    }

    fn own_accounts(&self) -> Result<&Records, Denied> {
        if !self.gives_tokens() {
            return Err(Denied::Off(OTHERS));
        }
        self.books()
    }

    pub async fn register_account(&self, newcomer: Newcomer) -> Result<Account, Denied> {
        let records = self.own_accounts()?;
        accounts::username(&newcomer.username)?;
        accounts::email(&newcomer.email)?;
        accounts::password("password", &newcomer.password)?;
        let account = Account {
            id: new_id(),
            username: newcomer.username,
            email: newcomer.email,
            password: self.hash(&newcomer.password).await?,
            guest: false,
            created_at: self.clock().now(),
        };
        records.add_account(&account).await?;
        tracing::info!(target: "audit", user = %account.id, "registered");
        Ok(account)
    }

    /// An account without a password: nobody gets into it once its tokens have ended. For open nodes.
    pub async fn register_guest(
        self: &Arc<Self>,
        username: Option<String>,
    ) -> Result<Given, Denied> {
        if self.wants_tokens() {
            return Err(Denied::Off(
                "there are no guests with AUTH=token; right is register and login",
            ));
        }
        let records = self.own_accounts()?;
        if let Some(name) = &username {
            accounts::username(name)?;
        }
        for _ in 0..GUEST_NAMES {
            let account = Account {
                id: new_id(),
                username: username.clone().unwrap_or_else(guest_name),
                email: String::new(),
                password: String::new(),
                guest: true,
                created_at: self.clock().now(),
            };
            match records.add_account(&account).await {
                Err(records::Error::Taken(_)) if username.is_none() => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return self.give(account, Ground::Password("")).await,
            }
        }
        Err(Denied::Taken("username"))
    }

    pub async fn log_in(
        self: &Arc<Self>,
        claimed: &Claimed,
        password: &str,
        from: IpAddr,
    ) -> Result<Given, Denied> {
        let records = self.own_accounts()?;
        claimed.check()?;
        accounts::plain("password", password)?;
        let account = match claimed {
            Claimed::Username(name) => records.account_named(name).await?,
            Claimed::Email(email) => records.account_at(email).await?,
        };
        // Under whatever name: an account's failures count together.
        let who = match (&account, claimed) {
            (Some(account), _) => account.id.to_string(),
            (None, Claimed::Username(text) | Claimed::Email(text)) => text.to_lowercase(),
        };
        let right = self.check(account.as_ref(), &who, password, from).await?;
        let Some((account, hash)) = account.zip(right) else {
            // Not what was said: it may be a password in the wrong place.
            tracing::info!(target: "audit", %from, "a login failed");
            return Err(Denied::Unknown);
        };
        tracing::info!(target: "audit", user = %account.id, %from, "logged in");
        self.give(account, Ground::Password(&hash)).await
    }

    pub async fn account_of(&self, identity: &Identity) -> Result<Account, Denied> {
        let found = self.books()?.account(&identity.user).await?;
        // A token for some sessions is for nothing else.
        let is_for_all = identity.sessions.is_none();
        found.filter(|_| is_for_all).ok_or(Denied::NoAccount)
    }

    pub async fn refresh(self: &Arc<Self>, identity: &Identity) -> Result<Given, Denied> {
        self.own_accounts()?;
        let account = self.account_of(identity).await?;
        let Some(shown) = &identity.id else {
            return Err(Denied::Off("the token was not given here; right is login"));
        };
        self.give(account, Ground::Token(shown)).await
    }

    /// All other tokens of the account are believed no more.
    pub async fn change_password(
        self: &Arc<Self>,
        identity: &Identity,
        current: &str,
        new: &str,
        from: IpAddr,
    ) -> Result<(), Denied> {
        let records = self.own_accounts()?;
        let account = self.account_of(identity).await?;
        accounts::plain("current_password", current)?;
        accounts::password("new_password", new)?;
        let who = account.id.to_string();
        let right = self.check(Some(&account), &who, current, from).await?;
        let seen = right.ok_or(Denied::WrongPassword)?;
        let hash = self.hash(new).await?;
        // Before, so that nothing is changed while no token can be revoked; and after, for who came in meanwhile.
        self.revoke_all(&account.id, identity.id.as_deref()).await?;
        let changed = records.change_password(&account.id, &seen, &hash);
        if !changed.await? {
            return Err(Denied::WrongPassword);
        }
        self.revoke_all(&account.id, identity.id.as_deref()).await?;
        tracing::info!(target: "audit", user = %account.id, "password changed");
        Ok(())
    }

    pub async fn delete_account(self: &Arc<Self>, identity: &Identity) -> Result<(), Denied> {
        let records = self.books()?;
        let account = self.account_of(identity).await?;
        loop {
            self.revoke_all(&account.id, None).await?;
            match records.remove_account(&account.id).await {
                // Somebody logged in meanwhile.
                Err(records::Error::Bound) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        tracing::info!(target: "audit", user = %account.id, "account deleted");
        Ok(())
    }

    /// Forgets, now and then, what nobody can use any more; until the node stops.
    pub async fn sweep_accounts(self: Arc<Self>) {
        let mut every = tokio::time::interval(SWEEP);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            let now = self.clock().now();
            let lately = now - SWEEP.as_millis() as Millis;
            if let Some(records) = self.records()
                && let Err(error) = records.sweep(now, lately).await
            {
                tracing::debug!(%error, "the accounts are swept another time");
            }
        }
    }

    /// Its account need not remember a token that was revoked.
    pub async fn forget_token(&self, jti: &str) {
        if let Some(records) = &self.roster.records
            && let Err(error) = records.forget_token(jti).await
        {
            tracing::debug!(%error, "a revoked token was not forgotten");
        }
    }

    /// The hash by which the password is right, if it is.
    async fn check(
        &self,
        account: Option<&Account>,
        who: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<Option<String>, Denied> {
        let failures = &self.accounts.failures;
        // Counted in turn: nobody fills the memory with names faster than passwords are hashed.
        let turn = self.accounts.passwords.turn().await?;
        let begun = failures.begin(who, from, Instant::now());
        begun.map_err(Denied::TooOften)?;
        let hash = account.map(|account| account.password.as_str());
        // A guest has none, which must not be quicker.
        let hash = hash.filter(|hash| !hash.is_empty());
        match turn.verify(password, hash).await? {
            Verdict::Wrong => return Ok(None),
            Verdict::Right => {}
            Verdict::Renewed(new) => {
                if let (Some(account), Some(old)) = (account, hash)
                    && self
                        .books()?
                        .change_password(&account.id, old, &new)
                        .await?
                {
                    failures.forget(who, from);
                    return Ok(Some(new));
                }
            }
        }
        failures.forget(who, from);
        Ok(hash.map(str::to_owned))
    }

    async fn hash(&self, password: &str) -> Result<String, Denied> {
        Ok(self.accounts.passwords.turn().await?.hash(password).await?)
    }

    async fn give(self: &Arc<Self>, account: Account, ground: Ground<'_>) -> Result<Given, Denied> {
        let records = self.books()?;
        let life = self.accounts.config.token_ttl;
        let now = self.clock().now();
        let issued_at = now / 1_000;
        let claims = Claims {
            user: account.id.clone(),
            name: Some(account.username.as_str().into()),
            role: None,
            sessions: None,
            id: Some(Uuid::now_v7().to_string().into()),
            issuer: None,
            audience: None,
            issued_at,
            expires_at: issued_at + life.as_secs() as i64,
        };
        let ends_at = ends_at(claims.expires_at);
        let jti = claims.id.clone().unwrap_or_default();
        let token = self.sign(claims)?;
        let gone = match &ground {
            Ground::Password(_) => Denied::Unknown,
            Ground::Token(_) => NotAdmitted::Void.into(),
        };
        let noted = records.note_token(&jti, &account.id, ends_at, now, ground);
        if !noted.await? {
            return Err(gone);
        }
        let living = records.tokens_of(&account.id, now).await?;
        let others = living.iter().filter(|(known, _)| **known != *jti);
        let surplus = living.len().saturating_sub(self.accounts.config.tokens);
        for (oldest, ends_at) in others.take(surplus) {
            self.take_back(oldest, *ends_at).await?;
        }
        Ok(Given {
            token,
            life,
            account,
        })
    }

    async fn revoke_all(self: &Arc<Self>, user: &UserId, but: Option<&str>) -> Result<(), Denied> {
        loop {
            let mut living = self.books()?.tokens_of(user, 0).await?;
            living.retain(|(jti, _)| but != Some(jti));
            // One that was refreshed meanwhile left another.
            if living.is_empty() {
                return Ok(());
            }
            for (jti, ends_at) in living {
                self.take_back(&jti, ends_at).await?;
            }
        }
    }

    async fn take_back(self: &Arc<Self>, jti: &str, ends_at: Millis) -> Result<(), Denied> {
        let revoked = self.revoke(jti, ends_at).await;
        revoked.map_err(NotAdmitted::from)?;
        Ok(self.books()?.forget_token(jti).await?)
    }
}

fn ends_at(expires_at: i64) -> Millis {
    (expires_at + LEEWAY.as_secs() as i64) * 1_000
}

fn new_id() -> UserId {
    UserId::parse(&Uuid::now_v7().to_string()).expect("a uuid is an id")
}

fn guest_name() -> String {
    format!("guest-{:08x}", rand::random::<u32>())
}
