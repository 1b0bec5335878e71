//! A long-poll session: a socket whose client comes and goes.
//!
//! It stays on the worker that opened it; requests reach it from any worker by its address. What is sent to the client
//! waits in the connection's outbox until the client polls, with the same limit as any other outbox.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/long_poll_server.ex`, 1.8.12.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture,
    WrapFuture,
};
use bytestring::ByteString;
use tokio::sync::oneshot;

use super::body::{Bodies, Body};
use crate::{
    reason::Closed,
    socket::{Connection, Peer},
    token::Token,
    wire::{
        Frame,
        longpoll::{NotBase64, Part, lines, part},
    },
};

/// How long a session's token is valid; a session that lives longer must be opened again (Phoenix's `:max_age`).
const TOKEN_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Bytes per second that a client on a slow line reads of an answer. It polls again when it has read all of it, which
/// may take longer than the session's patience.
const SLOW_LINE: usize = 64 * 1024;

/// Added to a session's patience: the first check comes just after that has passed, and must not end a session whose
/// client has not polled yet.
const SLACK: Duration = Duration::from_millis(50);

/// A session, as requests on any worker find it.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) address: Addr<PollSession>,
    /// The bodies that are being read or handled.
    pub(super) bodies: Bodies,
}

/// All sessions of a server. Their tokens are signed with a key that is made when the server starts, because no session
/// outlives it.
pub(crate) struct Sessions {
    token: Token,
    next: AtomicU64,
    /// Written when a session begins or ends, read by each request.
    live: RwLock<HashMap<u64, Live>>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut secret = [0; 32];
        // without randomness, anyone could forge the token of another session: better no server at all
        getrandom::fill(&mut secret)
            .unwrap_or_else(|error| panic!("the system has no random bytes: {error}"));
        let token =
            Token::new("long poll", &[&secret]).unwrap_or_else(|_| unreachable!("the secret is long enough"));
        Self { token, next: AtomicU64::new(0), live: RwLock::default() }
    }
}

impl Sessions {
    /// Opens a session on this worker and returns its token.
    pub(super) fn open(self: &Arc<Self>, connection: Rc<Connection>, window: Duration) -> String {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = PollSession {
            id,
            sessions: self.clone(),
            connection,
            patience: window + window / 2,
            last_poll: Instant::now(),
            waiting: None,
            watching: false,
        };
        let live = Live { address: session.start(), bodies: Bodies::default() };
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(id, live);
        self.token.sign(&id).unwrap_or_default()
    }

    /// The live session of a token.
    pub(super) fn find(&self, token: Option<&str>) -> Option<Live> {
        let id: u64 = self.token.verify(token, TOKEN_AGE).ok()?;
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn remove(&self, id: u64) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The actor of one session.
pub(crate) struct PollSession {
    id: u64,
    sessions: Arc<Sessions>,
    connection: Rc<Connection>,
    /// A session ends if its last poll began longer ago than this.
    patience: Duration,
    /// When the last poll began, or will have been answered.
    last_poll: Instant,
    /// The poll that is answered next.
    waiting: Option<oneshot::Sender<Polled>>,
    /// Whether the outbox is being watched.
    watching: bool,
}

/// A client polls; the receiver gets the result.
#[derive(Debug, Message)]
#[rtype(result = "oneshot::Receiver<Polled>")]
pub(super) struct Poll;

/// The result of a poll.
#[derive(Debug)]
pub(super) enum Polled {
    Frames(Vec<Frame>),
    /// A later poll gets what comes next; this one waits out its window.
    Superseded,
    /// The session has ended.
    Ended,
}

/// A client sends the body of a POST.
#[derive(Debug, Message)]
#[rtype(result = "Published")]
pub(super) struct Publish {
    pub(super) body: Body,
    /// Whether each line is a message.
    pub(super) is_ndjson: bool,
}

/// The result of a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, actix::MessageResponse)]
pub(super) enum Published {
    Ok,
    /// The session has ended, because of this message or while it waited; later messages are not read.
    Ended,
    /// A message did not decode: the session has ended.
    Died,
    /// A line was neither text nor base64; the lines before it have been handled.
    NotBase64,
}

impl PollSession {
    /// Passes what is queued to the waiting poll.
    fn deliver(&mut self) {
        let outbox = self.connection.line().outbox();
        let Some(waiting) = self.waiting.take_if(|waiting| !waiting.is_closed()) else { return };
        let frames = outbox.take_all();
        let size: usize = frames.iter().map(Frame::size).sum();
        match waiting.send(Polled::Frames(frames)) {
            Ok(()) => self.last_poll = Instant::now() + Duration::from_secs((size / SLOW_LINE) as u64),
            // the request ended just now: the next poll gets them
            Err(Polled::Frames(frames)) => outbox.put_back(frames),
            Err(_) => {}
        }
        self.connection.line().resume();
    }

    /// Delivers as soon as anything is queued.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.watching, true) {
            return;
        }
        let connection = self.connection.clone();
        let queued = async move { poll_fn(|cx| connection.line().outbox().poll_queued(cx)).await };
        ctx.spawn(queued.into_actor(self).map(|(), session, ctx| {
            session.watching = false;
            if session.connection.line().outbox().is_open() {
                session.deliver();
            } else {
                ctx.stop();
            }
        }));
    }
}

impl Actor for PollSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let connection = self.connection.clone();
        let closing = async move { poll_fn(|cx| connection.line().poll_closing(cx)).await };
        ctx.spawn(closing.into_actor(self).map(|(), _, ctx| ctx.stop()));
        ctx.run_interval(self.patience, |session, ctx| {
            if session.last_poll.elapsed() > session.patience + SLACK {
                session.connection.line().report(Closed::Idle, "");
                ctx.stop();
            }
        });
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.sessions.remove(self.id);
        self.connection.gone();
        if let Some(waiting) = self.waiting.take() {
            // an error means that the client is gone
            let _ = waiting.send(Polled::Ended);
        }
    }
}

impl Handler<Poll> for PollSession {
    type Result = actix::MessageResult<Poll>;

    fn handle(&mut self, _: Poll, ctx: &mut Context<Self>) -> Self::Result {
        self.last_poll = Instant::now();
        self.connection.line().heard();
        let (poll, polled) = oneshot::channel();
        if let Some(earlier) = self.waiting.replace(poll) {
            let _ = earlier.send(Polled::Superseded);
        }
        self.watch(ctx);
        actix::MessageResult(polled)
    }
}

impl Handler<Publish> for PollSession {
    // not one at a time: if a client's outbox fills, the client must be able to poll while its POST waits for that
    type Result = ResponseActFuture<Self, Published>;

    fn handle(&mut self, Publish { body, is_ndjson }: Publish, _: &mut Context<Self>) -> Self::Result {
        self.connection.line().heard();
        let connection = self.connection.clone();
        let publish = async move {
            if !is_ndjson {
                return receive(&connection, Ok(Part::Text(body.bytes.clone()))).await;
            }
            for line in lines(&body.bytes) {
                match receive(&connection, part(connection.serializer(), &line)).await {
                    Published::Ok => {}
                    other => return other,
                }
            }
            Published::Ok
        };
        Box::pin(publish.into_actor(self).map(|published, _, ctx| {
            if published == Published::Died {
                ctx.stop();
            }
            published
        }))
    }
}

/// Handles one message: text, binary, or unreadable. Waits while too many of the client's messages are unhandled.
async fn receive(connection: &Connection, part: Result<Part, NotBase64>) -> Published {
    poll_fn(|cx| connection.line().poll_readable(cx)).await;
    let received = match part {
        Ok(Part::Text(text)) => match ByteString::try_from(text) {
            Ok(text) => connection.receive_text(&text),
            Err(error) => Err(error.to_string()),
        },
        Ok(Part::Binary(data)) => connection.receive_binary(&data),
        Err(NotBase64) => return Published::NotBase64,
    };
    match received {
        Ok(()) if !connection.line().outbox().is_open() => Published::Ended,
        Ok(()) => Published::Ok,
        Err(why) => {
            connection.line().report(Closed::Malformed, &why);
            Published::Died
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::{
        channel::Membership,
        node::Node,
        socket::{Accepted, CloseReason, Router},
        telemetry::Transport,
        transport::SocketOptions,
        wire::{Payload, Serializer},
    };

    struct NoTopics;

    impl Router for NoTopics {
        fn is_routed(&self, _: &str) -> bool {
            false
        }

        fn start(&self, _: Rc<Membership>, _: Payload) {}

        fn terminate(&self, _: CloseReason) {}
    }

    #[actix_web::test]
    async fn a_session_that_has_ended_is_found_no_more_and_nothing_of_it_is_kept() {
        let (node, sessions) = (Node::unbounded(), Arc::new(Sessions::default()));
        let open = |_| {
            let seat = node.connections.seat().unwrap();
            let accepted =
                Accepted { serializer: Serializer::V2, id: None, router: Box::new(NoTopics), seat };
            let limits = SocketOptions::default().limits();
            let connection = Connection::open(accepted, limits, Transport::LongPoll, node.clone());
            sessions.open(connection, Duration::from_secs(60))
        };
        let tokens: Vec<String> = (0..10).map(open).collect();
        assert!(tokens.iter().all(|token| sessions.find(Some(token)).is_some()));
        node.connections.drain(10);
        let ended = async {
            while !sessions.live.read().unwrap().is_empty() {
                actix_web::rt::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("sessions that have ended are kept");
        assert!(sessions.find(Some(&tokens[0])).is_none());
    }
}
