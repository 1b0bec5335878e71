//! A WebSocket's stream where HTTP keeps the connection: under `actix_web::HttpServer`, or any other server of an `App`.
//!
//! It reads the payload of the request, and writes by way of the response's body.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev,
    error::PayloadError,
};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that leave in one piece of the body. One that comes behind a buffer that is not full yet just fits into the 8 KiB
/// with which actix-http begins: more would leave each connection with a larger buffer after its first history.
pub(super) const PIECE: usize = 4 * 1024;

/// What is between the stream and the body.
#[derive(Default)]
struct Pipe {
    piece: RefCell<Option<Bytes>>,
    state: Cell<State>,
    /// Waits for a piece.
    body: RefCell<Option<Waker>>,
    /// Waits until the piece has been taken, or for the connection to end.
    stream: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The stream was shut down: the body ends after the piece.
    Shut,
    /// One of both sides is gone.
    Broken,
}

impl Pipe {
    fn set(&self, state: State) {
        self.state.set(state);
        wake(&self.body);
        wake(&self.stream);
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A stream, and the body by which it writes.
pub(super) fn pipe(payload: dev::Payload) -> (PipedStream, PipedBody) {
    let pipe = Rc::new(Pipe::default());
    (PipedStream { payload, unread: Bytes::new(), pipe: pipe.clone() }, PipedBody(pipe))
}

/// See the module.
pub(super) struct PipedStream {
    payload: dev::Payload,
    /// What came of the payload and has not been read.
    unread: Bytes,
    pipe: Rc<Pipe>,
}

impl AsyncRead for PipedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pipe.state.get() == State::Broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.unread.is_empty() {
            self.pipe.stream.replace(Some(cx.waker().clone()));
            let bytes: Option<Result<Bytes, PayloadError>> =
                ready!(Pin::new(&mut self.payload).poll_next(cx));
            match bytes {
                Some(Ok(bytes)) => self.unread = bytes,
                Some(Err(_)) | None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PipedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.pipe.state.get() == State::Broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut piece = self.pipe.piece.borrow_mut();
        if piece.is_some() {
            self.pipe.stream.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let mut bytes = Vec::with_capacity(PIECE.min(slices.iter().map(|slice| slice.len()).sum()));
        for slice in slices {
            bytes.extend_from_slice(&slice[..slice.len().min(PIECE - bytes.len())]);
        }
        let length = bytes.len();
        *piece = Some(bytes.into());
        wake(&self.pipe.body);
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready when the body has given the last piece away.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pipe.piece.borrow().is_none() {
            return Poll::Ready(Ok(()));
        }
        self.pipe.stream.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pipe.state.get() == State::Open {
            self.pipe.set(State::Shut);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipedStream {
    fn drop(&mut self) {
        if self.pipe.state.get() == State::Open {
            self.pipe.set(State::Broken);
        }
    }
}

/// The body of a WebSocket's answer.
pub(super) struct PipedBody(Rc<Pipe>);

impl MessageBody for PipedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let pipe = &self.0;
        if pipe.state.get() == State::Broken {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if let Some(piece) = pipe.piece.take() {
            wake(&pipe.stream);
            return Poll::Ready(Some(Ok(piece)));
        }
        if pipe.state.get() == State::Shut {
            return Poll::Ready(None);
        }
        pipe.body.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for PipedBody {
    fn drop(&mut self) {
        self.0.set(State::Broken);
    }
}
