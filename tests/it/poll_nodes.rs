//! Long polling over several nodes: the requests of one client reach another node each time.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::Client,
    instance::Instance,
    metrics::comes_to,
    nginx::Nginx,
    poller::Poller,
    redis_instance,
    server::{Launch, Server},
};

const TOPIC: &str = "ref:polled";

fn start(cluster: &str, count: usize) -> Vec<Server> {
    let node = |n| Launch::reference().set("CLUSTER", cluster).set("NODE_NAME", format!("node-{n}")).start();
    let servers: Vec<Server> = (1..=count).map(node).collect();
    for server in &servers {
        comes_to(server, "hinotori_cluster_nodes", count as f64);
    }
    servers
}

/// Joins by long poll through whatever listens at a port.
fn join(port: u16) -> Poller {
    let mut poller = Poller::open(port, "/socket");
    poller.posts(&[json!(["1", "1", TOPIC, "phx_join", {}])], 200);
    let reply = json!(["1", "1", TOPIC, "phx_reply", { "status": "ok", "response": { "echo": {} } }]);
    assert_eq!(poller.messages(), [reply]);
    poller
}

/// Many messages both ways through a balancer without stickiness.
fn all_once_and_in_order(cluster: &str) {
    const COUNT: u64 = 200;
    let servers = start(cluster, 2);
    let nginx = Nginx::start(&[servers[0].port, servers[1].port], None);
    let mut poller = join(nginx.port);
    let mut elsewhere = Client::joined(servers[1].port, TOPIC);
    let (mut replies, mut heard) = (vec![], vec![]);
    let mut take = |messages: Vec<Value>| {
        for message in messages {
            match message[3].as_str() {
                Some("phx_reply") => replies.push(message[4]["response"]["n"].as_u64().unwrap()),
                _ => heard.push(message[4]["from"].as_u64().unwrap()),
            }
        }
        (replies.len() as u64, heard.len() as u64)
    };
    for n in 0..COUNT {
        elsewhere.send(&json!(["1", "2", TOPIC, "bcast", { "from": n }]));
        let (first, second) = (2 * n, 2 * n + 1);
        let echo = |n: u64| json!(["1", n.to_string(), TOPIC, "echo", { "n": n }]);
        poller.posts(&[echo(first), echo(second)], 200);
        if n % 3 == 0 {
            take(poller.messages());
        }
    }
    while take(poller.messages()) < (2 * COUNT, COUNT) {}
    assert_eq!(replies, (0..2 * COUNT).collect::<Vec<_>>());
    assert_eq!(heard, (0..COUNT).collect::<Vec<_>>());
    // a payload that takes many frames of any engine
    let long = "火の鳥".repeat(150_000);
    poller.posts(&[json!(["1", "9", TOPIC, "echo", { "long": long }])], 200);
    assert!(poller.messages()[0][4]["response"]["long"] == long, "a long message comes back as another");
    // every node has served it
    for server in &servers {
        let metrics = crate::metrics::scrape(server.port);
        assert!(
            metrics["hinotori_cluster_frames_total{direction=\"out\"}"] > COUNT as f64 / 2.0,
            "{metrics:?}"
        );
    }
}

#[test]
fn messages_of_a_client_whose_requests_alternate_all_come_once_and_in_order_over_redis() {
    let redis = redis_instance::Instance::new();
    all_once_and_in_order(&redis.address(redis_instance::PASSWORD));
}

#[test]
fn messages_of_a_client_whose_requests_alternate_all_come_once_and_in_order_over_postgresql() {
    all_once_and_in_order(&Instance::shared().database().address());
}

#[test]
fn a_client_whose_node_was_killed_gets_a_new_session_from_another() {
    let redis = redis_instance::Instance::new();
    let mut servers = start(&redis.address(redis_instance::PASSWORD), 2);
    let owner = join(servers[0].port);
    servers[0].signal("KILL");
    servers[0].wait_exit(PATIENCE);
    let mut poller = owner.at(servers[1].port);
    // its node is missed when it has been silent for 6 s; until then, the client polls in vain
    let statuses: BTreeSet<u64> = std::iter::repeat_with(|| poller.poll()["status"].as_u64().unwrap())
        .take_while(|status| *status != 410)
        .collect();
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    poller.posts(&[json!(["2", "2", TOPIC, "phx_join", {}])], 200);
    assert_eq!(poller.messages()[0][3], "phx_reply");
    owner.at(servers[1].port).posts(&[json!(["1", "3", TOPIC, "echo", {}])], 410);
}

#[test]
fn a_client_of_a_node_that_shuts_down_gets_a_new_session_from_another_at_once() {
    let redis = redis_instance::Instance::new();
    let mut servers = start(&redis.address(redis_instance::PASSWORD), 2);
    let mut poller = join(servers[0].port).at(servers[1].port);
    servers[0].signal("TERM");
    assert!(servers[0].wait_exit(PATIENCE).success());
    comes_to(&servers[1], "hinotori_cluster_nodes", 1.0);
    let answer = poller.poll();
    assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])), "{answer}");
}

#[test]
fn an_engine_that_is_restarted_ends_no_session() {
    let redis = redis_instance::Instance::new();
    let servers = start(&redis.address(redis_instance::PASSWORD), 2);
    let mut poller = join(servers[0].port).at(servers[1].port);
    redis.restart();
    for server in &servers {
        comes_to(server, "hinotori_cluster_up", 1.0);
        comes_to(server, "hinotori_cluster_nodes", 2.0);
    }
    poller.posts(&[json!(["1", "2", TOPIC, "echo", { "n": 1 }])], 200);
    let answer = json!(["1", "2", TOPIC, "phx_reply", { "status": "ok", "response": { "n": 1 } }]);
    assert_eq!(poller.messages(), [answer]);
}

#[test]
fn a_token_of_a_server_of_one_node_does_not_change_and_names_no_node() {
    let server = Launch::reference().start();
    let mut poller = Poller::open(server.port, "/socket");
    let opened = poller.token().to_owned();
    poller.posts(&[json!(["1", "1", TOPIC, "phx_join", {}])], 200);
    assert_eq!(poller.messages().len(), 1);
    assert_eq!(poller.token(), opened);
    assert!(opened.starts_with("SFMyNTY."), "{opened}");
}
