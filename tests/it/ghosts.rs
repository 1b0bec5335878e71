//! People who leave as soon as they have come: no node has them on its list for good.
//!
//! `CLUSTER_PASSERS` says how many; some by default, `make cluster-chaos` for many.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use serde_json::json;

use crate::{
    chance::amount,
    client::Client,
    engines::{Engine, node},
    member::{Member, PRESENCE, says},
};

/// Passers at a time.
const AT_ONCE: u64 = 4;

/// Comes and goes, each time at another moment of its join.
fn pass(port: u16, n: u64) {
    let mut passer = Client::open(port, "/socket/websocket?vsn=2.0.0");
    if n.is_multiple_of(3) {
        passer.reset_at_end();
    }
    passer.send(&json!(["1", "1", PRESENCE, "phx_join", { "user_id": format!("passer {n}") }]));
    match n % 4 {
        // the join may not even have arrived, or may be under way
        0 => {}
        1 => drop(passer.message()),
        2 => {
            passer.send(&json!(["1", "2", PRESENCE, "phx_leave", {}]));
        }
        // it has been told of, or is about to be
        _ => (0..2).for_each(|_| drop(passer.message())),
    }
}

fn whoever_leaves_at_once_is_left_over_nowhere(engine: &Engine) {
    let [one, two] = ["one", "two"].map(|name| node(&engine.address(), name));
    says(&one, "cluster up: 2 nodes");
    says(&two, "cluster up: 2 nodes");
    let mut watchers = [Member::enter(&one, "ann"), Member::enter(&two, "bob")];
    let (passers, next) = (amount("CLUSTER_PASSERS", 200), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= passers {
                        break;
                    }
                    pass(one.port, n);
                }
            });
        }
    });
    // told to the other node behind all of them
    let _last = Member::enter(&one, "last");
    for watcher in &mut watchers {
        watcher.sees(&["ann", "bob", "last"]);
    }
    println!("{passers} came and went");
}

#[test]
fn whoever_leaves_at_once_is_left_over_nowhere_over_redis() {
    whoever_leaves_at_once_is_left_over_nowhere(&Engine::redis());
}

#[test]
fn whoever_leaves_at_once_is_left_over_nowhere_over_postgresql() {
    whoever_leaves_at_once_is_left_over_nowhere(&Engine::database());
}
