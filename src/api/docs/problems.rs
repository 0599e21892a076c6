//! Every code of a refusal by REST: its status, and what it means.

/// Code, status, and what happened.
type Row = (&'static str, u16, &'static str);

const ROWS: &[Row] = &[
    (
        "bad_field",
        400,
        "something of the request is missing or wrong; `field` names it",
    ),
    ("bad_frame", 400, "the body ended too early"),
    (
        "unknown_type",
        400,
        "the body is a frame that is not taken here",
    ),
    ("too_many", 400, "there are as many as there may be"),
    (
        "unauthorized",
        401,
        "there is no token, or it is not believed",
    ),
    ("forbidden", 403, "this is not the caller's to do"),
    ("not_found", 404, "there is no such thing"),
    ("timeout", 408, "the body did not come in time"),
    (
        "conflict",
        409,
        "somebody else has what `field` names, or, without a `field`, a team would have no owner",
    ),
    ("ended", 410, "the session has ended"),
    (
        "version_gone",
        410,
        "what this version of the text was made of is not kept any more",
    ),
    (
        "too_large",
        413,
        "the body is larger than MAX_BODY_BYTES, or what `field` names larger than it may be",
    ),
    ("rate_limited", 429, "this came too often"),
    (
        "identity_unavailable",
        503,
        "the keys that tokens are checked with cannot be fetched now",
    ),
    (
        "records_unavailable",
        503,
        "the database is away, or there is none",
    ),
    (
        "backplane_unavailable",
        503,
        "the node cannot reach its cluster now",
    ),
    ("busy", 503, "too many passwords are being looked at"),
    ("draining", 503, "the node is leaving; another one serves"),
];

/// The status of a code, and its sentence.
pub(super) fn find(code: &str) -> Option<(u16, &'static str)> {
    let row = ROWS.iter().find(|(known, ..)| *known == code)?;
    Some((row.1, row.2))
}
