//! Where a request came from, as far as those in between can be believed.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Config;

/// The other end of a connection, by TCP or by the PROXY protocol; an extension of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

const FORWARDED_FOR: &str = "x-forwarded-for";
/// The header of a proxy that speaks for itself: version 2, LOCAL, no addresses.
pub const PROXY_LOCAL: [u8; PROXY_HEAD] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// Signature, version, command, family and length of a PROXY header.
const PROXY_HEAD: usize = 16;
/// Longest rest of a PROXY header; addresses take 216 bytes at most, the others are extras.
const MAX_PROXY_REST: usize = 2_048;

fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|proxy| proxy.contains(&address))
}

/// The client's address: the last one in X-Forwarded-For that no trusted proxy has, when the peer is such a
/// proxy; else the peer. What a client writes there itself stands further left and is never reached.
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    let listed = headers.get_all(FORWARDED_FOR).iter();
    let mut hops: Vec<&str> = listed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    while is_trusted(proxies, client)
        && let Some(hop) = hops.pop()
    {
        match parse(hop.trim()) {
            Some(address) => client = address,
            // What cannot be read cannot be believed, nor what stands before it.
            None => break,
        }
    }
    client.to_canonical()
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(with_port)
}

impl Config {
    /// Whether a connection from there begins with a PROXY header: from a trusted proxy, or from anywhere when
    /// none is named.
    pub fn begins_with_proxy(&self, peer: IpAddr) -> bool {
        let proxies = &self.trusted_proxies;
        self.proxy_protocol && (proxies.is_empty() || is_trusted(proxies, peer))
    }
}

/// Reads the PROXY protocol's header, version 2, and no byte more. `None`: the proxy speaks for itself.
pub async fn read_proxy(stream: &mut TcpStream) -> Result<Option<IpAddr>, String> {
    let short = |error: std::io::Error| format!("the PROXY header is cut short: {error}");
    let mut bytes = vec![0; PROXY_HEAD];
    stream.read_exact(&mut bytes).await.map_err(short)?;
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err("the connection does not begin with a PROXY header of version 2".to_owned());
    }
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if rest > MAX_PROXY_REST {
        return Err(format!(
            "the PROXY header has {rest} bytes behind its head; right is at most {MAX_PROXY_REST}"
        ));
    }
    bytes.resize(PROXY_HEAD + rest, 0);
    let tail = &mut bytes[PROXY_HEAD..];
    stream.read_exact(tail).await.map_err(short)?;
    let header = Header::try_from(bytes.as_slice()).map_err(|error| error.to_string())?;
    Ok(match (header.command, &header.addresses) {
        (Command::Proxy, Addresses::IPv4(ends)) => Some(ends.source_address.into()),
        (Command::Proxy, Addresses::IPv6(ends)) => Some(ends.source_address.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], proxies: &str) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let nets: Vec<IpNet> = proxies
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        client(peer.parse().unwrap(), &headers, &nets).to_string()
    }

    /// Guards the handshake limit: nobody gets another address by writing one.
    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let lan = "10.0.0.0/8 fd00::/8";
        for (peer, forwarded, proxies, right) in [
            ("192.0.2.1", &["198.51.100.9"][..], lan, "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.9"], "", "192.0.2.1"),
            ("10.0.0.1", &[], lan, "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.9"], lan, "198.51.100.9"),
            (
                "10.0.0.1",
                &["6.6.6.6, 198.51.100.9, 10.0.0.2"],
                lan,
                "198.51.100.9",
            ),
            (
                "10.0.0.1",
                &["6.6.6.6", "198.51.100.9"],
                lan,
                "198.51.100.9",
            ),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], lan, "10.0.0.3"),
            (
                "10.0.0.1",
                &["6.6.6.6, nonsense, 10.0.0.2"],
                lan,
                "10.0.0.2",
            ),
            (
                "::ffff:10.0.0.1",
                &["[2001:db8::1]:443"],
                lan,
                "2001:db8::1",
            ),
            ("fd00::1", &["198.51.100.9:5000"], lan, "198.51.100.9"),
        ] {
            assert_eq!(
                seen(peer, forwarded, proxies),
                right,
                "{peer} {forwarded:?}"
            );
        }
    }
}
