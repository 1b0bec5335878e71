//! What one client or one channel does harms no other.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::spawn,
};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    frame::{self, Decoder},
    server::{Launch, Server},
};

/// One worker: then nobody is out of reach of what another does.
fn one_worker() -> Server {
    of_one_worker(Launch::reference())
}

fn of_one_worker(launch: Launch) -> Server {
    launch.set("WORKERS", 1).start()
}

/// Long enough that everything else comes first, unless it has to wait.
const NAP_MS: u64 = 1500;

#[test]
fn a_slow_callback_delays_neither_a_heartbeat_nor_another_channel_nor_another_client() {
    let server = one_worker();
    let mut other = Client::joined(server.port, "ref:other");
    let mut client = Client::joined(server.port, "ref:slow");
    client.join("2", "ref:quick");
    client.send(&json!(["1", "nap", "ref:slow", "sleep", {"ms": NAP_MS}]));
    // all of this is answered before the nap is over
    client.beat();
    client.send(&json!(["2", "3", "ref:quick", "echo", {"n": 3}]));
    client.expect(&json!(["2", "3", "ref:quick", "phx_reply", {"status": "ok", "response": {"n": 3}}]));
    client.join("4", "ref:new");
    other.beat();
    client.expect(&json!(["1", "nap", "ref:slow", "phx_reply", {"status": "ok", "response": {}}]));
}

#[test]
fn a_broadcast_goes_past_a_channel_that_is_busy() {
    let server = one_worker();
    let mut client = Client::joined(server.port, "ref:room");
    let mut other = Client::joined(server.port, "ref:room");
    client.send(&json!(["1", "nap", "ref:room", "sleep", {"ms": NAP_MS}]));
    client.beat();
    other.send(&json!(["1", "2", "ref:room", "bcast", {"n": 1}]));
    client.expect(&json!([null, null, "ref:room", "bcast", {"n": 1}]));
    client.expect(&json!(["1", "nap", "ref:room", "phx_reply", {"status": "ok", "response": {}}]));
}

#[test]
fn messages_to_a_busy_channel_wait_and_keep_their_order() {
    let server = one_worker();
    let mut client = Client::joined(server.port, "ref:slow");
    client.send(&json!(["1", "nap", "ref:slow", "sleep", {"ms": 200}]));
    for n in 0..50 {
        client.send(&json!(["1", n, "ref:slow", "echo", {"n": n}]));
    }
    client.expect(&json!(["1", "nap", "ref:slow", "phx_reply", {"status": "ok", "response": {}}]));
    for n in 0..50 {
        client.expect(&json!(["1", n, "ref:slow", "phx_reply", {"status": "ok", "response": {"n": n}}]));
    }
}

#[test]
fn a_client_that_sends_100_000_events_in_one_write_gets_each_answer_in_order_and_others_are_served_meanwhile()
{
    Launch::on_both(|launch| {
        const EVENTS: usize = 100_000;
        let server = of_one_worker(launch);
        let mut other = Client::joined(server.port, "ref:other");
        let mut flood = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
        let events = (0..EVENTS).map(|n| json!(["1", n, "ref:flood", "echo", {"n": n}]));
        let events = std::iter::once(json!(["1", "join", "ref:flood", "phx_join", {}])).chain(events);
        let bytes: Vec<u8> =
            events.flat_map(|event| frame::masked(true, frame::TEXT, event.to_string().as_bytes())).collect();

        let reading = flood.try_clone().unwrap();
        let reader = spawn(move || read_frames(reading, 1 + EVENTS));
        let writer = spawn(move || flood.write_all(&bytes).map(|()| flood));
        let mut beats = 0;
        while !reader.is_finished() {
            other.beat();
            beats += 1;
        }
        let _open = writer.join().unwrap().expect("the server takes all that is sent");
        let answers = reader.join().unwrap();
        assert_eq!(answers.len(), 1 + EVENTS);
        for (n, answer) in answers[1..].iter().enumerate() {
            let answer: Value = serde_json::from_slice(answer).unwrap();
            assert_eq!(
                answer,
                json!(["1", n, "ref:flood", "phx_reply", {"status": "ok", "response": {"n": n}}])
            );
        }
        assert!(beats > 20, "{beats} heartbeats were answered beside {EVENTS} events");
    });
}

/// Payloads of the next frames, until there are `count` of them or the connection ends.
fn read_frames(mut stream: TcpStream, count: usize) -> Vec<Vec<u8>> {
    stream.set_read_timeout(Some(3 * PATIENCE)).unwrap();
    let (mut decoder, mut chunk, mut payloads) = (Decoder::default(), vec![0; 256 * 1024], Vec::new());
    while payloads.len() < count {
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => decoder.push(&chunk[..n]),
            end => panic!("{} of {count} frames, then {end:?}", payloads.len()),
        }
        payloads.extend(std::iter::from_fn(|| decoder.next()).map(|frame| frame.payload));
    }
    payloads
}

#[test]
fn connections_reset_in_the_middle_of_a_frame_disturb_nobody() {
    Launch::on_both(|launch| {
        let server = of_one_worker(launch);
        let mut other = Client::joined(server.port, "ref:room");
        for _ in 0..50 {
            let mut stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
            let join = json!(["1", "1", "ref:room", "phx_join", {}]).to_string();
            stream.write_all(&frame::masked(true, frame::TEXT, join.as_bytes())).unwrap();
            // an answer that has come and is never read makes the system reset the connection when it is closed
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.peek(&mut [0]).unwrap();
            let event = json!(["1", "2", "ref:room", "echo", {}]).to_string();
            let half = frame::masked(true, frame::TEXT, event.as_bytes());
            stream.write_all(&half[..half.len() / 2]).unwrap();
            drop(stream);
            other.beat();
        }
        other.send(&json!(["1", "3", "ref:room", "bcast", {"n": 1}]));
        other.expect(&json!([null, null, "ref:room", "bcast", {"n": 1}]));
        assert!(!server.log().contains("panicked"), "{}", server.log());
    });
}
