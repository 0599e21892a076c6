//! Recorded sessions over REST: made, called something, given roles, ended.

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, Page, bad_field};
use super::body::object;
use super::denied::denied;
use super::docs::shapes;
use super::{Api, Endpoint, Place, no_content};
use crate::auth::Identity;
use crate::clock::rfc3339;
use crate::domain::roles::{Action, Role};
use crate::domain::sessions::Wish;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{BadId, SessionId, UserId};
use crate::node::recorded::Person;
use crate::records::Recorded;

const PAGE: Page = Page {
    usual: 50,
    most: 200,
};
/// What a body is, for the sentence.
const SESSION: &str = "session with title, description, language and default_role";

/// What a session is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewSession)]
pub(super) struct NewBody {
    #[schema(schema_with = shapes::title)]
    title: String,
    #[serde(default)]
    #[schema(schema_with = shapes::description)]
    description: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::language)]
    language: Option<String>,
    /// Of who comes and was given none.
    #[serde(default)]
    #[schema(schema_with = shapes::default_role)]
    default_role: Option<String>,
}

/// What of a session is to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = Wish)]
pub(super) struct WishBody {
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_title)]
    title: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::description)]
    description: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::language)]
    language: Option<String>,
    /// Of who comes and was given none.
    #[serde(default)]
    #[schema(schema_with = shapes::default_role)]
    default_role: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = RoleWish)]
pub(super) struct RoleBody {
    #[schema(value_type = Role)]
    role: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionOut<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    language: &'a str,
    default_role: &'a str,
    owner: PersonOut<'a>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// The caller's; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    role: Option<Role>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
pub(super) struct SessionsOut<'a> {
    items: Vec<SessionOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = People)]
pub(super) struct PeopleOut<'a> {
    items: Vec<PersonOut<'a>>,
    /// Null: all are there.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub(super) struct PersonOut<'a> {
    user_id: &'a str,
    username: &'a str,
    role: Role,
}

impl Api {
    pub(super) async fn serve_recorded<B>(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        request: Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let caller = self.bearer(&request).await?;
        let method = request.method().clone();
        if endpoint == Endpoint::RecordedList && method != Method::POST {
            return self.list(&caller, &Asked::of(request.uri().query())).await;
        }
        if endpoint == Endpoint::RecordedList {
            return self.create(&caller, &self.body(request).await?).await;
        }
        let session = SessionId::parse(place.session).map_err(|bad| wrong("session_id", &bad))?;
        match (endpoint, method) {
            (Endpoint::RecordedPeople, _) => self.people(&caller, &session).await,
            (Endpoint::RecordedPerson, Method::PUT) => {
                let user = UserId::parse(place.user).map_err(|bad| wrong("user_id", &bad))?;
                let body = self.body(request).await?;
                self.assign(&caller, &session, &user, &body).await
            }
            (Endpoint::RecordedPerson, _) => {
                let user = UserId::parse(place.user).map_err(|bad| wrong("user_id", &bad))?;
                let dismissed = self.node.dismiss_participant(&session, &caller, &user);
                dismissed.await.map_err(denied)?;
                Ok(no_content())
            }
            (_, Method::PATCH) => {
                let body = self.body(request).await?;
                self.update(&caller, &session, &body).await
            }
            (_, Method::DELETE) => {
                let ended = self.node.end_recorded(&session, &caller).await;
                ended.map_err(denied)?;
                Ok(no_content())
            }
            _ => {
                let found = self.node.recorded(&session, &caller, Action::Attend).await;
                let (recorded, role) = found.map_err(denied)?;
                Ok(answer(
                    StatusCode::OK,
                    &SessionOut::of(&recorded, Some(role)),
                ))
            }
        }
    }

    async fn create(&self, caller: &Identity, body: &[u8]) -> Result<Answer, Problem> {
        let body: NewBody = object(body, SESSION)?;
        let wish = Wish {
            title: Some(body.title),
            description: body.description,
            language: body.language,
            default_role: body.default_role,
        };
        let made = self.node.create_recorded(caller, wish).await;
        let made = made.map_err(denied)?;
        let out = SessionOut::of(&made, Some(Role::Host));
        Ok(answer(StatusCode::CREATED, &out))
    }

    async fn list(&self, caller: &Identity, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let limit = asked.limit(PAGE)?;
        let cursor = asked.id("cursor", SessionId::parse)?;
        let found = self.node.recorded_of(caller, cursor.as_ref(), limit + 1);
        let mut found = found.await.map_err(denied)?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more);
        let next = next.map(|last| last.id.to_string());
        // After the page is cut: what a token does not open is no end of the list.
        found.retain(|session| caller.admits(&session.id));
        let body = SessionsOut {
            items: found.iter().map(|one| SessionOut::of(one, None)).collect(),
            next_cursor: next,
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn update(
        &self,
        caller: &Identity,
        session: &SessionId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let updated = self.node.update_recorded(session, caller, wish(body)?);
        let (recorded, role) = updated.await.map_err(denied)?;
        Ok(answer(
            StatusCode::OK,
            &SessionOut::of(&recorded, Some(role)),
        ))
    }

    async fn people(&self, caller: &Identity, session: &SessionId) -> Result<Answer, Problem> {
        let people = self.node.people(session, caller).await.map_err(denied)?;
        let body = PeopleOut {
            items: people.iter().map(PersonOut::of).collect(),
            next_cursor: None,
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn assign(
        &self,
        caller: &Identity,
        session: &SessionId,
        user: &UserId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let RoleBody { role } = object(body, "role")?;
        let person = self.node.assign(session, caller, user, &role).await;
        let person = person.map_err(denied)?;
        Ok(answer(StatusCode::OK, &PersonOut::of(&person)))
    }
}

impl<'a> SessionOut<'a> {
    fn of(recorded: &'a Recorded, role: Option<Role>) -> Self {
        Self {
            id: recorded.id.as_str(),
            title: &recorded.title,
            description: &recorded.description,
            language: &recorded.language,
            default_role: &recorded.default_role,
            owner: PersonOut {
                user_id: recorded.owner.as_str(),
                username: &recorded.owner_name,
                role: Role::Host,
            },
            created_at: rfc3339(recorded.created_at),
            updated_at: rfc3339(recorded.updated_at),
            role,
        }
    }
}

impl<'a> PersonOut<'a> {
    fn of(person: &'a Person) -> Self {
        Self {
            user_id: person.user.as_str(),
            username: &person.username,
            role: person.role,
        }
    }
}

fn wish(body: &[u8]) -> Result<Wish, Problem> {
    let body: WishBody = object(body, SESSION)?;
    Ok(Wish {
        title: body.title,
        description: body.description,
        language: body.language,
        default_role: body.default_role,
    })
}

fn wrong(field: &'static str, bad: &BadId) -> Problem {
    bad_field(field, bad.to_string())
}
