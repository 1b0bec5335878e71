//! Where a server listens, and how many threads it has.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use clap::Args;
use hinotori::{Certificate, CertificateError};

use crate::positive;

/// See the module.
#[derive(Debug, Args)]
pub struct Listen {
    /// Address to listen on. 0.0.0.0 accepts connections from other machines.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// TCP port to listen on; 0 picks a free one.
    #[arg(long, env = "PORT", default_value_t = 4000)]
    pub port: u16,
    /// PEM file with the server's certificate, followed by its chain. Turns TLS on (https, wss). SIGHUP reloads it.
    /// Without it, connections are plain.
    #[arg(long, env = "TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, without a passphrase.
    #[arg(long, env = "TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Worker threads that serve clients, at least 1. One per core by default.
    #[arg(long, env = "WORKERS", value_parser = positive())]
    pub workers: Option<usize>,
}

impl Listen {
    /// Whether clients are served over TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// The certificate, if TLS is on.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn certificate(&self) -> Result<Option<Arc<Certificate>>, CertificateError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files.map(|(chain, key)| Certificate::load(chain, key)).transpose()
    }
}
