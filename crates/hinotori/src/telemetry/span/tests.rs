//! What a subscriber of `tracing` sees of a client.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes,
    SocketHandler, testing::ChannelTest,
};

/// Keeps the fields of all spans, and which of them were open at each event.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    spans: Vec<Value>,
    entered: Vec<u64>,
    /// The text of an event, and the span in which it happened.
    events: Vec<(Value, Value)>,
}

impl Kept {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nothing panics that holds it")
    }
}

struct Fields<'a>(&'a mut Value);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0[field.name()] = json!(format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0[field.name()] = json!(value);
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hinotori")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = json!({});
        attributes.record(&mut Fields(&mut fields));
        let mut seen = self.seen();
        seen.spans.push(fields);
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = json!({});
        event.record(&mut Fields(&mut fields));
        let mut seen = self.seen();
        let within = seen.entered.last().map_or(Value::Null, |id| seen.spans[*id as usize - 1].clone());
        seen.events.push((fields["message"].clone(), within));
    }

    fn enter(&self, id: &Id) {
        self.seen().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        assert_eq!(self.seen().entered.pop(), Some(id.into_u64()));
    }
}

struct Socket;

impl SocketHandler for Socket {
    async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
        tracing::info!("connects");
        Ok(Self)
    }

    fn id(&self) -> Option<String> {
        Some("users:7".to_owned())
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

struct Room;

impl Channel for Room {
    type Socket = Socket;
    type Info = ();

    async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.send_self(());
        Join::ok(Self)
    }

    async fn handle_in(&mut self, _: &str, _: Payload, _: &mut Context<Self>) -> Result {
        // what happens after a wait is in the span too
        actix_web::rt::task::yield_now().await;
        tracing::info!("handles");
        Reply::ok(json!({}))
    }

    async fn handle_info(&mut self, (): (), cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push("ready", json!({}))?)
    }
}

#[actix_web::test]
async fn each_callback_has_a_span_with_the_client_the_topic_and_the_event() {
    let kept = Kept::default();
    let _guard = tracing::subscriber::set_default(kept.clone());
    let endpoint = Endpoint::new();
    let mut client = ChannelTest::new(&endpoint).connect::<Socket>().await.unwrap();
    let topic = format!("room:{}", "x".repeat(10_000));
    client.subscribe_and_join(&topic, json!({})).await.unwrap();
    client.assert_push("ready", json!({})).await;
    let push = client.push(&topic, "say", json!({})).unwrap();
    client.assert_reply(push, crate::Status::Ok, json!({})).await;

    let seen = kept.seen();
    let conn = &seen.spans[1]["conn"];
    assert!(conn.as_str().is_some_and(|conn| conn.parse::<u64>().is_ok()), "{conn}");
    let short = format!("room:{}", "x".repeat(251));
    let of_channel =
        |callback: &str| json!({ "callback": callback, "conn": conn, "id": "users:7", "topic": short });
    let mut said = of_channel("handle_in");
    said["event"] = json!("say");
    let connect = json!({ "callback": "connect" });
    let [join, info] = ["join", "handle_info"].map(of_channel);
    assert_eq!(seen.spans[..4], [connect.clone(), join, info, said.clone()]);
    assert_eq!(seen.events, [(json!("connects"), connect), (json!("handles"), said)]);
    assert!(seen.entered.is_empty());
}
