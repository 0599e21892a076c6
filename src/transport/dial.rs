//! From one node to another's public listener, in the way that listener wants: behind a PROXY header, over TLS.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Config;
use super::address::PROXY_LOCAL;
use super::tls::Tls;

/// How other nodes are reached: as this one is.
pub struct Way<'a> {
    pub tls: Option<&'a Tls>,
    pub proxies: &'a Config,
}

pub trait Bytestream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytestream for T {}

pub async fn dial(address: &str, way: &Way<'_>) -> Result<Box<dyn Bytestream>, String> {
    let connected = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if way.proxies.begins_with_proxy(stream.local_addr()?.ip()) {
            stream.write_all(&PROXY_LOCAL).await?;
        }
        Ok::<_, io::Error>(stream)
    };
    let stream = connected.await.map_err(|error| error.to_string())?;
    let Some(tls) = way.tls else {
        return Ok(Box::new(stream));
    };
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    let client = client(tls.certificate()).map_err(|error| error.to_string())?;
    let name = ServerName::from(peer.ip());
    let shaken = TlsConnector::from(Arc::new(client)).connect(name, stream);
    Ok(Box::new(shaken.await.map_err(|error| error.to_string())?))
}

fn client(certificate: CertificateDer<'static>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(SameCertificate {
        certificate,
        provider: provider.clone(),
    });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Nodes share their certificate, which names the public host and not their own addresses: who has its key is a node.
/// While it is being replaced nodes may have different ones for a moment, and clients come anew.
#[derive(Debug)]
struct SameCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SameCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            let why = "the other node shows another certificate than this one's";
            Err(rustls::Error::General(why.to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
