//! Why sockets are closed: the codes on the wire, and what they mean for coming back.

use bytes::Bytes;

use crate::dialects::Dialect;
use crate::dialects::socketio::packet::write;
use crate::hub::{Speech, TOO_SLOW, frame};

/// The peer closed without a code.
pub const NO_CODE: u16 = 1005;
/// The connection was lost; never on the wire.
pub const LOST: u16 = 1006;
pub const NORMAL: u16 = 1000;
pub const GOING_AWAY: u16 = 1001;
pub const PROTOCOL: u16 = 1002;
pub const BINARY: u16 = 1003;
pub const NOT_UTF8: u16 = 1007;
pub const ORIGIN: u16 = 1008;
pub const TOO_LARGE: u16 = 1009;
pub const RESTARTING: u16 = crate::node::drain::RESTARTING;
pub const INTERNAL: u16 = 1011;
pub const AT_CAPACITY: u16 = 1013;
pub const BAD_FRAMES: u16 = 4400;
pub const BAD_TOKEN: u16 = crate::node::lobby::BAD_TOKEN;
pub const FORBIDDEN: u16 = 4403;
pub const NOT_FOUND: u16 = 4404;
pub const SILENT: u16 = 4408;
pub const TOO_FAST: u16 = 4429;
pub const ENDED: u16 = crate::node::ENDED;

/// Whether a client may come back as it is.
fn may_come_back(code: u16) -> bool {
    matches!(
        code,
        GOING_AWAY | INTERNAL | RESTARTING | AT_CAPACITY | SILENT | TOO_FAST | TOO_SLOW
    )
}

/// How sockets of a dialect are spoken to.
pub fn speech(dialect: Dialect) -> Speech {
    Speech {
        tongue: dialect.tongue(),
        parting: match dialect {
            Dialect::Pairing
            | Dialect::Raw
            | Dialect::Review
            | Dialect::Workspace
            | Dialect::Yjs => |_| None,
            Dialect::SocketIo => parting,
        },
    }
}

/// The client library comes back by itself when its connection ends, unless it is told to stay away.
fn parting(code: u16) -> Option<Bytes> {
    (!may_come_back(code)).then(|| frame::text_with(2, write::disconnected))
}
