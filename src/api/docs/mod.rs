//! What the node says of itself: OpenAPI of its routes, AsyncAPI of its doors, and pages that show the former.
//!
//! A route is documented in the file of its area, in a few lines: a function without a body under `#[utoipa::path]`, named
//! in the `paths(…)` of that file's `Area`. Its doc comment is the summary, and behind an empty line the description. Bodies and
//! answers are the structs that are read and written, with `ToSchema` derived, under the name of `#[schema(as = …)]`; [`shapes`] has
//! the forms of ids, names and texts. A new area is one line in [`AREAS`].
//!
//! Not to be written, because [`complete`] knows it from [`super::PATHS`] and from the operation: parameters of the
//! path (each name once in [`complete`]), the area's tag, the need of a token (`security(())` where there is none), and the refusals
//! that every route with a token, a body, a parameter or records has. What else a route refuses is named by its codes:
//! `extensions(("x-problems" = json!(["not_found", "conflict"])))`; [`problems`] has a row for every code.
//!
//! `tests/it/tidy.rs` compares the document with the table, both ways. A document is made once, when it is first asked
//! for; what is wrong in it is found by the tests below.

mod accounts;
mod agents;
mod asyncapi;
mod complete;
mod courier;
mod health;
mod history;
mod insights;
mod notifications;
mod pages;
mod problems;
mod recorded;
mod sessions;
pub(super) mod shapes;
mod teams;
mod workspaces;

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

pub use self::asyncapi::asyncapi;
pub(super) use self::pages::page;
use crate::http::Wire;

/// A tag, what is below it, and its operations.
type Area = (&'static str, &'static str, fn() -> Document);

const AREAS: &[Area] = &[
    (
        "health",
        "Whether the node lives, is ready, and what it carries.",
        health::Area::openapi,
    ),
    (
        "accounts",
        "Accounts, and the tokens they are given.",
        accounts::Area::openapi,
    ),
    (
        "recorded sessions",
        "Sessions that outlive their people: owner, roles, text.",
        recorded::Area::openapi,
    ),
    (
        "history",
        "What was said and what happened in recorded sessions.",
        history::Area::openapi,
    ),
    (
        "sessions",
        "Sessions as the doors know them: made of a match, looked at, ended.",
        sessions::Area::openapi,
    ),
    (
        "courier",
        "Users with a courier, and cards for those who come without one.",
        courier::Area::openapi,
    ),
    (
        "notifications",
        "What is said to everybody who is there, at whatever door.",
        notifications::Area::openapi,
    ),
    (
        "teams",
        "People who keep notes on sessions together. Only members know that a team is there.",
        teams::Area::openapi,
    ),
    (
        "insights",
        "What teams note of sessions, and what their members did.",
        insights::Area::openapi,
    ),
    (
        "workspaces",
        "Where people and agents work on one thing, and who belongs there.",
        workspaces::Area::openapi,
    ),
    (
        "agents",
        "How agents are, what they did, and who follows them.",
        agents::Area::openapi,
    ),
];

#[derive(OpenApi)]
#[openapi(components(schemas(Wire)))]
struct Root;

const DESCRIPTION: &str = "Rooms, presence and ordered delivery over WebSockets, many nodes as one through Redis. \
    This is what is asked by REST; the doors that sockets come in by are in `/api/asyncapi.json`. Bodies are JSON, \
    unknown fields are ignored. Errors are `application/problem+json` (RFC 9457) with a `code` for programs; every `429` and \
    `503` says in `Retry-After` when to come again. With `AUTH=open` only accounts, recorded sessions and teams ask for a token.";

const TOKEN: &str = "A token of this node (`/api/auth/login`, `collabd token`) or of an issuer whose keys it knows. It may \
    stand as `token` in the query instead, where no header can be set.";

/// The document of all routes, as JSON.
pub(super) fn openapi() -> Bytes {
    static MADE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));
    MADE.clone()
}

/// The document of all routes.
pub fn document() -> Value {
    let mut document = Root::openapi();
    let mut tags = Vec::new();
    for (tag, description, area) in AREAS {
        tags.push(json!({ "name": tag, "description": description }));
        document.merge(tagged(tag, area()));
    }
    let mut document = serde_json::to_value(document).expect("a document is JSON");
    document["info"] = json!({
        "title": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "description": DESCRIPTION,
        "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
    });
    document["tags"] = tags.into();
    document["security"] = json!([{ "bearer": [] }]);
    document["components"]["securitySchemes"]["bearer"] = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": TOKEN,
    });
    complete::complete(&mut document);
    document
}

fn tagged(tag: &str, mut area: Document) -> Document {
    for item in area.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            operation.tags = Some(vec![tag.to_owned()]);
        }
    }
    area
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = document["paths"].as_object().expect("there are paths");
        paths.iter().flat_map(|(path, item)| {
            let item = item.as_object().expect("a path has operations");
            item.iter()
                .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    /// Guards against an operation that a generator of clients can do nothing with.
    #[test]
    fn every_operation_says_what_it_is() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let what = format!("{method} {path}: {operation}");
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')),
                "{what}"
            );
            assert!(
                ids.insert(operation["operationId"].as_str().expect("it has an id")),
                "{what}"
            );
            assert_eq!(
                operation["tags"].as_array().map(Vec::len),
                Some(1),
                "{what}"
            );
            assert!(operation.get("x-problems").is_none(), "{what}");
            let responses = operation["responses"].as_object().expect("it answers");
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{what}"
            );
            for response in responses.values() {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{what}"
                );
            }
            // Whoever shows a token may show a bad one.
            let is_open = operation["security"] == json!([{}]);
            assert!(is_open || responses.contains_key("401"), "{what}");
        }
        assert!(ids.len() > 20, "the operations were found");
    }

    /// Guards against a schema that is named and not there.
    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
