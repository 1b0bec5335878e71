//! TLS to the server.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::address::AddressError;

/// The certificate must be for the host, and signed by one of those in a file, or by one that the system trusts.
pub(crate) fn verifying(file: Option<&Path>) -> Result<Arc<ClientConfig>, AddressError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let wrong = |why: &dyn std::fmt::Display| AddressError(format!("{}: {why}", file.display()));
            roots.add_parsable_certificates(read.map_err(|error| wrong(&error))?);
            if roots.is_empty() {
                return Err(wrong(&"it has no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(AddressError("the system trusts no certificates: set cacert to a PEM file".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| AddressError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
