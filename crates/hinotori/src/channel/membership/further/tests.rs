//! Channels that subscribe to further topics and to their own.

use std::{
    collections::HashMap,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use actix_web::rt::{
    System,
    time::{sleep, timeout},
};
use futures_util::FutureExt;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Handle, Join, Params, Payload, Refused, Reply, Result, Routes,
    SocketHandler, Status, scoped_topic,
    testing::{ChannelTest, TestSocket},
};

/// Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gets the handles of its channels.
struct Socket(Sender<Handle<()>>);

impl SocketHandler for Socket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        info.data::<Sender<Handle<()>>>().cloned().map(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Plain>("plain:*").channel::<Scoped>("scoped:*").channel::<Hearer>("*");
    }
}

#[derive(Deserialize)]
struct Act {
    topic: String,
    n: Option<u64>,
}

/// Pushes what it hears: `heard` of other topics, `out` of its own, both with what was told.
struct Hearer;

impl Channel for Hearer {
    type Socket = Socket;
    type Info = ();
    const INTERCEPT: &'static [&'static str] = &["seen"];

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.socket().0.send(cx.handle())?;
        if let Ok(Act { topic, n }) = payload.parse() {
            cx.subscribe(&topic);
            if n.is_some() {
                cx.pubsub().broadcast(&topic, "told", json!({ "n": n }))?;
            }
        }
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let Act { topic, n } = payload.parse()?;
        match event {
            "subscribe" => cx.subscribe(&topic),
            "unsubscribe" => cx.unsubscribe(&topic),
            "tell" => cx.pubsub().broadcast(&topic, "told", json!({ "n": n }))?,
            "tell seen" => cx.pubsub().broadcast(&topic, "seen", json!({ "n": n }))?,
            "tell_from" => cx.pubsub().broadcast_from(cx, &topic, "told", json!({ "n": n }))?,
            "subscribe late" | "unsubscribe late" => {
                let (pubsub, far) = (cx.pubsub().clone(), topic.clone());
                let told = move || pubsub.broadcast(&far, "told", json!({ "n": n }));
                // it waits to be delivered on this thread, which has something else to do
                thread::spawn(told).join().unwrap()?;
                if event == "subscribe late" { cx.subscribe(&topic) } else { cx.unsubscribe(&topic) }
            }
            "sleep" => std::future::pending().await,
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }

    async fn handle_out(&mut self, _: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push("out", payload)?)
    }

    async fn handle_broadcast(
        &mut self,
        topic: &str,
        _: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> Result<()> {
        let n = payload.parse::<Value>()?["n"].clone();
        Ok(cx.push("heard", json!({ "topic": topic, "n": n }))?)
    }
}

/// Says nothing about what it hears.
struct Plain;

impl Channel for Plain {
    type Socket = Socket;
    type Info = ();

    async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.subscribe("news");
        Join::ok(Self)
    }
}

/// In the scope that its client asks for.
struct Scoped;

impl Channel for Scoped {
    type Socket = Socket;
    type Info = ();

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let payload: Value = payload.parse()?;
        if let Some(scope) = payload["scope"].as_str() {
            cx.scope(scope);
        }
        Join::reply(Self, json!({ "topic": cx.topic() }))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "told" => cx.broadcast(event, payload)?,
            // too late
            "scope" => cx.scope("other"),
            "subscribe" => cx.subscribe(cx.pubsub_topic()),
            "unsubscribe" => cx.unsubscribe(cx.pubsub_topic()),
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }

    async fn handle_out(&mut self, _: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push("out", payload)?)
    }
}

struct House {
    endpoint: Endpoint,
    handles: Receiver<Handle<()>>,
    sender: Sender<Handle<()>>,
}

impl House {
    fn new() -> Self {
        let (sender, handles) = channel();
        Self { endpoint: Endpoint::new(), handles, sender }
    }

    async fn enters(&self, topic: &str, payload: Value) -> TestSocket {
        let client = ChannelTest::new(&self.endpoint).app_data(self.sender.clone());
        let mut client = client.connect::<Socket>().await.unwrap();
        client.subscribe_and_join(topic, payload).await.unwrap();
        client
    }

    fn tell(&self, topic: &str, n: u64) {
        self.endpoint.broadcast(topic, "told", json!({ "n": n })).unwrap();
    }
}

async fn does(client: &mut TestSocket, own: &str, event: &str, topic: &str, n: u64) {
    let push = client.push(own, event, json!({ "topic": topic, "n": n })).unwrap();
    client.assert_reply(push, Status::Ok, json!({})).await;
}

fn heard(topic: &str, n: u64) -> Value {
    json!({ "topic": topic, "n": n })
}

#[actix_web::test]
async fn what_a_channel_hears_is_pushed_to_its_client_by_default() {
    let house = House::new();
    let mut client = house.enters("plain:1", json!({})).await;
    house.tell("news", 1);
    client.assert_push("told", json!({ "n": 1 })).await;
}

#[actix_web::test]
async fn what_is_told_during_a_join_is_heard_after_it() {
    let house = House::new();
    let mut client = house.enters("a", json!({ "topic": "news", "n": 1 })).await;
    client.assert_push("heard", heard("news", 1)).await;
    // its own topic, before it is joined: heard beside what its client gets
    let mut client = house.enters("b", json!({ "topic": "b" })).await;
    house.tell("b", 2);
    client.assert_push("out", json!({ "n": 2 })).await;
    client.assert_broadcast("told", json!({ "n": 2 })).await;
}

#[actix_web::test]
async fn a_task_or_a_thread_that_tells_of_a_channel_spares_all_its_subscriptions() {
    let house = House::new();
    let mut teller = house.enters("a", json!({ "topic": "news" })).await;
    let handle = house.handles.recv().unwrap();
    let mut other = house.enters("b", json!({ "topic": "news" })).await;
    does(&mut teller, "a", "subscribe", "a", 0).await;
    let endpoint = house.endpoint.clone();
    let telling = thread::spawn(move || {
        for topic in ["news", "a"] {
            endpoint.broadcast_from(&handle, topic, "told", json!({ "n": 1 })).unwrap();
        }
        endpoint.broadcast("news", "told", json!({ "n": 2 })).unwrap();
    });
    telling.join().unwrap();
    for n in [1, 2] {
        other.assert_push("heard", heard("news", n)).await;
    }
    teller.assert_push("heard", heard("news", 2)).await;
    teller.refute_push("out").await;
}

#[actix_web::test]
async fn a_subscription_begins_and_ends_behind_what_other_threads_have_told() {
    let house = House::new();
    let mut client = house.enters("a", json!({})).await;
    does(&mut client, "a", "subscribe late", "news", 1).await;
    house.tell("news", 2);
    client.assert_push("heard", heard("news", 2)).await;
    does(&mut client, "a", "unsubscribe late", "news", 3).await;
    house.tell("news", 4);
    client.assert_push("heard", heard("news", 3)).await;
    does(&mut client, "a", "subscribe", "news", 0).await;
    house.tell("news", 5);
    client.assert_push("heard", heard("news", 5)).await;
}

#[actix_web::test]
async fn however_a_channel_ends_nothing_of_its_subscriptions_is_left() {
    let house = House::new();
    for how in ["close", "leave", "crash", "join again", "leave of the own topic alone"] {
        let mut client = house.enters("a", json!({ "topic": "news" })).await;
        does(&mut client, "a", "subscribe", "news", 0).await;
        does(&mut client, "a", "subscribe", "a", 0).await;
        match how {
            "leave" => _ = client.leave("a"),
            "crash" => _ = client.push("a", "no such event", json!({ "topic": "" })).unwrap(),
            "join again" => {
                client.subscribe_and_join("a", json!({})).await.unwrap();
                house.tell("news", 1);
                does(&mut client, "a", "subscribe", "more", 0).await;
                client.refute_push("heard").await;
            }
            "leave of the own topic alone" => does(&mut client, "a", "unsubscribe", "a", 0).await,
            _ => {}
        }
        client.close();
        let local = house.endpoint.pubsub().local();
        let ended = async {
            while !local.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(PATIENCE, ended).await.is_ok(), "after {how}");
    }
}

#[actix_web::test]
#[cfg(feature = "metrics")]
async fn what_a_busy_channel_would_hear_is_bounded_together_with_what_it_intercepts() {
    use prometheus::TextEncoder;

    let is_cut = |house: &House| {
        let metrics = TextEncoder::new().encode_to_string(&house.endpoint.registry().gather()).unwrap();
        metrics.contains("hinotori_connections_closed_total{reason=\"slow_channel\"} 1\n")
    };
    let big = || json!({ "x": "x".repeat(600_000) });
    for topics in [["news", "news", "news"], ["news", "a", "news"], ["a", "news", "a"]] {
        let house = House::new();
        let mut client = house.enters("a", json!({ "topic": "news" })).await;
        let _ = client.push("a", "sleep", json!({ "topic": "" })).unwrap();
        actix_web::rt::task::yield_now().await;
        for (n, topic) in topics.iter().enumerate() {
            assert!(!is_cut(&house), "{n} broadcasts wait");
            house.endpoint.broadcast(topic, "seen", big()).unwrap();
        }
        assert!(is_cut(&house), "1.2 MB waited for the channel");
    }
    let house = House::new();
    let mut client = house.enters("a", json!({ "topic": "news" })).await;
    for n in 0..10 {
        house.endpoint.broadcast("news", "told", json!({ "n": n, "x": "x".repeat(600_000) })).unwrap();
        client.assert_push("heard", heard("news", n)).await;
    }
    assert!(!is_cut(&house), "one that keeps up hears any number");
}

/// One act of a channel, or of somebody else.
#[derive(Debug, Clone)]
enum Step {
    Subscribe(usize),
    Unsubscribe(usize),
    Tell { topic: usize, event: &'static str },
    Endpoint(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = 0usize..3;
    let event = prop::sample::select(vec!["tell", "tell seen", "tell_from"]);
    prop::collection::vec(
        prop_oneof![
            topic.clone().prop_map(Step::Subscribe),
            topic.clone().prop_map(Step::Unsubscribe),
            (topic.clone(), event).prop_map(|(topic, event)| Step::Tell { topic, event }),
            topic.prop_map(Step::Endpoint),
        ],
        1..30,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A channel hears a topic as many times as it is subscribed, and its own topic reaches it as Phoenix has it.
    #[test]
    fn a_channel_hears_as_many_times_as_it_is_subscribed(steps in steps()) {
        // the first is the channel's own
        let topics = ["a", "news", "plain:other"];
        System::new().block_on(async {
            let house = House::new();
            let mut client = house.enters("a", json!({})).await;
            let (mut times, mut is_joined) = (HashMap::<usize, usize>::new(), true);
            for (n, step) in (0..).zip(steps) {
                let (topic, event) = match step {
                    Step::Subscribe(topic) => {
                        *times.entry(topic).or_default() += 1;
                        does(&mut client, "a", "subscribe", topics[topic], n).await;
                        continue;
                    }
                    Step::Unsubscribe(topic) => {
                        times.remove(&topic);
                        is_joined &= topic != 0;
                        does(&mut client, "a", "unsubscribe", topics[topic], n).await;
                        continue;
                    }
                    Step::Tell { topic, event } => {
                        does(&mut client, "a", event, topics[topic], n).await;
                        (topic, event)
                    }
                    Step::Endpoint(topic) => {
                        house.tell(topics[topic], n);
                        (topic, "tell")
                    }
                };
                let mut wanted = times.get(&topic).copied().unwrap_or_default();
                wanted += usize::from(topic == 0 && is_joined && event == "tell seen");
                if event == "tell_from" {
                    wanted = 0;
                }
                for _ in 0..wanted {
                    let told = if topic == 0 { json!({ "n": n }) } else { heard(topics[topic], n) };
                    client.assert_push(if topic == 0 { "out" } else { "heard" }, told).await;
                }
                // the channel has handled all of it
                does(&mut client, "a", "subscribe", "fence", n).await;
                does(&mut client, "a", "unsubscribe", "fence", n).await;
                for event in ["out", "heard"] {
                    prop_assert!(client.pushed(event).now_or_never().is_none(), "no more of {event} {n}");
                }
            }
            Ok(())
        })?;
    }
}

#[actix_web::test]
async fn channels_of_one_topic_in_different_scopes_hear_nothing_of_each_other() {
    let house = House::new();
    let scopes = [json!({}), json!({ "scope": "a" }), json!({ "scope": "a" }), json!({ "scope": "b" })];
    let mut clients = vec![];
    for scope in scopes {
        clients.push(house.enters("scoped:1", scope).await);
    }
    let pushed = clients[1].push("scoped:1", "scope", json!({})).unwrap();
    clients[1].assert_reply(pushed, Status::Ok, json!({})).await;
    for (client, n) in clients.iter_mut().zip(1..) {
        let pushed = client.push("scoped:1", "told", json!({ "n": n })).unwrap();
        client.assert_reply(pushed, Status::Ok, json!({})).await;
    }
    house.endpoint.broadcast(&scoped_topic("b", "scoped:1"), "told", json!({ "n": 5 })).unwrap();
    for (client, heard) in clients.iter_mut().zip([&[1][..], &[2, 3], &[2, 3], &[4, 5]]) {
        for n in heard {
            client.assert_broadcast("told", json!({ "n": n })).await;
        }
        client.refute_broadcast("told").await;
    }
}

#[actix_web::test]
async fn no_client_joins_a_topic_that_looks_as_if_it_had_a_scope() {
    let house = House::new();
    let mut client = house.enters("other", json!({})).await;
    let refused = client.subscribe_and_join(&scoped_topic("a", "scoped:1"), json!({})).await.unwrap_err();
    assert_eq!(refused.0, json!({ "reason": "unmatched topic" }));
}

#[actix_web::test]
async fn a_channel_in_a_scope_may_hear_its_own_topic_and_leave_it() {
    let house = House::new();
    let mut client = house.enters("scoped:1", json!({ "scope": "a" })).await;
    for (event, hears) in [("subscribe", true), ("unsubscribe", false)] {
        let pushed = client.push("scoped:1", event, json!({})).unwrap();
        client.assert_reply(pushed, Status::Ok, json!({})).await;
        house.endpoint.broadcast(&scoped_topic("a", "scoped:1"), "told", json!({ "n": 1 })).unwrap();
        if hears {
            client.assert_push("out", json!({ "n": 1 })).await;
        }
        client.refute_push("out").await;
    }
}
