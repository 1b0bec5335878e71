//! The byte stream of a WebSocket after its handshake.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::unconstrained,
};

/// A stream of any kind except TCP.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// See the module. TCP has its own variant, because nearly all connections are TCP and every delivery ends here.
pub(crate) enum Stream {
    Tcp(TcpStream),
    /// TLS, or a connection that HTTP still owns.
    Other(Box<dyn Duplex>),
}

impl Stream {
    /// Reads what has arrived. Returns 0 at the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        // for TCP, this treats a short read as the last for now, and saves the call that would return nothing
        ready!(match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes as much as is accepted now. Wakes `waker` when more will be, except for TCP: [`Stream::poll_writable`]
    /// does.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing is accepted now; otherwise the stream's error.
    pub(super) fn write(&mut self, waker: &Waker, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match (self, pieces) {
            (Self::Tcp(stream), [piece]) => stream.try_write(piece),
            (Self::Tcp(stream), pieces) => stream.try_write_vectored(pieces),
            (Self::Other(stream), pieces) => {
                now(waker, |cx| Pin::new(&mut **stream).poll_write_vectored(cx, pieces))
            }
        };
        match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        }
    }

    /// Writes what the stream itself has buffered, such as encrypted TLS records.
    ///
    /// # Errors
    /// As [`Stream::write`].
    pub(super) fn flush(&mut self, waker: &Waker) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Other(stream) => now(waker, |cx| Pin::new(&mut **stream).poll_flush(cx)),
        }
    }

    /// After a [`Stream::write`] that would block: ready when another write may succeed.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx).map(|_| ()),
            // wakes the waker that it was given
            Self::Other(_) => Poll::Pending,
        }
    }

    /// Shuts down the writing side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The result of polling once, now. It does not count toward the budget of the task that polls, which writes for many
/// connections.
fn now<T>(waker: &Waker, poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    let polled = pin!(unconstrained(std::future::poll_fn(poll)));
    match polled.poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
