//! Endpoints of one process as nodes, on an engine that can be disturbed.

use std::{ops::Deref, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    ConnectInfo, Endpoint, Params, Presence, Refused, Routes, SocketHandler, Subscription, UserBroadcast,
    testing::{
        ChannelTest,
        adapter::{Faults, Hub, Memory},
    },
};

/// How much faster than the clock heartbeats pass.
pub(crate) const SPEED: u32 = 10;

/// How long to wait for what must come. Far above what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("it does not come about: {what}"));
}

/// A node of a test.
#[derive(Clone)]
pub(crate) struct TestNode(pub(crate) Endpoint);

impl Deref for TestNode {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl TestNode {
    pub(crate) fn start(hub: &Hub, name: &str) -> Self {
        Self(Endpoint::builder().adapter(hub.adapter()).node_name(name).speed(SPEED).build())
    }

    /// Nodes that know each other.
    pub(crate) async fn start_all<const N: usize>(hub: &Hub, names: [&str; N]) -> [Self; N] {
        let nodes = names.map(|name| Self::start(hub, name));
        for node in &nodes {
            node.knows(N - 1).await;
        }
        nodes
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.node().cluster.clone().unwrap()
    }

    /// Waits until it hears itself and so many others.
    pub(crate) async fn knows(&self, count: usize) {
        let cluster = self.cluster();
        let knows = || {
            let others = cluster.others();
            others.nodes.is_hearing() && others.nodes.others().count() == count
        };
        until("all nodes know each other", knows).await;
    }

    pub(crate) async fn is_deaf(&self) {
        let cluster = self.cluster();
        until("a node notices that it has no connection", || !cluster.others().nodes.is_hearing()).await;
    }

    /// Dies without a farewell, as by `kill -9`. All its clones must be gone.
    pub(crate) fn kill(self, hub: &Hub) {
        hub.blackhole(&self.cluster().me.name);
    }

    #[cfg(feature = "metrics")]
    fn metric(&self, name: &str) -> f64 {
        let metrics = prometheus::TextEncoder::new().encode_to_string(&self.registry().gather()).unwrap();
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }
}

/// The next broadcast, as its event and its `n`.
async fn next(subscription: &mut Subscription) -> (String, Value) {
    let next = timeout(PATIENCE, subscription.recv()).await.expect("a broadcast arrives");
    let broadcast = next.expect("the endpoint is there").expect("it is read in time");
    let payload: Value = broadcast.payload().parse().unwrap();
    (broadcast.event().to_owned(), payload["n"].clone())
}

/// The `n` of all broadcasts until the first `end`.
async fn until_end(subscription: &mut Subscription) -> Vec<u64> {
    let mut all = vec![];
    loop {
        match next(subscription).await {
            (event, _) if event == "end" => return all,
            (_, n) => all.push(n.as_u64().unwrap()),
        }
    }
}

#[actix_web::test]
async fn broadcasts_reach_every_node_once_and_in_order_and_local_ones_stay() {
    let hub = Hub::new(1);
    let nodes = TestNode::start_all(&hub, ["a", "b", "c"]).await;
    let mut subscriptions = nodes.clone().map(|node| node.subscribe("t").limit(usize::MAX));
    for n in 0..1_000 {
        nodes[0].broadcast("t", "e", json!({ "n": n })).unwrap();
        nodes[1].local_broadcast("t", "local", json!({ "n": 7 })).unwrap();
    }
    nodes[0].broadcast("t", "end", json!({})).unwrap();
    for (index, subscription) in subscriptions.iter_mut().enumerate() {
        let all = until_end(subscription).await;
        let (here, elsewhere): (Vec<u64>, Vec<u64>) = (all.clone(), all);
        if index == 1 {
            assert_eq!(here.len(), 2_000);
        } else {
            assert_eq!(elsewhere, (0..1_000).collect::<Vec<_>>());
        }
    }
}

#[actix_web::test]
async fn bytes_and_events_that_supersede_others_arrive_as_such_and_the_sender_is_spared_on_its_own_node_alone()
 {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let (mut own, mut other, mut far) = (a.subscribe("t"), a.subscribe("t"), b.subscribe("t"));
    a.broadcast_from(&own, "t", "e", Payload::binary(vec![0, 255])).unwrap();
    a.pubsub().broadcast_latest("key", "t", "price", json!({ "n": 1 })).unwrap();
    let position = std::num::NonZeroU64::new(7).unwrap();
    a.pubsub().broadcast_at(position, "t", "post", json!({ "n": 2 })).unwrap();
    let user = UserBroadcast::new("user event", Payload::binary(vec![0, 255])).unwrap();
    a.broadcast("t", "broadcast", user.clone()).unwrap();
    for subscription in [&mut other, &mut far] {
        let bytes = subscription.recv().await.unwrap().unwrap();
        assert_eq!((bytes.topic(), bytes.event()), ("t", "e"));
        assert_eq!(bytes.payload().as_binary(), Some(&[0, 255][..]));
        assert_eq!(subscription.recv().await.unwrap().unwrap().latest.as_deref(), Some("key"));
        assert_eq!(subscription.recv().await.unwrap().unwrap().position(), Some(position));
        let heard = subscription.recv().await.unwrap().unwrap();
        assert_eq!(UserBroadcast::read(heard.payload()), Ok(user.clone()));
    }
    assert_eq!(next(&mut own).await.0, "price");
}

#[actix_web::test]
async fn on_a_bad_network_broadcasts_ascend_and_none_comes_twice_and_on_a_good_one_all_come() {
    let hub = Hub::new(42);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let mut far = b.subscribe("t").limit(usize::MAX);
    hub.set_faults(Faults { loss: 0.1, duplicates: 0.2, delay: Duration::from_millis(3) });
    for n in 0..2_000 {
        a.broadcast("t", "e", json!({ "n": n })).unwrap();
        if n % 100 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    hub.set_faults(Faults::default());
    let ends = async {
        loop {
            // late ones of before may overtake it, which makes it late itself
            a.broadcast("t", "end", json!({})).unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    };
    let all = tokio::select! {
        all = until_end(&mut far) => all,
        () = ends => unreachable!(),
    };
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
    assert!(!all.is_empty() && all.len() < 2_000);
    #[cfg(feature = "metrics")]
    {
        let lost = || b.metric("hinotori_cluster_lost_total{node=\"a\"}");
        until("what was lost is counted", || lost() >= (2_000 - all.len()) as f64).await;
        assert!(b.metric("hinotori_cluster_dropped_total{reason=\"double\"}") > 0.0);
        assert!(b.metric("hinotori_cluster_dropped_total{reason=\"late\"}") > 0.0);
    }
    let mut far = b.subscribe("u").limit(usize::MAX);
    for n in 0..1_000 {
        a.broadcast("u", "e", json!({ "n": n })).unwrap();
    }
    a.broadcast("u", "end", json!({})).unwrap();
    assert_eq!(until_end(&mut far).await, (0..1_000).collect::<Vec<_>>());
}

#[actix_web::test]
async fn a_disconnect_is_carried_out_once_on_every_node_however_much_is_lost() {
    const COUNT: usize = 40;
    let hub = Hub::new(3);
    let [a, b, c] = TestNode::start_all(&hub, ["a", "b", "c"]).await;
    let ids: Vec<String> = (0..COUNT).map(|n| format!("users:{n}")).collect();
    let subscribe = |node: &TestNode| ids.iter().map(|id| node.subscribe(id)).collect::<Vec<_>>();
    let mut clients: Vec<_> = [&b, &c].into_iter().flat_map(subscribe).collect();
    hub.set_faults(Faults { loss: 0.5, duplicates: 0.2, delay: Duration::from_millis(3) });
    for id in &ids {
        a.disconnect(id);
    }
    for client in &mut clients {
        let broadcast = timeout(PATIENCE, client.recv()).await.expect("it is repeated until it arrives");
        assert_eq!(broadcast.unwrap().unwrap().event(), DISCONNECT);
    }
    hub.set_faults(Faults::default());
    let (sender, receivers) = (a.cluster(), [b.cluster(), c.cluster()]);
    let acknowledged = || {
        let up_to = |receiver: &Arc<Cluster>| {
            receiver.others().heard(sender.me.id.0).disconnects.up_to() == Some(COUNT as u64)
        };
        receivers.iter().all(up_to)
    };
    until("all are acknowledged", acknowledged).await;
    // a round of heartbeats, in which nothing is repeated that was acknowledged
    let beats = sender.others().beats;
    until("heartbeats go on", || sender.others().beats > beats + 3).await;
    for client in &mut clients {
        assert!(futures_util::FutureExt::now_or_never(client.recv()).is_none(), "it was carried out twice");
    }
}

#[actix_web::test]
async fn a_node_that_was_cut_off_says_why_and_is_there_again_when_it_is_connected() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    assert_eq!(b.cluster().status(), "cluster up: 2 nodes, this one is b");
    hub.cut("b");
    b.is_deaf().await;
    let cluster = b.cluster();
    until("it tries to connect", || cluster.status().contains("cannot connect: cut")).await;
    assert!(cluster.status().starts_with("cluster down: "), "{}", cluster.status());
    a.knows(0).await;
    hub.restore("b");
    a.knows(1).await;
    b.knows(1).await;
    let mut far = b.subscribe("t");
    a.broadcast("t", "e", json!({ "n": 1 })).unwrap();
    assert_eq!(next(&mut far).await.0, "e");
}

#[actix_web::test]
async fn a_connection_that_is_dead_without_an_error_is_noticed_and_made_again() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    hub.blackhole("b");
    let mut far = b.subscribe("t");
    let speaks = async {
        loop {
            a.broadcast("t", "e", json!({ "n": 1 })).unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        heard = next(&mut far) => assert_eq!(heard.0, "e"),
        () = speaks => unreachable!(),
    }
    a.knows(1).await;
    b.knows(1).await;
}

#[actix_web::test]
async fn while_the_engine_hangs_local_delivery_goes_on_and_what_waits_is_limited() {
    let hub = Hub::new(1);
    let memory = Arc::new(hub.adapter());
    let a = Endpoint::builder().adapter(Watched(memory.clone())).node_name("a").speed(SPEED).build();
    let (a, b) = (TestNode(a), TestNode::start(&hub, "b"));
    a.knows(1).await;
    hub.hang();
    let mut near = a.subscribe("t");
    let payload = Payload::binary(vec![7; 64 * 1024]);
    for _ in 0..1_000 {
        a.broadcast("t", "e", &payload).unwrap();
        assert!(near.recv().await.unwrap().is_ok());
        assert!(memory.waiting() <= Queue::LIMIT + 70_000);
    }
    a.is_deaf().await;
    hub.resume();
    a.knows(1).await;
    b.knows(1).await;
    #[cfg(feature = "metrics")]
    assert!(a.metric("hinotori_cluster_dropped_total{reason=\"full\"}") > 0.0);
}

/// An adapter of which the test keeps the inner one.
struct Watched(Arc<Memory>);

impl Adapter for Watched {
    fn publish(&self, frame: Bytes) -> Result<(), Full> {
        self.0.publish(frame)
    }

    fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()> {
        self.0.clone().run(me, sink)
    }

    fn reconnect(&self) {
        self.0.reconnect();
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.0.flush()
    }
}

#[actix_web::test]
async fn what_waits_for_a_busy_worker_is_limited() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    // this thread is a worker that does not deliver while it does not await
    let _local = b.pubsub().local();
    let payload = Payload::binary(vec![7; 1024 * 1024]);
    let (cluster, started) = (b.cluster(), Instant::now());
    let mut full = false;
    while !full {
        assert!(started.elapsed() < PATIENCE, "the queue is never full");
        a.broadcast("t", "e", &payload).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        full = cluster.inflow.admit(0).is_none();
        assert!(cluster.inflow.bytes() <= INFLOW + 1024 * 1024 + 1_000);
    }
    until("what was delivered makes room", || cluster.inflow.bytes() == 0).await;
}

#[test]
fn a_node_is_there_while_it_sends_to_others_alone() {
    let telemetry = Telemetry::new();
    let cluster = Cluster::new(Arc::new(Hub::new(1).adapter()), NodeId(1), "a".into(), &telemetry, 1);
    {
        let nodes = &mut cluster.others().nodes;
        nodes.came_back(Duration::ZERO);
        nodes.heard(Duration::ZERO, 2, 1, "b");
    }
    let part = Outward::envelope(Kind::Part, "p", Payload::binary(Bytes::new()));
    let part = Envelope { incarnation: 2, to: Some(3), ..part }.encode().unwrap().freeze();
    for second in 1..60 {
        assert_eq!(cluster.others().nodes.tick(Duration::from_secs(second)), [], "after {second} s");
        cluster.frame(part.clone());
    }
}

/// A client of another node, which waits in `connect` for the test.
struct Waits;

impl SocketHandler for Waits {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        if params.get("wait").is_some() {
            info.data::<Arc<Semaphore>>()?.acquire().await?.forget();
        }
        Ok(Self)
    }

    fn ids(&self) -> Vec<String> {
        vec!["sessions:2".to_owned(), "users:1".to_owned()]
    }

    fn channels(_: &mut Routes<Self>) {}
}

#[actix_web::test]
async fn a_disconnect_of_another_node_reaches_a_socket_that_is_being_connected() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let connect = |params| {
        let client = ChannelTest::new(&b).patience(PATIENCE).app_data(gate.clone()).params(params);
        client.connect::<Waits>()
    };
    let mut witness = connect("").await.unwrap();
    let late = async {
        let mut late = connect("wait").await.unwrap();
        late.assert_closed(1001).await;
    };
    let disconnect = async {
        until("one waits in connect", || b.node().connections.count() == 2).await;
        a.disconnect("users:1");
        witness.assert_closed(1001).await;
        gate.add_permits(1);
    };
    futures_util::future::join(late, disconnect).await;
}

#[actix_web::test]
async fn a_disconnect_for_which_there_is_no_room_is_repeated_until_there_is() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let mut client = b.subscribe("users:1");
    let cluster = b.cluster();
    let full = cluster.inflow.admit(INFLOW + 1).unwrap();
    a.disconnect("users:1");
    let beats = || a.cluster().others().beats;
    let sent = beats();
    until("what is not acknowledged was repeated", || beats() > sent + 4).await;
    assert!(futures_util::FutureExt::now_or_never(client.recv()).is_none());
    drop(full);
    assert_eq!(next(&mut client).await.0, DISCONNECT);
}

#[actix_web::test]
async fn who_ends_says_bye_and_a_killed_one_is_replaced_when_it_is_back() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let first = b.node_id().unwrap();
    assert_eq!(b.drain().await, 0);
    let knows = |id: NodeId| a.cluster().others().nodes.knows(id.0);
    assert!(!knows(first), "a drain ends after the farewell has arrived");
    drop(b);

    let b = TestNode::start(&hub, "b");
    a.knows(1).await;
    let second = b.node_id().unwrap();
    b.kill(&hub);
    assert!(knows(second));
    let b = TestNode::start(&hub, "b");
    let third = b.node_id().unwrap();
    until("the new one is known", || knows(third)).await;
    assert!(!knows(second) && second != third && first != second);

    // an endpoint that is dropped says bye as well
    drop(b);
    until("it has said bye", || !knows(third)).await;
}

#[actix_web::test]
async fn an_adapter_that_panics_or_ends_is_started_again() {
    struct Bad(Arc<Memory>, std::sync::atomic::AtomicU32);

    impl Adapter for Bad {
        fn publish(&self, frame: Bytes) -> Result<(), Full> {
            self.0.publish(frame)
        }

        fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()> {
            match self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Box::pin(async { panic!("told to panic") }),
                1 => Box::pin(async {}),
                _ => self.0.clone().run(me, sink),
            }
        }

        fn reconnect(&self) {
            self.0.reconnect();
        }

        fn flush(&self) -> BoxFuture<'_, ()> {
            self.0.flush()
        }
    }

    let hub = Hub::new(1);
    let bad = Bad(Arc::new(hub.adapter()), Default::default());
    let endpoint = Endpoint::builder().adapter(bad).node_name("bad").speed(SPEED).build();
    TestNode(endpoint).knows(0).await;
}

#[actix_web::test]
async fn frames_that_are_not_understood_are_counted_and_do_no_harm() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let cluster = b.cluster();
    let mut frame = Outward::envelope(Kind::Broadcast, "t", Payload::empty()).encode().unwrap();
    for (at, byte) in [(1, 9), (2, 99), (0, 0)] {
        let before = std::mem::replace(&mut frame[at], byte);
        Sink::frame(&*cluster, frame.clone().freeze());
        frame[at] = before;
    }
    for kind in [Kind::Heartbeat, Kind::Delta, Kind::Part, Kind::Request, Kind::Disconnect] {
        let broken = Outward::envelope(kind, "presence", Payload::binary(vec![1, 2, 3]));
        let broken = Envelope { incarnation: a.node_id().unwrap().0, seq: 1 << 40, ..broken };
        Sink::frame(&*cluster, broken.encode().unwrap().freeze());
    }
    #[cfg(feature = "metrics")]
    for reason in ["version", "kind", "malformed"] {
        let metric = format!("hinotori_cluster_dropped_total{{reason=\"{reason}\"}}");
        assert!(b.metric(&metric) >= 1.0, "{reason}");
    }
    let mut far = b.subscribe("t");
    a.broadcast("t", "e", json!({ "n": 1 })).unwrap();
    assert_eq!(next(&mut far).await.0, "e");
}

/// Whoever may publish at the engine can write frames, and other versions do.
#[actix_web::test]
async fn frames_with_any_numbers_do_no_harm() {
    let hub = Hub::new(1);
    let [a, b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let presence = Presence::new(&b);
    let cluster = b.cluster();
    let random = || u64::from(getrandom::u32().unwrap());
    let number = || [0, 1, 2, 255, 1 << 32, u64::MAX - 1, u64::MAX, random()][random() as usize % 8];
    for count in 0..20_000 {
        let numbers = (0..random() % 10).flat_map(|_| number().to_le_bytes());
        let mut payload: Vec<u8> = numbers.collect();
        payload.truncate(payload.len() - random() as usize % (payload.len() + 1) / 2);
        let kind = Kind::ALL[random() as usize % Kind::ALL.len()];
        let topic = ["presence", "t", "$chat:log", ""][random() as usize % 4];
        let frame = Envelope {
            incarnation: [a.node_id().unwrap().0, number(), count][random() as usize % 3],
            seq: number(),
            sent_at: number(),
            to: (random() % 2 == 0).then(|| cluster.id().0),
            ..Outward::envelope(kind, topic, Payload::binary(payload))
        };
        Sink::frame(&*cluster, frame.encode().unwrap().freeze());
    }
    drop(presence);
    // a node that starts is met as by any other
    let c = TestNode::start(&hub, "c");
    let (mut far, knows) = (b.subscribe("u"), c.node_id().unwrap());
    until("a new node is known", || cluster.others().nodes.knows(knows.0)).await;
    c.broadcast("u", "e", json!({ "n": 1 })).unwrap();
    assert_eq!(next(&mut far).await.0, "e");
}

#[actix_web::test]
async fn readyz_says_how_the_cluster_is_and_stays_200() {
    use actix_web::{App, test};

    let hub = Hub::new(1);
    let [a, _b] = TestNode::start_all(&hub, ["a", "b"]).await;
    let app = test::init_service(App::new().configure(a.ops())).await;
    let ready = || test::TestRequest::get().uri("/readyz").to_request();
    let body = test::call_and_read_body(&app, ready()).await;
    assert_eq!(body, "ready\ncluster up: 2 nodes, this one is a\n");
    hub.cut("a");
    a.is_deaf().await;
    let response = test::call_service(&app, ready()).await;
    assert_eq!(response.status(), 200);
    let body = test::read_body(response).await;
    assert!(body.starts_with(b"ready\ncluster down: "), "{body:?}");
}
