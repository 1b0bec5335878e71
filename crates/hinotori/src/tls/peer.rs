//! The certificates of clients, in mutual TLS.

use std::any::Any;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;

/// What a client sent in the handshake, its own certificate first. It belongs to HTTP's part of the connection, which a
/// WebSocket drops when it takes the stream over.
pub(crate) struct PeerCertificates(pub(crate) Vec<CertificateDer<'static>>);

/// Keeps the client's certificates in the connection's data. Nothing is kept of a client without any.
pub(crate) fn keep_certificates(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    if let Some(certificates) = stream.get_ref().1.peer_certificates() {
        data.insert(PeerCertificates(certificates.to_vec()));
    }
}
