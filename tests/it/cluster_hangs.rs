//! An engine or a node that is stopped, as a machine is that hangs: whoever is on another node goes on as before.
//!
//! `CLUSTER_HANGS=long` stops them for 2, 10 and 60 s; by default for 2 s.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::Client,
    engines::{Engine, node},
    instance::Instance,
    member::{Member, says},
    ordeal::Ordeal,
    redis_instance::{self, PASSWORD},
    server::{Launch, Server},
};

/// Whether all of it is wanted.
fn is_long() -> bool {
    env::var("CLUSTER_HANGS").is_ok_and(|hangs| hangs == "long")
}

/// For how long something is stopped, one time after the other.
fn hangs() -> Vec<Duration> {
    let seconds: &[u64] = if is_long() { &[2, 10, 60] } else { &[2] };
    seconds.iter().copied().map(Duration::from_secs).collect()
}

/// Until so much time has passed, someone speaks and all of this node hear it. Returns how often.
fn delivers(node: &Server, hang: Duration) -> u64 {
    let mut members = [(); 3].map(|()| Client::joined(node.port, "ref:here"));
    let (until, mut n) = (Instant::now() + hang, 0);
    while Instant::now() < until {
        members[0].send(&json!(["1", null, "ref:here", "bcast", { "n": n }]));
        for member in &members {
            member.expect(&json!([null, null, "ref:here", "bcast", { "n": n }]));
        }
        n += 1;
    }
    n
}

/// What is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Engine,
    Node,
}

fn a_hang_disturbs_nobody_elsewhere_and_all_agree_afterwards(engine: &Engine, part: Part) {
    let [one, two] = ["one", "two"].map(|name| node(&engine.address(), name));
    says(&one, "cluster up: 2 nodes");
    says(&two, "cluster up: 2 nodes");
    let (mut ann, mut bob) = (Member::enter(&one, "ann"), Member::enter(&two, "bob"));
    for hang in hangs() {
        let late = Member::enter(&two, "leaves meanwhile");
        for member in [&mut ann, &mut bob] {
            member.sees(&["ann", "bob", "leaves meanwhile"]);
        }
        let frozen = match part {
            Part::Engine => Some(engine.freeze()),
            Part::Node => {
                two.signal("STOP");
                None
            }
        };
        // people come and go meanwhile, of which nobody elsewhere can be told
        drop(late);
        let mut comes = Member::enter(&one, "comes meanwhile");
        let count = delivers(&one, hang);
        println!(
            "{part:?} stopped for {hang:?}: {count} broadcasts on the own node, each delivered to all there"
        );
        drop(frozen);
        if part == Part::Node {
            two.signal("CONT");
        }
        for node in [&one, &two] {
            says(node, "cluster up: 2 nodes");
        }
        for member in [&mut ann, &mut bob, &mut comes] {
            member.sees(&["ann", "bob", "comes meanwhile"]);
        }
        comes.is_heard_by(&mut [&mut ann, &mut bob]);
        bob.is_heard_by(&mut [&mut ann, &mut comes]);
        drop(comes);
        for member in [&mut ann, &mut bob] {
            member.sees(&["ann", "bob"]);
        }
    }
}

#[test]
fn a_redis_that_hangs_disturbs_no_local_delivery_and_all_agree_afterwards() {
    a_hang_disturbs_nobody_elsewhere_and_all_agree_afterwards(&Engine::redis(), Part::Engine);
}

#[test]
fn a_postgresql_that_hangs_disturbs_no_local_delivery_and_all_agree_afterwards() {
    a_hang_disturbs_nobody_elsewhere_and_all_agree_afterwards(&Engine::postgres(), Part::Engine);
}

#[test]
fn a_node_that_hangs_disturbs_nobody_on_another_over_redis() {
    a_hang_disturbs_nobody_elsewhere_and_all_agree_afterwards(&Engine::redis(), Part::Node);
}

#[test]
fn a_node_that_hangs_disturbs_nobody_on_another_over_postgresql() {
    a_hang_disturbs_nobody_elsewhere_and_all_agree_afterwards(&Engine::database(), Part::Node);
}

/// For how long a client may wait for what a stopped node owes it.
const PATIENT: Duration = Duration::from_secs(120);

#[test]
fn under_load_the_chat_loses_and_repeats_nothing_while_a_node_redis_and_postgresql_hang_in_turn() {
    if !is_long() {
        println!("skipped: `chat_nodes` has the short form, `make cluster-chaos` this one");
        return;
    }
    let (redis, instance) = (redis_instance::Instance::new(), Instance::new());
    let (database, engine) = (instance.database(), redis.address(PASSWORD));
    let launch = || {
        let node = Launch::chat().set("STORE", database.address()).set("CLUSTER", &engine);
        // a client of a node that is stopped is as silent as that
        node.set("IDLE_TIMEOUT", 2 * PATIENT.as_millis())
    };
    let mut ordeal = Ordeal::new(launch).patient(PATIENT);
    for hang in hangs() {
        ordeal.round_on(2, |servers, watcher| {
            watcher.sees(100);
            servers[1].signal("STOP");
            thread::sleep(hang);
            servers[1].signal("CONT");
            watcher.sees(100);
            redis.freeze();
            thread::sleep(hang);
            redis.thaw();
            watcher.sees(100);
            let frozen = instance.freeze();
            thread::sleep(hang);
            drop(frozen);
            watcher.sees(100);
        });
    }
}
