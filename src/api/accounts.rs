//! Accounts over REST: register, log in, and what is done with a token of one's own.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::access::refused as not_admitted;
use super::body::{object, refused};
use super::{Api, Endpoint, no_content};
use crate::auth::Identity;
use crate::clock::rfc3339;
use crate::http::{Answer, Problem, json as answer};
use crate::node::accounts::{Claimed, Denied, Given, Newcomer};
use crate::records::Account;

#[derive(Deserialize)]
struct RegisterBody {
    username: String,
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct LoginBody {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    password: String,
}

#[derive(Deserialize)]
struct GuestBody {
    #[serde(default)]
    username: Option<String>,
}

#[derive(Deserialize)]
struct PasswordBody {
    current_password: String,
    new_password: String,
}

#[derive(Serialize)]
struct RegisteredOut<'a> {
    id: &'a str,
    username: &'a str,
    email: &'a str,
}

#[derive(Serialize)]
struct AccountOut<'a> {
    id: &'a str,
    username: &'a str,
    /// Null: a guest's.
    email: Option<&'a str>,
    guest: bool,
    created_at: String,
}

#[derive(Serialize)]
struct GivenOut<'a> {
    access_token: &'a str,
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

fn denied(why: Denied) -> Problem {
    let detail = why.to_string();
    let plain = |status, code| Problem::new(status, code, detail.clone());
    match why {
        Denied::Bad(reject) => refused(reject),
        Denied::Taken(field) => Problem {
            field: Some(field.into()),
            ..plain(StatusCode::CONFLICT, "conflict")
        },
        Denied::Unknown => plain(StatusCode::UNAUTHORIZED, "unauthorized"),
        Denied::WrongPassword => Problem {
            field: Some("current_password".into()),
            ..plain(StatusCode::FORBIDDEN, "forbidden")
        },
        Denied::TooOften(wait) => Problem {
            retry_after_s: Some(wait.as_secs() + 1),
            ..plain(StatusCode::TOO_MANY_REQUESTS, "rate_limited")
        },
        Denied::NoAccount | Denied::Off(_) => plain(StatusCode::NOT_FOUND, "not_found"),
        Denied::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Denied::Records(detail) => {
            tracing::debug!(detail, "the database did not do it");
            records_unavailable(&detail)
        }
        Denied::Node(why) => not_admitted(&why),
    }
}

fn records_unavailable(detail: &str) -> Problem {
    // What a database says of itself is for the log.
    let detail = if detail.starts_with("DATABASE_URL") {
        "nothing is kept here: this cluster has no DATABASE_URL"
    } else {
        "the database cannot be reached now; this may not have been done; try again"
    };
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "records_unavailable",
        detail,
    )
}
