//! The `.env` file in the folder where the node starts, and in no other: what lies further up is somebody else's.
//!
//! No sentence repeats a line of it: there are secrets in it.

use std::{fs, io};

use collabd::config::SETTINGS;

const FILE: &str = ".env";
/// Names that others read, in front of whose names these stand.
const OTHERS: [&str; 2] = ["RUST_", "MIMALLOC_"];

/// Puts what it says into the environment, where the environment does not say it already. Returns the names that are no
/// setting.
pub fn load() -> Result<Vec<String>, String> {
    let text = match fs::read_to_string(FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{FILE} cannot be read: {error}")),
    };
    let mut strangers = Vec::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, _) = entry.map_err(|error| wrong(&text, &error))?;
        if !is_known(&name) {
            strangers.push(name);
        }
    }
    dotenvy::from_read(text.as_bytes()).map_err(|error| wrong(&text, &error))?;
    Ok(strangers)
}

fn wrong(text: &str, error: &dotenvy::Error) -> String {
    let right =
        "right is NAME=value; a value with spaces, $, # or quotes in it stands in 'single quotes'";
    let line = match error {
        dotenvy::Error::LineParse(part, _) => text
            .lines()
            .position(|line| line.trim_end().ends_with(part.trim_end())),
        _ => None,
    };
    match line {
        Some(line) => format!("{FILE}, line {}: {right}", line + 1),
        None => format!("{FILE} cannot be understood: {right}"),
    }
}

fn is_known(name: &str) -> bool {
    let is = |known: &str| known == name;
    SETTINGS
        .iter()
        .any(|setting| is(setting.name) || setting.aliases.iter().copied().any(is))
        || OTHERS.iter().any(|front| name.starts_with(front))
}
