//! Two endpoints as nodes on a real engine: what their clients see of each other.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Engine, conformance::PATIENCE};
use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Presence, Refused, Reply, Result, Routes,
    SocketHandler, Status, Subscription,
    testing::{ChannelTest, TestSocket},
};

/// How often it is looked whether what must happen has happened.
const POLL: Duration = Duration::from_millis(2);

/// Broadcasts of a burst.
const BURST: u64 = 1_000;

/// Checks that two endpoints on an engine are one server: broadcasts arrive in order, presences join, change and leave on
/// both, a disconnect reaches the other node's client, and all of it is so again after the engine was killed and after it
/// has hung, while local delivery goes on. To be called on an actix runtime. It takes some seconds, because heartbeats
/// that do not come back are missed after 3 s.
///
/// ```
/// use hinotori::testing::adapter::{Hub, nodes};
///
/// # actix_web::rt::System::new().block_on(async {
/// nodes(&Hub::new(7)).await;
/// # });
/// ```
///
/// # Panics
/// If the clients see something else.
pub async fn nodes(engine: &impl Engine) {
    let nodes = [Node::start(engine, "a"), Node::start(engine, "b")];
    all_know_each_other(&nodes).await;
    broadcasts_arrive_in_order(&nodes).await;
    presences_are_the_same(&nodes).await;
    a_disconnect_reaches_the_other_node(&nodes).await;

    engine.restart().await;
    broadcasts_arrive_again(&nodes).await;

    engine.hang().await;
    for node in &nodes {
        node.until("it notices that nothing comes back", || node.status().starts_with("cluster down")).await;
        node.delivers_locally().await;
    }
    engine.resume().await;
    all_know_each_other(&nodes).await;
    broadcasts_arrive_again(&nodes).await;
    presences_are_the_same(&nodes).await;
}

async fn all_know_each_other(nodes: &[Node]) {
    for node in nodes {
        let all = format!("cluster up: {} nodes", nodes.len());
        node.until("all nodes know each other", || node.status().starts_with(&all)).await;
    }
}

async fn broadcasts_arrive_in_order(nodes: &[Node]) {
    let subscribe = |node: &Node| node.endpoint.subscribe("burst").limit(usize::MAX);
    let subscriptions: Vec<_> = nodes.iter().map(subscribe).collect();
    for n in 0..BURST {
        for (index, node) in nodes.iter().enumerate() {
            node.broadcast("burst", json!({ "from": index, "n": n }));
        }
    }
    for mut subscription in subscriptions {
        let mut next = vec![0; nodes.len()];
        while next.iter().any(|next| *next < BURST) {
            let payload = received(&mut subscription).await;
            let from = payload["from"].as_u64().and_then(|from| usize::try_from(from).ok());
            let next = &mut next[from.expect("a node's index")];
            assert_eq!(payload["n"], *next, "a broadcast is missing, late or doubled");
            *next += 1;
        }
    }
}

async fn presences_are_the_same(nodes: &[Node]) {
    let [a, b] = nodes else { panic!("two nodes are expected") };
    let mut client = a.client("ann").await;
    client.subscribe_and_join("room", json!({})).await.expect("the join is accepted");
    b.lists("ann", Some(1)).await;
    let change = client.push("room", "change", json!({})).expect("it has joined");
    client.assert_reply(change, Status::Ok, json!({})).await;
    b.lists("ann", Some(2)).await;
    assert_eq!(a.presence.list("room"), b.presence.list("room"));
    client.close();
    b.lists("ann", None).await;
}

async fn a_disconnect_reaches_the_other_node(nodes: &[Node]) {
    let mut client = nodes[1].client("bob").await;
    client.subscribe_and_join("room", json!({})).await.expect("the join is accepted");
    nodes[0].lists("bob", Some(1)).await;
    nodes[0].endpoint.disconnect("users:bob");
    nodes[0].lists("bob", None).await;
    client.assert_closed(1001).await;
}

/// Broadcasts are lost until the connection is made again.
async fn broadcasts_arrive_again(nodes: &[Node]) {
    for from in nodes {
        let speak = async {
            loop {
                from.broadcast("again", json!({ "from": from.name }));
                sleep(POLL).await;
            }
        };
        let hear = async {
            for node in nodes {
                let mut subscription = node.endpoint.subscribe("again").limit(usize::MAX);
                while received(&mut subscription).await["from"] != *from.name {}
            }
        };
        tokio::select! {
            () = hear => {}
            () = speak => unreachable!("it speaks until all have heard"),
        }
    }
}

async fn received(subscription: &mut Subscription) -> Value {
    let received = timeout(PATIENCE, subscription.recv()).await.expect("a broadcast arrives");
    let broadcast = received.expect("the endpoint is there").expect("the limit is not reached");
    broadcast.payload().parse().expect("it is JSON")
}

/// An endpoint with presences.
struct Node {
    name: String,
    endpoint: Endpoint,
    presence: Presence,
}

impl Node {
    fn start(engine: &impl Engine, name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        // another test in the same cluster must not replace it
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{nth}", std::process::id());
        let endpoint = Endpoint::builder().adapter(engine.adapter()).node_name(&name).build();
        Self { name, presence: Presence::new(&endpoint), endpoint }
    }

    /// What `/readyz` says of the cluster.
    fn status(&self) -> String {
        self.endpoint.node().cluster.as_ref().map(|cluster| cluster.status()).unwrap_or_default()
    }

    fn broadcast(&self, topic: &str, payload: Value) {
        self.endpoint.broadcast(topic, "event", payload).expect("it is JSON");
    }

    async fn delivers_locally(&self) {
        let mut subscription = self.endpoint.subscribe("here");
        self.broadcast("here", json!({ "n": 1 }));
        assert_eq!(received(&mut subscription).await["n"], 1);
    }

    async fn client(&self, user: &str) -> TestSocket {
        let user = UserSocket { name: user.to_owned(), presence: self.presence.clone() };
        let test = ChannelTest::new(&self.endpoint).app_data(user);
        test.connect::<UserSocket>().await.expect("it is accepted")
    }

    /// Waits until it lists a user with this meta, or none.
    async fn lists(&self, user: &str, n: Option<u64>) {
        let listed = || self.presence.get_by_key("room", user).map(|user| user["metas"][0]["n"].clone());
        self.until(&format!("{user} is listed with {n:?}"), || listed() == n.map(Value::from)).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{} waits in vain: {what}; {}", self.name, self.status()));
    }
}

#[derive(Clone)]
struct UserSocket {
    name: String,
    presence: Presence,
}

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        info.data::<Self>().cloned()
    }

    fn id(&self) -> Option<String> {
        Some(format!("users:{}", self.name))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room");
    }
}

struct Room;

/// What it tells itself after the join.
struct Joined;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = Joined;

    async fn join(_: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        cx.send_self(Joined);
        Join::ok(Self)
    }

    async fn handle_info(&mut self, Joined: Joined, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { name, presence } = cx.socket();
        Ok(presence.track(cx, name, json!({ "n": 1 })).await?)
    }

    async fn handle_in(&mut self, _: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let UserSocket { name, presence } = cx.socket();
        presence.update(cx, name, |meta| _ = meta.insert("n".to_owned(), json!(2)))?;
        Reply::ok(payload)
    }
}
