//! A WebSocket's stream if HTTP keeps the connection: under `actix_web::HttpServer`, or any other server of an `App`.
//!
//! It reads the request's payload, and writes through the response's body.

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
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes per piece of a body, and bytes that HTTP collects before it writes. A piece that follows a buffer that is not
/// full yet just fits into the initial 8 KiB of actix-http. Larger pieces would leave each connection with a larger
/// buffer after its first history.
pub(crate) const PIECE: usize = 4 * 1024;

/// Bytes that the stream takes before HTTP polls for them. So a burst leaves in one turn of the connection's task, and
/// does not look as if the client were not reading.
const WINDOW: usize = 32 * 1024;

/// The pipe between the stream and the body.
#[derive(Default)]
struct Pipe {
    /// What was written and the body has not returned yet. While it is empty, it takes no memory.
    waiting: RefCell<BytesMut>,
    state: Cell<State>,
    /// Waits for something to return.
    body: RefCell<Option<Waker>>,
    /// Waits for room, or for the connection to end.
    stream: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The stream was shut down: the body ends after what waits.
    Shut,
    /// One of the sides is gone.
    Broken,
}

impl Pipe {
    fn set(&self, state: State) {
        self.state.set(state);
        wake(&self.body);
        wake(&self.stream);
    }

    /// The next piece of what waits.
    fn take(&self) -> Option<Bytes> {
        let waiting = &mut *self.waiting.borrow_mut();
        let piece = if waiting.len() > PIECE { waiting.split_to(PIECE) } else { std::mem::take(waiting) };
        (!piece.is_empty()).then(|| piece.freeze())
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A stream, and the body through which it writes.
pub(super) fn pipe(payload: dev::Payload) -> (PipedStream, PipedBody) {
    let pipe = Rc::new(Pipe::default());
    (PipedStream { payload, unread: Bytes::new(), pipe: pipe.clone() }, PipedBody(pipe))
}

/// See the module.
pub(super) struct PipedStream {
    payload: dev::Payload,
    /// What arrived from the payload and has not been read.
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
        let mut waiting = self.pipe.waiting.borrow_mut();
        let before = waiting.len();
        if before >= WINDOW {
            self.pipe.stream.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        for slice in slices {
            let room = WINDOW - waiting.len();
            waiting.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        wake(&self.pipe.body);
        Poll::Ready(Ok(waiting.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// HTTP polls for what waits by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ready when the body has returned everything.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pipe.state.get() == State::Open && !self.pipe.waiting.borrow().is_empty() {
            self.pipe.stream.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
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
        if let Some(piece) = pipe.take() {
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn write(stream: &mut PipedStream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_write(&mut Context::from_waker(waker), bytes)
    }

    /// What the body gives away before it waits, or its end.
    fn take(body: &mut PipedBody, waker: &Waker) -> (Vec<usize>, Poll<Option<io::Result<Bytes>>>) {
        let mut lengths = vec![];
        loop {
            match Pin::new(&mut *body).poll_next(&mut Context::from_waker(waker)) {
                Poll::Ready(Some(Ok(piece))) => lengths.push(piece.len()),
                end => return (lengths, end),
            }
        }
    }

    #[test]
    fn a_burst_is_taken_before_http_comes_for_it_and_leaves_in_pieces() {
        let (mut stream, mut body) = pipe(dev::Payload::None);
        let (writes, reads) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (writer, reader) = (Waker::from(writes.clone()), Waker::from(reads.clone()));
        assert!(matches!(take(&mut body, &reader), (lengths, Poll::Pending) if lengths.is_empty()));
        assert!(matches!(write(&mut stream, &writer, &[b'x'; 10]), Poll::Ready(Ok(10))));
        assert!(reads.0.load(Ordering::Relaxed));
        let burst = vec![b'x'; WINDOW];
        assert!(
            matches!(write(&mut stream, &writer, &burst), Poll::Ready(Ok(taken)) if taken == WINDOW - 10)
        );
        assert!(write(&mut stream, &writer, &burst).is_pending());
        assert!(!writes.0.load(Ordering::Relaxed));
        let (lengths, end) = take(&mut body, &reader);
        assert_eq!(lengths, [PIECE; WINDOW / PIECE]);
        assert!(end.is_pending() && writes.0.load(Ordering::Relaxed));
        assert_eq!(stream.pipe.waiting.borrow().capacity(), 0, "an idle connection keeps nothing");
    }

    #[test]
    fn the_end_of_the_stream_comes_behind_what_was_written() {
        let (mut stream, mut body) = pipe(dev::Payload::None);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut shut = || Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(&waker));
        assert!(shut().is_ready());
        assert!(matches!(take(&mut body, Waker::noop()), (_, Poll::Ready(None))));

        let (mut stream, mut body) = pipe(dev::Payload::None);
        assert!(write(&mut stream, &waker, b"last").is_ready());
        let mut shut = || Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(&waker));
        assert!(shut().is_pending());
        assert!(matches!(take(&mut body, Waker::noop()), (lengths, Poll::Pending) if lengths == [4]));
        assert!(woken.0.load(Ordering::Relaxed) && shut().is_ready());
        assert!(matches!(take(&mut body, Waker::noop()), (_, Poll::Ready(None))));
    }

    #[test]
    fn whichever_side_is_gone_the_other_fails() {
        let (mut stream, body) = pipe(dev::Payload::None);
        drop(body);
        assert!(matches!(write(&mut stream, Waker::noop(), b"x"), Poll::Ready(Err(_))));
        let (mut read, mut cx) = ([0; 8], Context::from_waker(Waker::noop()));
        assert!(matches!(
            Pin::new(&mut stream).poll_read(&mut cx, &mut ReadBuf::new(&mut read)),
            Poll::Ready(Err(_))
        ));
        let (stream, mut body) = pipe(dev::Payload::None);
        drop(stream);
        assert!(matches!(take(&mut body, Waker::noop()), (_, Poll::Ready(Some(Err(_))))));
    }
}
