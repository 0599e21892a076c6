//! A Redis that speaks TLS alone, with certificates of our own, and the user who may do no more than a node
//! needs.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::redis::{RedisServer, Shared, forgetful};

/// As it stands before the `@` of a URL: every character that means something there is in the password.
pub const LOGIN: &str = "collabd:p%3Aa%2Fs%3Fs%40w%23ord";
const PASSWORD: &str = "p:a/s?s@w#ord";

pub struct Secured {
    server: RedisServer,
    /// Who vouches for the server.
    pub ca: PathBuf,
}

static SHARED: Shared<Secured> = Shared::new();

impl Secured {
    pub fn shared() -> Arc<Self> {
        SHARED.get(Self::start)
    }

    fn start() -> Self {
        let mut ca = PathBuf::new();
        let server = RedisServer::start_with(|folder, port| {
            let authority = Authority::new();
            let (certificate, key) = authority.certify("127.0.0.1");
            let file = |name: &str, content: &str| {
                let path = folder.join(name);
                std::fs::write(&path, content).expect("the server's folder can be written");
                path.display().to_string()
            };
            let (port, ca_file) = (port.to_string(), file("ca.pem", &authority.pem));
            ca = PathBuf::from(&ca_file);
            let certificate = file("server.pem", &certificate);
            let key = file("server.key", &key);
            let mut options = forgetful(&["--port", "0", "--tls-port", &port]);
            options.extend(forgetful(&[
                "--tls-auth-clients",
                "no",
                "--tls-ca-cert-file",
                &ca_file,
            ]));
            options.extend(forgetful(&[
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
            ]));
            options.extend(limited_user());
            options.extend(["--user", "default", "off"].map(str::to_owned));
            options
        });
        Self { server, ca }
    }

    /// `login` as it stands before the `@`.
    pub fn url(&self, login: &str) -> String {
        format!("rediss://{login}@127.0.0.1:{}", self.server.port())
    }
}

/// Options that make the user whom the README shows to administrators, for the prefix of these tests.
pub fn limited_user() -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let start = "ACL SETUSER collabd on >password ";
    let rights = readme
        .lines()
        .find_map(|line| line.trim().strip_prefix(start));
    let rights = rights.expect("the README says what a node's user may do");
    let rights = rights.replace("collabd:", "t-");
    let mut options = ["--user", "collabd", "on"].map(str::to_owned).to_vec();
    options.push(format!(">{PASSWORD}"));
    options.extend(rights.split(' ').map(str::to_owned));
    options
}

/// Whoever signs certificates.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are no bad names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of tests");
        let certificate = params.self_signed(&key).expect("our own key signs");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for the name, and its key.
    fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("tests use good names");
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("the authority signs");
        (certificate.pem(), key.serialize_pem())
    }
}
