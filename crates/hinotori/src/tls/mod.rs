//! TLS for a server without a proxy in front: a certificate from files, which are reloaded while the server runs, and
//! TLS connections, which carry HTTP like any other.

mod certificate;
mod peer;
mod stream;

pub use certificate::{Certificate, CertificateError};
pub(crate) use peer::{PeerCertificates, keep_certificates};
pub(crate) use stream::tcp;
