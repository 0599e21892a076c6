//! Which pages may connect: a browser says where its page is from, and nobody else can make it lie.

use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, ORIGIN};

use super::close;
use super::refusal::Refusal;

/// The pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// Pages of the host they connect to.
    SameHost,
    Listed(Vec<String>),
}

impl Origins {
    /// Whoever says no origin is no browser, and is not held up.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or_default();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if self.admit(origin, host.unwrap_or_default()) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "origin",
            close::ORIGIN,
            "pages of this origin may not connect; ALLOWED_ORIGINS lists those that may",
        ))
    }

    fn admit(&self, origin: &str, host: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::Listed(known) => known.iter().any(|known| known == origin),
            Origins::SameHost => origin.split_once("://").is_some_and(|(scheme, place)| {
                let port = if scheme == "https" { ":443" } else { ":80" };
                let bare = |place: &str| place.strip_suffix(port).unwrap_or(place).to_owned();
                !place.is_empty() && bare(place).eq_ignore_ascii_case(&bare(host))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_host_is_the_same_with_and_without_its_port() {
        for (origin, host, right) in [
            ("https://a.example", "a.example", true),
            ("https://a.example", "A.example:443", true),
            ("http://a.example:8004", "a.example:8004", true),
            ("http://a.example", "a.example:8004", false),
            ("https://b.example", "a.example", false),
            ("https://a.example.evil", "a.example", false),
            ("null", "a.example", false),
            ("https://", "", false),
        ] {
            assert_eq!(
                Origins::SameHost.admit(origin, host),
                right,
                "{origin} {host}"
            );
        }
    }
}
