//! The life of a channel, from its join to the end of its last callback.

mod paused_time;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::rt::{task::yield_now, time::sleep};
use anyhow::{Context as _, anyhow};
use futures_util::FutureExt;
use serde_json::json;

use super::*;
use crate::{
    CloseReason, ConnectInfo, Endpoint, Params, Refused, Routes, SocketHandler, Status,
    testing::{ChannelTest, TestSocket},
};

/// A log of what happened, in order.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>, Arc<Mutex<Option<Handle<u64>>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Waits until this has happened.
    async fn has(&self, what: &str) {
        let happened = async {
            while !self.0.lock().unwrap().iter().any(|entry| entry == what) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = actix_web::rt::time::timeout(Duration::from_secs(20), happened).await;
        assert!(waited.is_ok(), "{what:?} did not happen, but {:?}", self.take());
    }
}

struct UserSocket(Log);

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        Ok(Self(info.app_data::<Log>().cloned().unwrap_or_default()))
    }

    fn id(&self) -> Option<String> {
        Some("users:1".into())
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }

    fn terminate(&self, why: CloseReason) {
        self.0.add(format!("socket {why}"));
        assert!(why != CloseReason::Drained, "a panic is caught");
    }
}

/// Acts as its events say, and logs its callbacks.
struct Room(u64);

/// Logs its drop.
struct Dropped(Log);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("callback dropped");
    }
}

impl Channel for Room {
    type Socket = UserSocket;
    type Info = u64;
    const SHUTDOWN: Duration = Duration::from_millis(50);

    async fn join(topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        if topic == "room:strict" {
            read(&payload)?;
        }
        let n = payload.parse::<serde_json::Value>()?["n"].as_u64().unwrap_or_default();
        cx.socket().0.add(format!("join {n}"));
        match topic {
            "room:stop" => cx.stop(),
            "room:hang" => pending().await,
            "room:until closed" => {
                cx.closed().await;
                cx.socket().0.add("closed");
            }
            _ => {}
        }
        Join::ok(Self(n))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "hang" => {
                let _dropped = Dropped(cx.socket().0.clone());
                pending::<()>().await;
            }
            "until closed" => {
                cx.closed().await;
                cx.socket().0.add("closed");
            }
            "source" => _ = read(&payload).map_err(std::io::Error::other)?,
            "anyhow" => _ = read(&payload)?,
            "anyhow with context" => _ = read(&payload).context("reading").context("counting")?,
            "anyhow of a source" => {
                _ = read(&payload).map_err(|error| anyhow!(std::io::Error::other(error)))?
            }
            "newest" => {
                for n in 0..3 {
                    cx.push_latest("key", "mine", json!({ "n": n }))?;
                    cx.broadcast_latest_from("key", "theirs", json!({ "n": n }))?;
                }
            }
            "typed" | "typed, unknown" => _ = payload.parse_event::<Event>(event)?,
            "its text alone" => _ = read(&payload).map_err(|error| error.to_string())?,
            "tick" => _ = cx.send_after(Duration::ZERO, 1),
            "share" => *cx.socket().0.1.lock().unwrap() = Some(cx.handle()),
            "handle" => {
                let (handle, log) = (cx.handle(), cx.socket().0.clone());
                let closed = cx.closed();
                actix_web::rt::spawn(async move {
                    closed.await;
                    log.add(format!("sent when closed: {:?}", handle.send(7)));
                });
                cx.handle().send(6).unwrap();
                cx.closed().await;
            }
            _ => {}
        }
        Reply::ok(payload)
    }

    async fn handle_info(&mut self, info: u64, cx: &mut Context<Self>) -> Result<()> {
        cx.socket().0.add(format!("info {info}"));
        if info == 1 {
            cx.send_after(Duration::ZERO, 1);
        }
        Ok(())
    }

    async fn terminate(&mut self, exit: &Exit, cx: &mut Context<Self>) {
        if cx.topic() == "room:slow" {
            sleep(Duration::from_millis(5)).await;
        }
        if cx.topic() == "room:endless" {
            let _dropped = Dropped(cx.socket().0.clone());
            pending::<()>().await;
        }
        cx.socket().0.add(format!("terminate {} {exit}", self.0));
    }
}

/// Typed events of an application.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Typed(#[expect(dead_code, reason = "it is not used")] u8),
}

/// An application that reads payloads and uses `anyhow` for its errors.
fn read(payload: &Payload) -> anyhow::Result<u8> {
    Ok(payload.parse::<u8>()?)
}

async fn connected(endpoint: &Endpoint) -> (TestSocket, Log) {
    let log = Log::default();
    let client = ChannelTest::new(endpoint).app_data(log.clone()).connect::<UserSocket>().await.unwrap();
    (client, log)
}

async fn joined(endpoint: &Endpoint, topic: &str) -> (TestSocket, Log) {
    let (mut client, log) = connected(endpoint).await;
    client.subscribe_and_join(topic, json!({ "n": 1 })).await.unwrap();
    (client, log)
}

/// Pushes an event, and returns once it is being handled.
async fn begin(client: &mut TestSocket, topic: &str, event: &str) {
    let _ = client.push(topic, event, json!({})).unwrap();
    yield_now().await;
}

/// Waits until the endpoint has no channels left.
async fn all_over(endpoint: &Endpoint) {
    let over = async {
        while endpoint.node().tasks.channels() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = actix_web::rt::time::timeout(Duration::from_secs(20), over).await;
    assert!(waited.is_ok(), "channels are left");
}

#[actix_web::test]
async fn a_channel_that_stops_itself_in_join_is_joined_and_closed() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:stop").await;
    client.assert_push("phx_close", json!({})).await;
    all_over(&endpoint).await;
    assert_eq!(log.take(), ["join 1", "terminate 1 stopped"]);
}

#[actix_web::test]
async fn a_callback_that_does_not_end_is_dropped_and_then_terminate_runs() {
    for (how, exit) in
        [("leave", "left"), ("rejoin", "replaced by a new join"), ("gone", "connection closed: lost")]
    {
        let endpoint = Endpoint::new();
        let (mut client, log) = joined(&endpoint, "room:1").await;
        begin(&mut client, "room:1", "hang").await;
        let mut client = Some(client);
        match how {
            "leave" => {
                let leave = client.as_mut().unwrap().leave("room:1");
                client.as_mut().unwrap().assert_reply(leave, Status::Ok, json!({})).await;
            }
            "rejoin" => {
                _ = client.as_mut().unwrap().subscribe_and_join("room:1", json!({ "n": 2 })).await.unwrap();
            }
            _ => drop(client.take()),
        }
        log.has(&format!("terminate 1 {exit}")).await;
        let happened: Vec<_> = log.take().into_iter().filter(|entry| entry != "socket lost").collect();
        assert_eq!(
            happened[..3],
            ["join 1", "callback dropped", &*format!("terminate 1 {exit}")][..],
            "{how}"
        );
        drop(client);
        all_over(&endpoint).await;
    }
}

#[actix_web::test]
async fn a_channel_and_its_socket_are_told_why_the_connection_ended() {
    for why in ["by_client", "lost", "disconnected", "drained", "slow_reader"] {
        let endpoint = Endpoint::new();
        let (client, log) = joined(&endpoint, "room:1").await;
        let mut client = Some(client);
        match why {
            "by_client" => client.take().unwrap().close(),
            "lost" => drop(client.take()),
            "disconnected" => endpoint.disconnect("users:1"),
            "drained" => _ = endpoint.node().connections.drain(1),
            _ => {
                for _ in 0..10 {
                    endpoint.broadcast("room:1", "long", json!({ "x": "x".repeat(3_000_000) })).unwrap();
                }
            }
        }
        all_over(&endpoint).await;
        let ends = [format!("socket {why}"), format!("terminate 1 connection closed: {why}")];
        assert_eq!(log.take()[1..], ends);
        let code = match why {
            "disconnected" => 1001,
            "drained" => 1012,
            _ => 1006,
        };
        if let Some(mut client) = client {
            client.assert_closed(code).await;
        }
    }
}

#[actix_web::test]
async fn a_callback_that_listens_ends_by_itself_and_its_reply_goes_before_the_close() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    let push = client.push("room:1", "until closed", json!({ "n": 1 })).unwrap();
    yield_now().await;
    let leave = client.leave("room:1");
    client.assert_reply(push, Status::Ok, json!({ "n": 1 })).await;
    client.assert_reply(leave, Status::Ok, json!({})).await;
    client.assert_push("phx_close", json!({})).await;
    all_over(&endpoint).await;
    assert_eq!(log.take(), ["join 1", "closed", "terminate 1 left"]);
}

#[actix_web::test]
async fn a_join_starts_when_the_former_channel_has_terminated_and_other_topics_go_on() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:slow").await;
    client.subscribe_and_join("room:other", json!({ "n": 9 })).await.unwrap();
    log.take();
    for n in 2..5 {
        client.subscribe_and_join("room:slow", json!({ "n": n })).await.unwrap();
        assert_eq!(log.take(), [format!("terminate {} replaced by a new join", n - 1), format!("join {n}")]);
    }
    let push = client.push("room:other", "echo", json!({})).unwrap();
    client.assert_reply(push, Status::Ok, json!({})).await;
}

#[actix_web::test]
async fn a_join_starts_beside_a_terminate_that_does_not_end_in_time_and_that_is_dropped() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:endless").await;
    client.subscribe_and_join("room:endless", json!({ "n": 2 })).await.unwrap();
    log.has("callback dropped").await;
    client.close();
    all_over(&endpoint).await;
}

#[actix_web::test]
async fn one_topic_joined_again_and_again_while_its_channel_is_busy_has_one_channel_at_a_time() {
    let endpoint = Endpoint::new();
    let (mut client, _) = connected(&endpoint).await;
    for n in 0..20 {
        client.subscribe_and_join("room:1", json!({ "n": n })).await.unwrap();
        begin(&mut client, "room:1", "hang").await;
        let channels = endpoint.node().tasks.channels();
        assert!(channels <= 2, "{channels}");
    }
    client.close();
    all_over(&endpoint).await;
}

#[actix_web::test]
async fn a_join_that_waits_for_a_busy_channel_never_starts_when_its_client_has_gone() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    begin(&mut client, "room:1", "hang").await;
    for n in 2..5 {
        let join = client.subscribe_and_join("room:1", json!({ "n": n }));
        assert!(join.now_or_never().is_none(), "it waits");
    }
    client.close();
    all_over(&endpoint).await;
    let happened = ["join 1", "socket by_client", "callback dropped", "terminate 1 replaced by a new join"];
    assert_eq!(log.take(), happened);
}

#[actix_web::test]
async fn a_join_that_hangs_does_not_keep_the_topic_from_a_client_that_tries_again() {
    let endpoint = Endpoint::new();
    let (mut client, log) = connected(&endpoint).await;
    let leave = {
        let _ = client.push("room:hang", "phx_join", json!({ "n": 1 })).unwrap();
        yield_now().await;
        client.leave("room:hang")
    };
    client.assert_reply(leave, Status::Ok, json!({})).await;
    all_over(&endpoint).await;
    assert_eq!(log.take(), ["join 1"]);
}

#[actix_web::test]
async fn a_join_that_listens_hears_that_its_client_waits_no_longer_and_is_still_a_join() {
    let endpoint = Endpoint::new();
    let (mut client, log) = connected(&endpoint).await;
    let join = client.push("room:until closed", "phx_join", json!({ "n": 1 })).unwrap();
    yield_now().await;
    let leave = client.leave("room:until closed");
    client.assert_reply(join, Status::Ok, json!({})).await;
    client.assert_reply(leave, Status::Ok, json!({})).await;
    all_over(&endpoint).await;
    assert_eq!(log.take(), ["join 1", "closed", "terminate 1 left"]);
}

#[actix_web::test]
async fn what_was_sent_before_the_end_began_is_handled_and_nothing_is_taken_after() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    begin(&mut client, "room:1", "handle").await;
    let _ = client.leave("room:1");
    log.has("terminate 1 left").await;
    all_over(&endpoint).await;
    let happened = log.take();
    assert!(happened.contains(&"info 6".to_owned()), "{happened:?}");
    assert!(happened.contains(&"sent when closed: Err(7)".to_owned()), "{happened:?}");
    assert!(!happened.contains(&"info 7".to_owned()), "{happened:?}");
}

#[actix_web::test]
async fn a_client_that_lags_gets_the_newest_alone_and_all_others_get_every_one() {
    let endpoint = Endpoint::new();
    let (mut ann, _) = joined(&endpoint, "room:1").await;
    let (mut bob, _) = joined(&endpoint, "room:1").await;
    let (mut eve, _) = joined(&endpoint, "room:1").await;
    for is_lagging in [false, true, false] {
        if is_lagging {
            ann.lag();
            bob.lag();
        }
        let push = ann.push("room:1", "newest", json!({})).unwrap();
        yield_now().await;
        ann.assert_reply(push, Status::Ok, json!({})).await;
        for n in if is_lagging { 2..3 } else { 0..3 } {
            ann.assert_push("mine", json!({ "n": n })).await;
            assert_eq!(bob.reached_by("theirs").await, json!({ "n": n }));
        }
        for n in 0..3 {
            assert_eq!(eve.reached_by("theirs").await, json!({ "n": n }));
        }
    }
    ann.refute_push("mine").await;
}

#[actix_web::test]
async fn nothing_that_was_kept_for_a_client_that_lags_comes_after_the_end_of_its_channel() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    client.lag();
    let _ = client.push("room:1", "newest", json!({})).unwrap();
    let _ = client.leave("room:1");
    log.has("terminate 1 left").await;
    client.assert_push("phx_close", json!({})).await;
    client.refute_push("mine").await;
}

#[actix_web::test]
async fn the_end_of_a_channel_is_noticed_by_its_handles_on_whatever_thread() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    begin(&mut client, "room:1", "share").await;
    let first = log.1.lock().unwrap().take().unwrap();
    begin(&mut client, "room:1", "share").await;
    assert_eq!(log.1.lock().unwrap().take().as_ref(), Some(&first), "it is the same channel");
    let closed = first.closed();
    let waiting = std::thread::spawn(move || actix_web::rt::System::new().block_on(closed));
    client.subscribe_and_join("room:1", json!({ "n": 2 })).await.unwrap();
    waiting.join().unwrap();
    first.closed().await;
    assert_eq!(first.send(1), Err(1));
    begin(&mut client, "room:1", "share").await;
    let second = log.1.lock().unwrap().take().unwrap();
    assert_ne!((&first, first.id()), (&second, second.id()), "it joined again");
    assert_eq!(second.closed().now_or_never(), None);
}

#[actix_web::test]
async fn a_timer_that_starts_itself_anew_does_not_keep_a_channel() {
    let endpoint = Endpoint::new();
    let (mut client, log) = joined(&endpoint, "room:1").await;
    begin(&mut client, "room:1", "tick").await;
    log.has("info 1").await;
    let _ = client.leave("room:1");
    all_over(&endpoint).await;
}

#[actix_web::test]
async fn a_client_that_is_dropped_leaves_nothing_behind() {
    let endpoint = Endpoint::new();
    let (client, log) = joined(&endpoint, "room:1").await;
    drop(client);
    log.has("terminate 1 connection closed: lost").await;
    all_over(&endpoint).await;
    assert_eq!(endpoint.node().connections.count(), 0);
    let local = endpoint.pubsub().local();
    assert!(local.is_empty() && endpoint.node().connections.is_empty(), "{local:?}");
}

#[actix_web::test]
async fn an_invalid_payload_is_answered_whatever_error_it_is_wrapped_in() {
    const REASON: &str = "invalid payload: invalid type: map, expected u8";
    let (mut client, _) = joined(&Endpoint::new(), "room:1").await;
    for event in ["source", "anyhow", "anyhow with context", "anyhow of a source", "typed"] {
        let push = client.push("room:1", event, json!({})).unwrap();
        client.assert_reply(push, Status::Error, json!({ "reason": REASON })).await;
    }
    let refused = client.subscribe_and_join("room:strict", json!({})).await.unwrap_err();
    assert!(format!("{refused:?}").contains(REASON), "{refused:?}");
    for event in ["its text alone", "typed, unknown"] {
        let (mut client, _) = joined(&Endpoint::new(), "room:1").await;
        let _ = client.push("room:1", event, json!({})).unwrap();
        client.assert_push("phx_error", json!({ "reason": "channel_crash" })).await;
    }
}
