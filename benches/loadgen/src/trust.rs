//! TLS with any server: what is measured is on this machine, and its certificate is made for the measurement.

use std::{fs, io, path::Path, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Takes every certificate, and proves only that the server has its key.
#[derive(Debug)]
pub(crate) struct TrustsAll(WebPkiSupportedAlgorithms);

impl TrustsAll {
    /// Settings of clients, each of which makes a whole handshake: none resumes the session of another.
    pub(crate) fn config() -> Arc<ClientConfig> {
        let verifier = Self(ring::default_provider().signature_verification_algorithms);
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// A new certificate of localhost, signed by itself, and its key (ECDSA P-256).
pub(crate) fn certificate() -> io::Result<CertifiedKey<rcgen::KeyPair>> {
    generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)
}

/// Writes both as PEM files.
pub(crate) fn write_certificate(cert: &Path, key: &Path) -> io::Result<()> {
    let made = certificate()?;
    fs::write(cert, made.cert.pem())?;
    fs::write(key, made.signing_key.serialize_pem())
}
