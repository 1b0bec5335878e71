//! TLS for a server that clients reach without a proxy in front: a certificate from files, which are read again while it
//! runs, and connections on which HTTP is spoken as on any other.

mod certificate;
mod peer;
mod stream;

pub use certificate::{Certificate, CertificateError};
pub(crate) use peer::{PeerCertificates, keep_certificates};
pub(crate) use stream::tcp;
