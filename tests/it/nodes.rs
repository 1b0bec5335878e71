//! The example `reference` as two nodes of one server, on each engine.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    PATIENCE,
    client::Client,
    http::get,
    instance::Instance,
    redis_instance,
    server::{Launch, Server},
};

const POLL: Duration = Duration::from_millis(5);

fn start(cluster: &str, name: &str) -> Server {
    Launch::reference().set("CLUSTER", cluster).set("NODE_NAME", name).start()
}

/// Waits until a node says this of the cluster.
fn says(node: &Server, wanted: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = get(node.port, "/readyz", &[]).text();
        if said == format!("ready\n{wanted}\n") {
            return;
        }
        assert!(Instant::now() < until, "expected {wanted}, got {said}");
        thread::sleep(POLL);
    }
}

fn two_nodes_are_one_server(cluster: &str, password: &str) {
    let (one, mut two) = (start(cluster, "one"), start(cluster, "two"));
    says(&one, "cluster up: 2 nodes, this one is one");
    says(&two, "cluster up: 2 nodes, this one is two");
    assert_eq!(get(one.port, "/", &[]).status, 200);

    let mut clients = [&one, &two].map(|node| Client::joined(node.port, "ref:nodes"));
    for from in 0..2 {
        clients[from].send(&json!(["1", "2", "ref:nodes", "bcast", { "from": from }]));
        for client in &clients {
            client.expect(&json!([null, null, "ref:nodes", "bcast", { "from": from }]));
        }
    }

    two.signal("TERM");
    assert!(two.wait_exit(PATIENCE).success());
    says(&one, "cluster up: 1 nodes, this one is one");
    for log in [one.log(), two.log()] {
        assert!(log.contains("event=cluster step=up"), "{log}");
        assert!(!log.contains(password), "{log}");
    }
}

#[test]
fn two_nodes_on_redis_are_one_server() {
    let redis = redis_instance::Instance::new();
    two_nodes_are_one_server(&redis.address(redis_instance::PASSWORD), redis_instance::PASSWORD);
}

#[test]
fn two_nodes_on_postgresql_are_one_server() {
    let database = Instance::shared().database();
    two_nodes_are_one_server(&database.address(), crate::instance::PASSWORD);
}

#[test]
fn a_wrong_address_of_the_engine_is_refused_at_the_start_without_its_password() {
    for cluster in ["redis://:s3cr3t@db:port", "postgres://chat:s3cr3t@/chat", "nats://:s3cr3t@db"] {
        let outcome = Launch::reference().set("CLUSTER", cluster).run();
        assert!(!outcome.status.success(), "{cluster}");
        let said = outcome.stdout + &outcome.stderr;
        assert!(said.contains("Error") && !said.contains("s3cr3t"), "{cluster}: {said}");
    }
}
