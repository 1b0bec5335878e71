//! A long-poll session: a socket whose client comes and goes.
//!
//! It stays on the worker that opened it; requests reach it from any worker by its address. What is sent to the client
//! waits in the connection's outbox until the client polls, with the same limit as any other outbox.
//!
//! On a node of a cluster, a poll or its answer may be lost on the way through another node. So the messages of a poll, a
//! batch, are numbered and kept until the client has them: its next token has the number. A client with the token before
//! that gets the batch again.
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
    cluster::NodeId,
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

/// Bytes of messages in one answer of a node of a cluster, and one message of any size beyond them: what is kept, and
/// passed from node to node.
const BATCH: usize = 1024 * 1024;

/// A session, as requests on any worker find it.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) address: Addr<PollSession>,
    /// The bodies that are being read or handled.
    pub(super) bodies: Bodies,
    /// How long a poll of another node waits.
    pub(super) window: Duration,
    /// The longest body, in bytes.
    pub(super) max_body: usize,
}

/// Where the session of a token is.
#[derive(Debug)]
pub(super) enum Place {
    /// Here, with the number of the last batch that the client has.
    Here(Live, u64),
    /// On another node, if it is there at all.
    Node(NodeId),
    Nowhere,
}

/// All sessions of a server. Their tokens are signed with a key that is made when the server starts, because no session
/// outlives it.
pub(crate) struct Sessions {
    /// This node of a cluster. The tokens begin with it, so that other nodes know whose they are.
    node: Option<NodeId>,
    token: Token,
    next: AtomicU64,
    /// Written when a session begins or ends, read by each request.
    live: RwLock<HashMap<u64, Live>>,
    /// The bodies of requests for other nodes.
    pub(super) passed: Bodies,
}

impl Sessions {
    /// # Panics
    /// If the system has no random bytes: anyone could forge the token of another session.
    pub(crate) fn new(node: Option<NodeId>) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .unwrap_or_else(|error| panic!("the system has no random bytes: {error}"));
        let token =
            Token::new("long poll", &[&secret]).unwrap_or_else(|_| unreachable!("the secret is long enough"));
        Self { node, token, next: AtomicU64::new(0), live: RwLock::default(), passed: Bodies::default() }
    }

    /// Opens a session on this worker and returns its token.
    pub(super) fn open(
        self: &Arc<Self>,
        connection: Rc<Connection>,
        window: Duration,
        max_body: usize,
    ) -> String {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = PollSession {
            id,
            sessions: self.clone(),
            connection,
            patience: window + window / 2,
            last_poll: Instant::now(),
            waiting: None,
            watching: false,
            batches: self.node.map(|_| Batches::default()),
        };
        let live = Live { id, address: session.start(), bodies: Bodies::default(), window, max_body };
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(id, live);
        self.token(id, 0)
    }

    /// The token of a session's client that has the batches up to a number.
    pub(super) fn token(&self, id: u64, batch: u64) -> String {
        match self.node {
            None => self.token.sign(&id).unwrap_or_default(),
            Some(node) => format!("{node}.{}", self.token.sign(&(id, batch)).unwrap_or_default()),
        }
    }

    /// The next token of a session's client that gets a batch, if it is another than the one it has.
    pub(super) fn next_token(&self, id: u64, batch: u64) -> Option<String> {
        self.node.map(|_| self.token(id, batch))
    }

    /// Where the session of a token is.
    pub(super) fn find(&self, token: Option<&str>) -> Place {
        let token = token.unwrap_or_default();
        let found = match self.node {
            None => self.token.verify(Some(token), TOKEN_AGE).ok().map(|id| (id, 0)),
            Some(node) => match of_node(token) {
                Some((of, _)) if of != node => return Place::Node(of),
                Some((_, signed)) => self.token.verify(Some(signed), TOKEN_AGE).ok(),
                None => None,
            },
        };
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let live = found.and_then(|(id, batch)| live.get(&id).cloned().zip(Some(batch)));
        live.map_or(Place::Nowhere, |(live, batch)| Place::Here(live, batch))
    }

    fn remove(&self, id: u64) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// The node of a token, and the rest of it.
fn of_node(token: &str) -> Option<(NodeId, &str)> {
    let (node, signed) = token.split_once('.')?;
    let is_hex = node.len() == 16 && node.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let node = u64::from_str_radix(node, 16).ok().filter(|_| is_hex)?;
    Some((NodeId(node), signed))
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
    /// On a node of a cluster.
    batches: Option<Batches>,
}

/// What the client may have to be sent again.
#[derive(Default)]
struct Batches {
    /// How many there were.
    last: u64,
    /// The last one, until the client has it.
    kept: Option<Vec<Frame>>,
}

/// A client polls that has the batches up to this number; the receiver gets the result.
#[derive(Debug, Message)]
#[rtype(result = "oneshot::Receiver<Polled>")]
pub(super) struct Poll(pub(super) u64);

/// The result of a poll.
#[derive(Debug)]
pub(super) enum Polled {
    /// A batch, and its number.
    Frames(Vec<Frame>, u64),
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
    /// The session's bodies are too long together.
    TooLong,
}

impl PollSession {
    /// Passes what is queued to the waiting poll.
    fn deliver(&mut self) {
        let outbox = self.connection.line().outbox();
        let Some(waiting) = self.waiting.take_if(|waiting| !waiting.is_closed()) else { return };
        let mut frames = outbox.take_all();
        if let Some(batches) = &mut self.batches {
            outbox.put_back(frames.split_off(batch(&frames)));
            batches.last += 1;
            batches.kept = Some(frames.clone());
        }
        let size: usize = frames.iter().map(Frame::size).sum();
        match waiting.send(Polled::Frames(frames, self.last_batch())) {
            Ok(()) => self.last_poll = Instant::now() + Duration::from_secs((size / SLOW_LINE) as u64),
            // the request ended just now: the next poll gets them
            Err(Polled::Frames(frames, _)) if self.batches.is_none() => outbox.put_back(frames),
            Err(_) => {}
        }
        self.connection.line().resume();
    }

    fn last_batch(&self) -> u64 {
        self.batches.as_ref().map_or(0, |batches| batches.last)
    }

    /// What a poll gets at once: the last batch again, if the client does not have it. A client with less than that has
    /// polled since: this poll of it is late.
    fn again(&mut self, has: u64) -> Option<Polled> {
        let Batches { last, kept } = self.batches.as_mut()?;
        if has == *last {
            *kept = None;
            return None;
        }
        let kept = kept.clone().filter(|_| has + 1 == *last);
        Some(kept.map_or(Polled::Superseded, |kept| Polled::Frames(kept, *last)))
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

    fn handle(&mut self, Poll(has): Poll, ctx: &mut Context<Self>) -> Self::Result {
        self.last_poll = Instant::now();
        self.connection.line().heard();
        let (poll, polled) = oneshot::channel();
        if let Some(again) = self.again(has) {
            // an error means that the client is gone: it may ask again
            let _ = poll.send(again);
            return actix::MessageResult(polled);
        }
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

/// How many of these frames are one batch.
fn batch(frames: &[Frame]) -> usize {
    let mut size = 0;
    let fits = |frame: &&Frame| {
        let is_first = size == 0;
        size += frame.size();
        is_first || size <= BATCH
    };
    frames.iter().take_while(fits).count()
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
        socket::{Accepted, CloseReason, Connecting, Router},
        telemetry::Transport,
        transport::SocketOptions,
        wire::{Opcode, Payload, Serializer},
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
        let (node, sessions) = (Node::unbounded(), Arc::new(Sessions::new(None)));
        let open = |_| sessions.token(open(&node, &sessions).1.id, 0);
        let tokens: Vec<String> = (0..10).map(open).collect();
        assert!(tokens.iter().all(|token| matches!(sessions.find(Some(token)), Place::Here(..))));
        node.connections.drain(10);
        let ended = async {
            while !sessions.live.read().unwrap().is_empty() {
                actix_web::rt::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("sessions that have ended are kept");
        assert!(matches!(sessions.find(Some(&tokens[0])), Place::Nowhere));
    }

    fn open(node: &Arc<Node>, sessions: &Arc<Sessions>) -> (Rc<Connection>, Live) {
        let connecting = Connecting::begin(node).unwrap();
        let accepted =
            Accepted { serializer: Serializer::V2, ids: vec![], router: Box::new(NoTopics), connecting };
        let limits = SocketOptions::default().limits();
        let connection = Connection::open(accepted, limits, Transport::LongPoll, node.clone());
        let token = sessions.open(connection.clone(), Duration::from_secs(60), 1_000);
        let Place::Here(live, 0) = sessions.find(Some(&token)) else { panic!("it is not found") };
        (connection, live)
    }

    /// What a poll of a client with this token gets, if anything is there for it.
    async fn poll(sessions: &Sessions, token: &str) -> Option<(Vec<Frame>, String)> {
        let Place::Here(live, has) = sessions.find(Some(token)) else { panic!("it has ended") };
        let mut polled = live.address.send(Poll(has)).await.unwrap();
        // what is queued already is delivered by the session's next turns
        for _ in 0..20 {
            actix_web::rt::task::yield_now().await;
        }
        match polled.try_recv().ok()? {
            Polled::Frames(frames, batch) => {
                let next = sessions.next_token(live.id, batch);
                Some((frames, next.unwrap_or_else(|| token.to_owned())))
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the text of a frame begins with.
    fn number(frame: Frame) -> u32 {
        let text = String::from_utf8(frame.into_message().concat()).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    #[actix_web::test]
    async fn whatever_answers_are_lost_a_client_of_a_node_gets_each_message_once_and_in_order() {
        let node = Node::unbounded();
        let sessions = Arc::new(Sessions::new(Some(NodeId(7))));
        let (connection, live) = open(&node, &sessions);
        let (mut token, mut sent, mut got) = (sessions.token(live.id, 0), 0_u32, vec![]);
        for _ in 0..2_000 {
            let random = getrandom::u32().unwrap();
            for _ in 0..random % 3 {
                // some need an answer of their own
                let filler = "x".repeat(if random & 0x70 == 0 { BATCH / 2 } else { 0 });
                connection.line().push(&Frame::of(Opcode::Text, format!("{sent} {filler}").as_bytes()));
                sent += 1;
            }
            if let Some((frames, next)) = poll(&sessions, &token).await
                && random & 0x100 == 0
            {
                got.extend(frames.into_iter().map(number));
                token = next;
            }
        }
        while let Some((frames, next)) = poll(&sessions, &token).await {
            got.extend(frames.into_iter().map(number));
            token = next;
        }
        assert!(sent > 1_000);
        assert_eq!(got, (0..sent).collect::<Vec<_>>());
    }

    #[actix_web::test]
    async fn a_late_poll_of_a_client_that_has_polled_since_gets_nothing_and_takes_nothing() {
        let node = Node::unbounded();
        let sessions = Arc::new(Sessions::new(Some(NodeId(7))));
        let (connection, live) = open(&node, &sessions);
        let first = sessions.token(live.id, 0);
        connection.line().push(&Frame::of(Opcode::Text, b"1"));
        let (_, second) = poll(&sessions, &first).await.unwrap();
        assert!(poll(&sessions, &second).await.is_none());
        let Place::Here(live, 0) = sessions.find(Some(&first)) else { panic!("it has ended") };
        let late = live.address.send(Poll(0)).await.unwrap().await.unwrap();
        assert!(matches!(late, Polled::Superseded), "{late:?}");
    }

    #[actix_web::test]
    async fn the_token_of_a_server_of_one_node_stays_the_same_and_has_no_node() {
        let sessions = Arc::new(Sessions::new(None));
        let (connection, live) = open(&Node::unbounded(), &sessions);
        let token = sessions.token(live.id, 0);
        assert!(token.starts_with("SFMyNTY."), "{token}");
        connection.line().push(&Frame::of(Opcode::Text, b"1"));
        assert_eq!(sessions.next_token(live.id, 1), None);
        let (frames, _) = poll(&sessions, &token).await.unwrap();
        assert_eq!(frames, [Frame::of(Opcode::Text, b"1")]);
        assert!(poll(&sessions, &token).await.is_none(), "it is not kept");
        let foreign = Arc::new(Sessions::new(Some(NodeId(7)))).token(live.id, 0);
        assert!(matches!(sessions.find(Some(&foreign)), Place::Nowhere));
    }
}
