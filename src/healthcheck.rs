//! `collabd healthcheck`: asks the node that runs with these settings whether it is ready, in the way it wants
//! to be asked: behind a PROXY header, over TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use collabd::config::Config;
use collabd::transport::{self, PROXY_LOCAL};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

const TIMEOUT: Duration = Duration::from_secs(3);

pub fn run(config: &Config) -> ExitCode {
    let Some(address) = config.listen.first() else {
        return ExitCode::FAILURE;
    };
    // A node that listens everywhere also listens here.
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    match ask(SocketAddr::new(host, address.port()), &config.transport) {
        Ok(line) if line.contains(" 200 ") => ExitCode::SUCCESS,
        Ok(line) => {
            eprintln!("collabd: not ready: {line}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("collabd: no answer from {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The status line of `/readyz`.
fn ask(address: SocketAddr, config: &transport::Config) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    if config.begins_with_proxy(address.ip()) {
        stream.write_all(&PROXY_LOCAL)?;
    }
    if config.tls.is_none() {
        return status_line(stream, address);
    }
    let client = client().map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(client), ServerName::from(address.ip()));
    let connection = connection.map_err(io::Error::other)?;
    status_line(StreamOwned::new(connection, stream), address)
}

fn status_line(mut stream: impl Read + Write, address: SocketAddr) -> io::Result<String> {
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn client() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(client)
}

/// Whose certificate it is does not matter: nothing secret is said, and the certificate names the public host,
/// not this address.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
