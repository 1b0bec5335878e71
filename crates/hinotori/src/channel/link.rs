//! A channel's line to its client: what it may send, for as long as it is the client's channel.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
};

use actix::Recipient;
use bytestring::ByteString;

use super::Command;
use crate::{
    pubsub::{Broadcast, PubSub, Subscriber, SubscriberKey},
    socket::{ChannelId, Connection, Ended, Joined, Line, Peer},
    wire::{Outgoing, Payload, Ref, Serializer, Status},
};

/// A join that a client asks for.
#[derive(Debug)]
pub(crate) struct JoinRequest {
    pub(crate) channel: ChannelId,
    pub(crate) join_ref: Ref,
    pub(crate) topic: ByteString,
}

/// The line of one channel. Muted when another channel takes its place or the socket is gone.
pub(crate) struct Link {
    connection: Rc<Connection>,
    /// Those of the connection, as close as can be: a broadcast goes from here to ten thousand.
    line: Rc<Line>,
    serializer: Serializer,
    request: JoinRequest,
    key: SubscriberKey,
    muted: Cell<bool>,
    subscribed: Cell<bool>,
    /// Memory of the messages that wait in the channel's mailbox, in bytes.
    load: Cell<usize>,
    /// Boxed, as few channels have it.
    intercept: OnceCell<Box<Intercept>>,
    /// What is to be done when the channel is no longer the client's.
    at_end: RefCell<Vec<(usize, AtEnd)>>,
}

type AtEnd = Box<dyn FnOnce()>;

/// Broadcasts that the channel wants to see before its client.
struct Intercept {
    events: &'static [&'static str],
    channel: Recipient<Command>,
    /// Memory of those that wait for the channel, in bytes.
    load: Cell<usize>,
}

impl Link {
    pub(crate) fn new(connection: Rc<Connection>, request: JoinRequest) -> Rc<Self> {
        let key = SubscriberKey::new();
        let (muted, subscribed, load) = (Cell::new(false), Cell::new(false), Cell::new(0));
        Rc::new(Self {
            line: connection.line().clone(),
            serializer: connection.serializer(),
            connection,
            request,
            key,
            muted,
            subscribed,
            load,
            intercept: OnceCell::new(),
            at_end: RefCell::default(),
        })
    }

    pub(crate) fn topic(&self) -> &str {
        &self.request.topic
    }

    /// What the log calls the connection.
    pub(crate) fn conn(&self) -> SubscriberKey {
        self.line.number()
    }

    pub(crate) fn key(&self) -> SubscriberKey {
        self.key
    }

    pub(crate) fn pubsub(&self) -> &PubSub {
        self.line.pubsub()
    }

    /// The join ended: answers it, then subscribes if it was accepted, with nothing in between. No broadcast comes before
    /// the answer, and what the channel asks for next is younger than its subscription.
    pub(crate) fn joined(self: &Rc<Self>, how: Joined) {
        if self.muted.get() {
            return;
        }
        let is_accepted = matches!(how, Joined::Ok(_));
        self.connection.joined(self.request.channel, how);
        // a second join that waited for this one may have taken its place already
        if !is_accepted {
            self.mute();
        } else if !self.muted.get() {
            self.line.local().subscribe(self.topic(), self.key, self.clone());
            self.subscribed.set(true);
        }
    }

    pub(crate) fn reply(&self, reference: &Ref, status: Status, payload: &Payload) {
        let JoinRequest { join_ref, topic, .. } = &self.request;
        self.send(Outgoing::Reply { join_ref, reference, topic, status, payload });
    }

    pub(crate) fn push(&self, event: &str, payload: &Payload) {
        let JoinRequest { join_ref, topic, .. } = &self.request;
        self.send(Outgoing::Push { join_ref, reference: &Ref::Null, topic, event, payload });
    }

    fn send(&self, message: Outgoing<'_>) {
        if !self.muted.get() {
            self.connection.send(message);
        }
    }

    /// The channel ended by itself, or after a leave: nothing more comes from it, and the client is told.
    pub(crate) fn ended(&self, how: Ended) {
        if !self.muted.get() {
            self.mute();
            self.connection.ended(self.request.channel, how);
        }
    }

    /// Cuts the line without a word.
    pub(crate) fn mute(&self) {
        self.muted.set(true);
        if self.subscribed.replace(false) {
            self.line.local().unsubscribe(self.topic(), self.key);
        }
        for (_, at_end) in self.at_end.take() {
            at_end();
        }
    }

    /// Does something when the channel ends, however it ends; at once if it has. Asked again for the same `key`, it is not
    /// done twice.
    pub(crate) fn at_end(&self, key: usize, at_end: AtEnd) {
        if self.muted.get() {
            at_end();
        } else if self.at_end.borrow().iter().all(|(known, _)| *known != key) {
            self.at_end.borrow_mut().push((key, at_end));
        }
    }

    /// Sends broadcasts of some events to the channel instead of its client.
    pub(crate) fn intercept(&self, events: &'static [&'static str], channel: Recipient<Command>) {
        // set once, when the channel starts
        let _ = self.intercept.set(Box::new(Intercept { events, channel, load: Cell::new(0) }));
    }

    /// The channel has handled an intercepted broadcast.
    pub(crate) fn handled_out(&self, broadcast: &Broadcast) {
        if let Some(intercept) = self.intercept.get() {
            let load = &intercept.load;
            load.set(load.get() - broadcast.cost());
        }
    }

    /// A message for the channel has been queued.
    pub(crate) fn loaded(&self, cost: usize) {
        self.load.set(self.load.get() + cost);
    }

    /// A message has been handled.
    pub(crate) fn handled(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        self.line.release(cost);
    }

    /// The channel's actor begins.
    pub(crate) fn started(&self) {
        self.line.started();
    }

    /// The channel's mailbox is gone, with all that waited in it.
    pub(crate) fn dropped(&self) {
        self.line.stopped();
        self.line.release(self.load.take());
    }
}

/// Phoenix's fastlane: a broadcast's frame goes straight to the client, unless the channel intercepts it.
impl Subscriber for Link {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        match self.intercept.get() {
            Some(intercept) if intercept.events.contains(&&*broadcast.event) => {
                let waiting = intercept.load.get();
                if self.line.has_room_behind(waiting) {
                    intercept.load.set(waiting + broadcast.cost());
                    intercept.channel.do_send(Command::Out(broadcast.clone()));
                }
                false
            }
            _ => broadcast.frame(self.serializer).is_some_and(|frame| self.line.forward(frame)),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use actix_web::rt::task::yield_now;
    use prometheus::TextEncoder;
    use serde_json::json;

    use crate::{
        Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes,
        SocketHandler,
        testing::{ChannelTest, TestSocket},
    };

    struct UserSocket;

    impl SocketHandler for UserSocket {
        async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
            Ok(Self)
        }

        fn channels(routes: &mut Routes<Self>) {
            routes.channel::<Filter>("t");
        }
    }

    /// Sees what is `said` before its client, unless it sleeps.
    struct Filter;

    impl Channel for Filter {
        type Socket = UserSocket;
        type Info = ();
        const INTERCEPT: &'static [&'static str] = &["said"];

        async fn join(_: &str, _: Payload, _: &mut Context<Self>) -> Result<Join<Self>> {
            Join::ok(Self)
        }

        async fn handle_in(&mut self, _: &str, _: Payload, _: &mut Context<Self>) -> Result {
            std::future::pending::<()>().await;
            Reply::none()
        }

        async fn handle_out(&mut self, _: &str, _: Payload, cx: &mut Context<Self>) -> Result<()> {
            Ok(cx.push("seen", json!({}))?)
        }
    }

    async fn joined(endpoint: &Endpoint) -> TestSocket {
        let mut client = ChannelTest::new(endpoint).connect::<UserSocket>().await.unwrap();
        client.subscribe_and_join("t", json!({})).await.unwrap();
        client
    }

    /// Whether a client was cut off for a channel that is slow.
    fn is_cut(endpoint: &Endpoint) -> bool {
        let metrics = TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        metrics.contains("hinotori_connections_closed_total{reason=\"slow_channel\"} 1\n")
    }

    #[actix_web::test]
    async fn a_channel_that_is_not_busy_sees_a_broadcast_of_any_length() {
        let endpoint = Endpoint::new();
        let mut client = joined(&endpoint).await;
        for _ in 0..2 {
            endpoint.broadcast("t", "said", json!({ "x": "x".repeat(3_000_000) })).unwrap();
            client.assert_push("seen", json!({})).await;
        }
        assert!(!is_cut(&endpoint));
    }

    #[actix_web::test]
    async fn a_busy_channel_cannot_be_filled_with_broadcasts_that_say_nothing() {
        let endpoint = Endpoint::new();
        let mut client = joined(&endpoint).await;
        let _ = client.push("t", "sleep", json!({})).unwrap();
        yield_now().await;
        for _ in 0..20_000 {
            endpoint.broadcast("t", "said", Payload::binary(vec![])).unwrap();
        }
        assert!(is_cut(&endpoint), "20,000 broadcasts wait");
    }
}
