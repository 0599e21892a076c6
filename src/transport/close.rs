//! Why sockets are closed: the codes, what they tell people, and whether coming back makes sense.

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
pub const RESTARTING: u16 = 1012;
pub const AT_CAPACITY: u16 = 1013;
pub const BAD_FRAMES: u16 = 4400;
pub const NOT_FOUND: u16 = 4404;
pub const SILENT: u16 = 4408;
pub const ENDED: u16 = crate::node::ENDED;

/// Whether the user may come back as they are: then they have not left before the grace is over.
pub fn may_return(code: u16) -> bool {
    matches!(
        code,
        1001 | 1011 | 1012 | 1013 | 4408 | 4429 | crate::hub::TOO_SLOW
    )
}
