//! The bytes of a connection: TCP, or TLS on it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

use crate::{Target, trust::TrustsAll};

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects client number `index`.
    pub(crate) async fn connect(target: &Target, index: usize) -> io::Result<Self> {
        let stream = connect(target.addr, index / target.per_address.max(1)).await?;
        stream.set_nodelay(true)?;
        if !target.tls {
            return Ok(Self::Plain(stream));
        }
        static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(TrustsAll::config);
        let name = target.addr.ip().into();
        Ok(Self::Tls(Box::new(TlsConnector::from(CONFIG.clone()).connect(name, stream).await?)))
    }
}

/// Connects from the default source address, or from 127.0.1.1 and those after it: each has ports for some 28,000.
async fn connect(addr: SocketAddr, source: usize) -> io::Result<TcpStream> {
    if source == 0 || !addr.is_ipv4() || !addr.ip().is_loopback() {
        return TcpStream::connect(addr).await;
    }
    // a bound address takes its port for all that it could connect to, so only when the first has no more
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let last = u8::try_from(source).unwrap_or(u8::MAX);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into())?;
    TcpSocket::from_std_stream(socket.into()).connect(addr).await
}

/// Runs a method of whichever stream it is.
macro_rules! delegate {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}
