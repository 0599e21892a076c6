//! Accounts over REST: register, log in, and what is done with a token of one's own.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::object;
use super::denied::denied;
use super::docs::shapes;
use super::{Api, Endpoint, no_content};
use crate::auth::Identity;
use crate::clock::rfc3339;
use crate::http::{Answer, Problem, json as answer};
use crate::node::accounts::{Claimed, Given, Newcomer};
use crate::records::Account;

#[derive(Deserialize, ToSchema)]
#[schema(as = Newcomer)]
pub(super) struct RegisterBody {
    /// Without spaces, control characters and `@`; nobody else's, in whatever case.
    #[schema(schema_with = shapes::username)]
    username: String,
    /// At most 254 bytes. Nobody writes there.
    #[schema(schema_with = shapes::email)]
    email: String,
    #[schema(schema_with = shapes::password)]
    password: String,
}

/// Either a username or an email, and the password.
#[derive(Deserialize, ToSchema)]
#[schema(as = Login)]
pub(super) struct LoginBody {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[schema(max_length = 256)]
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Guest)]
pub(super) struct GuestBody {
    /// One is thought up where none is said.
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_username)]
    username: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
pub(super) struct PasswordBody {
    #[schema(max_length = 256)]
    current_password: String,
    #[schema(schema_with = shapes::password)]
    new_password: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Registered)]
pub(super) struct RegisteredOut<'a> {
    id: &'a str,
    username: &'a str,
    email: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountOut<'a> {
    id: &'a str,
    username: &'a str,
    /// Null: a guest's.
    email: Option<&'a str>,
    guest: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Given)]
pub(super) struct GivenOut<'a> {
    access_token: &'a str,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    user: AccountOut<'a>,
}

impl Api {
    /// What is asked about accounts; `from` is where.
    pub(super) async fn serve_accounts<B>(
        &self,
        endpoint: Endpoint,
        request: Request<B>,
        from: IpAddr,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match endpoint {
            Endpoint::AccountRegister => self.register_account(&self.body(request).await?).await,
            Endpoint::AccountLogin => self.log_in(&self.body(request).await?, from).await,
            Endpoint::AccountGuest => self.register_guest(&self.body(request).await?).await,
            Endpoint::AccountRefresh => self.refresh(&self.bearer(&request).await?).await,
            Endpoint::AccountDelete => self.delete_account(&self.bearer(&request).await?).await,
            Endpoint::AccountPassword => {
                let identity = self.bearer(&request).await?;
                let body = self.body(request).await?;
                self.change_password(&identity, &body, from).await
            }
            _ => self.me(&self.bearer(&request).await?).await,
        }
    }

    async fn register_account(&self, body: &[u8]) -> Result<Answer, Problem> {
        let body: RegisterBody = object(body, "account with username, email and password")?;
        let newcomer = Newcomer {
            username: body.username,
            email: body.email,
            password: body.password,
        };
        let account = self.node.register_account(newcomer).await.map_err(denied)?;
        let registered = RegisteredOut {
            id: account.id.as_str(),
            username: &account.username,
            email: &account.email,
        };
        Ok(answer(StatusCode::CREATED, &registered))
    }

    async fn register_guest(&self, body: &[u8]) -> Result<Answer, Problem> {
        let body = match body {
            [] => GuestBody { username: None },
            body => object(body, "guest with a username or none")?,
        };
        let given = self.node.register_guest(body.username).await;
        Ok(given_out(StatusCode::CREATED, &given.map_err(denied)?))
    }

    async fn log_in(&self, body: &[u8], from: IpAddr) -> Result<Answer, Problem> {
        let body: LoginBody = object(body, "login with username or email, and password")?;
        let claimed = match (body.username, body.email) {
            (Some(name), None) => Claimed::Username(name),
            (None, Some(email)) => Claimed::Email(email),
            _ => {
                let detail = "right is either username or email";
                return Err(Problem {
                    field: Some("username".into()),
                    ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail)
                });
            }
        };
        let given = self.node.log_in(&claimed, &body.password, from).await;
        Ok(given_out(StatusCode::OK, &given.map_err(denied)?))
    }

    async fn me(&self, identity: &Identity) -> Result<Answer, Problem> {
        let account = self.node.account_of(identity).await.map_err(denied)?;
        Ok(answer(StatusCode::OK, &AccountOut::of(&account)))
    }

    async fn refresh(&self, identity: &Identity) -> Result<Answer, Problem> {
        let given = self.node.refresh(identity).await.map_err(denied)?;
        Ok(given_out(StatusCode::OK, &given))
    }

    async fn change_password(
        &self,
        identity: &Identity,
        body: &[u8],
        from: IpAddr,
    ) -> Result<Answer, Problem> {
        let PasswordBody {
            current_password: current,
            new_password: new,
        } = object(body, "change with current_password and new_password")?;
        let changed = self.node.change_password(identity, &current, &new, from);
        changed.await.map_err(denied)?;
        Ok(no_content())
    }

    async fn delete_account(&self, identity: &Identity) -> Result<Answer, Problem> {
        self.node.delete_account(identity).await.map_err(denied)?;
        Ok(no_content())
    }
}

impl<'a> AccountOut<'a> {
    fn of(account: &'a Account) -> Self {
        Self {
            id: account.id.as_str(),
            username: &account.username,
            email: Some(account.email.as_str()).filter(|email| !email.is_empty()),
            guest: account.guest,
            created_at: rfc3339(account.created_at),
        }
    }
}

fn given_out(status: StatusCode, given: &Given) -> Answer {
    let out = GivenOut {
        access_token: &given.token,
        token_type: "bearer",
        expires_in: given.life.as_secs(),
        user: AccountOut::of(&given.account),
    };
    answer(status, &out)
}
