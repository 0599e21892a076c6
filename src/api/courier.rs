//! The courier over REST: who is there, and cards for users who need not be.

use hyper::header::HOST;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Caller, forbidden};
use super::body::object;
use super::docs::shapes;
use super::{Api, problem};
use crate::auth::Role;
use crate::backplane::Card;
use crate::clock::rfc3339;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{self, UserId};

/// Users of a page, unless it is asked for fewer; and at most.
const PAGE: u64 = 1_000;

#[derive(Deserialize, ToSchema)]
#[schema(as = Card)]
pub(super) struct CardBody {
    #[schema(schema_with = shapes::id)]
    user_id: String,
    /// At most 2,048 bytes without spaces and control characters.
    #[serde(default)]
    #[schema(schema_with = shapes::url)]
    backend_url: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::name)]
    display_name: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Registration)]
pub(super) struct CardOut {
    /// Always true.
    success: bool,
    /// Where the courier's door is: PUBLIC_URL, or the address this request came to.
    collab_ws_url: String,
    /// A sentence.
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Online)]
pub(super) struct OnlineOut<'a> {
    users: Vec<UserOut<'a>>,
    /// All users with a courier, beyond this page, too.
    count: u64,
    /// Left out: there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OnlineUser)]
pub(super) struct UserOut<'a> {
    user_id: &'a str,
    display_name: &'a str,
    backend_url: Option<&'a str>,
    #[schema(format = DateTime)]
    connected_at: String,
    /// Always `online`.
    status: &'static str,
}

impl Api {
    /// Users with a courier, in the order of their ids; `next_cursor` when there are more.
    pub(super) async fn users_online(&self, query: Option<&str>) -> Result<Answer, Problem> {
        let (mut limit, mut cursor) = (PAGE, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "limit" => limit = page_of(&value)?,
                "cursor" if value.is_empty() => {}
                "cursor" => cursor = Some(user("cursor", &value)?),
                _ => {}
            }
        }
        let page = self
            .node
            .online(cursor.as_ref(), limit)
            .await
            .map_err(|error| problem(&error))?;
        let users: Vec<UserOut<'_>> = page
            .users
            .iter()
            .map(|online| UserOut {
                user_id: online.user.as_str(),
                display_name: &online.member.name,
                backend_url: online.member.backend_url.as_deref(),
                connected_at: rfc3339(online.member.at),
                status: "online",
            })
            .collect();
        let body = OnlineOut {
            users,
            count: page.count,
            next_cursor: page.next.as_ref().map(UserId::as_str),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    /// Notes a user's name and backend; makes nobody present.
    pub(super) async fn register(
        &self,
        caller: &Caller,
        body: &[u8],
        url: String,
    ) -> Result<Answer, Problem> {
        let CardBody {
            user_id,
            backend_url,
            display_name,
        } = object(body, "card with user_id, backend_url and display_name")?;
        let user = user("user_id", &user_id)?;
        if let Some(identity) = caller
            && identity.user != user
            && identity.role != Some(Role::Service)
        {
            return Err(forbidden(
                "user_id is not the token's sub; only a service registers others",
            ));
        }
        let bad = |field: &'static str| move |error: ids::BadId| wrong(field, error.to_string());
        if let Some(name) = &display_name {
            ids::name(name).map_err(bad("display_name"))?;
        }
        if let Some(url) = &backend_url {
            ids::url(url).map_err(bad("backend_url"))?;
        }
        let card = Card {
            display_name,
            backend_url,
        };
        let registered = self.node.register(&user, &card).await;
        registered.map_err(|error| problem(&error))?;
        let body = CardOut {
            success: true,
            collab_ws_url: url,
            message: "Connect there via Socket.IO, or a WebSocket at /, with user_id, backend_url and display_name",
        };
        Ok(answer(StatusCode::OK, &body))
    }

    /// Where the courier is reached: as the settings say, or as this request reached it.
    pub(super) fn socket_url<B>(&self, request: &Request<B>) -> String {
        if let Some(url) = &self.config.public_url {
            return url.clone();
        }
        let scheme = if self.config.tls { "wss" } else { "ws" };
        let host = request.headers().get(HOST);
        let host = host.and_then(|host| host.to_str().ok());
        format!("{scheme}://{}", host.unwrap_or("localhost"))
    }
}

fn page_of(limit: &str) -> Result<u64, Problem> {
    let number = limit
        .parse()
        .ok()
        .filter(|limit| (1..=PAGE).contains(limit));
    number.ok_or_else(|| wrong("limit", format!("limit is {limit:?}; right is 1 to {PAGE}")))
}

fn user(field: &'static str, id: &str) -> Result<UserId, Problem> {
    UserId::parse(id).map_err(|error| wrong(field, error.to_string()))
}

fn wrong(field: &'static str, detail: String) -> Problem {
    Problem {
        field: Some(field.into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail)
    }
}
