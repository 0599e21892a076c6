//! TLS for the public listeners: one certificate, read again when its files change or on SIGHUP.
//!
//! Connections made before keep what they were made with. A certificate that cannot be used is refused and
//! the one in use stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone)]
pub struct Config {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// How often the files are looked at.
    pub look_every: Duration,
}

pub struct Tls {
    config: Config,
    current: RwLock<Arc<ServerConfig>>,
    /// The first certificate of the chain in use.
    shown: RwLock<CertificateDer<'static>>,
    /// The files as they were when they were last read, good or bad.
    seen: RwLock<Files>,
}

#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    pub fn load(config: &Config) -> Result<Self, String> {
        let files = Files::read(config)?;
        Ok(Self {
            config: config.clone(),
            current: RwLock::new(Arc::new(files.server()?)),
            shown: RwLock::new(files.first()?),
            seen: RwLock::new(files),
        })
    }

    /// What it shows of itself now.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.shown.read().clone()
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.read().clone())
    }

    /// Looks at the files, for as long as it is awaited.
    pub async fn keep_fresh(&self) {
        let mut every = tokio::time::interval(self.config.look_every);
        loop {
            every.tick().await;
            self.reload(false).await;
        }
    }

    /// Takes the files as they are now, if they are others than before. `asked`: says also that they are not.
    pub async fn reload(&self, asked: bool) {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || Files::read(&config)).await;
        let files = match read.map_err(|error| error.to_string()) {
            Ok(Ok(files)) => files,
            Ok(Err(error)) | Err(error) => {
                // A file that is being replaced may be gone for a moment: said when somebody asked.
                if asked {
                    tracing::error!(error, "the certificate in use stays");
                }
                return;
            }
        };
        if *self.seen.read() == files {
            if asked {
                tracing::info!("the certificate is the one in use");
            }
            return;
        }
        match files
            .server()
            .and_then(|server| Ok((server, files.first()?)))
        {
            Ok((server, first)) => {
                *self.current.write() = Arc::new(server);
                *self.shown.write() = first;
                tracing::info!(certificate = %self.config.certificate.display(), "new certificate");
            }
            Err(error) => tracing::error!(error, "the certificate in use stays"),
        }
        *self.seen.write() = files;
    }
}

impl Files {
    fn read(config: &Config) -> Result<Self, String> {
        let read = |path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        Ok(Self {
            certificate: read(&config.certificate)?,
            key: read(&config.key)?,
        })
    }

    fn first(&self) -> Result<CertificateDer<'static>, String> {
        let first = CertificateDer::pem_slice_iter(&self.certificate).next();
        let first = first.ok_or("TLS_CERT holds no certificate in PEM")?;
        first.map_err(|error| format!("TLS_CERT is no PEM chain: {error}"))
    }

    fn server(&self) -> Result<ServerConfig, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| format!("TLS_CERT is no PEM chain: {error}"))?;
        if chain.is_empty() {
            return Err("TLS_CERT holds no certificate in PEM".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("TLS_KEY holds no private key in PEM: {error}"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| format!("TLS_CERT and TLS_KEY do not fit: {error}"))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(server)
    }
}
