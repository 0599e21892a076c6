//! Keeps the house in order: layers, module heads, and tables that name everything there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use collabd::api::{PATHS, docs};
use collabd::config::{SETTINGS, env_example};
use collabd::telemetry::metrics::{Kind, LIST};
use collabd::transport::Door;
use serde_json::Value;

/// A folder or file of `src` and its row: imports go down, to lower rows only.
const ROWS: &[(&str, u8)] = &[
    ("main", 7),
    ("token", 7),
    ("healthcheck", 7),
    ("envfile", 7),
    ("app", 6),
    ("config", 5),
    ("transport", 4),
    ("api", 4),
    ("intake", 4),
    ("node", 3),
    ("dialects", 2),
    ("domain", 1),
    ("hub", 1),
    ("backplane", 1),
    ("auth", 1),
    ("limits", 1),
    ("records", 1),
    ("neighbours", 1),
    ("ids", 0),
    ("clock", 0),
    ("telemetry", 0),
    ("http", 0),
    ("bunching", 0),
    ("trust", 0),
];

/// `dialects → domain` within their row, and what is in row 0 may see each other: they are leaves.
fn allowed(from: &str, to: &str) -> bool {
    let row = |name: &str| {
        ROWS.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, row)| *row)
    };
    match (row(from), row(to)) {
        _ if from == to => true,
        (Some(0), Some(0)) => true,
        // The domain is above hub and backplane in the house, and knows neither all the same.
        (Some(from), Some(to)) => from > to,
        _ => false,
    }
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 20, "the sources were found");
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of the house a file belongs to.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("it is in src");
    let first = inside.components().next().expect("it has a name");
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// The rooms a file names after `crate::`, in braces too.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let named: Vec<&str> = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(group) => {
                let end = group.find("};").unwrap_or(group.len());
                group[..end].split(',').map(str::trim).collect()
            }
        };
        for name in named {
            let word: String = name
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if ROWS.iter().any(|(known, _)| *known == word) {
                found.insert(word);
            }
        }
    }
    found
}

#[test]
fn imports_go_down() {
    let mut wrong = Vec::new();
    for path in sources() {
        let from = room(&path);
        if from == "lib" {
            continue;
        }
        assert!(
            ROWS.iter().any(|(known, _)| *known == from),
            "{from} has no row"
        );
        for to in imports(&read(&path)) {
            if !allowed(&from, &to) {
                wrong.push(format!("{}: {from} may not import {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_example_of_an_env_file_has_every_setting() {
    let kept = read(&root().join(".env.example"));
    let right = "cargo run -- env-example > .env.example";
    assert!(kept == env_example(), ".env.example is old; {right}");
}

#[test]
fn the_domain_knows_no_wire_and_no_store() {
    let mut wrong = Vec::new();
    for path in sources() {
        let forbidden: &[&str] = match room(&path).as_str() {
            "domain" => &["crate::hub", "crate::backplane", "fred::", "tokio::"],
            "hub" => &["serde_json", "fred::", "crate::domain"],
            "dialects" => &["tokio::", "fred::", "crate::hub", "crate::backplane"],
            _ => &[],
        };
        let text = read(&path);
        for word in forbidden.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{} speaks of {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_holds() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "without a head: {silent:?}");
}

/// Guards the README against drift; the rows below are what it must contain.
#[test]
fn every_setting_and_metric_stands_in_the_readme() {
    let readme = read(&root().join("README.md"));
    let settings = SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            "" => "–".to_owned(),
            default => format!("`{default}`"),
        };
        format!(
            "| `{}` | {default} | {} | {} |",
            setting.name, setting.right, setting.help
        )
    });
    let metrics = LIST.iter().map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name, metric.labels, metric.help
        )
    });
    let lacking: Vec<String> = settings
        .chain(metrics)
        .filter(|row| !readme.contains(row.as_str()))
        .collect();
    assert!(
        lacking.is_empty(),
        "README.md lacks:\n{}",
        lacking.join("\n")
    );
}

/// Guards against a metric that is counted but stands in no table.
#[test]
fn every_metric_counted_is_in_the_list() {
    let text = read(&root().join("src/telemetry/metrics.rs"));
    let mut counted = 0;
    for (at, _) in text.match_indices("!(\"collab_") {
        let name = text[at + 3..].split('"').next().expect("a name ends");
        assert!(
            LIST.iter().any(|metric| metric.name == name),
            "{name} is not listed"
        );
        counted += 1;
    }
    assert!(counted >= LIST.len() - 2, "the macros were found");
}

/// Pages and their parts, and what documents the rest.
const UNDOCUMENTED: [&str; 10] = [
    "/playground",
    "/playground/{*file}",
    "/pairing.html",
    "/pairing.js",
    "/pairing.css",
    "/api/openapi.json",
    "/api/asyncapi.json",
    "/api/docs",
    "/api/docs/",
    "/api/docs/{file}",
];

/// Guards against a route that the document does not know, and an operation that there is not. The head of `src/api/docs/mod.rs`
/// says how to write one.
#[test]
fn every_route_is_documented() {
    let routes: BTreeSet<(String, String)> = PATHS
        .iter()
        .filter(|path| !UNDOCUMENTED.contains(&path.path))
        .flat_map(|path| {
            path.methods()
                .map(|method| (path.path.to_owned(), method.as_str().to_lowercase()))
        })
        .collect();
    let document = docs::document();
    let paths = document["paths"].as_object().expect("there are paths");
    let operations: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path has operations").keys();
            methods.map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    let lacking: Vec<_> = routes.difference(&operations).collect();
    assert!(lacking.is_empty(), "without an operation: {lacking:?}");
    let invented: Vec<_> = operations.difference(&routes).collect();
    assert!(invented.is_empty(), "without a route: {invented:?}");
}

/// A door was added and nobody wrote about what is said there.
#[test]
fn every_door_has_a_channel() {
    let document: Value = serde_json::from_slice(&docs::asyncapi()).expect("it is JSON");
    let channels = document["channels"]
        .as_object()
        .expect("there are channels");
    for door in Door::ALL {
        let mut channels = channels.values();
        let is_there = channels.any(|channel| channel["address"] == door.path());
        assert!(is_there, "{} has no channel", door.path());
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}
