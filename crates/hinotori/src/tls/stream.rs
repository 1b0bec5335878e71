//! A TLS connection, as actix-tls makes it.

use std::any::Any;

use actix_tls::accept::rustls_0_23::TlsStream;
use tokio::net::TcpStream;

use crate::{socket, transport::Transport};

/// The underlying TCP connection, if this is a TLS connection.
pub(crate) fn tcp(connection: &dyn Any) -> Option<&TcpStream> {
    connection.downcast_ref::<TlsStream<TcpStream>>().map(Transport::tcp)
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl From<TlsStream<TcpStream>> for socket::Stream {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Other(Box::new(stream))
    }
}
