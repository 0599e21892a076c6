//! Every path of the node but the doors, and what can be done there.

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};

use crate::http::{Answer, Problem};

/// A path and what can be done there.
pub struct Path {
    pub path: &'static str,
    pub(super) methods: &'static [(Method, Endpoint)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Card,
    Health,
    HealthRedis,
    SocketHealth,
    Alive,
    Ready,
    Balancer,
    Status,
    Connections,
    Broadcast,
    Playground,
    PairingPage,
    PairingScript,
    PairingStyle,
    CreateSession,
    SessionState,
    EndSession,
    HealthDatabase,
    AccountRegister,
    AccountLogin,
    AccountGuest,
    AccountMe,
    AccountDelete,
    AccountRefresh,
    AccountPassword,
    RecordedList,
    Recorded,
    RecordedPeople,
    RecordedPerson,
    Messages,
    MessageStats,
    Comments,
    Presence,
    Events,
    Replay,
    Text,
    Logout,
    UsersOnline,
    Register,
    Teams,
    Team,
    TeamMembers,
    TeamMember,
    TeamAnalytics,
    Insights,
    Insight,
    Workspaces,
    Workspace,
    WorkspaceJoin,
    WorkspaceLeave,
    WorkspaceUsers,
    AgentsStatus,
    AgentRuns,
    AgentSubscribe,
    AgentUnsubscribe,
    AgentEvents,
    Stats,
    OpenApi,
    AsyncApi,
    Docs,
}

const fn at(path: &'static str, methods: &'static [(Method, Endpoint)]) -> Path {
    Path { path, methods }
}

/// Every path of the node but the doors.
pub const PATHS: &[Path] = &[
    at("/", &[(Method::GET, Endpoint::Card)]),
    at("/health", &[(Method::GET, Endpoint::Health)]),
    at("/health/redis", &[(Method::GET, Endpoint::HealthRedis)]),
    at(
        "/health/database",
        &[(Method::GET, Endpoint::HealthDatabase)],
    ),
    at("/ws/health", &[(Method::GET, Endpoint::SocketHealth)]),
    at("/livez", &[(Method::GET, Endpoint::Alive)]),
    at("/readyz", &[(Method::GET, Endpoint::Ready)]),
    at("/lb", &[(Method::GET, Endpoint::Balancer)]),
    at("/status", &[(Method::GET, Endpoint::Status)]),
    at("/connections", &[(Method::GET, Endpoint::Connections)]),
    at("/broadcast", &[(Method::POST, Endpoint::Broadcast)]),
    at("/playground", &[(Method::GET, Endpoint::Playground)]),
    at(
        "/playground/{*file}",
        &[(Method::GET, Endpoint::Playground)],
    ),
    at("/pairing.html", &[(Method::GET, Endpoint::PairingPage)]),
    at("/pairing.js", &[(Method::GET, Endpoint::PairingScript)]),
    at("/pairing.css", &[(Method::GET, Endpoint::PairingStyle)]),
    at(
        "/api/auth/register",
        &[(Method::POST, Endpoint::AccountRegister)],
    ),
    at("/api/auth/login", &[(Method::POST, Endpoint::AccountLogin)]),
    at("/api/auth/guest", &[(Method::POST, Endpoint::AccountGuest)]),
    at(
        "/api/auth/me",
        &[
            (Method::GET, Endpoint::AccountMe),
            (Method::DELETE, Endpoint::AccountDelete),
        ],
    ),
    at(
        "/api/auth/refresh",
        &[(Method::POST, Endpoint::AccountRefresh)],
    ),
    at(
        "/api/auth/password",
        &[(Method::POST, Endpoint::AccountPassword)],
    ),
    at("/api/auth/logout", &[(Method::POST, Endpoint::Logout)]),
    at(
        "/api/sessions",
        &[
            (Method::GET, Endpoint::RecordedList),
            (Method::POST, Endpoint::RecordedList),
        ],
    ),
    at(
        "/api/sessions/{session_id}",
        &[
            (Method::GET, Endpoint::Recorded),
            (Method::PATCH, Endpoint::Recorded),
            (Method::DELETE, Endpoint::Recorded),
        ],
    ),
    at(
        "/api/sessions/{session_id}/participants",
        &[(Method::GET, Endpoint::RecordedPeople)],
    ),
    at(
        "/api/sessions/{session_id}/participants/{user_id}",
        &[
            (Method::PUT, Endpoint::RecordedPerson),
            (Method::DELETE, Endpoint::RecordedPerson),
        ],
    ),
    at(
        "/api/sessions/{session_id}/messages",
        &[(Method::GET, Endpoint::Messages)],
    ),
    at(
        "/api/sessions/{session_id}/messages/stats",
        &[(Method::GET, Endpoint::MessageStats)],
    ),
    at(
        "/api/sessions/{session_id}/comments",
        &[(Method::GET, Endpoint::Comments)],
    ),
    at(
        "/api/sessions/{session_id}/presence",
        &[(Method::GET, Endpoint::Presence)],
    ),
    at(
        "/api/sessions/{session_id}/events",
        &[(Method::GET, Endpoint::Events)],
    ),
    at(
        "/api/sessions/{session_id}/replay",
        &[(Method::GET, Endpoint::Replay)],
    ),
    at(
        "/api/sessions/{session_id}/text",
        &[(Method::GET, Endpoint::Text)],
    ),
    at(
        "/api/teams",
        &[
            (Method::GET, Endpoint::Teams),
            (Method::POST, Endpoint::Teams),
        ],
    ),
    at(
        "/api/teams/{team_id}",
        &[
            (Method::GET, Endpoint::Team),
            (Method::PATCH, Endpoint::Team),
            (Method::DELETE, Endpoint::Team),
        ],
    ),
    at(
        "/api/teams/{team_id}/members",
        &[(Method::GET, Endpoint::TeamMembers)],
    ),
    at(
        "/api/teams/{team_id}/members/{user_id}",
        &[
            (Method::PUT, Endpoint::TeamMember),
            (Method::DELETE, Endpoint::TeamMember),
        ],
    ),
    at(
        "/api/analytics/team",
        &[(Method::GET, Endpoint::TeamAnalytics)],
    ),
    at(
        "/api/insights",
        &[
            (Method::GET, Endpoint::Insights),
            (Method::POST, Endpoint::Insights),
        ],
    ),
    at(
        "/api/insights/{insight_id}",
        &[
            (Method::GET, Endpoint::Insight),
            (Method::PATCH, Endpoint::Insight),
            (Method::DELETE, Endpoint::Insight),
        ],
    ),
    at(
        "/workspaces",
        &[
            (Method::GET, Endpoint::Workspaces),
            (Method::POST, Endpoint::Workspaces),
        ],
    ),
    at(
        "/workspaces/{workspace_id}",
        &[
            (Method::GET, Endpoint::Workspace),
            (Method::PATCH, Endpoint::Workspace),
            (Method::DELETE, Endpoint::Workspace),
        ],
    ),
    at(
        "/workspaces/{workspace_id}/join",
        &[(Method::POST, Endpoint::WorkspaceJoin)],
    ),
    at(
        "/workspaces/{workspace_id}/leave",
        &[(Method::POST, Endpoint::WorkspaceLeave)],
    ),
    at(
        "/workspaces/{workspace_id}/users",
        &[(Method::GET, Endpoint::WorkspaceUsers)],
    ),
    at("/agents/status", &[(Method::GET, Endpoint::AgentsStatus)]),
    at(
        "/agents/{agent_id}/runs",
        &[(Method::GET, Endpoint::AgentRuns)],
    ),
    at(
        "/agents/{agent_id}/subscribe",
        &[(Method::POST, Endpoint::AgentSubscribe)],
    ),
    at(
        "/agents/{agent_id}/unsubscribe",
        &[(Method::POST, Endpoint::AgentUnsubscribe)],
    ),
    at(
        "/agents/{agent_id}/events",
        &[(Method::POST, Endpoint::AgentEvents)],
    ),
    at("/ws/stats", &[(Method::GET, Endpoint::Stats)]),
    at("/api/users/online", &[(Method::GET, Endpoint::UsersOnline)]),
    at("/api/register", &[(Method::POST, Endpoint::Register)]),
    at(
        "/api/v1/session",
        &[(Method::POST, Endpoint::CreateSession)],
    ),
    at(
        "/api/v1/session/{session_id}",
        &[(Method::DELETE, Endpoint::EndSession)],
    ),
    at(
        "/api/v1/session/{session_id}/state",
        &[(Method::GET, Endpoint::SessionState)],
    ),
    at("/api/openapi.json", &[(Method::GET, Endpoint::OpenApi)]),
    at("/api/asyncapi.json", &[(Method::GET, Endpoint::AsyncApi)]),
    at("/api/docs", &[(Method::GET, Endpoint::Docs)]),
    at("/api/docs/", &[(Method::GET, Endpoint::Docs)]),
    at("/api/docs/{file}", &[(Method::GET, Endpoint::Docs)]),
];

impl Path {
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter().map(|(method, _)| method)
    }

    /// Whether what is done there is written down.
    pub fn keeps_records(&self) -> bool {
        [
            "/api/auth/",
            "/api/sessions",
            "/api/teams",
            "/api/insights",
            "/workspaces",
        ]
        .iter()
        .any(|begin| self.path.starts_with(begin))
    }

    /// Whether those who do something there are paced by their address: it is written down, or told to very many.
    pub fn is_paced(&self) -> bool {
        self.keeps_records() || self.path == "/broadcast"
    }

    pub(super) fn method_not_allowed(&self) -> Answer {
        let allowed: Vec<&str> = self
            .methods
            .iter()
            .map(|(known, _)| known.as_str())
            .collect();
        let allowed = allowed.join(", ");
        let detail = format!("right here is {allowed}");
        let mut answer = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail).answer();
        if let Ok(allow) = HeaderValue::from_str(&allowed) {
            answer.headers_mut().insert(ALLOW, allow);
        }
        answer
    }
}
