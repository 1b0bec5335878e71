//! A network between nodes and their engine that holds back, delays and cuts.
//!
//! `CLUSTER_CUTS` says how often each connection is cut; a few times by default, `make cluster-chaos` often.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    chance::{Chance, amount, new_seed},
    engines::{Engine, node},
    member::{Member, says},
    metrics::scrape,
    server::Server,
    wire::{Way, Wire},
};

/// Nodes, each with its own wire to the engine, and someone on each.
struct Cluster {
    wires: Vec<Wire>,
    nodes: Vec<Server>,
    members: Vec<Member>,
}

impl Cluster {
    fn start(engine: &Engine, names: &[&str]) -> Self {
        let port = engine.port();
        let wires: Vec<Wire> = names.iter().map(|_| Wire::to(("127.0.0.1", port))).collect();
        let start = |(wire, name): (&Wire, &&str)| node(&engine.address_by("127.0.0.1", wire.port), name);
        let nodes: Vec<Server> = wires.iter().zip(names).map(start).collect();
        let members = nodes.iter().zip(names).map(|(node, name)| Member::enter(node, name)).collect();
        let mut cluster = Self { wires, nodes, members };
        cluster.is_whole(names);
        cluster
    }

    /// Waits until all nodes know each other and that these people are there, and everyone hears everyone.
    fn is_whole(&mut self, people: &[&str]) {
        for (node, member) in self.nodes.iter().zip(&mut self.members) {
            says(node, &format!("cluster up: {} nodes", self.wires.len()));
            member.sees(people);
        }
        for speaker in 0..self.members.len() {
            let mut others: Vec<&mut Member> = self.members.iter_mut().collect();
            let speaker = others.remove(speaker);
            speaker.is_heard_by(&mut others);
        }
    }
}

/// The connections of three nodes go dead, each in another way, and nobody is told.
fn a_dead_connection_is_noticed_and_nobody_is_judged(engine: &Engine) {
    let names = ["well", "cut off", "deaf", "mute"];
    let mut cluster = Cluster::start(engine, &names);
    let deaths: [&[Way]; 3] = [&[Way::Out, Way::Back], &[Way::Back], &[Way::Out]];
    for (wire, ways) in cluster.wires[1..].iter().zip(deaths) {
        wire.hold(ways);
    }
    for (node, member) in cluster.nodes.iter().zip(&mut cluster.members).skip(1) {
        // its own heartbeats have not come back for 3 s
        says(node, "cluster down");
        let metrics = scrape(node.port);
        assert_eq!((metrics["hinotori_cluster_up"], metrics["hinotori_cluster_nodes"]), (0.0, 4.0));
        member.sees(&names);
        // its clients hear each other
        member.says(&json!({ "word": "here" }));
        assert_eq!(member.hears()["word"], "here");
    }
    for wire in &cluster.wires {
        wire.release();
    }
    cluster.is_whole(&names);
    for node in &cluster.nodes {
        let log = node.log();
        assert!(!log.contains("there is no connection") && !log.contains("frame_refused"), "{log}");
    }
}

#[test]
fn a_dead_connection_to_redis_is_noticed_and_nobody_is_judged() {
    a_dead_connection_is_noticed_and_nobody_is_judged(&Engine::redis());
}

#[test]
fn a_dead_connection_to_postgresql_is_noticed_and_nobody_is_judged() {
    a_dead_connection_is_noticed_and_nobody_is_judged(&Engine::database());
}

/// Text of a length and with letters that depend on its number: a changed one is seen.
fn text(n: u64) -> String {
    // from nothing to more than is sent or read at a time
    let length = [0, 10, 300, 3_000, 6_100, 20_000][(n % 6) as usize] + n % 7;
    (0..length).map(|at| char::from(b'a' + ((at * 31 + at / 26 + n * 7) % 26) as u8)).collect()
}

fn speech(from: &str, n: u64, is_last: bool) -> Value {
    json!({ "from": from, "n": n, "text": text(n), "is_last": is_last })
}

/// Hears what speakers say to their end: whole texts, in order. Returns how many.
fn listen(listener: &mut Member, speakers: &[&str]) -> usize {
    let (mut next, mut last) = (vec![0; speakers.len()], vec![false; speakers.len()]);
    let mut heard = 0;
    while last.contains(&false) {
        let said = listener.hears();
        let at = speakers.iter().position(|speaker| said["from"] == *speaker).expect("a speaker");
        let n = said["n"].as_u64().unwrap();
        assert!(n >= next[at] && !last[at], "{n} of {} after {}", speakers[at], next[at]);
        last[at] = said["is_last"] == true;
        assert!(said == speech(speakers[at], n, last[at]), "{n} of {} is another text", speakers[at]);
        next[at] = n + 1;
        heard += 1;
    }
    heard
}

/// Speaks until it is over. Returns how often.
fn speak(speaker: &mut Member, is_over: &AtomicBool) -> u64 {
    let mut n = 0;
    while !is_over.load(Ordering::Relaxed) {
        let said = speech(&speaker.name, n, false);
        speaker.says(&said);
        while speaker.hears() != said {}
        n += 1;
    }
    n
}

fn cut(wire: &Wire, cuts: u64, seed: u64) {
    let mut chance = Chance(seed);
    for _ in 0..cuts {
        wire.cut_after(1 + chance.below(60_000) as usize);
        wire.is_cut();
    }
}

/// The connections of speakers and listeners end after any byte.
fn what_is_cut_anywhere_is_whole_or_not_there(engine: &Engine) {
    const NAMES: [&str; 3] = ["one", "two", "three"];
    let mut cluster = Cluster::start(engine, &NAMES);
    let (cuts, seed, is_over) = (amount("CLUSTER_CUTS", 6), new_seed(), AtomicBool::new(false));
    println!("seed {seed}");
    let listen = |node: &Server| {
        let mut listener = Member::enter(node, "listener");
        thread::spawn(move || (listen(&mut listener, &NAMES), listener))
    };
    let listening: Vec<_> = cluster.nodes.iter().map(listen).collect();
    let said: Vec<u64> = thread::scope(|scope| {
        let wires = cluster.wires.iter().zip(seed..);
        let cutting: Vec<_> = wires.map(|(wire, seed)| scope.spawn(move || cut(wire, cuts, seed))).collect();
        let speak = |speaker| scope.spawn(|| speak(speaker, &is_over));
        let speaking: Vec<_> = cluster.members.iter_mut().map(speak).collect();
        cutting.into_iter().for_each(|cutting| cutting.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        speaking.into_iter().map(|speaking| speaking.join().unwrap()).collect()
    });
    cluster.is_whole(&["one", "two", "three", "listener"]);
    for (speaker, n) in cluster.members.iter_mut().zip(&said) {
        speaker.says(&speech(&speaker.name, *n, true));
    }
    let heard: Vec<usize> = listening.into_iter().map(|listening| listening.join().unwrap().0).collect();
    println!("{cuts} cuts of each of 3 connections: said {said:?}, heard {heard:?} on the nodes");
    for node in &cluster.nodes {
        let metrics = scrape(node.port);
        let refused = |name: &&String| name.contains("cluster_dropped") && name.contains("malformed");
        let refused: f64 = metrics.keys().filter(refused).map(|name| metrics[name]).sum();
        assert!(refused == 0.0 && !node.log().contains("frame_refused"), "{}", node.log());
    }
}

#[test]
fn what_is_cut_anywhere_on_its_way_to_and_from_redis_is_whole_or_not_there() {
    what_is_cut_anywhere_is_whole_or_not_there(&Engine::redis());
}

#[test]
fn what_is_cut_anywhere_on_its_way_to_and_from_postgresql_is_whole_or_not_there() {
    what_is_cut_anywhere_is_whole_or_not_there(&Engine::database());
}

/// Longer than a hop takes on any network, and shorter than anything that is judged.
const LATE: Duration = Duration::from_millis(150);

fn a_slow_network_and_one_that_resets_disturb_nobody(engine: &Engine) {
    let names = ["here", "far away"];
    let mut cluster = Cluster::start(engine, &names);
    cluster.wires[1].delay(LATE);
    cluster.is_whole(&names);
    for round in 0..3 {
        for n in 0..50 {
            cluster.members[1].says(&json!({ "round": round, "n": n }));
        }
        let [here, far] = &mut cluster.members[..] else { unreachable!() };
        let said: Vec<Value> = (0..50).map(|n| json!({ "round": round, "n": n })).collect();
        said.iter().for_each(|said| assert_eq!(far.hears(), *said));
        // behind all of it
        far.is_heard_by(&mut [&mut *here]);
        let heard = here.has_heard();
        // a machine that stands still for 3 s has dead connections: what they had to carry is lost
        if !cluster.nodes.iter().any(|node| node.log().contains("step=down")) {
            assert_eq!(heard, said);
        }
        let mut rest = said.iter();
        assert!(heard.iter().all(|heard| rest.any(|said| said == heard)), "{heard:?}");
    }
    cluster.wires[1].reset();
    cluster.is_whole(&names);
    cluster.wires[1].release();
    cluster.is_whole(&names);
    for node in &cluster.nodes {
        assert!(!node.log().contains("step=left"), "{}", node.log());
    }
}

#[test]
fn a_slow_network_to_redis_and_one_that_resets_disturb_nobody() {
    a_slow_network_and_one_that_resets_disturb_nobody(&Engine::redis());
}

#[test]
fn a_slow_network_to_postgresql_and_one_that_resets_disturb_nobody() {
    a_slow_network_and_one_that_resets_disturb_nobody(&Engine::database());
}

/// Bytes a second that are soon too few, and enough to connect.
const NARROW: u32 = 250_000;

/// What is said at once takes longer to arrive than a connection may be silent.
fn a_network_that_is_too_narrow_loses_broadcasts_and_no_node(engine: &Engine) {
    let names = ["here", "far away"];
    let mut cluster = Cluster::start(engine, &names);
    let is_silent = |cluster: &Cluster| cluster.nodes[1].log().contains("step=reconnect");
    for is_far in [true, false] {
        cluster.wires[1].narrow(NARROW);
        let [here, far] = &mut cluster.members[..] else { unreachable!() };
        let (speaker, listener) = if is_far { (far, here) } else { (here, far) };
        for n in 0..700 {
            let said = json!({ "n": n, "text": "m".repeat(3_000) });
            speaker.says(&said);
            while speaker.hears() != said {}
        }
        speaker.is_heard_by(&mut [listener]);
        cluster.wires[1].release();
        cluster.is_whole(&names);
        // what it sends comes back; what others send does not show that its own reaches them
        assert!(!is_far || !is_silent(&cluster), "{}", cluster.nodes[1].log());
    }
    for node in &cluster.nodes {
        assert!(!node.log().contains("step=left"), "{}", node.log());
    }
}

#[test]
fn a_network_to_redis_that_is_too_narrow_loses_broadcasts_and_no_node() {
    a_network_that_is_too_narrow_loses_broadcasts_and_no_node(&Engine::redis());
}

#[test]
fn a_network_to_postgresql_that_is_too_narrow_loses_broadcasts_and_no_node() {
    a_network_that_is_too_narrow_loses_broadcasts_and_no_node(&Engine::database());
}
