//! The settings of the door: sockets, limits, addresses, origins, TLS.

use std::num::NonZeroU32;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Reader, parse};
use crate::hub::Bounds;
use crate::limits;
use crate::transport::{self, Origins, tls};

impl Reader<'_> {
    pub(super) fn transport(&mut self) -> transport::Config {
        let max_frame_bytes = self.size("MAX_FRAME_BYTES");
        transport::Config {
            max_connections: self.size("MAX_CONNECTIONS"),
            max_handshakes: self.size("MAX_HANDSHAKES"),
            handshakes_per_address: self.size("MAX_HANDSHAKES_PER_ADDRESS"),
            http_age: self.seconds("MAX_HTTP_AGE"),
            handshake_timeout: self.seconds("HANDSHAKE_TIMEOUT"),
            heartbeat: self.seconds("HEARTBEAT_INTERVAL"),
            close_timeout: self.seconds("CLOSE_TIMEOUT"),
            max_frame_bytes,
            bad_frames: self.size("MAX_BAD_FRAMES"),
            outbox: Bounds {
                messages: self.size("MESSAGE_QUEUE_SIZE"),
                bytes: self.size("OUTBOX_BYTES"),
            },
            origins: self.origins(),
            trusted_proxies: self.trusted_proxies(),
            proxy_protocol: self.proxy_protocol(),
            limits: self.limits(max_frame_bytes),
            tls: self.tls(),
            max_passed: self.size("MAX_PASSED_REQUESTS"),
            pass_timeout: self.seconds("PASS_TIMEOUT"),
        }
    }

    fn limits(&mut self, max_frame_bytes: usize) -> limits::Config {
        let bytes = self.rate("BYTE_RATE");
        let frame = u32::try_from(max_frame_bytes).unwrap_or(u32::MAX);
        limits::Config {
            messages: self.rate("MESSAGE_RATE"),
            message_burst: self.rate("MESSAGE_BURST"),
            bytes,
            // A frame that may be sent at all must fit.
            byte_burst: bytes
                .saturating_mul(NonZeroU32::MIN.saturating_add(1))
                .max(NonZeroU32::new(frame).unwrap_or(NonZeroU32::MIN)),
            user_messages: self.rate("USER_MESSAGE_RATE"),
            flood: self.seconds("FLOOD_TIME"),
            handshakes: self.rate("HANDSHAKE_RATE"),
            handshake_burst: self.rate("HANDSHAKE_BURST"),
            node_handshakes: self.rate("MAX_HANDSHAKES_PER_SECOND"),
        }
    }

    pub(super) fn rate(&mut self, name: &'static str) -> NonZeroU32 {
        let number = u32::try_from(self.whole(name)).ok();
        // What is wrong has been told.
        number.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }

    fn origins(&mut self) -> Origins {
        let list = self.text("ALLOWED_ORIGINS");
        match list.as_str() {
            "" if self.is_open() => return Origins::Any,
            "" => return Origins::SameHost,
            "*" => return Origins::Any,
            _ => {}
        }
        let origins: Option<Vec<String>> = list.split(',').map(parse::origin).collect();
        if origins.is_none() {
            self.refuse_by_rule("ALLOWED_ORIGINS");
        }
        Origins::Listed(origins.unwrap_or_default())
    }

    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let list = self.text("TRUSTED_PROXIES");
        let entries = list.split(',').map(str::trim).filter(|one| !one.is_empty());
        let nets: Option<Vec<IpNet>> = entries.map(parse::network).collect();
        nets.unwrap_or_else(|| {
            self.refuse_by_rule("TRUSTED_PROXIES");
            Vec::new()
        })
    }

    /// A header that anybody may send says nothing.
    fn proxy_protocol(&mut self) -> bool {
        let on = self.flag("PROXY_PROTOCOL");
        if on && self.text("TRUSTED_PROXIES").is_empty() {
            let right = "true together with TRUSTED_PROXIES, whose headers are believed";
            self.refuse("PROXY_PROTOCOL", right.to_owned());
        }
        on
    }

    fn tls(&mut self) -> Option<tls::Config> {
        let look_every = self.seconds("TLS_LOOK_INTERVAL");
        let (certificate, key) = (self.text("TLS_CERT"), self.text("TLS_KEY"));
        match (certificate.is_empty(), key.is_empty()) {
            (true, true) => return None,
            (false, false) => {}
            (without, _) => {
                let name = if without { "TLS_CERT" } else { "TLS_KEY" };
                self.refuse(name, "both TLS_CERT and TLS_KEY, or neither".to_owned());
                return None;
            }
        }
        let config = tls::Config {
            certificate: PathBuf::from(certificate),
            key: PathBuf::from(key),
            look_every,
        };
        if let Err(error) = tls::Tls::load(&config) {
            let right = format!("a PEM chain whose private key is in TLS_KEY; {error}");
            self.refuse("TLS_CERT", right);
        }
        Some(config)
    }
}
