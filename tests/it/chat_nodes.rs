//! The chat on several nodes with one PostgreSQL: clients cannot tell which node they are connected to, whatever fails.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    chance::amount,
    guest::Guest,
    instance::{Database, Instance, PASSWORD},
    metrics::comes_to,
    ordeal::Ordeal,
    redis_instance,
    server::{Launch, Server},
};

/// Longer than the 5 s that a post may wait.
const TOO_LONG: Duration = Duration::from_secs(6);

fn node(database: &Database, engine: &str) -> Launch {
    Launch::chat().set("STORE", database.address()).set("CLUSTER", engine)
}

fn start(database: &Database, engine: &str, names: [&str; 2]) -> [Server; 2] {
    let servers = names.map(|name| node(database, engine).set("NODE_NAME", name).start());
    for server in &servers {
        comes_to(server, "hinotori_cluster_nodes", 2.0);
    }
    servers
}

/// What clients of two nodes see of each other.
fn talk(database: &Database, engine: &str) {
    let servers = start(database, engine, ["one", "two"]);
    let [(mut ann, _), (mut bob, _)] = [&servers[0], &servers[1]].map(Guest::enter);
    for (n, text) in (1..=4).map(|n| (n, format!("message {n}"))) {
        let (poster, other) = if n % 2 == 0 { (&mut bob, &mut ann) } else { (&mut ann, &mut bob) };
        let message = poster.posts(&text);
        assert_eq!((&message["id"], &message["content"]), (&json!(n), &json!(text)));
        assert_eq!(other.hears("new_message"), message);
    }
    let liked = ann.likes(&json!(2));
    assert_eq!((&liked["likes"], &bob.hears("message_liked")), (&json!(1), &liked));
    assert_eq!(bob.likes(&json!(2))["likes"], 2);
    ann.hears("message_liked");
    ann.push("new_message", &json!({ "message": "a reply", "reply_to": 2 }));
    assert_eq!(ann.hears("new_message")["reply_to_content"], "message 2");
    bob.hears("new_message");
    let large = "x".repeat(3_999);
    ann.posts(&large);
    assert_eq!(bob.hears("new_message")["content"], large);
    assert_eq!(ann.history(), bob.history());
}

#[test]
fn clients_of_two_nodes_see_each_other_over_postgresql_alone() {
    talk(&Instance::shared().database(), "postgres");
}

#[test]
fn clients_of_two_nodes_see_each_other_over_redis() {
    let redis = redis_instance::Instance::new();
    talk(&Instance::shared().database(), &redis.address(redis_instance::PASSWORD));
}

#[test]
fn kill_9_of_a_node_under_load_loses_nothing_and_the_other_goes_on() {
    let database = Instance::shared().database();
    let mut ordeal = Ordeal::new(|| node(&database, "postgres"));
    for round in 0..amount("CHAOS_KILLS", 3) {
        ordeal.round_on(2, |servers, watcher| {
            watcher.sees(150 + 37 * round as usize);
            servers[1].signal("KILL");
            watcher.sees(100);
        });
    }
}

#[test]
fn a_node_that_is_stopped_for_longer_than_the_database_waits_for_it_holds_nobody_up_for_good() {
    let database = Instance::shared().database();
    Ordeal::new(|| node(&database, "postgres")).round_on(2, |servers, watcher| {
        watcher.sees(100);
        servers[1].signal("STOP");
        thread::sleep(TOO_LONG);
        watcher.sees(100);
        servers[1].signal("CONT");
        watcher.sees(100);
    });
}

#[test]
fn a_database_that_crashes_and_hangs_under_two_nodes_loses_nothing_and_repeats_nothing() {
    let instance = Instance::new();
    let database = instance.database();
    Ordeal::new(|| node(&database, "postgres")).round_on(2, |_, watcher| {
        watcher.sees(100);
        database.cut();
        watcher.sees(100);
        instance.crash();
        instance.start();
        watcher.sees(100);
        let frozen = instance.freeze();
        thread::sleep(TOO_LONG);
        drop(frozen);
        watcher.sees(100);
    });
}

#[test]
fn while_redis_hangs_and_after_it_was_killed_posts_reach_the_other_node_and_none_is_lost() {
    let (redis, database) = (redis_instance::Instance::new(), Instance::shared().database());
    let engine = redis.address(redis_instance::PASSWORD);
    Ordeal::new(|| node(&database, &engine)).round_on(2, |servers, watcher| {
        watcher.sees(100);
        redis.freeze();
        // its node posts, and the other does
        watcher.sees(200);
        redis.thaw();
        for server in servers {
            comes_to(server, "hinotori_cluster_up", 1.0);
        }
        redis.restart();
        for server in servers {
            comes_to(server, "hinotori_cluster_up", 1.0);
        }
        watcher.sees(100);
    });
}

#[test]
fn a_node_that_is_replaced_is_known_by_its_name_and_its_clients_find_all_on_the_other() {
    let database = Instance::shared().database();
    let [one, mut two] = start(&database, "postgres", ["one", "two"]);
    let [(mut ann, _), (mut bob, _)] = [&one, &two].map(Guest::enter);
    ann.posts("first");
    bob.hears("new_message");
    bob.posts("second");
    assert_eq!(ann.hears("new_message")["content"], "second");
    two.signal("TERM");
    assert!(two.wait_exit(PATIENCE).success(), "{}", two.log());
    one.log_line(|line| line.contains("event=node step=left") && line.contains("it has ended"));
    let two = node(&database, "postgres").set("NODE_NAME", "two").start();
    let contents: Vec<Value> =
        Guest::enter(&two).1.iter().map(|message| message["content"].clone()).collect();
    assert_eq!(contents, ["first", "second"]);
}

#[test]
fn a_cluster_needs_a_store_that_nodes_can_share_and_no_password_is_shown() {
    for (store, engine, part) in [
        ("memory", "postgres", "--store postgres://"),
        ("sqlite:chat.db", "redis://localhost", "--store postgres://"),
        ("postgres://localhost/chat", "redis:s3cr3t-of-the-tests@localhost", "--cluster"),
        ("postgres://localhost/chat", "postgres://ann:s3cr3t-of-the-tests@db/chat?sslmode=on", "sslmode"),
    ] {
        let refused = Launch::chat().set("STORE", store).set("CLUSTER", engine).run();
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(part) && !refused.stderr.contains(PASSWORD), "{}", refused.stderr);
    }
    let refused = Launch::chat().arguments(&["--cluster", "nats://localhost"]).run();
    assert!(refused.stderr.contains("redis://"), "{}", refused.stderr);
}
