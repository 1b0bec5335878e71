//! Clients that come, talk and go for as long as `SOAK_SECONDS` says: in the end the server is as it was.
//!
//! A few seconds by default; `make soak` runs it for ten minutes.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chance::{Chance, amount, new_seed},
    client::{Client, Item},
    frame::{CLOSE, masked},
    metrics::{comes_to, scrape},
    poller::Poller,
    server::{Launch, Server},
    turns::heavy,
};

/// Clients at a time.
const CLIENTS: u64 = 8;

/// What memory may have grown by in the end. The allocator keeps what was once needed; how long it takes adds nothing.
const SPARE: u64 = 4 * 1024 * 1024;

/// Some message for a channel that is joined as `topic`; most do nothing but be answered.
fn message(chance: &mut Chance, topic: &str, reference: u64) -> Value {
    let size = [10, 100, 5_000][chance.below(3) as usize];
    let payload = json!({"n": reference, "x": "é".repeat(size)});
    match chance.below(12) {
        0 => json!(["1", reference, topic, "phx_leave", {}]),
        1 => json!(["1", reference, topic, "crash", {}]),
        2 => json!(["1", "1", topic, "phx_join", {}]),
        3 | 4 => json!(["1", reference, topic, "bcast", payload]),
        5 => json!(["1", reference, topic, "push", payload]),
        6 => json!(["1", reference, topic, "async_echo", payload]),
        7 => json!([null, reference, "phoenix", "heartbeat", {}]),
        _ => json!(["1", reference, topic, "echo", payload]),
    }
}

/// Topics that others join too, and one of its own.
fn topic(chance: &mut Chance) -> String {
    match chance.below(8) {
        0 => format!("ref:own-{}", chance.below(u64::MAX)),
        1 => "presence:room".to_owned(),
        n => format!("ref:room-{n}"),
    }
}

/// One client's life over a WebSocket.
fn over_websocket(server: &Server, chance: &mut Chance) -> u64 {
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    let topics: Vec<String> = (0..=chance.below(4)).map(|_| topic(chance)).collect();
    for topic in &topics {
        client.send(&json!(["1", "1", topic, "phx_join", {}]));
    }
    let count = chance.below(60);
    for reference in 2..2 + count {
        let topic = &topics[chance.below(topics.len() as u64) as usize];
        client.send(&message(chance, topic, reference));
    }
    // all of it has been read, if the client waits for that
    if chance.below(3) > 0 {
        client.send(&json!([null, "last", "phoenix", "heartbeat", {}]));
        while !matches!(client.next(), Item::Text(message) if message[1] == "last") {}
    }
    match chance.below(4) {
        0 => client.bytes(&masked(true, CLOSE, &1000_u16.to_be_bytes())),
        1 => client.text("no message"),
        2 => client.reset_at_end(),
        _ => {}
    }
    count
}

/// One client's life on long poll; it stays away at its end.
fn on_long_poll(server: &Server, chance: &mut Chance) -> u64 {
    let mut poller = Poller::open(server.port, "/idle");
    let topic = topic(chance);
    poller.posts(&[json!(["1", "1", topic, "phx_join", {}])], 200);
    let mut sent = 0;
    for _ in 0..chance.below(6) {
        let messages: Vec<Value> =
            (0..=chance.below(8)).map(|n| message(chance, &topic, 2 + sent + n)).collect();
        sent += messages.len() as u64;
        if poller.post(&messages).text() != r#"{"status":200}"# || poller.poll()["status"] == 410 {
            // it was too slow on a busy machine, and has no session any more
            break;
        }
    }
    sent
}

/// Many lives, one after the other and several at a time.
fn live(server: &Server, time: Duration, seed: u64) -> (u64, u64) {
    let (lives, messages) = (AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (lives, messages) = (&lives, &messages);
            scope.spawn(move || {
                let mut chance = Chance(seed + client);
                while Instant::now() < until {
                    let sent = match chance.below(5) {
                        0 => on_long_poll(server, &mut chance),
                        _ => over_websocket(server, &mut chance),
                    };
                    lives.fetch_add(1, Ordering::Relaxed);
                    messages.fetch_add(sent, Ordering::Relaxed);
                }
            });
        }
    });
    (lives.into_inner(), messages.into_inner())
}

/// Everyone has gone; what is left.
fn idle(server: &Server) -> (u64, usize) {
    for transport in ["websocket", "longpoll"] {
        comes_to(server, &format!("hinotori_connections{{transport=\"{transport}\"}}"), 0.0);
    }
    for topic in ["ref:*", "presence:*"] {
        comes_to(server, &format!("hinotori_channels{{topic=\"{topic}\"}}"), 0.0);
    }
    (server.memory("VmRSS"), server.descriptors())
}

#[test]
fn after_many_clients_the_server_is_as_it_was() {
    let _turn = heavy();
    let time = Duration::from_secs(amount("SOAK_SECONDS", 2));
    let seed = amount("SOAK_SEED", new_seed());
    let server = Launch::reference().set("RUST_LOG", "off").start();
    // what it needs at all it has after a while
    live(&server, time.min(Duration::from_secs(30)), seed);
    let (memory, descriptors) = idle(&server);
    let (lives, messages) = live(&server, time, seed + CLIENTS);
    let (memory_then, _) = idle(&server);
    server.settles_at(descriptors);
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    let crashes = scrape(server.port)["hinotori_crashes_total{of=\"channel\"}"];
    println!(
        "{lives} clients, {messages} messages, {crashes} crashes in {time:?} (SOAK_SEED={seed}): memory {:.1} MiB, then \
         {:.1} MiB; descriptors {descriptors}, then {}",
        mib(memory),
        mib(memory_then),
        server.descriptors(),
    );
    assert!(memory_then <= memory + SPARE, "memory grew from {memory} to {memory_then}; SOAK_SEED={seed}");
}
