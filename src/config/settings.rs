//! The one list of settings.

use std::fmt;

/// One setting, as people meet it.
pub struct Setting {
    /// The environment variable; the flag is the same in lower case with dashes.
    pub name: &'static str,
    /// Older names for it, tried in order.
    pub aliases: &'static [&'static str],
    pub default: &'static str,
    pub right: Right,
    pub help: &'static str,
    /// Its value is never shown.
    pub secret: bool,
}

/// What a right value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Right {
    /// Unit, least, most.
    Whole(&'static str, u64, u64),
    /// Least and most seconds; parts of a second are fine.
    Seconds(f64, f64),
    Flag,
    Choice(&'static [&'static str]),
    Text(&'static str),
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whole("", least, most) => write!(f, "{least} to {most}"),
            Whole(unit, least, most) => write!(f, "{least} to {most} {unit}"),
            Seconds(least, most) => write!(f, "{least} to {most} s"),
            Flag => write!(f, "true or false"),
            Choice(words) => write!(f, "{}", words.join(", ")),
            Text(rule) => f.write_str(rule),
        }
    }
}

const fn setting(
    name: &'static str,
    default: &'static str,
    right: Right,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        aliases: &[],
        default,
        right,
        help,
        secret: false,
    }
}

const DAY: f64 = 86_400.0;
const GIB: u64 = 1 << 30;

use Right::{Choice, Flag, Seconds, Text, Whole};

/// Every setting, in the order of the README's table.
pub const SETTINGS: &[Setting] = &[
    Setting {
        aliases: &["ENV"],
        ..setting(
            "ENVIRONMENT",
            "development",
            Text("any word"),
            "Shown in the service card",
        )
    },
    setting(
        "APP_NAME",
        "collabd",
        Text("any word"),
        "Service name in logs and the service card",
    ),
    setting(
        "NODE_NAME",
        "",
        Text("any word; empty: the host's name"),
        "This node's name for people",
    ),
    setting(
        "HOST",
        "",
        Text("an IP address or host name"),
        "Address of the public listener. Unless given: `127.0.0.1` with AUTH=open, `0.0.0.0` with AUTH=token",
    ),
    setting(
        "PORT",
        "8004",
        Whole("", 1, 65_535),
        "Port of the public listener",
    ),
    setting(
        "LISTEN",
        "",
        Text("a list of address:port; empty: HOST and PORT"),
        "Several listeners at once",
    ),
    setting(
        "METRICS_HOST",
        "",
        Text("an IP address or host name; empty: HOST"),
        "Address of the metrics listener",
    ),
    setting(
        "METRICS_PORT",
        "9464",
        Whole("", 0, 65_535),
        "Port of `/metrics`; 0 turns it off",
    ),
    setting(
        "AUTH",
        "",
        Choice(&["open", "token"]),
        "Who a socket is: `token` reads it from a token, `open` believes `user_id`. Unless given: `token` with \
         JWT_SECRET or JWKS_URL, else `open`, which an address that others can reach needs said explicitly",
    ),
    Setting {
        aliases: &["JWT_SECRET_KEY"],
        secret: true,
        ..setting(
            "JWT_SECRET",
            "",
            Text("a list of secrets, each of 16 characters or more, without commas"),
            "Secrets of HS256 tokens: the first signs, all verify",
        )
    },
    Setting {
        secret: true,
        ..setting(
            "JWKS_URL",
            "",
            Text("http:// or https:// and a host"),
            "Where the keys of RS256, ES256 and EdDSA tokens are published",
        )
    },
    setting(
        "JWKS_REFRESH",
        "600",
        Seconds(1.0, DAY),
        "Between two fetches of these keys; an unknown key asks for one at once",
    ),
    setting(
        "JWKS_TIMEOUT",
        "3",
        Seconds(0.05, 60.0),
        "Time for one fetch",
    ),
    setting(
        "JWT_ISSUER",
        "",
        Text("any text; empty: any issuer"),
        "The `iss` that tokens must have",
    ),
    setting(
        "JWT_AUDIENCE",
        "",
        Text("any text; empty: any audience"),
        "What the `aud` of tokens must name",
    ),
    Setting {
        secret: true,
        ..setting(
            "USER_SERVICE_URL",
            "",
            Text(
                "http:// or https:// and a host, with nothing behind the path; empty: nobody is asked",
            ),
            "The user service: `GET {url}/users/{id}` says who comes to a socket door, and the name it says wins",
        )
    },
    setting(
        "USER_SERVICE_MODE",
        "prefer",
        Choice(&["prefer", "require"]),
        "`prefer`: who is not known there comes in all the same, and everybody does while it is away. `require`: who is not known \
         there gets 403 or 4403, and while it is away everybody gets 503 or 1013",
    ),
    setting(
        "USER_SERVICE_TIMEOUT",
        "1",
        Seconds(0.05, 30.0),
        "Time for its answer; at most as long is waited for a turn to ask",
    ),
    setting(
        "USER_SERVICE_CACHE_TTL",
        "60",
        Seconds(0.0, DAY),
        "How long its answer is believed; a tenth as long that it does not know a user",
    ),
    setting(
        "IDE_BRIDGE_URL",
        "",
        Text("http:// or https:// and a host, or nothing"),
        "The IDE bridge, which is told of changes in workspaces and of starts and ends of agents' runs, by webhooks as Standard Webhooks has them",
    ),
    Setting {
        secret: true,
        ..setting(
            "IDE_BRIDGE_SECRET",
            "",
            Text("a text, or whsec_ and base64"),
            "By which these are signed; without it they are not",
        )
    },
    setting(
        "IDE_BRIDGE_TIMEOUT",
        "10",
        Seconds(0.1, 60.0),
        "Longest wait for the bridge to take one",
    ),
    setting(
        "IDE_BRIDGE_ATTEMPTS",
        "12",
        Whole("failures", 1, 1_000),
        "After so many failures, over some minutes, an event is given up, and laid aside in Redis (`…:hooks:dead`, for 7 days)",
    ),
    Setting {
        secret: true,
        ..setting(
            "AI_AGENTS_URL",
            "",
            Text(
                "http:// or https:// and a host, with nothing behind the path; empty: nobody is asked",
            ),
            "The AI-agents service: `GET {url}/agents/{id}` says what an agent is",
        )
    },
    setting(
        "AI_AGENTS_TIMEOUT",
        "1",
        Seconds(0.05, 30.0),
        "Time for its answer; at most as long is waited for a turn to ask",
    ),
    setting(
        "AI_AGENTS_CACHE_TTL",
        "60",
        Seconds(0.0, DAY),
        "How long its answer is believed; a tenth as long that it does not know an agent",
    ),
    setting(
        "NEIGHBOUR_CACHE",
        "10000",
        Whole("answers", 1, 10_000_000),
        "Answers of each of these services that are kept",
    ),
    setting(
        "NEIGHBOUR_REQUESTS",
        "64",
        Whole("requests", 1, 10_000),
        "Requests to each of them at once; more wait for their turn",
    ),
    setting(
        "NEIGHBOUR_FAILURES",
        "5",
        Whole("failures", 1, 1_000),
        "After so many in a row a service is not asked for NEIGHBOUR_PAUSE; then by one at a time, until it answers",
    ),
    setting(
        "NEIGHBOUR_PAUSE",
        "5",
        Seconds(0.1, 3_600.0),
        "How long a service that failed is left alone",
    ),
    setting(
        "ALLOWED_ORIGINS",
        "",
        Text(
            "`*`, or a list such as https://a.example,https://b.example; empty: `*` in open mode, else the same host",
        ),
        "Pages that may connect, by WebSocket and CORS",
    ),
    setting(
        "PUBLIC_URL",
        "",
        Text("http://, https://, ws:// or wss:// and a host; empty: where the request came to"),
        "Where clients reach this service; told to who registers",
    ),
    setting(
        "ADVERTISE_ADDRESS",
        "",
        Text(
            "host:port; empty: the first listener, or this machine's address towards Redis with its port",
        ),
        "Where other nodes reach this one: requests of Socket.IO clients that come to another node are passed to the one that has the socket",
    ),
    setting(
        "MAX_PASSED_REQUESTS",
        "4096",
        Whole("requests", 1, 1_000_000),
        "Requests and tunnels passed to other nodes at once; more get 503",
    ),
    setting(
        "PASS_TIMEOUT",
        "1",
        Seconds(0.05, 60.0),
        "Time in which another node must be reached; otherwise its client is told to connect anew",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        Text("a list of networks such as 10.0.0.0/8,fd00::/8; empty: none"),
        "Proxies whose X-Forwarded-For is believed",
    ),
    setting(
        "PROXY_PROTOCOL",
        "false",
        Flag,
        "Connections from TRUSTED_PROXIES begin with a PROXY header of version 2",
    ),
    setting(
        "TLS_CERT",
        "",
        Text("a path to a chain in PEM; empty: no TLS"),
        "Certificate of the public listeners; read again on SIGHUP and when it changes",
    ),
    setting(
        "TLS_KEY",
        "",
        Text("a path to a private key in PEM"),
        "The certificate's key",
    ),
    setting(
        "TOKEN_TTL",
        "43200",
        Seconds(60.0, DAY * 365.0),
        "Life of a token that who logs in is given",
    ),
    setting(
        "MAX_TOKENS_PER_ACCOUNT",
        "100",
        Whole("tokens", 1, 10_000),
        "Such tokens of an account that live; for one more the oldest is revoked",
    ),
    setting(
        "PASSWORD_HASHES",
        "2",
        Whole("", 1, 1_024),
        "Passwords hashed at once, each on a core and in 19 MiB; who waits for more than 5 s gets 503 `busy`",
    ),
    setting(
        "TLS_LOOK_INTERVAL",
        "10",
        Seconds(0.1, DAY),
        "How often certificate and key are looked at",
    ),
    Setting {
        secret: true,
        ..setting(
            "REDIS_URL",
            "",
            Text(
                "redis://[user:password@]host[:port][/database], redis-cluster://…?node=host:port or \
                 redis-sentinel://…?sentinelServiceName=name&node=host:port, with TLS rediss…; empty: this node works alone",
            ),
            "Where nodes meet. Every further `node=` is one more to ask; sentinels may have `sentinelUsername=` and `sentinelPassword=` of their own",
        )
    },
    setting(
        "REDIS_CA",
        "",
        Text("a path of PEM certificates; empty: the system's"),
        "What TLS to Redis trusts",
    ),
    Setting {
        secret: true,
        ..setting(
            "RABBITMQ_URL",
            "",
            Text(
                "amqp://[user:password@]host[:port][/vhost], with TLS amqps://…; empty: match events come by REST alone",
            ),
            "Where match events come from; all nodes that are told share them. `?heartbeat=` says how many seconds between signs of life, 10 unless given",
        )
    },
    setting(
        "RABBITMQ_CA",
        "",
        Text("a path of PEM certificates; empty: the system's"),
        "What TLS to RabbitMQ trusts",
    ),
    setting(
        "QUEUE_NAME",
        "collaboration_events",
        Text("1 to 250 bytes, not beginning with `amq.`"),
        "Queue of match events, taken as it is, and made durable where it is not there. What is no match event, or has more than MAX_BODY_BYTES, goes to the queue of this name with `.dead` behind it",
    ),
    setting(
        "QUEUE_PREFETCH",
        "32",
        Whole("events", 1, 10_000),
        "Match events in flight on a node",
    ),
    setting(
        "QUEUE_RECONNECT_MAX",
        "10",
        Seconds(0.1, 3_600.0),
        "Longest pause between two tries to reach RabbitMQ",
    ),
    Setting {
        secret: true,
        ..setting(
            "DATABASE_URL",
            "",
            Text("postgres://[user:password@]host[:port]/database, sqlite:file, or none"),
            "What is kept beyond sessions. Unless given: `sqlite:collabd.db`, and with REDIS_URL `none`: nodes of a cluster share a PostgreSQL or keep nothing. A `+driver` behind the scheme is ignored",
        )
    },
    setting(
        "DATABASE_POOL",
        "10",
        Whole("connections", 1, 1_000),
        "Connections to the database at most",
    ),
    setting(
        "DATABASE_TIMEOUT",
        "5",
        Seconds(0.1, 60.0),
        "Wait for a connection and a statement together; then the asker gets `records_unavailable`",
    ),
    setting(
        "SAVE_INTERVAL",
        "2",
        Seconds(0.05, 3_600.0),
        "Between savings of the texts of recorded sessions to the database; until then they are in Redis alone. At most half of SESSION_GRACE",
    ),
    setting(
        "DOCUMENT_BATCH",
        "0.01",
        Seconds(0.0, 1.0),
        "Updates of Yjs clients to one session's text within this time are stored and told as one",
    ),
    setting(
        "DOCUMENT_LOG_LENGTH",
        "500",
        Whole("versions", 16, 100_000),
        "Versions of a session's text, back from the newest, that a change by a whole text may be made from; from older ones it gets version_gone",
    ),
    setting(
        "DOCUMENT_LOG_BYTES",
        "4194304",
        Whole("bytes", 65_536, 1 << 30),
        "Updates of a session's text that are kept for that; of more, fewer versions",
    ),
    setting(
        "DOCUMENT_LINGER",
        "30",
        Seconds(0.0, 3_600.0),
        "How long a session's text stays in a node's memory after its last socket there",
    ),
    setting(
        "MAX_DOCUMENT_LENGTH",
        "2097152",
        Whole("UTF-16 units", 1_024, 1 << 30),
        "Longest text of a session, whoever writes it; a Yjs client that goes beyond it is closed with 1009",
    ),
    setting(
        "REPLAY_STEP",
        "1",
        Seconds(0.01, 3_600.0),
        "Between texts of a recorded session that are kept for its replay; of those in between only who wrote, and when",
    ),
    setting(
        "RECORDS_RETENTION",
        "",
        Text("some of events=DAYS,messages=DAYS,runs=DAYS, or nothing"),
        "Days after which events and messages of recorded sessions, and runs of agents, are deleted; what is not named is kept for ever",
    ),
    setting(
        "REACTIONS_PER_MESSAGE",
        "200",
        Whole("reactions", 1, 10_000),
        "Of all users together; more get `too_many`",
    ),
    setting(
        "IDLE_AFTER",
        "60",
        Seconds(0.5, 86_400.0),
        "A user who sends no command for so long is told to the others as idle; ping and auth do not count",
    ),
    setting(
        "AWAY_AFTER",
        "300",
        Seconds(0.5, 86_400.0),
        "And as away, without cursor and viewport",
    ),
    setting(
        "MAX_PARTICIPANTS",
        "1000",
        Whole("users", 1, 1_000),
        "Users with a role of their own in a recorded session; more get `too_many`",
    ),
    setting(
        "MAX_TEAMS_PER_USER",
        "100",
        Whole("teams", 1, 10_000),
        "Teams that a user made and is in; more get `too_many`",
    ),
    setting(
        "MAX_TEAM_MEMBERS",
        "200",
        Whole("users", 1, 1_000),
        "Members of a team; more get `too_many`",
    ),
    setting(
        "MAX_TEAM_INSIGHTS",
        "10000",
        Whole("insights", 1, 1_000_000),
        "Insights of a team; more get `too_many`",
    ),
    setting(
        "KEY_PREFIX",
        "",
        Text("at most 64 characters, no braces"),
        "In front of every key",
    ),
    setting(
        "COMMAND_TIMEOUT",
        "2",
        Seconds(0.05, 60.0),
        "Wait for Redis before a command counts as failed",
    ),
    setting(
        "DURABILITY",
        "master",
        Choice(&["master", "replica"]),
        "Who must have a commit before it is acknowledged. With `replica` one that no replica has within COMMAND_TIMEOUT answers `backplane_unavailable`; repeated with its id it happens once",
    ),
    setting(
        "PROBE_SILENCE",
        "10",
        Seconds(0.2, 3_600.0),
        "Nothing heard from Redis for this long: something is published to see whether it is heard. Half of it more, and the listening connection begins anew",
    ),
    setting(
        "LEASE",
        "10",
        Seconds(1.0, 300.0),
        "A node not heard of for this long is gone",
    ),
    setting(
        "BEAT_INTERVAL",
        "3",
        Seconds(0.1, 100.0),
        "How often a node says that it lives",
    ),
    setting(
        "REAP_PAUSE",
        "30",
        Seconds(0.0, 3_600.0),
        "After Redis was away: how long nobody is taken for gone",
    ),
    setting(
        "MAX_CONNECTIONS",
        "50000",
        Whole("sockets", 1, 1_000_000),
        "Sockets of this node; more get 503 or 1013",
    ),
    setting(
        "MAX_CONNECTIONS_PER_USER",
        "20",
        Whole("sockets", 1, 100_000),
        "Sockets of one user on all nodes; more get 429 or 4429",
    ),
    setting(
        "MAX_ROOMS_PER_SOCKET",
        "100",
        Whole("rooms", 1, 10_000),
        "Rooms a socket may be in that enters them by itself; more get `too_many`",
    ),
    setting(
        "MAX_AGENT_SUBSCRIPTIONS",
        "1000",
        Whole("agents", 1, 100_000),
        "Agents a user follows, and a socket listens to; more get `too_many`",
    ),
    setting(
        "MAX_WORKSPACE_MEMBERS",
        "1000",
        Whole("users", 1, 1_000),
        "Users who belong to a workspace, there or not; whom REST adds beyond that gets `too_many`",
    ),
    setting(
        "AGENT_LOST_AFTER",
        "30",
        Seconds(1.0, 3_600.0),
        "An agent's run whose socket has been gone for this long has failed, as `lost`",
    ),
    setting(
        "AGENT_SILENCE",
        "3600",
        Seconds(1.0, 86_400.0),
        "The same of a run that is told of over REST, from its last word on",
    ),
    setting(
        "AGENT_TTL",
        "2592000",
        Seconds(1.0, 31_536_000.0),
        "How long an agent is remembered after its last run",
    ),
    setting(
        "HOOKS_LENGTH",
        "10000",
        Whole("events", 1, 1_000_000),
        "Events of a workspace, or of an agent without one, that wait for the IDE bridge; the oldest beyond that are lost",
    ),
    setting(
        "MAX_RECIPIENTS",
        "1000",
        Whole("users", 1, 10_000),
        "Users a directed event is for; more get `too_many`",
    ),
    setting(
        "MAX_EVENT_BYTES",
        "65536",
        Whole("bytes", 64, GIB),
        "Data of a directed event; more gets `bad_field`",
    ),
    setting(
        "MAX_NOTIFICATION_BYTES",
        "65536",
        Whole("bytes", 64, GIB),
        "Data of a notification; more gets 413. LOG_LENGTH of them are kept",
    ),
    setting(
        "MAX_NOTIFICATION_USERS",
        "1000",
        Whole("users", 1, 10_000),
        "Users a notification names; more get `bad_field`",
    ),
    setting(
        "COURIER_BYTE_RATE",
        "1048576",
        Whole("bytes per s", 1_024, GIB),
        "Directed events of a user on a node, counted once for each recipient; more get `rate_limited`",
    ),
    setting(
        "COURIER_BYTE_BURST",
        "8388608",
        Whole("bytes", 65_536, GIB),
        "The same at once; a single event that comes to more gets `too_many`",
    ),
    setting(
        "COURIER_EVENT_TYPES",
        "",
        Text("a list of words of 1 to 64 of a-z A-Z 0-9 _ . : -"),
        "Types of directed events beside position_shared, comment_added, position_updated and share_revoked",
    ),
    setting(
        "PRESENCE_BROADCAST_LIMIT",
        "1000",
        Whole("users", 0, 1_000_000),
        "With more users in the courier, only those are told of one's coming and going who exchanged an event with that one",
    ),
    setting(
        "INBOX",
        "on",
        Choice(&["on", "off"]),
        "Whether directed events are kept for users who are away",
    ),
    setting(
        "INBOX_LENGTH",
        "1000",
        Whole("events", 1, 100_000),
        "Directed events that a user has not been told; for more the sender is told that the inbox is full",
    ),
    setting(
        "INBOX_BYTES",
        "4194304",
        Whole("bytes", 1_024, GIB),
        "The same in bytes; a single event is taken whatever its size",
    ),
    setting(
        "INBOX_TTL",
        "86400",
        Seconds(1.0, 30.0 * DAY),
        "Life of an inbox after its last event",
    ),
    setting(
        "MESSAGE_RATE",
        "50",
        Whole("frames per s", 1, 1_000_000),
        "Frames of a socket; faster ones get `rate_limited` and are not executed",
    ),
    setting(
        "MESSAGE_BURST",
        "100",
        Whole("frames", 1, 1_000_000),
        "Frames of a socket at once",
    ),
    setting(
        "BYTE_RATE",
        "524288",
        Whole("bytes per s", 1_024, GIB),
        "Bytes of a socket; at once twice as many, or one whole frame",
    ),
    setting(
        "USER_MESSAGE_RATE",
        "200",
        Whole("frames per s", 1, 1_000_000),
        "Frames of all of a user's sockets on a node, and at once",
    ),
    setting(
        "FLOOD_TIME",
        "10",
        Seconds(1.0, 3_600.0),
        "Three times the rate of a socket for this long closes it with 4429",
    ),
    setting(
        "HANDSHAKE_RATE",
        "20",
        Whole("per s", 1, 1_000_000),
        "WebSocket handshakes of an address; faster ones get 429 or 4429. This machine's own are not counted",
    ),
    setting(
        "HANDSHAKE_BURST",
        "100",
        Whole("handshakes", 1, 1_000_000),
        "Handshakes of an address at once",
    ),
    setting(
        "MAX_HANDSHAKES_PER_SECOND",
        "2000",
        Whole("handshakes", 1, 1_000_000),
        "WebSocket handshakes of everybody together; more get 503 or 1013, and are told when to come again",
    ),
    setting(
        "MAX_HANDSHAKES",
        "4096",
        Whole("connections", 1, 100_000),
        "Connections that are not sockets yet; more wait in the kernel",
    ),
    setting(
        "MAX_HANDSHAKES_PER_ADDRESS",
        "512",
        Whole("connections", 1, 100_000),
        "Of these from one address; more are cut. This machine's own and TRUSTED_PROXIES' are not counted",
    ),
    setting(
        "MAX_HTTP_AGE",
        "300",
        Seconds(1.0, DAY),
        "Life of a connection that does not become a socket",
    ),
    setting(
        "HANDSHAKE_TIMEOUT",
        "10",
        Seconds(0.1, 300.0),
        "Time for a request's head, and for its body",
    ),
    setting(
        "HEARTBEAT_INTERVAL",
        "25",
        Seconds(0.2, 3_600.0),
        "Between pings; a socket silent for two is closed with 4408",
    ),
    setting(
        "CLOSE_TIMEOUT",
        "5",
        Seconds(0.1, 60.0),
        "Time for a peer to read the close frame",
    ),
    setting(
        "MAX_FRAME_BYTES",
        "1048576",
        Whole("bytes", 1_024, GIB),
        "One message; larger ones close with 1009",
    ),
    setting(
        "MAX_CODE_BYTES",
        "524288",
        Whole("bytes", 1, GIB),
        "A session's text; larger ones get `bad_field`",
    ),
    setting(
        "MAX_CHAT_BYTES",
        "8192",
        Whole("bytes", 1, 1_048_576),
        "A chat message; larger ones get `bad_field`",
    ),
    setting(
        "MAX_BODY_BYTES",
        "1048576",
        Whole("bytes", 1_024, GIB),
        "A request's body; larger ones get 413",
    ),
    setting(
        "MAX_BAD_FRAMES",
        "20",
        Whole("frames", 1, 10_000),
        "Bad frames of a socket in a minute; one more closes it with 4400",
    ),
    setting(
        "MESSAGE_QUEUE_SIZE",
        "256",
        Whole("messages", 1, 1_000_000),
        "Messages waiting for a slow socket; more close it with 4503",
    ),
    setting(
        "OUTBOX_BYTES",
        "1048576",
        Whole("bytes", 1_024, GIB),
        "Bytes waiting for a slow socket; more close it with 4503",
    ),
    setting(
        "LEAVE_GRACE",
        "5",
        Seconds(0.0, 3_600.0),
        "Time for a lost user to come back before the others are told",
    ),
    setting(
        "SESSION_AUTOCREATE",
        "true",
        Flag,
        "Whether a session is made by coming; otherwise 404",
    ),
    setting(
        "SESSION_GRACE",
        "300",
        Seconds(0.1, 30.0 * DAY),
        "Life of a session after its last socket",
    ),
    setting(
        "SESSION_TTL",
        "86400",
        Seconds(1.0, 30.0 * DAY),
        "Life of a session nobody has come to",
    ),
    setting(
        "ENDED_TTL",
        "86400",
        Seconds(1.0, 30.0 * DAY),
        "How long an ended session stays refused",
    ),
    setting(
        "CHAT_HISTORY",
        "100",
        Whole("messages", 1, 10_000),
        "Chat messages that greet a newcomer",
    ),
    setting(
        "LOG_LENGTH",
        "1000",
        Whole("events", 1, 1_000_000),
        "Events of a room kept to fill holes",
    ),
    setting(
        "LOG_TTL",
        "86400",
        Seconds(1.0, 30.0 * DAY),
        "Life of these events; renewed with every 64th",
    ),
    setting(
        "IDEMPOTENCY_TTL",
        "300",
        Seconds(1.0, DAY),
        "How long a command's id is remembered",
    ),
    setting(
        "RELAY_WORKERS",
        "0",
        Whole("", 0, 256),
        "Tasks that deliver; 0: as many as cores less one",
    ),
    setting(
        "RELAY_QUEUE",
        "16384",
        Whole("events", 64, 1_048_576),
        "Events waiting for a relay worker; more are read from the log",
    ),
    setting(
        "COMPARE_IDLE",
        "30",
        Seconds(0.3, DAY),
        "A room quiet for this long, or up to a third longer, is compared with Redis",
    ),
    setting(
        "WORKER_THREADS",
        "0",
        Whole("", 0, 1_024),
        "Threads of the runtime; 0: as many as cores less one, which the kernel uses for the network",
    ),
    setting(
        "DRAIN_DELAY",
        "10",
        Seconds(0.0, 3_600.0),
        "After SIGTERM: not ready, but whoever comes is served, until balancers have noticed",
    ),
    setting(
        "DRAIN_RATE",
        "500",
        Whole("sockets per s", 1, 1_000_000),
        "Sockets closed with 1012 then",
    ),
    setting(
        "DRAIN_WINDOW",
        "90",
        Seconds(1.0, 3_600.0),
        "Longest time over which they are closed, and in which they are told to come back",
    ),
    setting(
        "STOP_TIMEOUT",
        "10",
        Seconds(0.1, 600.0),
        "Time for the rest: members handed over, lease given up",
    ),
    setting(
        "DEBUG",
        "false",
        Flag,
        "Level DEBUG, and pretty logs unless LOG_FORMAT is set",
    ),
    setting(
        "LOG_LEVEL",
        "INFO",
        Choice(&["DEBUG", "INFO", "WARNING", "ERROR"]),
        "What is logged; any case",
    ),
    setting(
        "LOG_FORMAT",
        "json",
        Choice(&["json", "pretty", "line"]),
        "How it is logged",
    ),
    setting(
        "LOG_FILE",
        "",
        Text("a path; empty: standard output alone"),
        "A copy of the log",
    ),
    setting(
        "LOG_FILE_BYTES",
        "104857600",
        Whole("bytes", 1_024, 1 << 40),
        "Size at which the file is renamed to `.1`",
    ),
];
