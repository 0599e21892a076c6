//! The playground: a page for people, built from `playground/` and kept in the binary. It loads from this node alone.

use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Request;
use hyper::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, VARY};
use rust_embed::Embed;

use super::not_found;
use crate::http::{Answer, html, part};

/// Where it is served. Its parts name each other from there.
const HOME: &str = "/playground";
const PAGE: &str = "index.html";
/// Their names change with what is in them.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASSETS: &str = "assets/";

#[derive(Embed)]
#[folder = "playground/dist"]
struct Built;

/// A file, as it is and packed.
struct File {
    plain: Bytes,
    packed: Bytes,
}

/// The page, or the part of it at this path.
pub(super) fn serve<B>(request: &Request<B>) -> Answer {
    let path = request.uri().path();
    let file = path.strip_prefix(HOME).unwrap_or_default();
    let name = match file.trim_start_matches('/') {
        "" => PAGE,
        name => name,
    };
    let Some(file) = FILES.get(name) else {
        return not_found(path);
    };
    let gzip = request.headers().get(ACCEPT_ENCODING);
    let gzip = gzip
        .and_then(|said| said.to_str().ok())
        .is_some_and(takes_gzip);
    let body = if gzip { &file.packed } else { &file.plain };
    let mut answer = match kind(name) {
        "text/html" => html(body.clone()),
        kind => part(kind, body.clone()),
    };
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let cached = if name.starts_with(ASSETS) {
        FOR_EVER
    } else {
        "no-cache"
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
    answer
}

/// Packed when somebody first asks: most nodes never show it.
static FILES: LazyLock<HashMap<String, File>> = LazyLock::new(|| {
    let files = Built::iter().filter_map(|name| {
        let plain = Bytes::from(Built::get(&name)?.data.into_owned());
        let packed = packed(&plain);
        Some((name.into_owned(), File { plain, packed }))
    });
    files.collect()
});

fn packed(plain: &[u8]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packer.write_all(plain).and_then(|()| packer.finish());
    packed.expect("writing to memory cannot fail").into()
}

fn takes_gzip(accepted: &str) -> bool {
    let mut ways = accepted.split(',').map(|way| way.split(';').map(str::trim));
    ways.any(|mut way| way.next() == Some("gzip") && way.next() != Some("q=0"))
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "txt")) => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn asked(path: &str, encoding: &str) -> Answer {
        let request = Request::get(path).header(ACCEPT_ENCODING, encoding);
        serve(&request.body(()).expect("a request"))
    }

    #[test]
    fn the_page_and_its_parts_are_in_the_binary() {
        for path in ["/", "/playground", "/playground/"] {
            let page = asked(path, "identity");
            assert_eq!(page.status(), StatusCode::OK);
            assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
        }
        let assets: Vec<_> = Built::iter()
            .filter(|name| name.starts_with(ASSETS))
            .collect();
        assert!(assets.iter().any(|name| name.ends_with(".js")));
        for name in assets {
            let part = asked(&format!("/playground/{name}"), "br;q=1.0, gzip");
            assert_eq!(part.headers()[CONTENT_ENCODING], "gzip", "{name}");
            assert_eq!(part.headers()[CACHE_CONTROL], FOR_EVER);
            assert_ne!(kind(&name), "application/octet-stream", "{name}");
        }
        for path in ["/playground/other", "/playground/../Cargo.toml"] {
            assert_eq!(asked(path, "").status(), StatusCode::NOT_FOUND);
        }
    }

    #[test]
    fn who_takes_no_packed_answer_gets_none() {
        assert!(takes_gzip("gzip, deflate, br") && takes_gzip("br,gzip;q=0.5"));
        assert!(!takes_gzip("br") && !takes_gzip("gzip;q=0") && !takes_gzip(""));
    }
}
