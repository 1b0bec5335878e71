//! TLS for a server without a proxy in front: a certificate from files, which are reloaded while the server runs.
//!
//! [`Server::bind_tls`](crate::Server::bind_tls) serves with it; actix-tls does the handshakes.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, NoClientAuth, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

/// A certificate with its key, from PEM files.
///
/// ```no_run
/// # use actix_web::App;
/// use hinotori::{Certificate, Endpoint, Server};
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let certificate = Certificate::load("fullchain.pem", "privkey.pem")?;
/// let endpoint = Endpoint::new();
/// let server = Server::new(&endpoint, || App::new())
///     .bind_tls(("0.0.0.0", 443), certificate.server_config())?;
/// // whoever renews the certificate sends SIGHUP
/// let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
/// actix_web::rt::spawn(async move {
///     while hangup.recv().await.is_some() {
///         if let Err(error) = certificate.reload() {
///             log::error!("the former certificate stays in use: {error}");
///         }
///     }
/// });
/// # server.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Certificate {
    chain_file: PathBuf,
    key_file: PathBuf,
    /// Written when the files are loaded, read by each handshake on any worker.
    current: RwLock<Arc<CertifiedKey>>,
}

/// Why a certificate and key could not be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A file is not valid PEM.
    NotPem(PathBuf, pem::Error),
    /// There is no certificate in the file.
    NoCertificate(PathBuf),
    /// There is no key in the file, or only one with a passphrase.
    NoKey(PathBuf),
    /// The key does not match the first certificate in the file.
    Mismatch {
        /// The file with the certificate.
        chain: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The first certificate, or the key, is of an unknown kind.
    Unusable {
        /// The file with the certificate.
        chain: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong, and with which of them.
        source: rustls::Error,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::NotPem(file, error) => write!(f, "{} is broken PEM: {error}", file.display()),
            Self::NoCertificate(file) => {
                write!(f, "{} has no certificate: expected PEM with BEGIN CERTIFICATE", file.display())
            }
            Self::NoKey(file) => write!(
                f,
                "{} has no private key: expected PEM with BEGIN PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY, \
                 without a passphrase",
                file.display()
            ),
            Self::Mismatch { chain, key } => write!(
                f,
                "the private key in {} is not that of the first certificate in {}",
                key.display(),
                chain.display()
            ),
            Self::Unusable { chain, key, source } => {
                write!(
                    f,
                    "cannot use {} with the private key in {}: {source}",
                    chain.display(),
                    key.display()
                )
            }
        }
    }
}

impl Error for CertificateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::NotPem(_, error) => Some(error),
            Self::Unusable { source, .. } => Some(source),
            Self::NoCertificate(_) | Self::NoKey(_) | Self::Mismatch { .. } => None,
        }
    }
}

impl Certificate {
    /// Loads the certificate, followed by its chain, and its key.
    ///
    /// # Errors
    /// [`CertificateError`] with the file and the reason.
    pub fn load(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Arc<Self>, CertificateError> {
        let (chain_file, key_file) = (chain.into(), key.into());
        let current = RwLock::new(Arc::new(read(&chain_file, &key_file)?));
        Ok(Arc::new(Self { chain_file, key_file, current }))
    }

    /// Reloads the files. Handshakes that begin from now on use the new content. Existing connections are not affected.
    ///
    /// # Errors
    /// As [`load`](Self::load); the former certificate stays in use.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let new = Arc::new(read(&self.chain_file, &self.key_file)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The configuration for [`Server::bind_tls`](crate::Server::bind_tls) or
    /// `actix_web::HttpServer::bind_rustls_0_23`: TLS 1.2 and 1.3, without client certificates. Each handshake uses the
    /// certificate that was loaded last.
    #[must_use]
    pub fn server_config(self: &Arc<Self>) -> ServerConfig {
        self.server_config_verifying(Arc::new(NoClientAuth))
    }

    /// The same for mutual TLS: clients are asked for a certificate, and `clients` says which are good and whether a client
    /// may come without. [`ConnectInfo::peer_certificate`](crate::ConnectInfo::peer_certificate) is the one that was good.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use hinotori::{Certificate, rustls::{self, RootCertStore, ServerConfig, server::WebPkiClientVerifier}};
    ///
    /// /// Clients must have a certificate that one of `roots` signed.
    /// fn mutual(
    ///     certificate: &Arc<Certificate>,
    ///     roots: RootCertStore,
    /// ) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    ///     let ring = Arc::new(rustls::crypto::ring::default_provider());
    ///     let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring).build()?;
    ///     Ok(certificate.server_config_verifying(clients))
    /// }
    /// ```
    #[must_use]
    pub fn server_config_verifying(self: &Arc<Self>, clients: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| unreachable!("ring has ciphers for TLS 1.2 and 1.3: {error}"))
            .with_client_cert_verifier(clients)
            .with_cert_resolver(self.clone())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(chain_file: &Path, key_file: &Path) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes(chain_file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::NotPem(chain_file.to_owned(), error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(chain_file.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes(key_file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey(key_file.to_owned()),
        error => CertificateError::NotPem(key_file.to_owned(), error),
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        let (chain, key) = (chain_file.to_owned(), key_file.to_owned());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch { chain, key }
            }
            source => CertificateError::Unusable { chain, key, source },
        }
    })
}

fn bytes(file: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(file).map_err(|error| CertificateError::Unreadable(file.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_reload_that_fails_leaves_the_former_certificate_and_says_which_file_is_bad() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = |what| env::temp_dir().join(format!("hinotori-reload-{}-{what}.pem", process::id()));
        let (chain, key) = (file("chain"), file("key"));
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let certificate = Certificate::load(&chain, &key).unwrap();
        fs::remove_file(chain).unwrap();
        fs::remove_file(key).unwrap();
        let before = certificate.current.read().unwrap().clone();
        // the files are gone
        let error = certificate.reload().unwrap_err();
        assert!(matches!(&error, CertificateError::Unreadable(file, _) if *file == certificate.chain_file));
        assert!(error.source().is_some());
        assert!(Arc::ptr_eq(&before, &certificate.current.read().unwrap()));
    }
}
