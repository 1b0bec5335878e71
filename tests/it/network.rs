//! A network that cuts and delays as it likes: what is said over it is the same as over one that does not.
//!
//! Each run has a seed, which is printed when it fails; `NETWORK_SEED=… cargo test --test it network` plays it again.

use std::{
    collections::BTreeMap,
    env,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::{
    PATIENCE,
    chance::{Chance, new_seed},
    frame::{BINARY, CLOSE, CONTINUATION, Decoder, PING, TEXT, fragmented, masked},
    poller::Poller,
    server::{Launch, Server},
};

/// Conversations of each test, each over a network of its own.
const RUNS: u64 = 25;

/// Seeds to try: that of the environment, or some that nobody tried before.
fn seeds() -> Vec<u64> {
    match env::var("NETWORK_SEED") {
        Ok(seed) => vec![seed.parse().expect("NETWORK_SEED is a number")],
        Err(_) => {
            let first = new_seed();
            (0..RUNS).map(|n| first + n).collect()
        }
    }
}

/// Says which seed it was if the thread panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("NETWORK_SEED={}", self.0);
        }
    }
}

/// How bytes travel: in pieces of up to so many, with a pause now and then.
struct Network {
    chance: Chance,
    longest: u64,
    pauses: bool,
}

impl Network {
    fn of(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let longest = [1, 3, 14, 200, 5_000, 100_000][chance.below(6) as usize];
        Self { longest, pauses: longest > 100 && chance.below(2) == 0, chance }
    }

    /// All in one piece.
    fn without_cuts() -> Self {
        Self { chance: Chance(0), longest: 1 << 40, pauses: false }
    }

    fn piece(&mut self, left: usize) -> usize {
        if self.pauses && self.chance.below(4) == 0 {
            thread::sleep(Duration::from_micros(self.chance.below(800)));
        }
        // a small piece may be found anywhere
        let longest = if self.chance.below(8) == 0 { self.longest.min(2) } else { self.longest };
        (1 + self.chance.below(longest) as usize).min(left)
    }

    fn send(&mut self, stream: &mut TcpStream, mut bytes: &[u8]) {
        // one piece is one write, and without Nagle's algorithm one packet
        stream.set_nodelay(true).unwrap();
        if self.longest >= 1 << 40 {
            return stream.write_all(bytes).unwrap();
        }
        while !bytes.is_empty() {
            let piece = self.piece(bytes.len());
            stream.write_all(&bytes[..piece]).unwrap();
            bytes = &bytes[piece..];
        }
    }

    /// Everything that comes until the end.
    fn receive(&mut self, stream: &mut TcpStream) -> Vec<u8> {
        let (mut all, mut chunk) = (vec![], vec![0; 100_000]);
        loop {
            let piece = self.piece(chunk.len());
            match stream.read(&mut chunk[..piece]) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(error) => panic!("{error} after {} bytes", all.len()),
            }
        }
    }
}

const UPGRADE: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A bit of everything that a client says, as frames. The answers of one topic have one order, whatever the pace.
fn said() -> Vec<u8> {
    let text = |message: &Value| masked(true, TEXT, message.to_string().as_bytes());
    let mut bytes = vec![];
    bytes.extend(text(&json!(["1", "1", "ref:a", "phx_join", {"name": "火"}])));
    bytes.extend(masked(true, PING, b"first"));
    for n in 0..30 {
        let message = json!(["1", n, "ref:a", "echo", {"n": n, "x": "é🔥".repeat(n * n)}]).to_string();
        bytes.extend(fragmented(TEXT, message.as_bytes(), 1 + n * 7));
        bytes.extend(text(&json!([null, n, "phoenix", "heartbeat", {}])));
    }
    // a message in fragments, a ping within a character of it
    bytes.extend(masked(
        false,
        TEXT,
        "[\"1\",\"f\",\"ref:a\",\"echo\",{\"x\":\"火".as_bytes().split_last().unwrap().1,
    ));
    bytes.extend(masked(true, PING, &[7; 125]));
    bytes.extend(masked(false, CONTINUATION, b""));
    bytes.extend(masked(true, CONTINUATION, &[&"火".as_bytes()[2..], b"\"}]"].concat()));
    bytes.extend(masked(true, BINARY, b"\0\x01\x01\x05\x0314ref:abin\0\x01\xffdata"));
    bytes.extend(text(&json!(["1", "5", "ref:a", "bcast", {"x": "y".repeat(70_000)}])));
    bytes.extend(text(&json!(["1", "6", "ref:a", "push", {"n": 1}])));
    bytes.extend(text(&json!(["1", "7", "ref:a", "echo_error", {"n": 2}])));
    bytes.extend(text(&json!(["0", "8", "ref:a", "echo", {"stale": true}])));
    bytes.extend(text(&json!(["2", "2", "ref:b", "phx_join", {"deny": true}])));
    bytes.extend(text(&json!(["3", "3", "ref:c", "phx_join", {}])));
    bytes.extend(text(&json!(["4", "4", "ref:c", "phx_join", {"again": 1}])));
    bytes.extend(text(&json!(["4", "5", "ref:c", "crash", {}])));
    bytes.extend(text(&json!(["5", "5", "nobody", "phx_join", {}])));
    bytes.extend(text(&json!(["1", "9", "ref:a", "phx_leave", {}])));
    bytes
}

/// What a client of `said` is told, topic by topic.
fn told(frames: Vec<crate::frame::Frame>) -> BTreeMap<String, Vec<Value>> {
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for frame in frames {
        assert!(frame.fin && !frame.masked && frame.reserved == 0, "{frame:?}");
        let (topic, value) = match frame.opcode {
            TEXT => {
                let message: Value = serde_json::from_slice(&frame.payload).unwrap();
                (message[2].as_str().unwrap().to_owned(), message)
            }
            BINARY => ("ref:a".to_owned(), json!(frame.payload)),
            other => (format!("opcode {other}"), json!(frame.payload)),
        };
        told.entry(topic).or_default().push(value);
    }
    told
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says all of it over a network, and closes when as many frames have come as a network without cuts brought.
fn converse(
    server: &Server,
    mut network: Network,
    mut reading: Network,
    frames: usize,
) -> Vec<crate::frame::Frame> {
    let mut stream = connect(server);
    // so small that the server's writes are cut as well
    SockRef::from(&stream).set_recv_buffer_size(32 * 1024).unwrap();
    network.send(&mut stream, UPGRADE.as_bytes());
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let mut writer = stream.try_clone().unwrap();
    let sent = thread::spawn(move || {
        network.send(&mut writer, &said());
        network
    });
    let (mut decoder, mut came, mut chunk) = (Decoder::default(), vec![], vec![0; 100_000]);
    while came.len() < frames {
        let piece = reading.piece(chunk.len());
        match stream.read(&mut chunk[..piece]) {
            Ok(n) if n > 0 => decoder.push(&chunk[..n]),
            end => panic!("{} of {frames} frames, then {end:?}", came.len()),
        }
        came.extend(std::iter::from_fn(|| decoder.next()));
    }
    let mut network = sent.join().unwrap();
    network.send(&mut stream, &masked(true, CLOSE, &1000_u16.to_be_bytes()));
    decoder.push(&reading.receive(&mut stream));
    came.extend(std::iter::from_fn(|| decoder.next()));
    came
}

#[test]
fn frames_cut_anywhere_and_many_in_one_piece_are_the_same_conversation() {
    Launch::on_both(|launch| {
        let server = launch.start();
        // join; 30 echoes and heartbeats; fragments; binary; broadcast; push; error; deny; two joins and a close; a crash;
        // unmatched; leave and close; two pongs
        const FRAMES: usize = 1 + 60 + 1 + 1 + 1 + 1 + 1 + 1 + 3 + 1 + 1 + 2 + 2;
        let whole = told(converse(&server, Network::without_cuts(), Network::without_cuts(), FRAMES));
        assert_eq!(whole.values().map(Vec::len).sum::<usize>(), FRAMES + 1, "{:?}", whole.keys());
        assert_eq!(whole[&format!("opcode {CLOSE}")], [json!([3, 232])]);
        for seed in seeds() {
            let seed = Seed(seed);
            let (network, reading) = (Network::of(seed.0), Network::of(!seed.0));
            assert_eq!(told(converse(&server, network, reading, FRAMES)), whole);
        }
    });
}

#[test]
fn a_long_polls_requests_cut_anywhere_are_the_same_conversation() {
    let server = Launch::reference().start();
    let body: Vec<String> = std::iter::once(json!(["1", "1", "ref:lp", "phx_join", {}]))
        .chain((0..40).map(|n| json!(["1", n, "ref:lp", "echo", {"n": n, "x": "é🔥".repeat(n * 9)}])))
        .map(|message| message.to_string())
        .collect();
    let body = body.join("\n");
    let converse = |mut network: Network| {
        let mut poller = Poller::open(server.port, "/socket");
        let mut stream = connect(&server);
        let request = [poller.head(body.len()).as_bytes(), body.as_bytes()].concat();
        network.send(&mut stream, &request);
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut messages = vec![];
        while messages.len() < 41 {
            messages.extend(poller.messages());
        }
        messages
    };
    let whole = converse(Network::without_cuts());
    for seed in seeds() {
        let seed = Seed(seed);
        assert_eq!(converse(Network::of(seed.0)), whole);
    }
}
