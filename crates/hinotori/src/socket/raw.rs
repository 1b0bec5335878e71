//! Sockets with a custom protocol: whole messages in and out, without Phoenix's wire format.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/transport.ex`, 1.8.12.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use actix_web::rt::{
    self,
    time::{Sleep, sleep},
};
use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::oneshot;

use super::{ConnectInfo, ConnectionRef, Line, Params, Peer, Refused, Verdict};
use crate::{
    callback::{self, Outcome},
    channel::{Handle, Inlet, Item, Mailbox, Result, chain},
    pubsub::PubSub,
    reason::Closed,
    tasks::Unfinished,
    telemetry::{Crash, Quoted, Span},
    wire::{Frame, Opcode},
};

/// A socket with a custom protocol on the same WebSocket transport. Mount it with
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
    /// Messages from other tasks; see [`RawContext::handle`]. Use `()` if there are none.
    type Info: Send + 'static;

    /// Handles a client's request to connect, like [`SocketHandler::connect`](crate::SocketHandler::connect).
    ///
    /// # Errors
    /// Same as [`SocketHandler::connect`](crate::SocketHandler::connect).
    fn connect(
        params: &Params,
        info: &ConnectInfo<'_>,
    ) -> impl Future<Output = std::result::Result<Self, Refused>>;

    /// How long a callback may keep running after the client has disconnected. After this time its future is dropped
    /// and [`RawSocket::terminate`] runs, with the same time limit. 5 s by default.
    const SHUTDOWN: Duration = Duration::from_secs(5);

    /// Same as [`SocketHandler::id`](crate::SocketHandler::id).
    fn id(&self) -> Option<String> {
        None
    }

    /// Same as [`SocketHandler::ids`](crate::SocketHandler::ids).
    fn ids(&self) -> Vec<String> {
        self.id().into_iter().collect()
    }

    /// Handles a message from the client. Callbacks run one at a time.
    ///
    /// # Errors
    /// Any error, and a panic, closes the socket with code 1011.
    fn handle_in(
        &mut self,
        message: RawMessage,
        cx: &mut RawContext<Self>,
    ) -> impl Future<Output = Result<()>>;

    /// Handles a message that was sent to this socket from within the server.
    ///
    /// # Errors
    /// Same as [`RawSocket::handle_in`].
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut RawContext<Self>,
    ) -> impl Future<Output = Result<()>> {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Called when the client has disconnected.
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

    /// Approximate memory in bytes, to limit a queue of messages.
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::Binary(data) => data.len(),
            }
    }
}

/// Shows only the length, because messages contain user data.
impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
        }
    }
}

/// What a raw socket's callbacks can reach.
pub struct RawContext<R: RawSocket> {
    line: Rc<Line>,
    mailbox: Arc<Mailbox<RawMessage, R::Info>>,
}

impl<R: RawSocket> RawContext<R> {
    /// Sends the client a message.
    pub fn push(&self, message: RawMessage) {
        self.line.push(&self.line.compressed(message.frame()));
    }

    /// Closes the socket, with code 1000.
    pub fn close(&self) {
        self.line.close(Closed::Application);
    }

    /// The client's connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionRef<'_> {
        ConnectionRef::new(&self.line)
    }

    /// The server's publish and subscribe.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.line.node().pubsub
    }

    /// A handle with which other tasks and threads send this socket messages.
    #[must_use]
    pub fn handle(&self) -> Handle<R::Info> {
        let inlet: Weak<dyn Inlet<R::Info>> = Arc::downgrade(&self.mailbox) as _;
        Handle::new(inlet, self.line.conn().number)
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
    /// Dropped when the client has disconnected.
    present: RefCell<Option<oneshot::Sender<()>>>,
}

impl<R: RawSocket> RawConnection<R> {
    pub(crate) fn open(socket: R, line: Rc<Line>) -> Rc<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let (present, gone) = oneshot::channel();
        let context = RawContext { line: line.clone(), mailbox: mailbox.clone() };
        line.started();
        let _unfinished = line.node().tasks.other();
        let gone = Gone { signal: Some(gone), end: None };
        rt::spawn(Task { socket, context, gone, _unfinished }.run());
        Rc::new(Self { line, mailbox, present: RefCell::new(Some(present)) })
    }
}

impl<R: RawSocket> Peer for RawConnection<R> {
    fn line(&self) -> &Rc<Line> {
        &self.line
    }

    fn receive_text(&self, text: &ByteString) -> std::result::Result<(), String> {
        self.receive(RawMessage::Text(text.to_string()));
        Ok(())
    }

    fn receive_binary(&self, data: &Bytes) -> std::result::Result<(), String> {
        self.receive(RawMessage::Binary(data.clone()));
        Ok(())
    }

    fn gone(&self) {
        self.line.end();
        self.mailbox.close();
        self.present.take();
    }
}

impl<R: RawSocket> RawConnection<R> {
    fn receive(&self, message: RawMessage) {
        self.line.local().counts().received.add(1);
        if self.line.judge() != Verdict::Handle {
            // a custom protocol has no error reply that the server could send
            self.line.close(Closed::Rate);
            return;
        }
        let cost = message.cost();
        if self.mailbox.push(Item::Command(message)).is_ok() {
            self.line.load(cost);
        }
    }
}

/// Runs the callbacks of one raw socket.
struct Task<R: RawSocket> {
    socket: R,
    context: RawContext<R>,
    gone: Gone,
    _unfinished: Unfinished,
}

/// Once the client has disconnected: until when callbacks may keep running.
struct Gone {
    /// Closes when the client disconnects; `None` once that is known.
    signal: Option<oneshot::Receiver<()>>,
    end: Option<Pin<Box<Sleep>>>,
}

impl Gone {
    /// Ready when the client has been gone for this long.
    fn poll_overdue(&mut self, shutdown: Duration, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if let Some(signal) = &mut self.signal {
            std::task::ready!(Pin::new(signal).poll(cx)).ok();
            self.signal = None;
        }
        self.end.get_or_insert_with(|| Box::pin(sleep(shutdown))).as_mut().poll(cx)
    }
}

impl<R: RawSocket> Drop for Task<R> {
    fn drop(&mut self) {
        self.context.mailbox.clear();
        self.context.line.stopped();
    }
}

impl<R: RawSocket> Task<R> {
    async fn run(mut self) {
        // boxed like all callbacks, so an idle socket takes only the memory of its own state
        while let Some(item) = poll_fn(|cx| self.context.mailbox.poll_next(cx)).await {
            let handled = match item {
                Item::Command(message) => Box::pin(self.handle_in(message)).await,
                Item::Info(info) => Box::pin(self.handle_info(info)).await,
            };
            match handled {
                Outcome::Returned(Ok(())) => {}
                // the state may be half changed, so it handles nothing more
                Outcome::Returned(Err(error)) => return self.crashed(&chain(&*error)),
                Outcome::Panicked(why) => return self.crashed(&why),
                Outcome::Cut => break,
            }
        }
        Box::pin(self.terminate()).await;
    }

    async fn handle_in(&mut self, message: RawMessage) -> Outcome<Result<()>> {
        let cost = message.cost();
        let line = self.context.line.clone();
        let callback = span(&line, "handle_in").around(self.socket.handle_in(message, &mut self.context));
        let handled = callback::run(callback, |cx| self.gone.poll_overdue(R::SHUTDOWN, cx)).await;
        self.context.line.release(cost);
        handled
    }

    async fn handle_info(&mut self, info: R::Info) -> Outcome<Result<()>> {
        let line = self.context.line.clone();
        let callback = span(&line, "handle_info").around(self.socket.handle_info(info, &mut self.context));
        callback::run(callback, |cx| self.gone.poll_overdue(R::SHUTDOWN, cx)).await
    }

    fn crashed(&self, why: &str) {
        let line = &self.context.line;
        log::error!("event=crashed of={} conn={} why={}", Crash::RawSocket, line.conn(), Quoted(why));
        line.node().telemetry.crashed(Crash::RawSocket);
        line.close(Closed::Crash);
    }

    async fn terminate(&mut self) {
        let mut end = pin!(sleep(R::SHUTDOWN));
        match callback::run(span(&self.context.line, "terminate").around(self.socket.terminate()), |cx| {
            end.as_mut().poll(cx)
        })
        .await
        {
            Outcome::Returned(()) => {}
            Outcome::Panicked(why) => self.crashed(&why),
            Outcome::Cut => self.crashed("terminate did not end in time"),
        }
    }
}

/// The tracing span around a callback.
fn span<'a>(line: &'a Line, callback: &'static str) -> Span<'a> {
    Span { callback, conn: Some(line.conn()), topic: None, event: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::Node,
        socket::{Connecting, Limits},
        telemetry::Transport,
    };

    /// Receives messages and sends none.
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

    fn opened<R: RawSocket>(node: &Arc<Node>, socket: R, limits: Limits) -> Rc<RawConnection<R>> {
        let connecting = Connecting::begin(node).unwrap();
        RawConnection::open(
            socket,
            Line::open(limits, Transport::WebSocket, connecting, node.clone(), vec![]),
        )
    }

    const LIMITS: Limits =
        Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (0, 0) };

    /// Never finishes handling a message; terminates when the test allows it.
    struct Slow(Option<oneshot::Receiver<()>>);

    impl RawSocket for Slow {
        type Info = ();
        const SHUTDOWN: Duration = Duration::from_secs(60);

        async fn connect(_: &Params, _: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
            Err(Refused::because("nobody connects here"))
        }

        async fn handle_in(&mut self, _: RawMessage, _: &mut RawContext<Self>) -> Result<()> {
            std::future::pending().await
        }

        async fn terminate(&mut self) {
            if let Some(may_end) = self.0.take() {
                let _ = may_end.await;
            }
        }
    }

    #[actix_web::test]
    async fn a_server_waits_for_the_terminate_of_a_raw_socket() {
        let (node, (end, may_end)) = (Node::unbounded(), oneshot::channel());
        let socket = opened(&node, Slow(Some(may_end)), LIMITS);
        socket.gone();
        rt::task::yield_now().await;
        assert_eq!((node.connections.count(), node.tasks.unfinished()), (0, 1));
        end.send(()).unwrap();
        while node.tasks.unfinished() > 0 {
            rt::task::yield_now().await;
        }
    }

    #[actix_web::test]
    async fn all_that_is_queued_has_the_time_of_one_shutdown_together_when_the_client_is_gone() {
        let (present, signal) = oneshot::channel();
        drop(present);
        let mut gone = Gone { signal: Some(signal), end: None };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(gone.poll_overdue(Duration::from_secs(60), &mut cx).is_pending());
        let end = gone.end.as_ref().map(|end| end.deadline());
        assert!(gone.poll_overdue(Duration::from_secs(60), &mut cx).is_pending(), "the next callback");
        assert_eq!(gone.end.as_ref().map(|end| end.deadline()), end);
    }

    #[actix_web::test]
    async fn a_message_too_many_closes_as_nothing_could_say_so_in_a_protocol_of_ones_own() {
        let limits = Limits { message_rate: (1, 2), ..LIMITS };
        let socket = opened(&Node::unbounded(), Deaf, limits);
        for is_open in [true, true, false] {
            socket.receive_binary(&Bytes::from_static(b"x")).unwrap();
            assert_eq!(socket.line().outbox().is_open(), is_open);
        }
    }
}
