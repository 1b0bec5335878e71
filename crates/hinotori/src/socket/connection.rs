//! One client's connection. It carries out the effects that the session's rules decide on.
//!
//! It stays on one worker thread, shared by the transport (which reads), the channels (which write) and the registry of
//! subscribers. Any kind of transport takes frames from its outbox.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;

use hinotori_protocol::{
    rate::Verdict,
    session::{Effect, Session, reason},
};

use super::{ChannelId, CloseReason, Connecting, Ended, Joined, Limits, Line, Peer, Router};
use crate::{
    callback::panic_message,
    channel::{End, Exit, JoinRequest, Membership},
    node::Node,
    telemetry::{Crash, Quoted, Transport},
    wire::{
        DecodeError, EncodeError, Frame, Message, Outgoing, PHOENIX, PHX_JOIN, Payload, Serializer, Status,
    },
};

/// The origin of the sessions' clock.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(time: Instant) -> u64 {
    u64::try_from(time.saturating_duration_since(*BEGINNING).as_nanos()).unwrap_or(u64::MAX)
}

fn instant(nanos: u64) -> Instant {
    *BEGINNING + Duration::from_nanos(nanos)
}

/// A client that may open a socket.
pub(crate) struct Accepted {
    pub(crate) serializer: Serializer,
    pub(crate) ids: Vec<String>,
    pub(crate) router: Box<dyn Router>,
    pub(crate) connecting: Connecting,
}

/// See the module.
pub(crate) struct Connection {
    this: Weak<Self>,
    line: Rc<Line>,
    serializer: Serializer,
    session: RefCell<Session<Rc<Membership>>>,
    router: Box<dyn Router>,
    is_gone: Cell<bool>,
}

impl Connection {
    /// Opens a connection.
    pub(crate) fn open(
        accepted: Accepted,
        limits: Limits,
        transport: Transport,
        node: Arc<Node>,
    ) -> Rc<Self> {
        let Accepted { serializer, ids, router, connecting } = accepted;
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            line: Line::open(limits, transport, connecting, node, ids),
            serializer,
            session: RefCell::new(Session::new(limits.max_channels)),
            router,
            is_gone: Cell::new(false),
        })
    }

    pub(crate) fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// Handles a message from the client, if it is valid.
    fn receive(&self, decoded: Result<Message, DecodeError>) -> Result<(), String> {
        self.line.local().counts().received.add(1);
        let message = decoded.map_err(|error| error.to_string())?;
        match self.line.judge() {
            Verdict::Handle => self.receive_message(message),
            Verdict::Refuse => self.refuse(&message),
            Verdict::Close => {}
        }
        Ok(())
    }

    /// Handles a message from the client.
    pub(crate) fn receive_message(&self, message: Message) {
        // other messages are judged without reading the clock
        let now = if message.event == PHX_JOIN { nanos(Instant::now()) } else { 0 };
        self.judge(|session| session.receive(message, now, |topic| self.router.is_routed(topic)));
    }

    /// Answers a message above the rate limit; heartbeats count too.
    fn refuse(&self, message: &Message) {
        self.line.node().telemetry.rate_limited();
        let Message { join_ref, reference, topic, .. } = message;
        let (status, payload) = (Status::Error, &reason("too many messages"));
        self.send(Outgoing::Reply { join_ref, reference, topic, status, payload });
    }

    /// A channel's join callback ended.
    pub(crate) fn joined(&self, channel: ChannelId, how: Joined) {
        self.judge(|session| session.joined(channel, how, |topic| self.router.is_routed(topic)));
    }

    /// Asks the session and does what it says. What waits there for joins to end is part of the line's load.
    fn judge(&self, rule: impl FnOnce(&mut Session<Rc<Membership>>) -> Vec<Effect>) {
        let (effects, before, after) = {
            let mut session = self.session.borrow_mut();
            let before = session.waiting();
            (rule(&mut session), before, session.waiting())
        };
        self.line.load(after.saturating_sub(before));
        self.carry_out(effects);
        self.line.release(before.saturating_sub(after));
    }

    /// A joined channel ended.
    pub(crate) fn ended(&self, channel: ChannelId, how: Ended) {
        let effect = self.session.borrow_mut().ended(channel, how);
        self.carry_out(effect);
    }

    /// A channel's last callback is over.
    pub(crate) fn over(&self, channel: ChannelId) {
        self.judge(|session| session.over(channel, |topic| self.router.is_routed(topic)));
    }

    /// A channel has used up its time to end.
    pub(crate) fn overdue(&self, channel: ChannelId) {
        self.judge(|session| session.overdue(channel, |topic| self.router.is_routed(topic)));
    }

    fn carry_out(&self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { join_ref, reference, topic, status, payload } => {
                    let (join_ref, reference, payload) = (&join_ref, &reference, &payload);
                    let reply = Outgoing::Reply { join_ref, reference, topic: &topic, status, payload };
                    if topic == PHOENIX { self.send_at_once(reply) } else { self.send(reply) }
                }
                Effect::Ended { join_ref, topic, event, payload } => self.send(Outgoing::Push {
                    join_ref: &join_ref,
                    reference: &join_ref,
                    topic: &topic,
                    event,
                    payload: &payload,
                }),
                Effect::Start { channel, join_ref, topic, payload } => {
                    self.start(JoinRequest { channel, join_ref, topic }, payload);
                }
                Effect::Deliver { channel, message } => {
                    if let Some(membership) = self.find(channel) {
                        membership.deliver(message);
                    }
                }
                Effect::Leave { channel, reference } => {
                    self.end(channel, End::Leave(reference), Instant::now());
                }
                Effect::Replace { channel, since } => {
                    self.end(channel, End::Stop(Exit::Replaced), instant(since));
                }
                Effect::Hurry { channel } => {
                    if let Some(membership) = self.find(channel) {
                        membership.hurry();
                    }
                }
            }
        }
    }

    fn start(&self, request: JoinRequest, payload: Payload) {
        // a client that has disconnected joins nothing more
        let Some(this) = self.this.upgrade().filter(|_| !self.is_gone.get()) else { return };
        let membership = Membership::new(&this, request);
        self.session.borrow_mut().attach(membership.id(), membership.clone());
        self.router.start(membership, payload);
    }

    fn find(&self, channel: ChannelId) -> Option<Rc<Membership>> {
        self.session.borrow().handle(channel).cloned()
    }

    /// The newest membership of the client in a topic.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn membership(&self, topic: &str) -> Option<Rc<Membership>> {
        let session = self.session.borrow();
        session.handles().filter(|membership| membership.topic() == topic).last().cloned()
    }

    fn end(&self, channel: ChannelId, end: End, since: Instant) {
        if let Some(membership) = self.find(channel) {
            membership.end(end, since);
        }
    }

    /// Notifies the application's socket, which shares no borrow with the caller.
    fn terminate(&self, why: CloseReason) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.router.terminate(why))) {
            let (conn, why) = (self.line.conn(), panic_message(&*panic));
            log::error!("event=crashed of={} conn={conn} why={}", Crash::Terminate, Quoted(&why));
            self.line.node().telemetry.crashed(Crash::Terminate);
        }
    }

    /// Sends this client a message after all earlier broadcasts.
    pub(crate) fn send(&self, message: Outgoing<'_>) {
        if let Some(frame) = self.encode(message) {
            self.line.push(&frame);
        }
    }

    /// Sends a message that supersedes earlier ones of its channel and key: a client that lags does not get those.
    pub(crate) fn send_latest(&self, channel: ChannelId, key: &str, message: Outgoing<'_>) {
        let Some(frame) = self.encode(message) else { return };
        if self.line.keep_latest(channel, key, &frame) {
            self.line.local().counts().sent.add(1);
        } else {
            self.line.push(&frame);
        }
    }

    /// Sends a message that is unrelated to any broadcast, without waiting for those not delivered yet.
    fn send_at_once(&self, message: Outgoing<'_>) {
        if let Some(frame) = self.encode(message) {
            self.line.local().counts().sent.add(u64::from(self.line.answer_at_once(&frame)));
        }
    }

    fn encode(&self, message: Outgoing<'_>) -> Option<Frame> {
        let encoded = self.serializer.encode(message);
        let failed = |error: &EncodeError| {
            let (conn, why) = (self.line.conn(), format!("{error}"));
            log::warn!("event=not_sent what=message conn={conn} why={}", Quoted(&why));
        };
        encoded.inspect_err(failed).ok().map(|frame| self.line.compressed(frame))
    }
}

impl Peer for Connection {
    fn line(&self) -> &Rc<Line> {
        &self.line
    }

    fn receive_text(&self, text: &ByteString) -> Result<(), String> {
        self.receive(self.serializer.decode_text(text))
    }

    fn receive_binary(&self, data: &Bytes) -> Result<(), String> {
        self.receive(self.serializer.decode_binary(data))
    }

    /// Ends every channel.
    fn gone(&self) {
        if self.is_gone.replace(true) {
            return;
        }
        self.line.end();
        let memberships: Vec<_> = self.session.borrow().handles().cloned().collect();
        let (now, why) = (Instant::now(), self.line.why());
        memberships.iter().for_each(|membership| membership.end(End::Stop(Exit::Closed(why)), now));
        self.terminate(why);
    }
}

/// The transport that read from the client has ended, and so has the client.
impl Drop for Connection {
    fn drop(&mut self) {
        self.gone();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("serializer", &self.serializer).finish_non_exhaustive()
    }
}
