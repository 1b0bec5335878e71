//! Channels that come and go in every way, with the server's own thread telling it.

use std::{sync::mpsc, thread};

use actix_web::rt::System;

use super::*;
use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes, SocketHandler,
    testing::{ChannelTest, TestSocket},
};

struct Socket(Presence);

impl SocketHandler for Socket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        info.data::<Presence>().cloned().map(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Hasty>("hasty:*").channel::<Room>("room:*").channel::<Everywhere>("everywhere");
    }
}

/// Tracks itself before it is in.
struct Hasty;

impl Channel for Hasty {
    type Socket = Socket;
    type Info = ();

    async fn join(topic: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Socket(presence) = cx.socket();
        presence.track(cx, "u1", json!({})).await?;
        assert!(topic != "hasty:crash", "told to crash");
        if topic == "hasty:refused" { Join::refuse(json!({})) } else { Join::ok(Self) }
    }
}

/// Tracks itself on two topics, under two keys on one of them.
struct Everywhere;

impl Channel for Everywhere {
    type Socket = Socket;
    type Info = ();

    async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Socket(presence) = cx.socket();
        for (topic, key) in [("room:1", "u1"), ("room:1", "u2"), ("room:2", "u1")] {
            presence.track_on(cx, topic, key, json!({ "n": 1 })).await?;
        }
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, _: Payload, cx: &mut Context<Self>) -> Result {
        let Socket(presence) = cx.socket();
        match event {
            "change" => {
                presence.update_on(cx, "room:2", "u1", |meta| _ = meta.insert("n".into(), 2.into()))?;
                presence.untrack_on(cx, "room:1", "u2");
                presence.track_on(cx, "room:1", "u3", json!({ "n": 3 })).await?;
            }
            _ => return cx.unhandled(event),
        }
        crate::Reply::ok(json!({}))
    }
}

/// Tracks itself under the key that it is joined with, as the guide says.
struct Room;

struct AfterJoin(String);

impl Channel for Room {
    type Socket = Socket;
    type Info = AfterJoin;

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let payload: Value = payload.parse()?;
        cx.send_self(AfterJoin(payload["key"].as_str().unwrap_or_default().to_owned()));
        Join::ok(Self)
    }

    async fn handle_info(&mut self, AfterJoin(key): AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let Socket(presence) = cx.socket();
        presence.track(cx, &key, json!({ "n": 1 })).await?;
        Ok(cx.push("presence_state", presence.list(cx.topic()))?)
    }

    async fn handle_in(&mut self, event: &str, _: Payload, cx: &mut Context<Self>) -> Result {
        let Socket(presence) = cx.socket();
        match event {
            // all within one batch
            "change and stop" => {
                presence.update(cx, "u1", |meta| _ = meta.insert("n".into(), json!(2)))?;
                presence.untrack(cx, "u1");
                cx.stop();
                crate::Reply::ok(json!({}))
            }
            _ => cx.unhandled(event),
        }
    }
}

struct House {
    endpoint: Endpoint,
    presence: Presence,
}

impl House {
    fn new() -> Self {
        let endpoint = Endpoint::new();
        Self { presence: Presence::new(&endpoint), endpoint }
    }

    async fn opens(&self) -> TestSocket {
        let client = ChannelTest::new(&self.endpoint).app_data(self.presence.clone());
        client.connect::<Socket>().await.unwrap()
    }

    async fn enters(&self, topic: &str, key: &str) -> TestSocket {
        let mut client = self.opens().await;
        client.subscribe_and_join(topic, json!({ "key": key })).await.unwrap();
        client
    }

    /// As one worker of several.
    fn worker(&self, work: impl AsyncFnOnce(Self) + Send + 'static) -> thread::JoinHandle<()> {
        let house = Self { endpoint: self.endpoint.clone(), presence: self.presence.clone() };
        thread::spawn(move || System::new().block_on(work(house)))
    }
}

/// What a page on `room:1` shows. Its state comes with the first diffs, and phoenix.js takes it first.
struct Page {
    client: TestSocket,
    presence: PhoenixJs,
}

impl Page {
    async fn open(house: &House, key: &str) -> Self {
        let mut page = Self { client: house.enters("room:1", key).await, presence: PhoenixJs::default() };
        let state = page.client.pushed("presence_state").await;
        assert!(state[key].is_object(), "it is in its own state: {state}");
        page.presence.on_state(state.as_object().unwrap());
        page
    }

    /// Waits for diffs until it shows this.
    async fn shows(&mut self, wanted: &[&str]) {
        while said(&self.presence.state.clone().into()) != wanted {
            let diff = self.client.broadcast("presence_diff").await;
            self.presence.on_diff(&diff);
        }
    }
}

#[actix_web::test]
async fn whoever_does_not_get_in_is_not_present() {
    let house = House::new();
    let mut client = house.opens().await;
    for topic in ["hasty:refused", "hasty:crash"] {
        client.subscribe_and_join(topic, json!({})).await.unwrap_err();
        assert!(house.presence.list(topic).is_empty(), "{topic}");
    }
    client.subscribe_and_join("hasty:in", json!({})).await.unwrap();
    assert_eq!(house.presence.list("hasty:in").len(), 1);
    client.close();
    assert!(house.presence.list("hasty:in").is_empty());
}

#[actix_web::test]
async fn however_a_channel_ends_all_pages_show_that_it_has_left() {
    let house = House::new();
    let mut page = Page::open(&house, "ann").await;
    for how in ["closes", "leaves", "crashes", "stops", "joins again", "closes before it is told of"] {
        let mut client = house.enters("room:1", "u1").await;
        if how == "closes before it is told of" {
            client.close();
            continue;
        }
        client.pushed("presence_state").await;
        page.shows(&["ann: 1", "u1: 1"]).await;
        match how {
            "closes" => client.close(),
            "leaves" => _ = client.leave("room:1"),
            "crashes" => _ = client.push("room:1", "no such event", json!({})).unwrap(),
            "stops" => _ = client.push("room:1", "change and stop", json!({})).unwrap(),
            _ => {
                client.subscribe_and_join("room:1", json!({ "key": "u2" })).await.unwrap();
                client.pushed("presence_state").await;
                page.shows(&["ann: 1", "u2: 1"]).await;
                client.close();
            }
        }
        page.shows(&["ann: 1"]).await;
    }
    house.enters("room:1", "end").await.pushed("presence_state").await;
    page.shows(&["ann: 1", "end: 1"]).await;
}

#[actix_web::test]
async fn a_channel_that_is_tracked_everywhere_leaves_each_topic_in_one_diff() {
    let house = House::new();
    let mut there = [house.enters("room:1", "ann").await, house.enters("room:2", "ann").await];
    for client in &mut there {
        client.pushed("presence_state").await;
    }
    for how in ["closes", "crashes", "leaves"] {
        let mut client = house.enters("everywhere", "").await;
        let push = client.push("everywhere", "change", json!({})).unwrap();
        client.assert_reply(push, crate::Status::Ok, json!({})).await;
        let listed = ["room:1", "room:2"].map(|topic| said(&house.presence.list(topic).into()));
        assert_eq!(listed, [vec!["ann: 1", "u1: 1", "u3: 3"], vec!["ann: 1", "u1: 2"]]);
        match how {
            "closes" => client.close(),
            "crashes" => _ = client.push("everywhere", "no such event", json!({})).unwrap(),
            _ => _ = client.leave("everywhere"),
        }
        for (client, all) in there.iter_mut().zip([vec!["u1: 1", "u3: 3"], vec!["u1: 2"]]) {
            let left = async {
                loop {
                    let left = said(&client.broadcast("presence_diff").await["leaves"]);
                    // those of the updates before came in their own diffs
                    if !left.is_empty() && left != ["u2: 1"] && left != ["u1: 1"] {
                        return left;
                    }
                }
            };
            assert_eq!(left.await, all, "{how}");
        }
    }
}

#[actix_web::test]
async fn whoever_was_listed_and_closes_before_that_is_told_is_no_ghost() {
    let house = House::new();
    let mut page = Page::open(&house, "ann").await;
    for n in 0..5 {
        let passer = house.enters("room:1", &n.to_string()).await;
        while house.presence.list("room:1").len() < 2 {
            actix_web::rt::task::yield_now().await;
        }
        page.presence.on_state(&house.presence.list("room:1"));
        passer.close();
    }
    let _last = house.enters("room:1", "last").await;
    page.shows(&["ann: 1", "last: 1"]).await;
}

#[test]
fn a_worker_that_ends_before_it_is_told_takes_no_topic_along() {
    let house = House::new();
    let worker = house.worker(async |house| {
        let mut client = house.enters("room:1", "ann").await;
        client.pushed("presence_state").await;
        client.close();
    });
    worker.join().unwrap();
    let worker = house.worker(async |house| {
        let mut page = Page::open(&house, "bob").await;
        page.shows(&["bob: 1"]).await;
    });
    worker.join().unwrap();
}

#[test]
fn a_worker_that_is_blocked_keeps_no_diff_back() {
    let house = House::new();
    let (go, gone) = mpsc::channel();
    let blocked = house.worker(async move |house| {
        let client = house.enters("room:1", "ann").await;
        while house.presence.list("room:1").is_empty() {
            actix_web::rt::task::yield_now().await;
        }
        gone.recv().unwrap();
        client.close();
    });
    let watcher = house.worker(async move |house| {
        let mut page = Page::open(&house, "bob").await;
        page.shows(&["ann: 1", "bob: 1"]).await;
        go.send(()).unwrap();
        page.shows(&["bob: 1"]).await;
    });
    watcher.join().unwrap();
    blocked.join().unwrap();
}

#[actix_web::test]
async fn a_fetch_that_panics_once_costs_nobody_a_diff() {
    let mut house = House::new();
    let once = std::sync::atomic::AtomicBool::new(false);
    house.presence = Presence::with_fetch(&house.endpoint, move |_, presences| {
        let is_bob = presences.contains_key("bob");
        assert!(!is_bob || once.swap(true, std::sync::atomic::Ordering::SeqCst), "told to panic");
        presences
    });
    let mut page = Page::open(&house, "ann").await;
    let _bob = Page::open(&house, "bob").await;
    page.shows(&["ann: 1", "bob: 1"]).await;
}

#[actix_web::test]
async fn a_server_that_drains_waits_until_all_is_told() {
    let house = House::new();
    let ear = Rc::new(Client::default());
    house.endpoint.pubsub().local().subscribe("t", SubscriberKey::new(), ear.clone());
    let (told, _) = oneshot::channel();
    let tracked = house.presence.tracker.track(SubscriberKey::new(), "t", "u1", Meta::new(), told).unwrap();
    drop(tracked);
    assert_eq!(house.endpoint.drain().await, 0);
    caught_up(&house.endpoint.pubsub().local()).await;
    assert_eq!(ear.heard().len(), 2, "that it came, and that it left");
}
