//! Joins that hold broadcasts while they read state, without recovery.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use actix_web::rt::{System, task::yield_now};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, PubSub, Refused, Reply, Result, Routes,
    SocketHandler, Status,
    testing::{ChannelTest, Pushed, TestSocket},
};

/// A number that grows, and is broadcast each time. A join reads it between two pauses.
struct Counter {
    pubsub: PubSub,
    value: Mutex<u64>,
    pauses: Semaphore,
}

impl Counter {
    fn new(endpoint: &Endpoint) -> Arc<Self> {
        let (pubsub, value) = (endpoint.pubsub().clone(), Mutex::new(0));
        Arc::new(Self { pubsub, value, pauses: Semaphore::new(0) })
    }

    fn increment(&self) {
        let mut value = self.value.lock().unwrap();
        *value += 1;
        self.pubsub.broadcast("t", "value", json!({ "n": *value })).unwrap();
    }

    async fn read(&self) -> u64 {
        self.pauses.acquire().await.unwrap().forget();
        let value = *self.value.lock().unwrap();
        yield_now().await;
        self.pauses.acquire().await.unwrap().forget();
        value
    }
}

struct UserSocket(Arc<Counter>);

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self(info.data::<Arc<Counter>>()?.clone()))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Shown>("t");
    }
}

/// Shows the number.
struct Shown;

impl Channel for Shown {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.hold_broadcasts();
        let n = cx.socket().0.read().await;
        if payload.parse::<Value>()? == json!({ "then": "refuse" }) {
            return Join::refuse(json!({}));
        }
        Join::reply(Self, json!({ "n": n }))
    }

    async fn handle_in(&mut self, _: &str, _: Payload, cx: &mut Context<Self>) -> Result {
        cx.hold_broadcasts();
        Reply::ok(json!({}))
    }
}

async fn connected(endpoint: &Endpoint, counter: &Arc<Counter>) -> TestSocket {
    ChannelTest::new(endpoint).app_data(counter.clone()).connect::<UserSocket>().await.unwrap()
}

fn somewhere(is_elsewhere: bool, run: impl FnOnce() + Send) {
    if is_elsewhere { thread::scope(|scope| scope.spawn(run).join().unwrap()) } else { run() }
}

/// What a client shows: what it read, and what it heard since.
#[derive(Debug, Default)]
struct Client {
    socket: Option<TestSocket>,
    join: Option<Pushed>,
    /// The number that is shown, once the join is answered.
    n: Option<u64>,
}

impl Client {
    async fn join(&mut self, endpoint: &Endpoint, counter: &Arc<Counter>) {
        let mut socket = connected(endpoint, counter).await;
        let join = socket.push("t", "phx_join", json!({})).unwrap();
        *self = Self { socket: Some(socket), join: Some(join), n: None };
    }

    fn arrived(&mut self) -> Vec<(Value, Value, String, Value)> {
        self.socket.as_mut().map(TestSocket::arrived).unwrap_or_default()
    }

    /// Reads what has arrived.
    fn read(&mut self) {
        for (_, reference, event, payload) in self.arrived() {
            match event.as_str() {
                "phx_reply" => {
                    assert_eq!(Some(reference), self.join.as_ref().map(Pushed::reference));
                    assert_eq!(self.n.replace(payload["response"]["n"].as_u64().unwrap()), None);
                }
                _ => self.see(payload["n"].as_u64().unwrap()),
            }
        }
    }

    /// What the reply has may come again. Nothing may be missing, and nothing comes before the reply.
    fn see(&mut self, n: u64) {
        let shown = self.n.as_mut().unwrap_or_else(|| panic!("{n} came before the reply"));
        assert!(n <= *shown + 1, "{n} came after {shown}");
        *shown = n.max(*shown);
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// On this thread, or on another one.
    Increment(bool),
    /// On a new connection.
    Join(usize),
    /// A pause of a join ends.
    Resume,
    /// Other tasks of the thread run.
    Yield,
}

const CLIENTS: usize = 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<bool>().prop_map(Step::Increment),
        1 => (0..CLIENTS).prop_map(Step::Join),
        3 => Just(Step::Resume),
        4 => Just(Step::Yield),
    ];
    proptest::collection::vec(step, 0..80)
}

async fn play(steps: &[Step]) {
    let endpoint = Endpoint::new();
    let counter = Counter::new(&endpoint);
    let mut clients: [Client; CLIENTS] = Default::default();
    for step in steps {
        match *step {
            Step::Increment(is_elsewhere) => somewhere(is_elsewhere, || counter.increment()),
            Step::Join(client) => clients[client].join(&endpoint, &counter).await,
            Step::Resume => counter.pauses.add_permits(1),
            Step::Yield => yield_now().await,
        }
        clients.iter_mut().for_each(Client::read);
    }
    counter.pauses.add_permits(1_000);
    counter.increment();
    // all happens on this thread, so a number of turns is enough on any machine
    for _ in 0..100 {
        yield_now().await;
    }
    for client in &mut clients {
        client.read();
        assert_eq!(client.n, client.socket.as_ref().map(|_| *counter.value.lock().unwrap()), "{client:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_client_misses_no_change_however_long_its_join_reads(steps in steps()) {
        System::new().block_on(play(&steps));
    }
}

#[actix_web::test]
async fn clients_that_join_while_threads_change_the_state_miss_no_change() {
    const CHANGES: u64 = 800;
    let endpoint = Endpoint::new();
    let counter = Counter::new(&endpoint);
    counter.pauses.add_permits(1_000_000);
    // with each turn of this thread there are some changes, so that there are some during each join
    let allowed = Arc::new(AtomicU64::new(0));
    let changing = [(); 2].map(|()| {
        let (counter, allowed) = (counter.clone(), Arc::downgrade(&allowed));
        thread::spawn(move || {
            for _ in 0..CHANGES / 2 {
                // a test that has failed holds up nobody
                while let Some(allowed) = allowed.upgrade()
                    && *counter.value.lock().unwrap() >= allowed.load(Ordering::Relaxed)
                {
                    thread::yield_now();
                }
                counter.increment();
            }
        })
    });
    let mut client = Client::default();
    while client.n.is_none_or(|n| n < CHANGES) {
        let end = CHANGES.min(client.n.unwrap_or_default() + 20);
        client.join(&endpoint, &counter).await;
        // some live changes, then the connection is cut
        while client.n.is_none_or(|n| n < end) {
            allowed.store(*counter.value.lock().unwrap() + 2, Ordering::Relaxed);
            yield_now().await;
            client.read();
        }
    }
    changing.into_iter().for_each(|thread| thread.join().unwrap());
}

#[actix_web::test]
async fn a_join_that_is_refused_drops_what_was_held() {
    let endpoint = Endpoint::new();
    let counter = Counter::new(&endpoint);
    let mut client = connected(&endpoint, &counter).await;
    let join = client.push("t", "phx_join", json!({ "then": "refuse" })).unwrap();
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!endpoint.node().pubsub.local().is_empty(), "it holds");
    counter.increment();
    counter.pauses.add_permits(2);
    client.assert_reply(join, Status::Error, json!({})).await;
    assert_eq!(client.arrived(), []);
    assert!(endpoint.node().pubsub.local().is_empty());
}

#[actix_web::test]
async fn nothing_is_held_after_the_join() {
    let endpoint = Endpoint::new();
    let counter = Counter::new(&endpoint);
    counter.pauses.add_permits(2);
    let mut client = connected(&endpoint, &counter).await;
    client.subscribe_and_join("t", json!({})).await.unwrap();
    let push = client.push("t", "hold", json!({})).unwrap();
    client.assert_reply(push, Status::Ok, json!({})).await;
    counter.increment();
    client.assert_broadcast("value", json!({ "n": 1 })).await;
    assert_eq!(client.reached_by("value").await, json!({ "n": 1 }));
}
