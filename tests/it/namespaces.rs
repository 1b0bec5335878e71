//! A node on a network of its own, whose cable to the engine is pulled: packets vanish, and nobody is told.
//!
//! That needs root and a kernel that allows it; without, the tests say so and pass, as they do unless `CLUSTER_CABLES` says how
//! often cables are pulled, which `make cluster-chaos` does.

use std::{
    io::{BufRead, BufReader, Read},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::json;

use crate::{
    chance::amount,
    engines::{Engine, launch, node},
    member::{Member, says},
    server::Server,
    wire::Wire,
};

/// Makes a namespace with two cables, one to the engine and one to the clients, and takes it away when its input ends, which
/// it does when the tests end. Addresses are of the range for tests of networks (RFC 2544).
const MAKE: &str = r#"
set -e
name=$1 net=$2
end() { ip netns del "$name" 2>/dev/null || true; }
trap end EXIT
ip netns add "$name"
cable() {
    ip link add "$name$1" type veth peer name "$1" netns "$name"
    ip addr add "$net.$2/30" dev "$name$1"
    ip link set "$name$1" up
    ip -n "$name" addr add "$net.$3/30" dev "$1"
    ip -n "$name" link set "$1" up
}
cable e "$3" "$4"
cable c "$5" "$6"
ip netns exec "$name" true
echo made
exec 2>/dev/null
read -r _ || true
"#;

struct Namespace {
    name: String,
    /// Where the engine is to listen.
    engine: String,
    /// Where the node is to listen.
    node: String,
    watch: Child,
}

impl Namespace {
    /// None, and the reason is printed, if it is not permitted.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, nth) = (process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("hn{process}n{nth}");
        let net = format!("198.{}.{}", 18 + (process >> 8) % 2, process % 256);
        let [engine, end, clients, node] = [1, 2, 5, 6].map(|host| 8 * (nth % 32) + host);
        let mut make = Command::new("sh");
        make.args(["-c", MAKE, "sh", &name, &net]);
        make.args([engine, end, clients, node].map(|host| host.to_string()));
        let mut watch =
            make.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "made\n" {
            let mut why = String::new();
            watch.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            watch.wait().unwrap();
            println!("skipped: a network namespace is not permitted here: {}", why.trim());
            return None;
        }
        Some(Self { name, engine: format!("{net}.{engine}"), node: format!("{net}.{node}"), watch })
    }

    /// Pulls the cable to the engine, or plugs it in.
    fn cable(&self, state: &str) {
        let cable = format!("{}e", self.name);
        assert!(Command::new("ip").args(["link", "set", &cable, state]).status().unwrap().success());
    }

    /// A node within, which clients reach by a port of this machine.
    fn node(&self, engine: &Engine) -> Server {
        let address = engine.address_by(&self.engine, engine.port());
        let mut server = launch(&address, "far").within(&self.name, &self.node).start();
        server.port = Wire::to((self.node.clone(), server.port)).port;
        server
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

fn a_cable_that_is_pulled_is_noticed_by_both_sides_and_all_is_well_when_it_is_back(engine: fn() -> Engine) {
    let pulls = amount("CLUSTER_CABLES", 0);
    if pulls == 0 {
        println!("skipped: `cluster_cuts` has the short form, `make cluster-chaos` this one");
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    let engine = engine();
    engine.listen_at(&namespace.engine);
    let (near, far) = (node(&engine.address(), "near"), namespace.node(&engine));
    let (mut ann, mut bob) = (Member::enter(&near, "ann"), Member::enter(&far, "bob"));
    for _ in 0..pulls {
        for member in [&mut ann, &mut bob] {
            member.sees(&["ann", "bob"]);
        }
        namespace.cable("down");
        says(&far, "cluster down");
        // it is deaf, and judges nobody
        bob.sees(&["ann", "bob"]);
        // the other hears itself, so it judges
        ann.sees(&["ann"]);
        says(&near, "cluster up: 1 nodes");
        bob.says(&json!({ "word": "here" }));
        assert_eq!(bob.hears()["word"], "here");
        namespace.cable("up");
        for node in [&near, &far] {
            says(node, "cluster up: 2 nodes");
        }
        ann.is_heard_by(&mut [&mut bob]);
        bob.is_heard_by(&mut [&mut ann]);
    }
    for member in [&mut ann, &mut bob] {
        member.sees(&["ann", "bob"]);
    }
}

#[test]
fn a_cable_to_redis_that_is_pulled_is_noticed_by_both_sides_and_all_is_well_when_it_is_back() {
    a_cable_that_is_pulled_is_noticed_by_both_sides_and_all_is_well_when_it_is_back(Engine::redis);
}

#[test]
fn a_cable_to_postgresql_that_is_pulled_is_noticed_by_both_sides_and_all_is_well_when_it_is_back() {
    a_cable_that_is_pulled_is_noticed_by_both_sides_and_all_is_well_when_it_is_back(Engine::postgres);
}
