//! Sockets that speak a protocol of their own: whole messages in and out, nothing of Phoenix's on the wire.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/transport.ex`, 1.8.12.

use std::{any::Any, fmt, future::Future, panic::AssertUnwindSafe, rc::Rc};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, Message, WeakAddr, WrapFuture,
};
use bytes::Bytes;
use futures_util::FutureExt;

use super::{ConnectInfo, Line, Params, Peer, Refused, Verdict};
use crate::{
    channel::{Handle, Info, Result},
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
    actor: WeakAddr<RawActor<R>>,
}

impl<R: RawSocket> RawContext<R> {
    /// Sends a message to the client.
    pub fn push(&self, message: RawMessage) {
        self.line.push(&message.frame());
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
        Handle::new(self.actor.clone().recipient())
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
    actor: Addr<RawActor<R>>,
}

impl<R: RawSocket> RawConnection<R> {
    pub(crate) fn open(socket: R, line: Rc<Line>) -> Rc<Self> {
        let actor = RawActor::create(|ctx| {
            let context = RawContext { line: line.clone(), actor: ctx.address().downgrade() };
            line.started();
            RawActor { line: line.clone(), running: Some(Box::new((socket, context))) }
        });
        Rc::new(Self { line, actor })
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
        self.line.load(message.cost());
        self.actor.do_send(Command::In(message));
        Ok(())
    }

    fn gone(&self) {
        self.line.end();
        self.actor.do_send(Command::Gone);
    }
}

/// What a transport tells a raw socket.
#[derive(Message)]
#[rtype(result = "()")]
enum Command {
    In(RawMessage),
    Gone,
}

/// Runs the callbacks of one raw socket.
pub(crate) struct RawActor<R: RawSocket> {
    line: Rc<Line>,
    /// Not here while a callback runs.
    running: Option<Box<(R, RawContext<R>)>>,
}

impl<R: RawSocket> RawActor<R> {
    /// Runs a callback, and closes the socket if it fails.
    fn call(
        &mut self,
        ctx: &mut actix::Context<Self>,
        callback: impl AsyncFnOnce(&mut R, &mut RawContext<R>) -> Result<()> + 'static,
        after: impl FnOnce(&mut Self, &mut actix::Context<Self>) + 'static,
    ) {
        let Some(mut running) = self.running.take() else { return };
        let future = async move {
            let (socket, context) = &mut *running;
            let outcome = AssertUnwindSafe(async { callback(socket, context).await }).catch_unwind().await;
            (outcome, running)
        };
        ctx.wait(future.into_actor(self).map(|(outcome, running), actor, ctx| {
            match failure(outcome) {
                None => actor.running = Some(running),
                Some(why) => {
                    // its state may be half changed: nothing more is handled with it
                    let conn = actor.line.number();
                    log::error!("event=crashed of={} conn={conn} why={}", Crash::RawSocket, Quoted(&why));
                    actor.line.pubsub().telemetry().crashed(Crash::RawSocket);
                    actor.line.close(Closed::Crash);
                }
            }
            after(actor, ctx);
        }));
    }
}

/// What went wrong in a callback, if anything did.
fn failure(outcome: std::result::Result<Result<()>, Box<dyn Any + Send>>) -> Option<String> {
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(panic_message(&*panic)),
    }
}

impl<R: RawSocket> Actor for RawActor<R> {
    type Context = actix::Context<Self>;
}

impl<R: RawSocket> Drop for RawActor<R> {
    fn drop(&mut self) {
        self.line.stopped();
    }
}

impl<R: RawSocket> Handler<Command> for RawActor<R> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            Command::In(message) => {
                let cost = message.cost();
                let handle_in =
                    async move |socket: &mut R, cx: &mut RawContext<R>| socket.handle_in(message, cx).await;
                self.call(ctx, handle_in, move |actor, _| actor.line.release(cost));
            }
            Command::Gone if self.running.is_none() => ctx.stop(),
            Command::Gone => {
                let terminate = async |socket: &mut R, _: &mut RawContext<R>| {
                    socket.terminate().await;
                    Ok(())
                };
                self.call(ctx, terminate, |_, ctx| ctx.stop());
            }
        }
    }
}

impl<R: RawSocket> Handler<Info<R::Info>> for RawActor<R> {
    type Result = ();

    fn handle(&mut self, Info(info): Info<R::Info>, ctx: &mut Self::Context) {
        let handle_info =
            async move |socket: &mut R, cx: &mut RawContext<R>| socket.handle_info(info, cx).await;
        self.call(ctx, handle_info, |_, _| ());
    }
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
