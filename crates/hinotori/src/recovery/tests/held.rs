//! Broadcasts that come while a join waits for its source.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use actix_web::rt::task::yield_now;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes, SocketHandler,
    SocketOptions, Status,
    recovery::{Backlog, Cursor},
    testing::{ChannelTest, Pushed, TestSocket},
};

/// What the channels of a test share.
struct Shared {
    backlog: Backlog,
    /// A permit per join that has reached a pause, and a permit per pause that may end.
    paused: Semaphore,
    go_on: Semaphore,
}

impl Shared {
    fn new(endpoint: &Endpoint) -> Arc<Self> {
        let backlog = Backlog::new(endpoint.pubsub(), "t", "score");
        Arc::new(Self { backlog, paused: Semaphore::new(0), go_on: Semaphore::new(0) })
    }

    fn publish(&self, times: u64) {
        (0..times).for_each(|_| _ = self.backlog.publish(|id| json!({ "id": id })).unwrap());
    }

    /// In a join: waits until the test goes on.
    async fn pause(&self) {
        self.paused.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
    }

    /// In a test: waits until a join waits.
    async fn is_paused(&self) {
        self.paused.acquire().await.unwrap().forget();
    }

    fn resume(&self) {
        self.go_on.add_permits(1);
    }
}

struct UserSocket(Arc<Shared>);

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self(info.app_data::<Arc<Shared>>().unwrap().clone()))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Scores<false>>("t").channel::<Scores<true>>("intercepted");
    }
}

/// Joins as its payload says.
struct Scores<const INTERCEPTS: bool>;

impl<const INTERCEPTS: bool> Channel for Scores<INTERCEPTS> {
    type Socket = UserSocket;
    type Info = ();
    const INTERCEPT: &'static [&'static str] = if INTERCEPTS { &["score"] } else { &[] };

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Some(cursor) = cx.recover(&payload)? else { return Join::ok(Self) };
        let shared = cx.socket().0.clone();
        let order: Value = payload.parse()?;
        if order["hears"] == true {
            cx.subscribe(cx.topic());
        }
        if order["pause"] == "before" {
            shared.pause().await;
        }
        let recovery = shared.backlog.since(cursor, "history");
        if order["pause"] == "after" {
            shared.pause().await;
        }
        match order["then"].as_str() {
            Some("refuse") => Join::refuse(json!({})),
            Some("panic") => panic!("as ordered"),
            Some("ok") => Join::ok(Self),
            _ => Join::recovered(Self, recovery),
        }
    }

    async fn handle_out(&mut self, _: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push("seen", payload)?)
    }
}

async fn connected(endpoint: &Endpoint, shared: &Arc<Shared>) -> TestSocket {
    ChannelTest::new(endpoint).app_data(shared.clone()).connect::<UserSocket>().await.unwrap()
}

/// Begins to join.
fn join(client: &mut TestSocket, topic: &str, shared: &Shared, last: u64, order: Value) -> Pushed {
    let mut payload = json!({ "last_seen_id": last, "epoch": shared.backlog.epoch() });
    payload.as_object_mut().unwrap().extend(order.as_object().unwrap().clone());
    client.push(topic, "phx_join", payload).unwrap()
}

fn ids(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|message| message["id"].as_u64().unwrap()).collect()
}

/// The next message is this event; returns its payload.
async fn next(client: &mut TestSocket, event: &str) -> Value {
    let (_, _, got, payload) = client.next().await;
    assert_eq!(got, event, "{payload}");
    payload
}

/// Runs something on another thread, to its end.
fn elsewhere(run: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(run).join().unwrap());
}

#[actix_web::test]
async fn what_is_published_while_the_source_is_asked_comes_once_in_the_reply_or_after_it() {
    for (topic, event) in [("t", "score"), ("intercepted", "seen")] {
        for (pause, in_reply) in [("before", vec![2, 3, 4, 5]), ("after", vec![2, 3])] {
            let endpoint = Endpoint::new();
            let mut shared = Shared::new(&endpoint);
            Arc::get_mut(&mut shared).unwrap().backlog = Backlog::new(endpoint.pubsub(), topic, "score");
            shared.publish(3);
            let mut client = connected(&endpoint, &shared).await;
            let _ = join(&mut client, topic, &shared, 1, json!({ "pause": pause }));
            shared.is_paused().await;
            endpoint.broadcast(topic, "other", json!({ "n": 1 })).unwrap();
            elsewhere(|| shared.publish(1));
            endpoint.broadcast(topic, "other", json!({ "n": 2 })).unwrap();
            shared.publish(1);
            elsewhere(|| endpoint.broadcast(topic, "other", json!({ "n": 3 })).unwrap());
            shared.resume();
            let reply = next(&mut client, "phx_reply").await;
            assert_eq!((&reply["status"], &reply["response"]["recovered"]), (&json!("ok"), &json!(true)));
            assert_eq!(ids(&reply["response"]["messages"]), in_reply);
            shared.publish(1);
            let mut after = vec![];
            let mut others = vec![];
            while after.last() != Some(&6) {
                let (_, _, got, payload) = client.next().await;
                match got.as_str() {
                    "other" => others.push(payload["n"].as_u64().unwrap()),
                    _ => {
                        assert_eq!(got, event);
                        after.push(payload["id"].as_u64().unwrap());
                    }
                }
            }
            assert_eq!(in_reply.into_iter().chain(after).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
            assert_eq!(others, [1, 2, 3]);
            assert_eq!(client.arrived(), []);
        }
    }
}

#[actix_web::test]
async fn held_broadcasts_keep_their_order_whatever_has_a_position() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let mut client = connected(&endpoint, &shared).await;
    let _ = join(&mut client, "t", &shared, 0, json!({ "pause": "after" }));
    shared.is_paused().await;
    for n in 0..20 {
        endpoint.broadcast("t", "other", json!({ "n": n })).unwrap();
        elsewhere(|| shared.publish(1));
    }
    shared.resume();
    next(&mut client, "phx_reply").await;
    for n in 0..20 {
        assert_eq!(next(&mut client, "other").await["n"], n);
        assert_eq!(next(&mut client, "score").await["id"], n + 1);
    }
}

#[actix_web::test]
async fn a_first_join_gets_the_epoch_and_the_history_before_anything_that_was_held() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    shared.publish(2);
    let mut client = connected(&endpoint, &shared).await;
    let first = json!({ "last_seen_id": 0, "epoch": null, "pause": "after" });
    let _ = client.push("t", "phx_join", first).unwrap();
    shared.is_paused().await;
    shared.publish(1);
    shared.resume();
    let reply = next(&mut client, "phx_reply").await["response"].clone();
    let epoch = shared.backlog.epoch();
    assert_eq!(reply, json!({ "recovered": false, "reason": "epoch", "epoch": epoch, "last_id": 2 }));
    let history = next(&mut client, "history").await;
    assert_eq!((&history["last_id"], ids(&history["messages"])), (&json!(2), vec![1, 2]));
    assert_eq!(next(&mut client, "score").await["id"], 3);
    assert_eq!(client.arrived(), []);
}

#[actix_web::test]
async fn a_client_that_sends_no_last_seen_id_gets_what_it_gets_without_recovery() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    shared.publish(2);
    for payload in [json!({}), json!({ "last_seen_id": null, "epoch": 5 }), json!([7, 8])] {
        let mut client = connected(&endpoint, &shared).await;
        let join = client.push("t", "phx_join", payload).unwrap();
        client.assert_reply(join, Status::Ok, json!({})).await;
        assert_eq!(client.arrived(), []);
    }
}

#[actix_web::test]
async fn an_invalid_cursor_refuses_the_join_with_the_field_that_is_wrong() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let mut client = connected(&endpoint, &shared).await;
    let join = client.push("t", "phx_join", json!({ "last_seen_id": "7" })).unwrap();
    let why = "invalid payload: last_seen_id: invalid type: string \"7\", expected u64";
    client.assert_reply(join, Status::Error, json!({ "reason": why })).await;
}

#[actix_web::test]
async fn a_join_that_is_not_accepted_drops_what_was_held_and_its_subscription() {
    for then in ["refuse", "panic"] {
        let endpoint = Endpoint::new();
        let shared = Shared::new(&endpoint);
        let mut client = connected(&endpoint, &shared).await;
        let join = join(&mut client, "t", &shared, 0, json!({ "pause": "after", "then": then }));
        shared.is_paused().await;
        shared.publish(2);
        assert!(!endpoint.node().pubsub.local().is_empty());
        shared.resume();
        assert_eq!(client.reply(join).await.0, Status::Error);
        shared.publish(1);
        assert!(endpoint.node().pubsub.local().is_empty());
        assert_eq!(client.arrived(), []);
    }
}

#[actix_web::test]
async fn a_client_that_vanishes_while_its_join_waits_leaves_nothing_behind() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let mut client = connected(&endpoint, &shared).await;
    let _ = join(&mut client, "t", &shared, 0, json!({ "pause": "before" }));
    shared.is_paused().await;
    shared.publish(2);
    drop(client);
    assert!(endpoint.node().pubsub.local().is_empty());
    shared.resume();
    while endpoint.node().tasks.channels() > 0 {
        yield_now().await;
    }
    assert!(endpoint.node().pubsub.local().is_empty());
}

#[actix_web::test]
async fn an_accepted_join_without_a_recovery_delivers_all_that_was_held() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let mut client = connected(&endpoint, &shared).await;
    let _ = join(&mut client, "t", &shared, 0, json!({ "pause": "after", "then": "ok" }));
    shared.is_paused().await;
    shared.publish(2);
    shared.resume();
    assert_eq!(next(&mut client, "phx_reply").await["response"], json!({}));
    for id in 1..=2 {
        assert_eq!(next(&mut client, "score").await["id"], id);
    }
}

#[actix_web::test]
async fn a_join_that_is_replaced_while_it_waits_hands_over_without_a_gap() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    shared.publish(1);
    let mut client = connected(&endpoint, &shared).await;
    let first = join(&mut client, "t", &shared, 0, json!({ "pause": "after" }));
    shared.is_paused().await;
    shared.publish(1);
    let second = join(&mut client, "t", &shared, 0, json!({ "pause": "after" }));
    shared.resume();
    // the second join begins when the first has been answered and has ended
    shared.is_paused().await;
    shared.publish(1);
    shared.resume();
    let (_, response) = client.reply(second).await;
    assert_eq!(ids(&response["messages"]), [1, 2]);
    let (_, response) = client.reply(first).await;
    assert_eq!(ids(&response["messages"]), [1]);
    assert_eq!(client.reached_by("score").await["id"], 3);
    shared.publish(1);
    assert_eq!(client.reached_by("score").await["id"], 4);
    assert!(client.arrived().iter().all(|(_, _, event, _)| event == "phx_close"));
}

#[actix_web::test]
async fn a_channel_that_hears_its_own_topic_hears_it_while_it_holds() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let mut client = connected(&endpoint, &shared).await;
    let _ = join(&mut client, "t", &shared, 0, json!({ "pause": "after", "hears": true }));
    shared.is_paused().await;
    shared.publish(1);
    shared.resume();
    next(&mut client, "phx_reply").await;
    shared.publish(1);
    for (event, id) in [("score", 1), ("score", 2), ("seen", 1), ("seen", 2)] {
        assert_eq!(client.reached_by(event).await["id"], id);
    }
    assert_eq!(client.arrived(), []);
}

#[actix_web::test]
async fn a_client_for_which_too_much_is_held_is_disconnected_as_with_a_slow_channel() {
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let test = ChannelTest::new(&endpoint).app_data(shared.clone());
    let test = test.options(SocketOptions { outbox_limit: 10_000, ..SocketOptions::default() });
    let mut client = test.connect::<UserSocket>().await.unwrap();
    let _ = join(&mut client, "t", &shared, 0, json!({ "pause": "after" }));
    shared.is_paused().await;
    // one more of any size always fits
    let long = json!({ "text": "x".repeat(9_500) });
    for _ in 0..2 {
        endpoint.broadcast("t", "other", &long).unwrap();
    }
    assert!(client.arrived().is_empty() && !endpoint.node().pubsub.local().is_empty());
    endpoint.broadcast("t", "other", &long).unwrap();
    client.assert_closed(1006).await;
    shared.resume();
    #[cfg(feature = "metrics")]
    {
        let metrics = prometheus::TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
        assert!(metrics.contains("hinotori_connections_closed_total{reason=\"slow_channel\"} 1\n"));
    }
}

#[actix_web::test]
async fn an_answer_without_a_hold_crashes_the_join_because_messages_could_be_lost() {
    struct Careless;
    struct CarelessSocket(Arc<Shared>);

    impl SocketHandler for CarelessSocket {
        async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
            Ok(Self(info.app_data::<Arc<Shared>>().unwrap().clone()))
        }

        fn channels(routes: &mut Routes<Self>) {
            routes.channel::<Careless>("t");
        }
    }

    impl Channel for Careless {
        type Socket = CarelessSocket;
        type Info = ();

        async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
            Join::recovered(Self, cx.socket().0.backlog.since(Cursor::new(0, None), "history"))
        }
    }

    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    let client = ChannelTest::new(&endpoint).app_data(shared.clone()).connect::<CarelessSocket>().await;
    let refused = client.unwrap().subscribe_and_join("t", json!({})).await.unwrap_err();
    assert_eq!(refused.0, json!({ "reason": "join crashed" }));
}

/// The clients of one worker join again and again while other threads publish: each sees all, once, in order.
#[actix_web::test]
async fn clients_that_come_and_go_while_threads_publish_see_all_once_in_order() {
    const MESSAGES: u64 = 800;
    const AHEAD: u64 = 10;
    let endpoint = Endpoint::new();
    let shared = Shared::new(&endpoint);
    // they stay a little ahead of the client, so that they publish in each of its lives
    let seen_by_client = Arc::new(AtomicU64::new(0));
    let publishing = [(); 2].map(|()| {
        let (shared, seen_by_client) = (shared.clone(), Arc::downgrade(&seen_by_client));
        thread::spawn(move || {
            for _ in 0..MESSAGES / 2 {
                // a test that has failed holds up no publisher
                while let Some(seen) = seen_by_client.upgrade()
                    && shared.backlog.last_id() > seen.load(Ordering::Relaxed) + AHEAD
                {
                    thread::yield_now();
                }
                shared.publish(1);
            }
        })
    });
    let (mut last, mut joins) = (0, 0);
    while last < MESSAGES {
        let mut client = connected(&endpoint, &shared).await;
        let _ = join(&mut client, "t", &shared, last, json!({}));
        let reply = next(&mut client, "phx_reply").await["response"].clone();
        assert_eq!(reply["recovered"], true, "{reply}");
        joins += 1;
        let mut check = |id: u64| {
            last += 1;
            assert_eq!(id, last, "after {joins} joins");
            seen_by_client.store(last, Ordering::Relaxed);
        };
        ids(&reply["messages"]).into_iter().for_each(&mut check);
        // a few live ones, then the connection is cut
        let live = (MESSAGES - seen_by_client.load(Ordering::Relaxed)).min(5);
        for _ in 0..live {
            check(next(&mut client, "score").await["id"].as_u64().unwrap());
        }
    }
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
}
