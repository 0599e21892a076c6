//! Adds to a document what follows from the route table, and from the manner all routes have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{problems, shapes};
use crate::api::{PATHS, Path};

/// Names in paths, and what they are.
const NAMES: &[(&str, &str)] = &[
    ("session_id", "The session."),
    ("user_id", "The user."),
    ("team_id", "The team."),
    ("insight_id", "The insight."),
    ("workspace_id", "The workspace."),
    ("agent_id", "The agent."),
];

/// What a query must say where it may say it; the macro for queries has no word for that.
const NEEDED: &[&str] = &["team_id"];

const PROBLEM: &str = "application/problem+json";
/// Where an operation names the codes of its refusals.
const CODES: &str = "x-problems";

pub(super) fn complete(document: &mut Value) {
    for (name, description) in NAMES {
        document["components"]["parameters"][*name] = json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": description,
            "schema": shapes::id(),
        });
    }
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                finish(path, method, operation);
            }
        }
    }
}

fn finish(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let mut codes = named(operation);
    if let Some(body) = operation.get_mut("requestBody") {
        settle_body(body);
        codes.extend(["bad_field", "bad_frame", "timeout", "too_large"].map(str::to_owned));
    }
    if set_parameters(path, operation) {
        codes.insert("bad_field".to_owned());
    }
    if operation.get("security") != Some(&json!([{}])) {
        codes.extend(["unauthorized", "identity_unavailable"].map(str::to_owned));
    }
    let known = PATHS.iter().find(|known| known.path == path);
    if known.is_some_and(Path::keeps_records) {
        codes.insert("records_unavailable".to_owned());
    }
    if method != "get" && known.is_some_and(Path::is_paced) {
        codes.insert("rate_limited".to_owned());
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    for (status, (codes, sentences)) in by_status(&codes) {
        responses[status.to_string()] = refusal(status, &codes, &sentences);
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        // One that needs no word of its own.
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = match status.as_str() {
                "201" => "It is made.",
                _ => "What was asked for.",
            }
            .into();
        }
    }
}

/// The codes an operation names itself.
fn named(operation: &mut Map<String, Value>) -> BTreeSet<String> {
    let codes = operation.remove(CODES).unwrap_or_default();
    let codes = codes.as_array().into_iter().flatten();
    codes.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A body that may be left out is a `null` nowhere.
fn settle_body(body: &mut Value) {
    for media in body["content"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
    {
        let real = media["schema"]["oneOf"].as_array().and_then(|either| {
            let real = either.iter().find(|one| one["type"] != "null");
            real.cloned()
        });
        if let Some(real) = real {
            media["schema"] = real;
        }
    }
}

/// Names the parameters of the path; whether there are any, there or in the query.
fn set_parameters(path: &str, operation: &mut Map<String, Value>) -> bool {
    let names = path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?;
        name.strip_suffix('}')
    });
    let own: Vec<_> = names
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else {
        return false;
    };
    for parameter in parameters.iter_mut() {
        let is_needed = NEEDED.iter().any(|name| parameter["name"] == *name);
        if is_needed && parameter["in"] == "query" {
            parameter["required"] = true.into();
        }
    }
    parameters.extend(own);
    let any = !parameters.is_empty();
    if !any {
        operation.remove("parameters");
    }
    any
}

/// Codes and what they mean, under their statuses.
fn by_status(codes: &BTreeSet<String>) -> BTreeMap<u16, (Vec<&str>, Vec<String>)> {
    let mut found: BTreeMap<u16, (Vec<&str>, Vec<String>)> = BTreeMap::new();
    for code in codes {
        let (status, meaning) = problems::find(code).expect("every code that is named has its row");
        let (codes, sentences) = found.entry(status).or_default();
        codes.push(code);
        sentences.push(format!("`{code}`: {meaning}."));
    }
    found
}

fn refusal(status: u16, codes: &[&str], sentences: &[String]) -> Value {
    let mut refusal = json!({
        "description": sentences.join(" "),
        "content": { PROBLEM: { "schema": {
            "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "status": { "const": status }, "code": { "enum": codes } } },
            ],
        } } },
    });
    let header = match status {
        401 => Some((
            "WWW-Authenticate",
            "How to say who one is.",
            json!({ "const": "Bearer" }),
        )),
        429 | 503 => {
            let seconds = json!({ "type": "integer", "minimum": 1 });
            Some(("Retry-After", "When to come again, in seconds.", seconds))
        }
        _ => None,
    };
    if let Some((name, description, schema)) = header {
        refusal["headers"][name] =
            json!({ "description": description, "required": true, "schema": schema });
    }
    refusal
}
