//! What a server needs in addition for TLS.

use actix_service::{Service as _, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory};
use actix_tls::accept::rustls_0_23::{Acceptor, AcceptorService};
pub(super) use actix_tls::accept::{max_concurrent_tls_connect, rustls_0_23::TlsStream};
pub(super) use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::Http;

impl Http {
    /// The TLS handshake.
    pub(super) fn acceptor(
        &self,
        config: ServerConfig,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = TlsStream<TcpStream>,
        Error = (),
        InitError = (),
    > + use<> {
        let mut acceptor = Acceptor::new(config);
        acceptor.set_handshake_timeout(self.handshake_timeout);
        // boxed, so that a connection's task keeps no room for the handshake after it
        apply_fn_factory::<_, _, _, _, _, TcpStream, _, _>(acceptor, |stream, acceptor: &AcceptorService| {
            Box::pin(acceptor.call(stream))
        })
        .map_err(|_| ())
    }
}
