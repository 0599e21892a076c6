//! From texts to values, and where the texts come from.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::settings::{Right, SETTINGS, Setting};

/// A setting that is wrong, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub setting: &'static str,
    pub given: String,
    pub right: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bad {
            setting,
            given,
            right,
        } = self;
        write!(f, "{setting}: given {given:?}; right is {right}")
    }
}

/// What was given for each setting: a flag wins over the environment, that over the default. An empty
/// value is none.
#[derive(Debug, Default)]
pub struct Given {
    values: HashMap<&'static str, (String, Source)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Flag,
    Environment(&'static str),
}

impl Given {
    pub fn collect(
        flag: impl Fn(&'static str) -> Option<String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut values = HashMap::new();
        for setting in SETTINGS {
            let given = |text: &String| !text.is_empty();
            let from_flag = flag(setting.name)
                .filter(given)
                .map(|text| (text, Source::Flag));
            let mut names = std::iter::once(&setting.name).chain(setting.aliases);
            let found = from_flag.or_else(|| {
                names.find_map(|name| {
                    let text = environment(name).filter(given)?;
                    Some((text, Source::Environment(name)))
                })
            });
            if let Some(found) = found {
                values.insert(setting.name, found);
            }
        }
        Self { values }
    }

    pub fn setting(&self, name: &str) -> &'static Setting {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .expect("only names of the list are asked for")
    }

    pub fn value(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some((text, _)) => text,
            None => self.default(name),
        }
    }

    /// Defaults that follow from other settings; the list has no text for them.
    fn default(&self, name: &str) -> &'static str {
        match name {
            "AUTH" if self.is_set("JWT_SECRET") || self.is_set("JWKS_URL") => "token",
            "AUTH" => "open",
            "HOST" if self.value("AUTH").eq_ignore_ascii_case("token") => "0.0.0.0",
            "HOST" => "127.0.0.1",
            _ => self.setting(name).default,
        }
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value as it may be shown.
    pub fn shown(&self, name: &str) -> String {
        let value = self.value(name);
        match self.setting(name).secret {
            true if name.ends_with("_URL") => masked(value),
            // A secret that looks like a URL must not be shown as one.
            true => "***".repeat(usize::from(!value.is_empty())),
            false => value.to_owned(),
        }
    }

    /// Every setting with its value and where that is from, one a line.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for setting in SETTINGS {
            let source = match self.values.get(setting.name) {
                None => "default".to_owned(),
                Some((_, Source::Flag)) => "flag".to_owned(),
                Some((_, Source::Environment(name))) => format!("environment {name}"),
            };
            let value = self.shown(setting.name);
            table.push_str(&format!("{}={value}  # {source}\n", setting.name));
        }
        table
    }
}

/// A URL without its password and its query, which may hold one, too; any other secret as stars.
fn masked(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return "***".to_owned();
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let shown = match place.rsplit_once('@') {
        // A password with a question mark in it, perhaps: nobody knows where it ends.
        _ if query.contains('@') => "***",
        None => place,
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => return format!("{scheme}://{user}:***@{host}"),
            None => return format!("{scheme}://***@{host}"),
        },
    };
    format!("{scheme}://{shown}")
}

pub fn whole(setting: &Setting, text: &str) -> Option<u64> {
    let Right::Whole(_, least, most) = setting.right else {
        return None;
    };
    let number = text.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

pub fn seconds(setting: &Setting, text: &str) -> Option<Duration> {
    let Right::Seconds(least, most) = setting.right else {
        return None;
    };
    let number: f64 = text.parse().ok()?;
    (least..=most)
        .contains(&number)
        .then(|| Duration::from_secs_f64(number))
}

pub fn flag(_: &Setting, text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub fn choice(setting: &Setting, text: &str) -> Option<&'static str> {
    let Right::Choice(words) = setting.right else {
        return None;
    };
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .copied()
}

pub fn prefix(_: &Setting, text: &str) -> Option<String> {
    let fits = text.len() <= 64 && !text.contains(['{', '}']);
    fits.then(|| text.to_owned())
}

pub fn address(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

/// A network, or one address.
pub fn network(text: &str) -> Option<ipnet::IpNet> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(Into::into);
    text.parse().ok().or_else(one)
}

/// A name or an address, IPv6 in brackets, and a port.
pub fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', '@', ' ', '?', '#']),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A word that stands for a kind of event.
pub fn is_word(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(letter)
}

/// The address of a web server as WebSockets reach it, without a slash at its end.
pub fn socket_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return None,
    };
    let rest = rest.trim_end_matches('/');
    let is_url = !rest.is_empty() && !rest.starts_with('/') && !rest.contains([' ', '?', '#']);
    is_url.then(|| format!("{scheme}://{rest}"))
}

/// An origin as browsers write it: in lower case, without the port that goes without saying.
pub fn origin(text: &str) -> Option<String> {
    let origin = text.trim().to_ascii_lowercase();
    let port = if origin.starts_with("https:") {
        ":443"
    } else {
        ":80"
    };
    let origin = origin.strip_suffix(port).unwrap_or(&origin).to_owned();
    is_origin(&origin).then_some(origin)
}

fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '?', '#']))
}
