//! Sockets that speak a protocol of their own: whole messages in and out, nothing of Phoenix's on the wire.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/transport.ex`, 1.8.12.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    rc::Rc,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use actix_web::rt;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{ConnectInfo, Line, Params, Peer, Refused, Verdict};
use crate::{
    channel::{Handle, Inlet, Item, Mailbox, Result},
    pubsub::PubSub,
    supervise::panic_message,
    telemetry::{Closed, Crash, Quoted},
    wire::{Frame, Opcode},
};

/// A socket with a protocol of its own on the same WebSocket transport; mount it with
/// [`Endpoint::raw_socket`](crate::Endpoint::raw_socket).
///
/// ```
/// use hinotori::{ConnectInfo, Params, RawContext, RawMessage, RawSocket, Refused};
///
/// /// Answers everything with itself.
/// struct Echo;
///
/// impl RawSocket for Echo {
///     type Info = ();
///
///     async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
///         Ok(Echo)
///     }
///
///     async fn handle_in(&mut self, message: RawMessage, cx: &mut RawContext<Self>) -> hinotori::Result<()> {
///         cx.push(message);
///         Ok(())
///     }
/// }
///
/// let endpoint = hinotori::Endpoint::new();
/// let app = actix_web::App::new()
///     .configure(endpoint.raw_socket::<Echo>("/echo", hinotori::SocketOptions::default()));
/// ```
pub trait RawSocket: Sized + 'static {
    /// Messages from other tasks; see [`RawContext::handle`]. `()` if there are none.
    type Info: Send + 'static;

    /// A client connects; as [`SocketHandler::connect`](crate::SocketHandler::connect).
    ///
    /// # Errors
    /// [`Refused`] answers the request with 403. A panic answers it with 500.
    fn connect(
        params: &Params,
        info: &ConnectInfo<'_>,
    ) -> impl Future<Output = std::result::Result<Self, Refused>>;

    /// How long a callback may go on after the client is gone; then its future is dropped, and [`RawSocket::terminate`] runs,
    /// which may take as long again. 5 s by default.
    const SHUTDOWN: Duration = Duration::from_secs(5);

    /// As [`SocketHandler::id`](crate::SocketHandler::id).
    fn id(&self) -> Option<String> {
        None
    }

    /// A message of the client. Callbacks run one at a time.
    ///
    /// # Errors
    /// Any error, and a panic, closes the socket with code 1011.
    fn handle_in(
        &mut self,
        message: RawMessage,
        cx: &mut RawContext<Self>,
    ) -> impl Future<Output = Result<()>>;

    /// A message that was sent to this socket from within the server.
    ///
    /// # Errors
    /// As [`RawSocket::handle_in`].
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut RawContext<Self>,
    ) -> impl Future<Output = Result<()>> {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// The client is gone.
    fn terminate(&mut self) -> impl Future<Output = ()> {
        async {}
    }
}

/// A whole message, in either direction.
#[derive(Clone, PartialEq, Eq)]
pub enum RawMessage {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl RawMessage {
    fn frame(&self) -> Frame {
        let (opcode, data) = match self {
            Self::Text(text) => (Opcode::Text, text.as_bytes()),
            Self::Binary(data) => (Opcode::Binary, &data[..]),
        };
        Frame::of(opcode, data)
    }

    /// Bytes of memory, near enough to bound a queue of them.
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::Binary(data) => data.len(),
            }
    }
}

/// The length only: messages hold what users wrote.
impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
        }
    }
}

/// What a raw socket's callback can reach.
pub struct RawContext<R: RawSocket> {
    line: Rc<Line>,
    mailbox: Arc<Mailbox<RawMessage, R::Info>>,
}

impl<R: RawSocket> RawContext<R> {
    /// Sends a message to the client.
    pub fn push(&self, message: RawMessage) {
        self.line.push(&self.line.compressed(message.frame()));
    }

    /// Closes the socket, with code 1000.
    pub fn close(&self) {
        self.line.close(Closed::Application);
    }

    /// Publish and subscribe of the server.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        self.line.pubsub()
    }

    /// A handle to send this socket messages from other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> Handle<R::Info> {
        let inlet: Weak<dyn Inlet<R::Info>> = Arc::downgrade(&self.mailbox) as _;
        Handle::new(inlet)
    }
}

impl<R: RawSocket> fmt::Debug for RawContext<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawContext")
    }
}

/// The transport's side of a raw socket.
pub(crate) struct RawConnection<R: RawSocket> {
    line: Rc<Line>,
    mailbox: Arc<Mailbox<RawMessage, R::Info>>,
    /// Dropped when the client is gone.
    present: RefCell<Option<oneshot::Sender<()>>>,
}

impl<R: RawSocket> RawConnection<R> {
    pub(crate) fn open(socket: R, line: Rc<Line>) -> Rc<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let (present, gone) = oneshot::channel();
        let context = RawContext { line: line.clone(), mailbox: mailbox.clone() };
        line.started();
        rt::spawn(Task { socket, context, gone }.run());
        Rc::new(Self { line, mailbox, present: RefCell::new(Some(present)) })
    }
}

impl<R: RawSocket> Peer for RawConnection<R> {
    fn line(&self) -> &Rc<Line> {
        &self.line
    }

    fn receive(&self, is_text: bool, data: &Bytes) -> std::result::Result<(), String> {
        self.line.local().counts().received.add(1);
        let message = if is_text {
            RawMessage::Text(String::from_utf8(data.to_vec()).map_err(|error| error.to_string())?)
        } else {
            RawMessage::Binary(data.clone())
        };
        if self.line.judge() != Verdict::Handle {
            // there is no answer that would say so in whatever is spoken here
            self.line.close(Closed::Rate);
            return Ok(());
        }
        let cost = message.cost();
        if self.mailbox.push(Item::Command(message)).is_ok() {
            self.line.load(cost);
        }
        Ok(())
    }

    fn gone(&self) {
        self.line.end();
        self.mailbox.close();
        self.present.take();
    }
}

/// Runs the callbacks of one raw socket.
struct Task<R: RawSocket> {
    socket: R,
    context: RawContext<R>,
    /// Closed when the client is gone.
    gone: oneshot::Receiver<()>,
}

impl<R: RawSocket> Drop for Task<R> {
    fn drop(&mut self) {
        self.context.mailbox.clear();
        self.context.line.stopped();
    }
}

impl<R: RawSocket> Task<R> {
    async fn run(mut self) {
        // boxed, as all callbacks are: an idle socket is as small as what it holds
        while let Some(item) = poll_fn(|cx| self.context.mailbox.poll_next(cx)).await {
            let handled = match item {
                Item::Command(message) => Box::pin(self.handle_in(message)).await,
                Item::Info(info) => Box::pin(self.handle_info(info)).await,
            };
            match handled {
                Some(Ok(())) => {}
                // its state may be half changed: nothing more is handled with it
                Some(Err(why)) => return self.crashed(&why),
                None => break,
            }
        }
        Box::pin(self.terminate()).await;
    }

    async fn handle_in(&mut self, message: RawMessage) -> Option<std::result::Result<(), String>> {
        let cost = message.cost();
        let callback = self.socket.handle_in(message, &mut self.context);
        let handled = guard::<R>(callback, &mut self.gone).await;
        self.context.line.release(cost);
        handled
    }

    async fn handle_info(&mut self, info: R::Info) -> Option<std::result::Result<(), String>> {
        guard::<R>(self.socket.handle_info(info, &mut self.context), &mut self.gone).await
    }

    fn crashed(&self, why: &str) {
        let line = &self.context.line;
        log::error!("event=crashed of={} conn={} why={}", Crash::RawSocket, line.number(), Quoted(why));
        line.pubsub().telemetry().crashed(Crash::RawSocket);
        line.close(Closed::Crash);
    }

    async fn terminate(&mut self) {
        let terminate = AssertUnwindSafe(self.socket.terminate()).catch_unwind();
        match rt::time::timeout(R::SHUTDOWN, terminate).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => self.crashed(&panic_message(&*panic)),
            Err(_) => self.crashed("terminate did not end in time"),
        }
    }
}

/// Runs a callback to its end, unless the client is gone and the time for that is over.
async fn guard<R: RawSocket>(
    callback: impl Future<Output = Result<()>>,
    gone: &mut oneshot::Receiver<()>,
) -> Option<std::result::Result<(), String>> {
    let mut callback = pin!(AssertUnwindSafe(callback).catch_unwind());
    let mut end = None;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = callback.as_mut().poll(cx) {
            return Poll::Ready(Some(match outcome {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(panic) => Err(panic_message(&*panic)),
            }));
        }
        if end.is_none() && !gone.is_terminated() && std::pin::Pin::new(&mut *gone).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let end = end.get_or_insert_with(|| Box::pin(rt::time::sleep(R::SHUTDOWN)));
        end.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{socket::Limits, telemetry::Transport};

    /// Hears, and says nothing.
    struct Deaf;

    impl RawSocket for Deaf {
        type Info = ();

        async fn connect(_: &Params, _: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
            Ok(Self)
        }

        async fn handle_in(&mut self, _: RawMessage, _: &mut RawContext<Self>) -> Result<()> {
            Ok(())
        }
    }

    #[actix_web::test]
    async fn a_message_too_many_closes_as_nothing_could_say_so_in_a_protocol_of_ones_own() {
        let limits = Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (1, 2) };
        let pubsub = PubSub::new();
        let line = Line::open(limits, Transport::WebSocket, pubsub.seat().unwrap(), pubsub, None);
        let socket = RawConnection::open(Deaf, line);
        for is_open in [true, true, false] {
            socket.receive(false, &Bytes::from_static(b"x")).unwrap();
            assert_eq!(socket.line().outbox().is_open(), is_open);
        }
    }
}
