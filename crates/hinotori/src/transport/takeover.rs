//! How a WebSocket gets its TCP stream from HTTP.
//!
//! actix-http serves HTTP on an [`HttpStream`] as it would on the stream itself. The handler of a socket finds its
//! connection's [`Desk`] in the connection's data and answers with a [`Handover`] as body. Once the head of that answer
//! is flushed, HTTP's dispatcher is dropped with its buffers, and the same task continues as a [`Conversation`].
//!
//! actix-http's own way, `HttpService::upgrade`, would take every upgrade before the `App` has seen it, including those
//! for the application's own WebSockets.
//!
//! This relies on the order in which actix-http's dispatcher works: it encodes the head of an answer, polls the body,
//! and writes and flushes what it has encoded, all in one poll. `server/tests/handover.rs` fails if that changes.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_service::{Service, ServiceFactory};
use actix_web::{
    body::{BodySize, MessageBody},
    dev,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, future::LocalBoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::conversation::Conversation;
use crate::socket;

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Http,
    /// HTTP no longer reads from the stream: what arrives now is for the conversation.
    Unread,
    /// The head of the answer has to be flushed.
    Armed,
    /// The head has been flushed: the stream is handed over.
    Given,
}

/// A stream that can carry HTTP and then a WebSocket.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Into<socket::Stream> + 'static {
    /// The underlying TCP connection.
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl From<TcpStream> for socket::Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

/// Where a handler requests its connection's stream, of whatever type.
pub(crate) struct Desk {
    stage: Cell<Stage>,
    /// The conversation that gets the stream, and what HTTP has read of it.
    next: RefCell<Option<(Conversation, Bytes)>>,
}

/// A connection's stream while HTTP has it.
struct Slot<T> {
    stream: RefCell<Option<T>>,
    desk: Rc<Desk>,
}

/// HTTP's side of a connection.
pub(crate) struct HttpStream<T>(Rc<Slot<T>>);

impl<T: Transport> HttpStream<T> {
    pub(crate) fn desk(&self) -> &Rc<Desk> {
        &self.0.desk
    }

    /// Calls `at` with the stream.
    pub(crate) fn look(&self, at: impl FnOnce(&T)) {
        if let Some(stream) = &*self.0.stream.borrow() {
            at(stream);
        }
    }

    fn with<R>(&self, of: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match &mut *self.0.stream.borrow_mut() {
            Some(stream) => of(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<T: Transport> AsyncRead for HttpStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.desk.stage.get() != Stage::Http {
            return Poll::Pending;
        }
        self.with(|stream| stream.poll_read(cx, buffer))
    }
}

impl<T: Transport> AsyncWrite for HttpStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.with(|stream| stream.poll_flush(cx)))?;
        if self.0.desk.stage.get() == Stage::Armed {
            self.0.desk.stage.set(Stage::Given);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// The body of an answer after which HTTP is over. It never returns a piece.
pub(super) struct Handover {
    desk: Rc<Desk>,
    payload: dev::Payload,
    next: Option<Conversation>,
    unread: BytesMut,
}

impl Handover {
    pub(super) fn new(desk: Rc<Desk>, payload: dev::Payload, next: Conversation) -> Self {
        Self { desk, payload, next: Some(next), unread: BytesMut::new() }
    }
}

impl MessageBody for Handover {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    /// First polled when the head of the answer has been encoded but not written yet.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        if this.next.is_none() {
            return Poll::Pending;
        }
        this.desk.stage.set(Stage::Unread);
        let mut has_more = false;
        while let Poll::Ready(Some(Ok(bytes))) = Pin::new(&mut this.payload).poll_next(cx) {
            this.unread.extend_from_slice(&bytes);
            has_more = true;
        }
        if has_more {
            // the dispatcher may have read more than it passes to a payload at a time
            cx.waker().wake_by_ref();
        } else if let Some(next) = this.next.take() {
            this.desk.next.replace(Some((next, this.unread.split().freeze())));
            this.desk.stage.set(Stage::Armed);
        }
        Poll::Pending
    }
}

/// Serves connections: as HTTP, then as WebSockets.
pub(crate) struct TakeOver<S>(pub(crate) S);

impl<S, T> ServiceFactory<T> for TakeOver<S>
where
    T: Transport,
    S: ServiceFactory<(HttpStream<T>, Option<SocketAddr>), Config = (), Response = ()>,
    S::Future: 'static,
{
    type Response = ();
    type Error = S::Error;
    type Config = ();
    type Service = TakeOver<S::Service>;
    type InitError = S::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let service = self.0.new_service(());
        Box::pin(async move { Ok(TakeOver(service.await?)) })
    }
}

impl<S, T> Service<T> for TakeOver<S>
where
    T: Transport,
    S: Service<(HttpStream<T>, Option<SocketAddr>), Response = ()>,
{
    type Response = ();
    type Error = S::Error;
    type Future = Connection<S::Future, T>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&self, stream: T) -> Self::Future {
        let peer = stream.tcp().peer_addr().ok();
        let desk = Rc::new(Desk { stage: Cell::new(Stage::Http), next: RefCell::default() });
        let slot = Rc::new(Slot { stream: RefCell::new(Some(stream)), desk });
        let dispatcher = Box::pin(self.0.call((HttpStream(slot.clone()), peer)));
        Connection(Speaking::Http(slot, dispatcher))
    }
}

/// One connection, from its first request to the end of its WebSocket.
pub(crate) struct Connection<D, T>(Speaking<D, T>);

enum Speaking<D, T> {
    /// Boxed, so that a WebSocket's task has no room for HTTP.
    Http(Rc<Slot<T>>, Pin<Box<D>>),
    WebSocket(Conversation),
}

impl<D, T> Unpin for Connection<D, T> {}

impl<D: Future<Output = Result<(), E>>, E, T: Transport> Future for Connection<D, T> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Speaking::Http(slot, dispatcher) = &mut self.0 {
            let served = dispatcher.as_mut().poll(cx);
            if slot.desk.stage.get() != Stage::Given {
                return served;
            }
            let (Some(stream), Some((mut next, unread))) = (slot.stream.take(), slot.desk.next.take()) else {
                return served;
            };
            next.begin(stream, unread);
            self.0 = Speaking::WebSocket(next);
        }
        if let Speaking::WebSocket(conversation) = &mut self.0 {
            ready!(conversation.poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}
