//! Swagger UI, out of the binary: it shows the document of the routes, and asks nobody else for anything.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, HeaderValue, LOCATION};
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use crate::api::not_found;
use crate::http::{Answer, empty, html, part};

const HOME: &str = "/api/docs/";

/// The page, or the part of it at this path.
pub(in crate::api) fn page(path: &str) -> Answer {
    let Some(file) = path.strip_prefix(HOME) else {
        return moved();
    };
    let config = Config::from("/api/openapi.json")
        .use_base_layout()
        .validator_url("none")
        .deep_linking(true)
        .display_operation_id(true);
    // It has no way to fail but by what was built in.
    match serve(file, Arc::new(config)) {
        Ok(Some(found)) => shown(file, found),
        _ => not_found(path),
    }
}

/// Its parts are named from there.
fn moved() -> Answer {
    let mut answer = empty(StatusCode::PERMANENT_REDIRECT);
    let home = HeaderValue::from_static(HOME);
    answer.headers_mut().insert(LOCATION, home);
    answer
}

fn shown(file: &str, found: SwaggerFile<'static>) -> Answer {
    let bytes = match found.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let kind = match file.rsplit_once('.') {
        None | Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "png")) => "image/png",
        Some(_) => "application/octet-stream",
    };
    let mut answer = if kind.starts_with("text/html") {
        html(bytes)
    } else {
        part(kind, bytes)
    };
    // They were packed when the binary was built; every browser unpacks them.
    if found.gzpipped {
        let gzip = HeaderValue::from_static("gzip");
        answer.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    answer
}
