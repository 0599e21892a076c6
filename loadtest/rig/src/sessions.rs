//! Recorded sessions, whose doors are not open to everybody: made over REST, entered with tokens.
//!
//! Tokens are signed here with the node's secret, which is quicker than making accounts, and to the node the same: it
//! verifies each of them. All who come are editors, because that is the sessions' default role.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::node::SECRET;
use crate::{Result, host};

/// Whose sessions they are.
const HOST: &str = "rig-host";
/// Longer than any run.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
const PATIENCE: Duration = Duration::from_secs(10);
/// A node is ready before its database has the tables; it has them within this.
const TABLES: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(100);

/// A token of this user's.
pub fn token(user: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({"sub": user, "iat": now.as_secs(), "exp": (now + TOKEN_LIFE).as_secs()});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    Ok(encode(&Header::default(), &claims, &key)?)
}

/// Makes a session for each of the names; returns their ids.
pub fn make(address: SocketAddr, names: &[String]) -> Result<HashMap<String, String>> {
    let token = token(HOST)?;
    let end = host::now() + TABLES.as_nanos() as u64;
    let one = |name: &String| loop {
        host::check_signals()?;
        let answer = post(address, &token, name)?;
        match made(&answer) {
            Some(id) => return Ok((name.clone(), id)),
            None if is_early(&answer) && host::now() < end => std::thread::sleep(AGAIN),
            None => return Err(format!("session {name} was not made: {answer}").into()),
        }
    };
    names.iter().map(one).collect()
}

/// The whole answer.
fn post(address: SocketAddr, token: &str, name: &str) -> Result<String> {
    let body = json!({"title": name, "default_role": "editor"}).to_string();
    let request = format!(
        "POST /api/sessions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_early(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ")
}

/// The id in the answer to who made a session.
fn made(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 201 ") {
        return None;
    }
    let session: Value = serde_json::from_str(body).ok()?;
    Some(session["id"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against seats in sessions that were never made.
    #[test]
    fn only_what_was_made_has_an_id() {
        let answer = |status, body| format!("HTTP/1.1 {status}\r\nServer: x\r\n\r\n{body}");
        let id = r#"{"id":"r-1","title":"rig"}"#;
        assert_eq!(made(&answer("201 Created", id)).as_deref(), Some("r-1"));
        assert_eq!(made(&answer("429 Too Many Requests", id)), None);
        assert_eq!(made(&answer("201 Created", r#"{"id":7}"#)), None);
        assert_eq!(made("HTTP/1.1 201 Created"), None);
        assert!(is_early(&answer("503 Service Unavailable", "")));
        assert!(!is_early(&answer("401 Unauthorized", "")));
    }

    /// Guards the sockets' way in: each has a token of its own user, by the algorithm that a secret is for.
    #[test]
    fn a_token_is_of_its_user() {
        let (one, other) = (token("u1").expect("signed"), token("u2").expect("signed"));
        let header = jsonwebtoken::decode_header(&one).expect("a token");
        assert_eq!(header.alg, jsonwebtoken::Algorithm::HS256);
        assert_ne!(one, other);
    }
}
