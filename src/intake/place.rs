//! Where the broker is: from the URL to the client library's own settings.
//!
//! The library takes many a URL that does not mean what its author thinks, and puts `localhost`, `guest` or nothing in
//! place of what it did not understand; such ones are refused here. No sentence repeats any of it: there is a password
//! in it.

use std::path::Path;

use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri};

use super::Config;
use crate::trust::trusting;

/// Seconds between signs of life unless the URL says otherwise; a broker silent for two of them is gone.
const HEARTBEAT: u16 = 10;
/// What may stand behind the URL's question mark, because it is heeded.
const QUERY: [&str; 1] = ["heartbeat"];

/// What a configuration got wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the URL of RabbitMQ is wrong: {0}")]
    Url(String),
    #[error("the certificates for RabbitMQ are wrong: {0}")]
    Ca(String),
}

/// Whether RabbitMQ can be reached this way at all.
pub fn check(config: &Config) -> Result<(), Wrong> {
    Place::read(config).map(|_| ())
}

pub struct Place {
    pub uri: AMQPUri,
    /// `None`: without TLS.
    pub tls: Option<RustlsConnector>,
}

impl Place {
    pub fn read(config: &Config) -> Result<Self, Wrong> {
        let uri = read(&config.url).map_err(Wrong::Url)?;
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => Some(trust(config.ca.as_deref()).map_err(Wrong::Ca)?),
            AMQPScheme::AMQP if config.ca.is_some() => {
                let why = "the URL asks for no TLS, so nothing would be checked";
                return Err(Wrong::Ca(why.to_owned()));
            }
            AMQPScheme::AMQP => None,
        };
        Ok(Self { uri, tls })
    }
}

fn read(url: &str) -> Result<AMQPUri, String> {
    let rest = url.strip_prefix("amqp://");
    let rest = rest.or_else(|| url.strip_prefix("amqps://"));
    let rest = rest.ok_or("it begins with neither amqp:// nor amqps://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, vhost) = place.split_once('/').unwrap_or((place, ""));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if url.contains('#') || vhost.contains('@') || query.contains('@') {
        return Err("a / ? # or @ in its login is to be percent-encoded".to_owned());
    }
    if host.is_empty() || host.starts_with(':') {
        return Err("it names no host".to_owned());
    }
    let is_login = |login: &str| {
        let parts = login.split_once(':');
        parts.is_some_and(|(user, password)| !user.is_empty() && !password.is_empty())
    };
    if !login.is_none_or(is_login) {
        return Err("its login is not of the form user:password".to_owned());
    }
    if vhost.contains('/') {
        return Err("a / in its vhost is to be percent-encoded".to_owned());
    }
    if !form_urlencoded::parse(query.as_bytes()).all(|(name, _)| QUERY.contains(&&*name)) {
        return Err(format!("after its ? may only stand {QUERY:?}"));
    }
    let mut uri: AMQPUri = url.parse()?;
    // Taken for no name, and replaced by localhost.
    if let Some((address, _)) = host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        address.clone_into(&mut uri.authority.host);
    }
    // No broker has one without a name.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    if uri.query.heartbeat == Some(0) {
        return Err("without heartbeats a broker that hangs would never be noticed".to_owned());
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Ok(uri)
}

/// TLS that believes these certificates, or the system's.
fn trust(ca: Option<&Path>) -> Result<RustlsConnector, String> {
    match ca {
        Some(path) => trusting(path).map(Into::into),
        None => RustlsConnector::new_with_native_certs()
            .map_err(|error| format!("the system's: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a URL that the library takes for another place than it says.
    #[test]
    fn a_url_leads_where_it_says() {
        for (url, place) in [
            ("amqp://h", ("guest", "guest", "h", 5672, "/")),
            ("amqp://h:1/", ("guest", "guest", "h", 1, "/")),
            ("amqps://a:b@h/v", ("a", "b", "h", 5671, "v")),
            (
                "amqp://a%40b:c%2Fd%3F@127.0.0.1:1/%2f",
                ("a@b", "c/d?", "127.0.0.1", 1, "/"),
            ),
            ("amqp://a:b@[::1]:1/x%2Fy", ("a", "b", "::1", 1, "x/y")),
            ("amqps://[::1]", ("guest", "guest", "::1", 5671, "/")),
        ] {
            let uri = read(url).unwrap();
            let (user, at) = (&uri.authority.userinfo, &uri.authority);
            let read = (&*user.username, &*user.password, &*at.host, at.port);
            let read = (read.0, read.1, read.2, read.3, &*uri.vhost);
            assert_eq!(read, place, "{url}");
            assert_eq!(uri.query.heartbeat, Some(HEARTBEAT));
        }
        let said = read("amqp://h?heartbeat=3").unwrap().query;
        assert_eq!(said.heartbeat, Some(3));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for url in [
            "hunter2@h",
            "http://a:hunter2@h",
            "a:hunter2@h",
            "amqp:a:hunter2@h",
            "amqp://",
            "amqp:///v",
            "amqp://:5672",
            "amqp://hunter2@h",
            "amqp://:hunter2@h",
            "amqp://hunter2:@h",
            "amqp://a:hunter2/x@h",
            "amqp://a:hun?ter2@h",
            "amqp://a:hunter2#@h",
            "amqp://a:hunter2@h:port",
            "amqp://a:hunter2@h:70000",
            "amqp://a:hunter2@h/x/y",
            "amqp://a:hunter2@h?heartbeat=0",
            "amqp://a:hunter2@h?heartbeat=x",
            "amqp://a:hunter2@h?connection_timeout=3",
            "amqp://a:hunter2@h?password=hunter2",
        ] {
            let why = read(url).expect_err(url);
            assert!(!why.contains("hunter2"), "{url}: {why}");
        }
    }
}
