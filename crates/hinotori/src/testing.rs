//! Tests channels without a network: the test and its client run on one thread, with the real socket, channels and
//! broadcasts.
//!
//! Enable the feature `testing` in `[dev-dependencies]`: `hinotori = { version = "…", features = ["testing"] }`.
//!
//! # Time
//! Assertions and channel timers use tokio's clock, which a test can pause and advance (`tokio::time::pause()`, with
//! tokio's feature `test-util`), so an hour passes instantly. While paused, time also advances whenever the runtime is
//! idle, so assertions do not wait for other threads, such as the one that sends the diffs of a
//! [`Presence`](crate::Presence): pause time after those have arrived. The system's clock is used for how long a
//! callback may take to end ([`Channel::SHUTDOWN`](crate::Channel::SHUTDOWN)) and for how long a client may be silent.
//!
//! # Source
//! Phoenix `lib/phoenix/test/channel_test.ex`, 1.8.12.

pub mod adapter;
mod expected;

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use actix_web::{rt, test::TestRequest};
pub use expected::{Expected, Like, like};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    channel::{BoxError, Membership},
    endpoint::Endpoint,
    pubsub::{Broadcast, Subscriber, SubscriberKey},
    socket::{
        Accepted, CloseReason, ConnectInfo, Connected, Connecting, Connection, End, Line, Params, Peer,
        Refused, Routes, SocketHandler,
    },
    telemetry::{Span, Transport},
    transport::SocketOptions,
    wire::{
        Frame, IntoPayload, Message, Opcode, PHX_JOIN, PHX_LEAVE, PHX_REPLY, Payload, Ref, Serializer,
        Status, USER_BROADCAST, UserBroadcast,
    },
};

/// How long an assertion waits for an expected message, by default.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a refutation waits for a message that must not arrive; Phoenix's default.
const REFUTE: Duration = Duration::from_millis(100);

/// The codes for a connection that ended without a close frame, and for a close frame without a code (RFC 6455 §7.4.1).
const ABNORMAL: u16 = 1006;
const NO_STATUS: u16 = 1005;

/// Builds a test client of a socket.
///
/// ```
/// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Reply, Routes, SocketHandler};
/// # struct UserSocket;
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Ok(Self) }
/// #     fn id(&self) -> Option<String> { Some("users:7".to_owned()) }
/// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Room>("room:*"); }
/// # }
/// # struct Room;
/// # impl Channel for Room {
/// #     type Socket = UserSocket;
/// #     type Info = ();
/// #     async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> hinotori::Result<Join<Self>> { Join::ok(Room) }
/// #     async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> hinotori::Result {
/// #         match event {
/// #             "shout" => cx.broadcast("shout", &payload)?,
/// #             _ => return cx.unhandled(event),
/// #         }
/// #         Reply::ok(payload)
/// #     }
/// # }
/// use hinotori::{Endpoint, Status, testing::{ChannelTest, like}};
/// use serde_json::json;
///
/// # actix_web::rt::System::new().block_on(async {
/// let endpoint = Endpoint::new();
/// let mut client = ChannelTest::new(&endpoint).connect::<UserSocket>().await?;
/// client.subscribe_and_join("room:1", json!({})).await?;
/// let push = client.push("room:1", "shout", json!({ "n": 1, "at": "noon" }))?;
/// client.assert_reply(push, Status::Ok, json!({ "n": 1, "at": "noon" })).await;
/// client.assert_broadcast("shout", like(json!({ "n": 1 }))).await;
/// client.refute_push("shout").await;
/// endpoint.disconnect("users:7");
/// client.assert_closed(1001).await;
/// # Ok::<_, hinotori::BoxError>(())
/// # }).unwrap();
/// ```
pub struct ChannelTest {
    endpoint: Endpoint,
    request: TestRequest,
    params: String,
    auth_token: Option<String>,
    options: SocketOptions,
    patience: Duration,
}

impl ChannelTest {
    /// A client that will connect to a socket of this endpoint.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            request: TestRequest::default(),
            params: String::new(),
            auth_token: None,
            options: SocketOptions::default(),
            patience: PATIENCE,
        }
    }

    /// Connect params, as a query string.
    #[must_use]
    pub fn params(mut self, query: &str) -> Self {
        query.clone_into(&mut self.params);
        self
    }

    /// Adds data that the application puts into its `App`.
    #[must_use]
    pub fn app_data<T: 'static>(mut self, data: T) -> Self {
        self.request = self.request.app_data(data);
        self
    }

    /// Adds a header to the connect request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.insert_header((name, value));
        self
    }

    /// Sets the token of `new Socket(url, {authToken})`.
    #[must_use]
    pub fn auth_token(mut self, token: &str) -> Self {
        self.auth_token = Some(token.to_owned());
        self
    }

    /// Sets the socket's options, such as how many channels it may join, how much may be queued for it, and its trusted
    /// proxies. Options that concern only a transport have no effect.
    #[must_use]
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how long an assertion waits for an expected message: 2 s by default. Raise it if the channels ask a database or
    /// another node, which take longer on a busy machine. Refutations wait 100 ms.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectRefused`] if the socket refuses the client, the params are not a query string, or the endpoint is at
    /// its connection limit.
    pub async fn connect<S: SocketHandler>(self) -> Result<TestSocket, ConnectRefused> {
        let request = self.request.to_http_request();
        let params =
            Params::parse(&self.params).ok_or_else(|| Refused::because("the params are no query string"))?;
        let info = ConnectInfo::new(&request, self.auth_token.as_deref(), &self.options.trusted_proxies);
        let node = self.endpoint.node().clone();
        let connecting = Connecting::begin(&node)
            .ok_or_else(|| Refused::because("the endpoint has no place for the client"))?;
        let span = Span { callback: "connect", conn: None, topic: None, event: None };
        let socket = span.around(S::connect(&params, &info)).await?;
        let ids = socket.ids();
        let routes = Routes::<S>::of(node.telemetry.clone());
        let router = Box::new(Connected { socket: Rc::new(socket), routes: Rc::new(routes) });
        let limits = self.options.limits();
        let serializer = if self.options.user_broadcasts { Serializer::V2User } else { Serializer::V2 };
        let accepted = Accepted { serializer, ids, router, connecting };
        let connection = Connection::open(accepted, limits, Transport::WebSocket, node);
        rt::spawn(end_when_closed(connection.line().clone(), Rc::downgrade(&connection)));
        Ok(TestSocket {
            connection,
            next_ref: 0,
            join_refs: vec![],
            received: vec![],
            close_code: None,
            heard: Rc::default(),
            ears: vec![],
            patience: self.patience,
        })
    }
}

/// Ends a client that the server closes, as a transport would.
async fn end_when_closed(line: Rc<Line>, connection: Weak<Connection>) {
    poll_fn(|cx| line.poll_closing(cx)).await;
    if let Some(connection) = connection.upgrade() {
        connection.gone();
    }
}

impl std::fmt::Debug for ChannelTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelTest").field("params", &self.params).finish_non_exhaustive()
    }
}

/// Identifies a pushed message and its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a reply can be asserted by it"]
pub struct Pushed(Ref);

#[cfg(test)]
impl Pushed {
    /// The message's ref, as its reply has it.
    pub(crate) fn reference(&self) -> Value {
        Value::String(self.0.as_text().to_owned())
    }
}

/// A message that a client received.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    join_ref: Value,
    reference: Value,
    topic: String,
    event: String,
    payload: Value,
}

/// A connected client in a test.
#[derive(Debug)]
pub struct TestSocket {
    connection: Rc<Connection>,
    next_ref: u64,
    /// The join_ref of each joined topic.
    join_refs: Vec<(String, Ref)>,
    /// What has arrived and has not been asserted yet.
    received: Vec<Received>,
    /// The code of the close frame, if it has arrived.
    close_code: Option<u16>,
    /// The broadcasts that it has heard and that have not been asserted yet.
    heard: Rc<RefCell<VecDeque<Heard>>>,
    /// The topics it listens to, and the keys of its subscriptions.
    ears: Vec<(String, SubscriberKey)>,
    patience: Duration,
}

/// Dropping a client counts as a [lost](CloseReason::Lost) connection.
impl Drop for TestSocket {
    fn drop(&mut self) {
        self.connection.gone();
        for (topic, key) in &self.ears {
            self.connection.line().local().unsubscribe(topic, *key);
        }
    }
}

/// A broadcast that a client has heard.
#[derive(Debug)]
struct Heard {
    event: String,
    payload: Value,
}

/// Records the broadcasts to a topic for as long as a client is subscribed to it, even if the channel intercepts them.
struct Ear {
    membership: Weak<Membership>,
    heard: Rc<RefCell<VecDeque<Heard>>>,
}

impl Subscriber for Ear {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        if self.membership.upgrade().is_some_and(|membership| membership.is_subscribed()) {
            let heard = Heard { event: broadcast.event.clone(), payload: json_of(broadcast) };
            self.heard.borrow_mut().push_back(heard);
        }
        false
    }
}

impl TestSocket {
    /// Joins a topic, listens to its broadcasts until its channel ends, and returns the reply.
    ///
    /// # Errors
    /// [`JoinRefused`] with the reply, if the join was refused or crashed.
    ///
    /// # Panics
    /// If the payload does not serialize, or no reply arrives.
    pub async fn subscribe_and_join(
        &mut self,
        topic: &str,
        payload: impl IntoPayload,
    ) -> Result<Value, JoinRefused> {
        let join_ref = self.new_ref();
        let payload = payload.into_payload().unwrap_or_else(|error| panic!("{error}"));
        self.send(join_ref.clone(), join_ref.clone(), topic, PHX_JOIN, payload);
        match self.reply_at(Pushed(join_ref.clone())).await {
            (index, Status::Ok, response) => {
                self.join_refs.push((topic.to_owned(), join_ref));
                self.listen(topic, index);
                Ok(response)
            }
            (_, _, response) => Err(JoinRefused(response)),
        }
    }

    /// Hears the broadcasts to a topic that has been joined: those that have arrived since the reply, which was in this
    /// place, and those to come.
    fn listen(&mut self, topic: &str, index: usize) {
        self.take_in();
        let since = self.received.iter().skip(index);
        let since = since.filter(|received| received.topic == topic && received.is_broadcast());
        let heard = since.map(|Received { event, payload, .. }| (event.clone(), payload.clone()));
        let heard = heard.map(|(event, payload)| Heard { event, payload });
        self.heard.borrow_mut().extend(heard);
        let Some(membership) = self.connection.membership(topic) else { return };
        let (key, topic) = (SubscriberKey::new(), membership.pubsub_topic().to_owned());
        let ear = Rc::new(Ear { membership: Rc::downgrade(&membership), heard: self.heard.clone() });
        self.connection.line().local().subscribe(&topic, key, ear);
        self.ears.push((topic, key));
    }

    /// Pushes an event to a topic.
    ///
    /// # Errors
    /// [`PayloadError`](crate::PayloadError) if the payload does not serialize.
    pub fn push(&mut self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<Pushed, BoxError> {
        let payload = payload.into_payload()?;
        let join_ref = self.join_refs.iter().rev().find(|(joined, _)| joined == topic);
        let join_ref = join_ref.map(|(_, join_ref)| join_ref.clone()).unwrap_or_default();
        let reference = self.new_ref();
        self.send(join_ref, reference.clone(), topic, event, payload);
        Ok(Pushed(reference))
    }

    /// Leaves a topic.
    pub fn leave(&mut self, topic: &str) -> Pushed {
        let reference = self.new_ref();
        self.send(Ref::Null, reference.clone(), topic, PHX_LEAVE, Payload::empty());
        Pushed(reference)
    }

    /// Closes the connection, as `socket.disconnect()` does: every channel ends with [`CloseReason::ByClient`].
    /// Dropping a client instead ends them with [`CloseReason::Lost`].
    pub fn close(self) {
        self.connection.line().ends_by(CloseReason::ByClient);
    }

    /// Returns the reply to a push.
    ///
    /// # Panics
    /// If no reply arrives.
    pub async fn reply(&mut self, push: Pushed) -> (Status, Value) {
        let (_, status, response) = self.reply_at(push).await;
        (status, response)
    }

    /// The same, and its place among the messages that have arrived.
    async fn reply_at(&mut self, push: Pushed) -> (usize, Status, Value) {
        let reference = Value::String(push.0.as_text().to_owned());
        let is_reply = |received: &Received| received.event == PHX_REPLY && received.reference == reference;
        let Some(index) = self.find(is_reply, self.patience).await else {
            panic!("no reply came; instead there are {:#?}", self.received)
        };
        let payload = self.received.remove(index).payload;
        let status = if payload["status"] == "ok" { Status::Ok } else { Status::Error };
        (index, status, payload["response"].clone())
    }

    /// Asserts that a push gets this reply.
    ///
    /// # Panics
    /// If another reply arrives, or none.
    pub async fn assert_reply(&mut self, push: Pushed, status: Status, response: impl Expected) {
        let (got_status, got) = self.reply(push).await;
        let expected = response.describe();
        assert!(
            got_status == status && response.fits(&got),
            "expected a reply {status:?} with {expected}, got {got_status:?} with {got}"
        );
    }

    /// Asserts that a push gets no reply.
    ///
    /// # Panics
    /// If a reply arrives.
    pub async fn refute_reply(&mut self, push: Pushed) {
        let reference = Value::String(push.0.as_text().to_owned());
        let is_reply = |received: &Received| received.event == PHX_REPLY && received.reference == reference;
        let reply = self.take(is_reply, REFUTE).await;
        assert_eq!(reply, None, "expected no reply");
    }

    /// Returns the payload of the next `event` that a channel pushes to this client.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn pushed(&mut self, event: &str) -> Value {
        match self.take(|received| is_push(received, event), self.patience).await {
            Some(received) => received.payload,
            None => panic!("no push of {event:?} came; instead there are {:#?}", self.received),
        }
    }

    /// Asserts that a channel pushes this event with this payload to this client.
    ///
    /// # Panics
    /// If the next push of the event has another payload, or none arrives.
    pub async fn assert_push(&mut self, event: &str, payload: impl Expected) {
        let got = self.pushed(event).await;
        assert!(payload.fits(&got), "expected a push of {event:?} with {}, got {got}", payload.describe());
    }

    /// Asserts that no channel pushes this event to this client.
    ///
    /// # Panics
    /// If one does.
    pub async fn refute_push(&mut self, event: &str) {
        let push = self.take(|received| is_push(received, event), REFUTE).await;
        assert_eq!(push, None, "expected no push of {event:?}");
    }

    /// Returns the payload of the next `event` that is broadcast to a joined topic.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn broadcast(&mut self, event: &str) -> Value {
        match self.hear(event, self.patience).await {
            Some(heard) => heard.payload,
            None => panic!("no broadcast of {event:?} came"),
        }
    }

    /// Asserts that this event is broadcast with this payload to a joined topic.
    ///
    /// # Panics
    /// If the next broadcast of the event has another payload, or none arrives.
    pub async fn assert_broadcast(&mut self, event: &str, payload: impl Expected) {
        let got = self.broadcast(event).await;
        let expected = payload.describe();
        assert!(payload.fits(&got), "expected a broadcast of {event:?} with {expected}, got {got}");
    }

    /// Asserts that this event is not broadcast to a joined topic.
    ///
    /// # Panics
    /// If it is broadcast.
    pub async fn refute_broadcast(&mut self, event: &str) {
        let broadcast = self.hear(event, REFUTE).await;
        assert!(broadcast.is_none(), "expected no broadcast of {event:?}, got {broadcast:?}");
    }

    /// Stops the client from reading until the next assertion. Like a client on a slow network, it then
    /// [lags](crate::Context::push_latest).
    pub fn lag(&mut self) {
        self.take_in();
        self.connection.line().outbox().offered(0, false);
    }

    /// Waits until the server closes the connection, and returns the code: 1001 for [`Endpoint::disconnect`], 1012 when
    /// it drains. A client that is disconnected because it does not read gets no close frame, which browsers report as
    /// 1006.
    ///
    /// # Panics
    /// If the server does not close it.
    pub async fn closed(&mut self) -> u16 {
        let patience = self.patience;
        let closed = async {
            loop {
                self.take_in();
                let is_cut = self.connection.line().outbox().end() == Some(End::Cut);
                match self.close_code.or(is_cut.then_some(ABNORMAL)) {
                    Some(code) => return code,
                    None => rt::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let closed = timeout(patience, closed).await;
        closed.unwrap_or_else(|_| panic!("the connection is still open; there are {:#?}", self.received))
    }

    /// Asserts that the server closes the connection with this code: see [`closed`](TestSocket::closed).
    ///
    /// # Panics
    /// If it is closed with another code, or not at all.
    pub async fn assert_closed(&mut self, code: u16) {
        assert_eq!(self.closed().await, code, "the code with which the connection was closed");
    }

    /// Returns the payload of the next `event` that reaches this client, pushed or broadcast.
    #[cfg(test)]
    pub(crate) async fn reached_by(&mut self, event: &str) -> Value {
        let received = self.take(|received| received.event == event, self.patience).await;
        received
            .unwrap_or_else(|| panic!("no {event:?} came; instead there are {:#?}", self.received))
            .payload
    }

    /// Returns the next message of any kind that reaches this client: its join_ref, ref, event and payload.
    #[cfg(test)]
    pub(crate) async fn next(&mut self) -> (Value, Value, String, Value) {
        let Some(Received { join_ref, reference, event, payload, .. }) =
            self.take(|_| true, self.patience).await
        else {
            panic!("nothing came")
        };
        (join_ref, reference, event, payload)
    }

    /// The messages that have arrived, as [`next`](Self::next) returns them.
    #[cfg(test)]
    pub(crate) fn arrived(&mut self) -> Vec<(Value, Value, String, Value)> {
        self.take_in();
        let arrived = self.received.drain(..);
        let parts =
            |Received { join_ref, reference, event, payload, .. }| (join_ref, reference, event, payload);
        arrived.map(parts).collect()
    }

    fn new_ref(&mut self) -> Ref {
        self.next_ref += 1;
        Ref::Text(self.next_ref.to_string().into())
    }

    fn send(&mut self, join_ref: Ref, reference: Ref, topic: &str, event: &str, payload: Payload) {
        let (topic, event) = (topic.to_owned(), event.to_owned());
        self.connection.line().heard();
        self.connection.receive_message(Message {
            join_ref,
            reference,
            topic: topic.into(),
            event: event.into(),
            weight: payload.len(),
            payload,
        });
    }

    /// The first message that matches, now or within a time limit.
    async fn take(&mut self, fits: impl Fn(&Received) -> bool, patience: Duration) -> Option<Received> {
        let index = self.find(fits, patience).await?;
        Some(self.received.remove(index))
    }

    /// Its place among the messages that have arrived.
    async fn find(&mut self, fits: impl Fn(&Received) -> bool, patience: Duration) -> Option<usize> {
        let end = Instant::now() + patience;
        loop {
            if let Some(index) = self.received.iter().position(&fits) {
                return Some(index);
            }
            let outbox = self.connection.line().outbox();
            timeout_at(end, poll_fn(|cx| outbox.poll_any(cx))).await.ok()?;
            if !self.take_in() {
                return None;
            }
        }
    }

    /// Collects what has arrived. False if there was nothing.
    fn take_in(&mut self) -> bool {
        let outbox = self.connection.line().outbox();
        let frames = outbox.take_all();
        outbox.offered(0, true);
        let is_any = !frames.is_empty();
        for frame in frames {
            self.close_code = self.close_code.or_else(|| close_code(&frame));
            self.received.extend(received(frame));
        }
        is_any
    }

    /// The first of such broadcasts that it has heard.
    fn heard(&self, event: &str) -> Option<Heard> {
        let mut heard = self.heard.borrow_mut();
        let index = heard.iter().position(|heard| heard.event == event)?;
        heard.remove(index)
    }

    async fn hear(&self, event: &str, patience: Duration) -> Option<Heard> {
        let end = Instant::now() + patience;
        loop {
            let heard = self.heard(event);
            if heard.is_some() || Instant::now() >= end {
                return heard;
            }
            actix_web::rt::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Received {
    /// Whether it is a broadcast, which has no refs.
    fn is_broadcast(&self) -> bool {
        self.join_ref.is_null() && self.reference.is_null()
    }
}

/// Whether this is a push from a channel, which has a join_ref; broadcasts have none.
fn is_push(received: &Received, event: &str) -> bool {
    received.event == event && !received.join_ref.is_null()
}

/// The code of a close frame.
fn close_code(frame: &Frame) -> Option<u16> {
    let first = *frame.pieces().next()?.first()?;
    let is_close = first & 0x0f == Opcode::Close as u8;
    let code = || frame.clone().into_message().concat().first_chunk().copied().map(u16::from_be_bytes);
    is_close.then(|| code().unwrap_or(NO_STATUS))
}

/// Parses a message; `None` for a close frame.
fn received(frame: Frame) -> Option<Received> {
    match frame.clone().into_text() {
        Some(text) => {
            let (join_ref, reference, topic, event, payload) = serde_json::from_slice(&text.concat()).ok()?;
            Some(Received { join_ref, reference, topic, event, payload })
        }
        None => received_bytes(&frame.into_message().concat()),
    }
}

/// A binary message: its kind, the lengths of its names, the names and the payload.
fn received_bytes(message: &[u8]) -> Option<Received> {
    let (kind, rest) = message.split_first()?;
    let names: &[&str] = match kind {
        0 => &["join_ref", "topic", "event"],
        1 => &["join_ref", "ref", "topic", "event"],
        2 => &["topic", "event"],
        4 => return received_user_broadcast(rest),
        _ => return None,
    };
    let (lengths, mut rest) = rest.split_at_checked(names.len())?;
    let mut values = [(); 4].map(|()| None);
    for (name, length) in names.iter().zip(lengths) {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        let index = ["join_ref", "ref", "topic", "event"].iter().position(|known| known == name)?;
        values[index] = Some(String::from_utf8(value.to_vec()).ok()?);
        rest = behind;
    }
    let [join_ref, reference, topic, event] = values;
    let (join_ref, reference) = (join_ref.into(), reference.into());
    let (topic, event) = (topic?, event?);
    if *kind != 1 {
        return Some(Received { join_ref, reference, topic, event, payload: bytes_as_json(rest) });
    }
    // in a reply, the status takes the place of the event
    let payload = json!({ "status": event, "response": bytes_as_json(rest) });
    Some(Received { join_ref, reference, topic, event: PHX_REPLY.to_owned(), payload })
}

/// A user broadcast with bytes: the lengths of its topic, event and metadata, the encoding, these three and the bytes.
fn received_user_broadcast(rest: &[u8]) -> Option<Received> {
    let ([topic, event, meta, _], rest) = rest.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(usize::from(*topic))?;
    let (event, rest) = rest.split_at_checked(usize::from(*event))?;
    let (_, bytes) = rest.split_at_checked(usize::from(*meta))?;
    Some(Received {
        join_ref: Value::Null,
        reference: Value::Null,
        topic: String::from_utf8(topic.to_vec()).ok()?,
        event: USER_BROADCAST.to_owned(),
        payload: user_as_json(str::from_utf8(event).ok()?, bytes),
    })
}

/// The bytes of a user broadcast in the shape that JSON has.
fn user_as_json(event: &str, bytes: &[u8]) -> Value {
    json!({ "type": "broadcast", "event": event, "payload": bytes_as_json(bytes) })
}

/// Bytes as a JSON array of numbers, which no JSON payload can be.
fn bytes_as_json(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| Value::from(*byte)).collect()
}

fn json_of(broadcast: &Broadcast) -> Value {
    if broadcast.payload.is_user_broadcast() {
        let read = UserBroadcast::read(&broadcast.payload).unwrap_or_else(|error| panic!("{error}"));
        return user_as_json(&read.event, read.payload.as_binary().unwrap_or_default());
    }
    match broadcast.payload.as_binary() {
        Some(bytes) => bytes_as_json(bytes),
        None => broadcast.payload.parse().unwrap_or_default(),
    }
}

/// The error for a refused join, with its reply.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinRefused(pub Value);

impl std::fmt::Display for JoinRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the join was refused: {}", self.0)
    }
}

impl std::error::Error for JoinRefused {}

/// The error for a refused connection.
#[derive(Debug)]
pub struct ConnectRefused(pub Refused);

impl From<Refused> for ConnectRefused {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl std::fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the socket refused the client with {}: {}", self.0.status(), self.0)
    }
}

impl std::error::Error for ConnectRefused {}

#[cfg(test)]
mod tests;
