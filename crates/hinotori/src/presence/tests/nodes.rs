//! Presences of several nodes, on an engine that can be disturbed.

use super::*;
use crate::{
    Subscription,
    cluster::tests::{TestNode, until},
    testing::adapter::{Faults, Hub},
};

/// A node with presences and channels that are tracked.
struct Tracking {
    node: TestNode,
    presence: Presence,
    tracked: HashMap<SubscriberKey, Tracked>,
}

impl Tracking {
    fn on(node: TestNode) -> Self {
        let presence = Presence::new(&node.0);
        Self { node, presence, tracked: HashMap::new() }
    }

    /// Nodes that know each other.
    async fn start_all<const N: usize>(hub: &Hub, names: [&str; N]) -> [Self; N] {
        TestNode::start_all(hub, names).await.map(Self::on)
    }

    /// A channel is tracked, and owns this from now on.
    fn track(&mut self, topic: &str, key: &str, n: u32) -> SubscriberKey {
        let (owner, (told, _)) = (SubscriberKey::new(), oneshot::channel());
        let tracked = self.presence.tracker.track(owner, topic, key, object(says(n)).unwrap(), told).unwrap();
        self.tracked.insert(owner, tracked.unwrap());
        owner
    }

    fn update(&self, owner: SubscriberKey, topic: &str, key: &str, n: u32) {
        let change = |meta: &mut Meta| _ = meta.insert("n".into(), json!(n));
        self.presence.tracker.update(owner, topic, key, change).unwrap();
    }

    fn list(&self, topic: &str) -> Vec<String> {
        said(&Value::Object(self.presence.list(topic)))
    }

    /// Waits until it lists these.
    async fn lists(&self, topic: &str, wanted: &[&str]) {
        until(&format!("{wanted:?} are listed"), || self.list(topic) == wanted).await;
    }

    /// Dies without a farewell.
    fn kill(self, hub: &Hub) {
        // its own presences do not end before it
        hub.blackhole(&self.name());
        drop(self);
    }

    fn name(&self) -> String {
        self.node.cluster().status().rsplit(' ').next().unwrap().to_owned()
    }
}

/// The next diff, as its joins and leaves.
async fn next_diff(diffs: &mut Subscription) -> [Vec<String>; 2] {
    let diff = tokio::time::timeout(PATIENCE, diffs.recv()).await.expect("a diff is broadcast");
    let diff: Value = diff.unwrap().unwrap().payload().parse().unwrap();
    [said(&diff["joins"]), said(&diff["leaves"])]
}

#[actix_web::test]
async fn a_join_an_update_and_a_leave_are_told_on_the_other_node_as_on_their_own() {
    let hub = Hub::new(1);
    let [mut a, b] = Tracking::start_all(&hub, ["a", "b"]).await;
    let mut diffs = [a.node.subscribe("t"), b.node.subscribe("t")];
    let owner = a.track("t", "u", 1);
    for diffs in &mut diffs {
        assert_eq!(next_diff(diffs).await, [vec!["u: 1"], vec![]]);
    }
    assert_eq!(a.presence.list("t"), b.presence.list("t"));
    a.update(owner, "t", "u", 2);
    for diffs in &mut diffs {
        assert_eq!(next_diff(diffs).await, [["u: 2"], ["u: 1"]]);
    }
    assert_eq!(a.presence.list("t"), b.presence.list("t"));
    a.tracked.clear();
    for diffs in &mut diffs {
        assert_eq!(next_diff(diffs).await, [vec![], vec!["u: 2"]]);
    }
    assert!(b.presence.list("t").is_empty());
    until("the topic is forgotten", || b.presence.tracker.topics() == 0).await;
}

#[actix_web::test]
async fn a_user_with_devices_on_two_nodes_is_one_key_with_different_refs() {
    let hub = Hub::new(1);
    let [mut a, mut b] = Tracking::start_all(&hub, ["a", "b"]).await;
    a.track("t", "u", 1);
    b.track("t", "u", 2);
    for node in [&a, &b] {
        node.lists("t", &["u: 1 2"]).await;
    }
    assert_eq!(a.presence.list("t"), b.presence.list("t"), "in the same order too");
    let metas = metas(&a.presence.list("t")["u"]);
    assert_ne!(metas[0]["phx_ref"], metas[1]["phx_ref"]);
    b.tracked.clear();
    a.lists("t", &["u: 1"]).await;
}

#[actix_web::test]
async fn a_node_that_comes_later_learns_who_is_there_and_large_slices_come_in_parts() {
    let hub = Hub::new(1);
    let mut a = Tracking::on(TestNode::start(&hub, "a"));
    for n in 0..3_000 {
        a.track(&format!("t{}", n % 7), &format!("{:0100}", n % 13), n);
    }
    let b = Tracking::on(TestNode::start(&hub, "b"));
    for topic in ["t0", "t3", "t6"] {
        let wanted = a.list(topic);
        b.lists(topic, &wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

#[actix_web::test]
async fn a_slice_that_is_larger_than_the_queue_arrives_as_a_whole() {
    let hub = Hub::new(1);
    let a = Tracking::on(TestNode::start(&hub, "a"));
    let large = "x".repeat(64 * 1024);
    let tracked: Vec<_> = (0..200)
        .map(|n| {
            let (owner, (told, _)) = (SubscriberKey::new(), oneshot::channel());
            let meta = object(json!({ "n": n, "large": large })).unwrap();
            a.presence.tracker.track(owner, "t", &n.to_string(), meta, told).unwrap()
        })
        .collect();
    assert!(tracked.len() * large.len() > crate::cluster::Queue::LIMIT);
    let b = Tracking::on(TestNode::start(&hub, "b"));
    until("all are listed", || b.presence.tracker.present("t").len() == tracked.len()).await;
}

#[actix_web::test]
async fn a_killed_node_leaves_in_one_diff_and_is_replaced_at_once_when_it_is_back() {
    let hub = Hub::new(1);
    let [mut a, b] = Tracking::start_all(&hub, ["a", "b"]).await;
    let mut diffs = b.node.subscribe("t");
    for n in 0..3 {
        a.track("t", &n.to_string(), n);
    }
    let mut joins = vec![];
    while joins.len() < 3 {
        let [joined, _] = next_diff(&mut diffs).await;
        joins.extend(joined);
    }
    a.kill(&hub);
    assert_eq!(next_diff(&mut diffs).await, [vec![], vec!["0: 0", "1: 1", "2: 2"]]);

    let mut a = Tracking::on(TestNode::start(&hub, "a"));
    a.track("t", "first", 1);
    assert_eq!(next_diff(&mut diffs).await, [vec!["first: 1"], vec![]]);
    a.kill(&hub);
    let mut a = Tracking::on(TestNode::start(&hub, "a"));
    a.track("t", "second", 2);
    b.lists("t", &["second: 2"]).await;
}

#[actix_web::test]
async fn who_drains_is_gone_when_the_drain_is_over_even_if_channels_are_left() {
    let hub = Hub::new(1);
    let [mut a, b] = Tracking::start_all(&hub, ["a", "b"]).await;
    a.track("t", "u", 1);
    b.lists("t", &["u: 1"]).await;
    assert_eq!(a.node.drain().await, 0);
    assert!(b.list("t").is_empty());
}

#[actix_web::test]
async fn without_a_connection_the_others_are_frozen_and_then_leave_and_are_there_again_with_it() {
    let hub = Hub::new(1);
    let [mut a, mut b] = Tracking::start_all(&hub, ["a", "b"]).await;
    a.track("t", "a", 1);
    let gone = b.track("t", "b", 2);
    for node in [&a, &b] {
        node.lists("t", &["a: 1", "b: 2"]).await;
    }
    hub.cut("b");
    b.node.is_deaf().await;
    assert_eq!(b.list("t"), ["a: 1", "b: 2"], "frozen");
    b.tracked.remove(&gone);
    b.track("t", "c", 3);
    a.lists("t", &["a: 1"]).await;
    b.lists("t", &["c: 3"]).await;
    hub.restore("b");
    for node in [&a, &b] {
        node.lists("t", &["a: 1", "c: 3"]).await;
    }
}

#[actix_web::test]
async fn presences_of_several_names_are_kept_apart() {
    let hub = Hub::new(1);
    let nodes = TestNode::start_all(&hub, ["a", "b"]).await;
    let both = |node: &TestNode| {
        ["users", "documents"].map(|name| {
            let presence = Presence::builder(&node.0).name(name).build();
            Tracking { node: node.clone(), presence, tracked: HashMap::new() }
        })
    };
    let ([mut users, mut documents], [users_there, documents_there]) = (both(&nodes[0]), both(&nodes[1]));
    users.track("t", "u", 1);
    documents.track("t", "d", 2);
    users_there.lists("t", &["u: 1"]).await;
    documents_there.lists("t", &["d: 2"]).await;
    let refs = [&users_there, &documents_there].map(|of| of.presence.list("t"));
    assert_ne!(refs[0]["u"]["metas"][0]["phx_ref"], refs[1]["d"]["metas"][0]["phx_ref"]);
}

#[actix_web::test]
async fn on_a_network_that_loses_doubles_and_reorders_all_nodes_show_the_same_in_the_end() {
    for seed in 0..3 {
        let hub = Hub::new(seed);
        let mut nodes = Tracking::start_all(&hub, ["a", "b", "c"]).await;
        let clients = nodes.each_ref().map(|node| {
            let client = Rc::new(Client::default());
            client.presence.borrow_mut().on_state(&Presences::new());
            node.node.pubsub().local().subscribe("t1", SubscriberKey::new(), client.clone());
            client
        });
        hub.set_faults(Faults { loss: 0.2, duplicates: 0.2, delay: Duration::from_millis(20) });
        let mut random: u64 = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for n in 0..300 {
            let node = &mut nodes[next(3) as usize];
            if next(3) > 0 || node.tracked.is_empty() {
                node.track(&format!("t{}", next(2)), &next(5).to_string(), n);
            } else {
                let owner = *node.tracked.keys().next().unwrap();
                node.tracked.remove(&owner);
            }
            if next(4) == 0 {
                tokio::time::sleep(Duration::from_millis(next(6))).await;
            }
        }
        hub.set_faults(Faults::default());
        let tracked: usize = nodes.iter().map(|node| node.tracked.len()).sum();
        let lists = |node: &Tracking| ["t0", "t1"].map(|topic| node.presence.list(topic));
        let are_equal = || {
            let [a, b, c] = nodes.each_ref().map(lists);
            a == b && b == c && a.iter().map(|list| refs(list).len()).sum::<usize>() == tracked
        };
        until("all nodes show all who are there", are_equal).await;
        // and so do their clients, who only know the diffs
        for (node, client) in nodes.iter().zip(&clients) {
            let listed = refs(&node.presence.list("t1"));
            until("clients show the same", || refs(&client.presence.borrow().state) == listed).await;
        }
    }
}

/// The `phx_ref`s of all presences, in order.
fn refs(presences: &Presences) -> Vec<String> {
    let mut refs: Vec<_> =
        presences.values().flat_map(metas).map(|meta| meta["phx_ref"].as_str().unwrap().to_owned()).collect();
    refs.sort();
    refs
}
