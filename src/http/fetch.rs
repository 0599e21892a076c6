//! What is fetched from other hosts: which URLs can be asked, how much of an answer is taken, and errors that tell no
//! URL, which may hold a password.

use std::error::Error;

use reqwest::{Response, Url};

/// A URL that can be asked: `http` or `https`, with a host.
pub fn url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// The whole body of an answer, unless it is longer than `most` bytes.
pub async fn body(mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reasons)? {
        if body.len() + chunk.len() > most {
            return Err(format!("the answer is longer than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes, and without the URL.
pub fn reasons(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}
