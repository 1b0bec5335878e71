//! One client's connection: carries out what the session's rules say.
//!
//! It lives on one worker thread, shared by the socket's actor (which reads), the channels (which write) and the
//! registry of subscribers. Whatever transport it has takes frames out of its outbox.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix::Recipient;

use super::{
    ChannelId, Ended, Joined, Outbox, Router,
    actor::Closing,
    session::{Effect, Session},
};
use crate::{
    channel::{Command, Exit, JoinRequest, Link},
    pubsub::{Broadcast, ConnectionCount, Drain, Local, PubSub, Subscriber, SubscriberKey},
    wire::{CloseCode, DISCONNECT, Frame, Message, Outgoing, Payload, Serializer},
};

/// Bytes of a client's messages that may wait for its channels before the server stops reading from it: it is told by
/// TCP to slow down, nothing is lost, and nobody else notices.
const MAX_LOAD: usize = 256 * 1024;

/// What one connection may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Topics joined at a time.
    pub(crate) max_channels: usize,
    /// Bytes that may wait to be written.
    pub(crate) outbox: usize,
}

/// A client that may have a socket.
pub(crate) struct Accepted {
    pub(crate) serializer: Serializer,
    pub(crate) id: Option<String>,
    pub(crate) router: Box<dyn Router>,
}

/// See the module.
pub(crate) struct Connection {
    this: Weak<Self>,
    /// The socket's id, which is a topic too.
    id: Option<String>,
    key: SubscriberKey,
    serializer: Serializer,
    limits: Limits,
    outbox: Outbox,
    session: RefCell<Session>,
    channels: RefCell<HashMap<ChannelId, Running>>,
    router: Box<dyn Router>,
    pubsub: PubSub,
    local: Rc<Local>,
    /// Bytes of messages that wait for channels.
    load: Cell<usize>,
    /// Reads on when the load has gone down.
    reader: RefCell<Option<Waker>>,
    /// Whoever ends the transport after a close frame.
    closer: RefCell<Option<Recipient<Closing>>>,
    /// Until the transport is gone; a callback that still runs does not keep the connection counted.
    count: Cell<Option<ConnectionCount>>,
}

/// A channel that has been started and has not ended.
struct Running {
    link: Rc<Link>,
    commands: Recipient<Command>,
}

impl Connection {
    /// Opens a connection; a socket with an id closes when `disconnect` is broadcast to it.
    pub(crate) fn open(accepted: Accepted, limits: Limits, pubsub: PubSub) -> Rc<Self> {
        let Accepted { serializer, id, router } = accepted;
        let connection = Rc::new_cyclic(|this| Self {
            this: this.clone(),
            id,
            key: SubscriberKey::new(),
            serializer,
            limits,
            outbox: Outbox::new(limits.outbox),
            session: RefCell::new(Session::new(limits.max_channels)),
            channels: RefCell::default(),
            router,
            local: pubsub.local(),
            load: Cell::new(0),
            reader: RefCell::default(),
            closer: RefCell::default(),
            count: Cell::new(Some(pubsub.count_connection())),
            pubsub,
        });
        connection.local.add_connection(connection.key, connection.clone());
        if let Some(id) = &connection.id {
            connection.local.subscribe(id, connection.key, connection.clone());
        }
        connection
    }

    pub(crate) fn pubsub(&self) -> &PubSub {
        &self.pubsub
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// A message of the client.
    pub(crate) fn receive(&self, message: Message) {
        let effects = self.session.borrow_mut().receive(message, |topic| self.router.is_routed(topic));
        self.carry_out(effects);
    }

    /// A channel's join callback ended.
    pub(crate) fn joined(&self, channel: ChannelId, how: Joined) {
        if !matches!(how, Joined::Ok(_)) {
            self.channels.borrow_mut().remove(&channel);
        }
        let effects = self.session.borrow_mut().joined(channel, how, |topic| self.router.is_routed(topic));
        self.carry_out(effects);
        self.resume();
    }

    /// A joined channel ended.
    pub(crate) fn ended(&self, channel: ChannelId, how: Ended) {
        self.channels.borrow_mut().remove(&channel);
        let effect = self.session.borrow_mut().ended(channel, how);
        self.carry_out(effect);
    }

    fn carry_out(&self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { join_ref, reference, topic, status, payload } => self.send(Outgoing::Reply {
                    join_ref: &join_ref,
                    reference: &reference,
                    topic: &topic,
                    status,
                    payload: &payload,
                }),
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
                Effect::Deliver { channel, message } => self.deliver(channel, message),
                Effect::Leave { channel, reference } => self.command(channel, Command::Leave(reference)),
                Effect::Replace { channel } => self.stop(channel, Exit::Replaced),
            }
        }
    }

    fn start(&self, request: JoinRequest, payload: Payload) {
        // a connection carries out effects only while somebody holds it
        let Some(this) = self.this.upgrade() else { return };
        let channel = request.channel;
        let link = Link::new(this, request);
        if let Some(commands) = self.router.start(link.clone(), payload) {
            self.channels.borrow_mut().insert(channel, Running { link, commands });
        }
    }

    fn deliver(&self, channel: ChannelId, message: Message) {
        let cost = message.cost();
        if let Some(Running { link, commands }) = self.channels.borrow().get(&channel) {
            self.load.set(self.load.get() + cost);
            link.loaded(cost);
            commands.do_send(Command::In(message, cost));
        }
    }

    fn command(&self, channel: ChannelId, command: Command) {
        if let Some(Running { commands, .. }) = self.channels.borrow().get(&channel) {
            commands.do_send(command);
        }
    }

    fn stop(&self, channel: ChannelId, exit: Exit) {
        let running = self.channels.borrow_mut().remove(&channel);
        if let Some(Running { link, commands }) = running {
            link.mute();
            commands.do_send(Command::Stop(exit));
        }
    }

    /// Sends a message to this client, after all broadcasts that came before it.
    pub(crate) fn send(&self, message: Outgoing<'_>) {
        self.local.flush();
        match self.serializer.encode(message) {
            Ok(frame) => self.outbox.push(&frame),
            Err(error) => log::warn!("message not sent: {error}"),
        }
    }

    /// Sends what all subscribers get.
    pub(crate) fn forward(&self, broadcast: &Arc<Broadcast>) {
        if let Some(frame) = broadcast.frame(self.serializer) {
            self.outbox.push(frame);
        }
    }

    /// Whether so many bytes may wait for a channel on their way to this client; else it is cut off, as if they waited in
    /// its outbox.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        if bytes > self.limits.outbox {
            log::warn!(
                "a client whose channel does not handle its broadcasts is cut off: {bytes} bytes wait for it"
            );
            self.outbox.cut();
        }
        self.outbox.is_open()
    }

    /// Says goodbye; the transport ends when the client has answered, or soon after.
    pub(crate) fn close(&self, code: Option<CloseCode>) {
        if self.outbox.is_open() {
            self.outbox.close(&Frame::close(code));
            self.wake_reader();
            if let Some(closer) = &*self.closer.borrow() {
                closer.do_send(Closing);
            }
        }
    }

    pub(crate) fn tell_when_closing(&self, closer: Recipient<Closing>) {
        *self.closer.borrow_mut() = Some(closer);
    }

    /// The transport is gone, or will be when it has written what is queued: every channel ends.
    pub(crate) fn end(&self) {
        self.outbox.finish();
        self.closer.take();
        self.count.take();
        self.local.remove_connection(self.key);
        if let Some(id) = &self.id {
            self.local.unsubscribe(id, self.key);
        }
        let channels: Vec<ChannelId> = self.channels.borrow().keys().copied().collect();
        for channel in channels {
            self.stop(channel, Exit::Closed);
        }
    }

    /// A channel has handled messages of so many bytes.
    pub(crate) fn release(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        self.resume();
    }

    /// Ready when the client may be read from.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_loaded() || !self.outbox.is_open() {
            return Poll::Ready(());
        }
        *self.reader.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether so much waits for this client's channels that it is not read from.
    pub(crate) fn is_loaded(&self) -> bool {
        self.load.get() + self.session.borrow().waiting() > MAX_LOAD
    }

    fn resume(&self) {
        if self.reader.borrow().is_some() && !self.is_loaded() {
            self.wake_reader();
        }
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Subscribed to its socket's id, where one event means something.
impl Subscriber for Connection {
    fn deliver(&self, broadcast: &Arc<Broadcast>) {
        if broadcast.event == DISCONNECT {
            self.close(Some(CloseCode::GOING_AWAY));
        }
    }
}

impl Drain for Connection {
    fn drain(&self) {
        self.close(Some(CloseCode::SERVICE_RESTART));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("key", &self.key).field("load", &self.load).finish_non_exhaustive()
    }
}
