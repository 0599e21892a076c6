//! Workspaces over REST: made, looked at, called something else, deleted; and who belongs to them.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Caller, forbidden};
use super::asked::{Asked, Page, id};
use super::body::object;
use super::denied::denied;
use super::docs::shapes;
use super::{Api, Endpoint, Place, no_content};
use crate::clock::rfc3339;
use crate::domain::workspaces::{Person, View, Wish, Workspace};
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{self, UserId, WorkspaceId};
use crate::node::is_trusted;

const PAGE: Page = Page {
    usual: 50,
    most: 200,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = NewWorkspace)]
pub(super) struct WorkspaceBody {
    #[schema(schema_with = shapes::workspace_name)]
    name: String,
    #[serde(default)]
    #[schema(schema_with = shapes::workspace_description)]
    description: Option<String>,
    /// Who makes it, on an open node; otherwise the token says so.
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_id)]
    user_id: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::name)]
    username: Option<String>,
}

/// What of a workspace is to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = WorkspaceWish)]
pub(super) struct WorkspacePatch {
    #[serde(default)]
    #[schema(schema_with = shapes::maybe_workspace_name)]
    name: Option<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::workspace_description)]
    description: Option<String>,
}

/// Who comes, or goes.
#[derive(Deserialize, ToSchema)]
#[schema(as = WorkspaceMember)]
pub(super) struct MemberBody {
    #[schema(schema_with = shapes::id)]
    user_id: String,
    #[serde(default)]
    #[schema(schema_with = shapes::name)]
    username: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Workspace)]
pub(super) struct WorkspaceOut<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    /// Null: nobody said so.
    created_by: Option<&'a str>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Distinct users who belong to it or are there; only where one workspace is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_count: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Workspaces)]
pub(super) struct WorkspacesOut<'a> {
    workspaces: Vec<WorkspaceOut<'a>>,
    /// Null: there are no more.
    next_cursor: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WorkspaceUsers)]
pub(super) struct PeopleOut<'a> {
    /// At most 1,000.
    users: Vec<PersonOut<'a>>,
    /// All of them.
    count: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WorkspaceUser)]
pub(super) struct PersonOut<'a> {
    user_id: &'a str,
    username: &'a str,
    /// Has a socket in it.
    online: bool,
}

impl Api {
    pub(super) async fn serve_workspaces(
        &self,
        endpoint: Endpoint,
        place: &Place<'_>,
        caller: &Caller,
        method: &Method,
        query: Option<&str>,
        body: &Bytes,
    ) -> Result<Answer, Problem> {
        let workspace = || id("workspace_id", place.workspace, WorkspaceId::parse);
        match endpoint {
            Endpoint::Workspaces if method == Method::POST => {
                self.make_workspace(caller, body).await
            }
            Endpoint::Workspaces => self.workspaces(&Asked::of(query)).await,
            Endpoint::WorkspaceUsers => {
                let view = self.node.workspace(&workspace()?).await.map_err(denied)?;
                let body = PeopleOut {
                    users: view.people.iter().map(PersonOut::of).collect(),
                    count: view.user_count,
                };
                Ok(answer(StatusCode::OK, &body))
            }
            Endpoint::WorkspaceJoin => self.join_workspace(caller, &workspace()?, body).await,
            Endpoint::WorkspaceLeave => self.leave_workspace(caller, &workspace()?, body).await,
            _ if method == Method::DELETE => {
                let workspace = workspace()?;
                self.owned(caller, &workspace).await?;
                let by = caller.as_ref().map(|identity| &identity.user);
                let deleted = self.node.delete_workspace(&workspace, by).await;
                deleted.map_err(denied)?;
                Ok(no_content())
            }
            _ if method == Method::PATCH => {
                let workspace = workspace()?;
                let wish = wish(body)?;
                self.owned(caller, &workspace).await?;
                let by = caller.as_ref().map(|identity| &identity.user);
                let changed = self.node.change_workspace(&workspace, by, &wish).await;
                Ok(answer(StatusCode::OK, &whole(&changed.map_err(denied)?)))
            }
            _ => {
                let view = self.node.workspace(&workspace()?).await.map_err(denied)?;
                Ok(answer(StatusCode::OK, &whole(&view)))
            }
        }
    }

    async fn make_workspace(&self, caller: &Caller, body: &[u8]) -> Result<Answer, Problem> {
        let WorkspaceBody {
            name,
            description,
            user_id,
            username,
        } = object(body, "workspace with name and description")?;
        let said = user_id.map(|user| id("user_id", &user, UserId::parse));
        let said = said.transpose()?;
        let by = match caller {
            Some(identity) => Some(identity.user.clone()),
            None => said,
        };
        let known = caller.as_ref().and_then(|identity| identity.name.clone());
        let said = username.map(|name| username_of(&name)).transpose()?;
        let by = by.as_ref().map(|user| {
            let name = known.or(said).unwrap_or_else(|| user.as_str().into());
            (user, name)
        });
        let wish = Wish {
            name: Some(name),
            description,
        };
        let made = self.node.make_workspace(by, &wish).await;
        let made = made.map_err(denied)?;
        Ok(answer(StatusCode::CREATED, &WorkspaceOut::of(&made)))
    }

    async fn workspaces(&self, asked: &Asked<'_>) -> Result<Answer, Problem> {
        let (limit, cursor) = (asked.limit(PAGE)?, asked.id("cursor", WorkspaceId::parse)?);
        let page = self.node.workspaces(cursor.as_ref(), limit.into()).await;
        let page = page.map_err(denied)?;
        let body = WorkspacesOut {
            workspaces: page.workspaces.iter().map(WorkspaceOut::of).collect(),
            next_cursor: page.next.as_ref().map(WorkspaceId::as_str),
        };
        Ok(answer(StatusCode::OK, &body))
    }

    async fn join_workspace(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let (user, username) = self.whom(caller, workspace, body).await?;
        let own = caller.as_ref().filter(|identity| identity.user == user);
        let known = own.and_then(|identity| identity.name.clone());
        let name = match (known, username) {
            (Some(name), _) => name,
            (None, Some(name)) => name,
            (None, None) => user.as_str().into(),
        };
        let joined = self.node.join_workspace(workspace, &user, name).await;
        joined.map_err(denied)?;
        Ok(no_content())
    }

    async fn leave_workspace(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        let (user, _) = self.whom(caller, workspace, body).await?;
        let left = self.node.leave_workspace(workspace, &user).await;
        left.map_err(denied)?;
        Ok(no_content())
    }

    /// Oneself; others are for who made the workspace, services and admins.
    async fn whom(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        body: &[u8],
    ) -> Result<(UserId, Option<Arc<str>>), Problem> {
        let MemberBody { user_id, username } = object(body, "member with user_id and username")?;
        let user = id("user_id", &user_id, UserId::parse)?;
        let username = username.map(|name| username_of(&name)).transpose()?;
        if caller
            .as_ref()
            .is_some_and(|identity| identity.user != user)
        {
            self.owned(caller, workspace).await?;
        }
        Ok((user, username))
    }

    /// For who made it, services and admins; anybody on an open node.
    async fn owned(&self, caller: &Caller, workspace: &WorkspaceId) -> Result<(), Problem> {
        let view = self.node.workspace(workspace).await.map_err(denied)?;
        match caller {
            Some(identity)
                if !is_trusted(identity)
                    && view.workspace.created_by.as_ref() != Some(&identity.user) =>
            {
                Err(forbidden(
                    "that is for who made the workspace, a service or an admin",
                ))
            }
            _ => Ok(()),
        }
    }
}

impl<'a> WorkspaceOut<'a> {
    fn of(workspace: &'a Workspace) -> Self {
        Self {
            id: workspace.id.as_str(),
            name: &workspace.name,
            description: &workspace.description,
            created_by: workspace.created_by.as_ref().map(UserId::as_str),
            created_at: rfc3339(workspace.created_at),
            user_count: None,
        }
    }
}

impl<'a> PersonOut<'a> {
    fn of(person: &'a Person) -> Self {
        Self {
            user_id: person.user.as_str(),
            username: &person.name,
            online: person.online,
        }
    }
}

fn whole(view: &View) -> WorkspaceOut<'_> {
    WorkspaceOut {
        user_count: Some(view.user_count),
        ..WorkspaceOut::of(&view.workspace)
    }
}

fn wish(body: &[u8]) -> Result<Wish, Problem> {
    let WorkspacePatch { name, description } = object(body, "wish with name or description")?;
    Ok(Wish { name, description })
}

fn username_of(name: &str) -> Result<Arc<str>, Problem> {
    ids::name(name).map_err(|bad| Problem {
        field: Some("username".into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", bad.to_string())
    })
}
