//! Much of one thing from one client: it is answered or ended, costs little memory, and nobody else notices.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::{Client, Item, Upgrade},
    frame::{CONTINUATION, Decoder, Frame, PING, PONG, TEXT, fragmented, masked},
    metrics::comes_to,
    poller::Poller,
    server::{Launch, Server},
    turns::heavy,
};

const MIB: u64 = 1024 * 1024;

/// What a server may grow by for a client that sends much of one thing.
const GROWTH: u64 = 16 * MIB;

/// One worker: then nobody is out of reach of what another does.
fn one_worker() -> Server {
    of_one_worker(Launch::reference())
}

fn of_one_worker(launch: Launch) -> Server {
    launch.set("WORKERS", 1).start()
}

fn grows_less_than(server: &Server, limit: u64, before: u64) {
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < limit, "grown by {grown} bytes");
}

/// Sends all of it from a thread of its own, as the answers must be read meanwhile.
fn send(stream: &TcpStream, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    // an error is the server's answer
    thread::spawn(move || _ = stream.write_all(&bytes))
}

/// The frames that come, one after the other.
struct Frames {
    stream: TcpStream,
    decoder: Decoder,
    chunk: Vec<u8>,
}

impl Frames {
    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, decoder: Decoder::default(), chunk: vec![0; 256 * 1024] }
    }

    fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next() {
                return frame;
            }
            match self.stream.read(&mut self.chunk) {
                Ok(n) if n > 0 => self.decoder.push(&self.chunk[..n]),
                end => panic!("the connection ended: {end:?}"),
            }
        }
    }

    fn message(&mut self) -> Value {
        serde_json::from_slice(&self.next().payload).unwrap()
    }
}

#[test]
fn nesting_of_100_000_levels_ends_its_socket_wherever_it_is_and_no_other() {
    const DEPTH: usize = 100_000;
    let server = one_worker();
    let mut other = Client::joined(server.port, "ref:room");
    let (lists, maps) =
        (("[".repeat(DEPTH), "]".repeat(DEPTH)), (r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH)));
    for (open, close) in [lists, maps] {
        let inner = if open.starts_with('{') { "0" } else { "" };
        let deep = format!("{open}{inner}{close}");
        for (vsn, text) in [
            ("2.0.0", deep.clone()),
            ("2.0.0", open.clone()),
            ("2.0.0", format!(r#"[{deep},"2","ref:room","echo",{{}}]"#)),
            ("2.0.0", format!(r#"["1",{deep},"ref:room","echo",{{}}]"#)),
            ("2.0.0", format!(r#"["1","2",{deep},"echo",{{}}]"#)),
            ("2.0.0", format!(r#"["1","2","ref:room",{deep},{{}}]"#)),
            ("2.0.0", format!(r#"["1","2","ref:room","echo",{deep}]"#)),
            ("2.0.0", format!(r#"["1","2","ref:room","echo",{{}},{deep}]"#)),
            ("1.0.0", deep.clone()),
            ("1.0.0", format!(r#"{{"topic":"ref:room","event":"echo","ref":"2","payload":{deep}}}"#)),
            ("1.0.0", format!(r#"{{"topic":"ref:room","event":"echo","ref":{deep},"payload":{{}}}}"#)),
            (
                "1.0.0",
                format!(r#"{{"topic":"ref:room","event":"echo","ref":"2","payload":{{}},"more":{deep}}}"#),
            ),
        ] {
            let mut client = Client::open(server.port, &format!("/socket/websocket?vsn={vsn}"));
            client.bytes(&fragmented(TEXT, text.as_bytes(), 500_000));
            client.closes(1011);
            other.beat();
        }
        let poller = Poller::open(server.port, "/socket");
        let body = format!("[\"1\",\"2\",\"ref:room\",\"echo\",{deep}]\n");
        assert_eq!(poller.post_body(body.as_bytes()).text(), r#"{"status":408}"#);
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn names_of_megabytes_end_their_socket_and_are_neither_kept_nor_logged() {
    let _turn = heavy();
    let server = one_worker();
    let mut other = Client::joined(server.port, "ref:room");
    let name = "x".repeat(2_000_000);
    let before = server.memory("VmRSS");
    for _ in 0..5 {
        for text in [
            format!(r#"["{name}","2","ref:room","echo",{{}}]"#),
            format!(r#"["1","{name}","ref:room","echo",{{}}]"#),
            format!(r#"["1","2","{name}","phx_join",{{}}]"#),
            format!(r#"["1","2","ref:room","{name}",{{}}]"#),
            format!(r#"[{},"2","ref:room","echo",{{}}]"#, "1".repeat(2_000_000)),
        ] {
            let mut client = Client::joined(server.port, "ref:room");
            client.bytes(&fragmented(TEXT, text.as_bytes(), 500_000));
            client.closes(1011);
        }
    }
    other.beat();
    grows_less_than(&server, GROWTH, before);
    assert!(server.log().len() < 100_000, "a log of {} bytes", server.log().len());
}

#[test]
fn a_message_in_a_million_fragments_most_of_them_empty_comes_out_whole_and_delays_nobody() {
    Launch::on_both(|launch| {
        const EMPTY: usize = 1_000_000;
        let server = of_one_worker(launch);
        let mut other = Client::joined(server.port, "ref:room");
        let stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
        let heartbeat = json!([null, "1", "phoenix", "heartbeat", {"x": "y".repeat(20_000)}]).to_string();
        let mut bytes = masked(false, TEXT, b"");
        bytes.extend(masked(false, CONTINUATION, b"").repeat(EMPTY));
        for byte in heartbeat.as_bytes().chunks(1) {
            bytes.extend(masked(false, CONTINUATION, byte));
        }
        bytes.extend(masked(true, CONTINUATION, b""));
        let before = server.memory("VmRSS");
        let sent = send(&stream, bytes);
        while !sent.is_finished() {
            other.beat();
        }
        let answer = Frames::of(stream).message();
        assert_eq!(answer, json!([null, "1", "phoenix", "phx_reply", {"status": "ok", "response": {}}]));
        grows_less_than(&server, GROWTH, before);
    });
}

#[test]
fn a_flood_of_joins_and_leaves_of_one_topic_has_each_answered_once_and_leaves_nothing_behind() {
    let _turn = heavy();
    const ROUNDS: usize = 10_000;
    let server = one_worker();
    let mut other = Client::joined(server.port, "ref:room");
    let stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
    let said = |join: usize, reference: String, event: &str| {
        let message = json!([join.to_string(), reference, "ref:flood", event, {}]).to_string();
        masked(true, TEXT, message.as_bytes())
    };
    // in turn: a join and its leave, and a join that the next one replaces
    let round = |n: usize| match n % 2 {
        0 => [said(n, format!("j{n}"), "phx_join"), said(n, format!("l{n}"), "phx_leave")].concat(),
        _ => said(n, format!("j{n}"), "phx_join"),
    };
    let before = server.memory("VmRSS");
    let sent = send(&stream, (0..ROUNDS).flat_map(round).collect());
    let mut frames = Frames::of(stream);
    let (mut answered, mut closed) = (std::collections::HashSet::new(), 0);
    while answered.len() < ROUNDS + ROUNDS / 2 || closed < ROUNDS - 1 {
        let message = frames.message();
        match message[3].as_str().unwrap() {
            "phx_reply" => {
                assert_eq!(message[4]["status"], "ok", "{message}");
                assert!(answered.insert(message[1].to_string()), "answered twice: {message}");
            }
            "phx_close" => closed += 1,
            other => panic!("{other}"),
        }
    }
    sent.join().unwrap();
    other.beat();
    drop(frames);
    // the other's alone is left
    comes_to(&server, "hinotori_channels{topic=\"ref:*\"}", 1.0);
    grows_less_than(&server, GROWTH, before);
}

#[test]
fn a_flood_of_pings_is_answered_by_as_many_pongs_and_one_who_does_not_take_them_is_not_read_from() {
    Launch::on_both(|launch| {
        const PINGS: usize = 100_000;
        let server = of_one_worker(launch);
        let mut other = Client::joined(server.port, "ref:room");
        let stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
        let before = server.memory("VmRSS");
        let sent = send(&stream, masked(true, PING, &[b'x'; 125]).repeat(PINGS));
        // nothing is read yet: 12 MB of pongs would have nowhere to go
        for _ in 0..100 {
            other.beat();
        }
        grows_less_than(&server, GROWTH, before);
        let mut frames = Frames::of(stream);
        for _ in 0..PINGS {
            let pong = frames.next();
            assert_eq!((pong.opcode, pong.payload.len()), (PONG, 125));
        }
        sent.join().unwrap();
        grows_less_than(&server, GROWTH, before);
    });
}

/// How far each reader is, so that the speaker is never far ahead of the slowest.
type Progress = Arc<(Mutex<Vec<usize>>, Condvar)>;

#[test]
fn of_120_mb_past_a_reader_who_stalls_the_others_get_all_in_order_and_the_server_keeps_little() {
    Launch::on_both(|launch| {
        let _turn = heavy();
        const MESSAGES: usize = 1_920;
        const SIZE: usize = 64 * 1024;
        const READERS: usize = 6;
        /// Messages that a reader who reads may lag behind: far below the bound of its outbox.
        const AHEAD: usize = 6;
        let server = launch.start();
        let join = |stream: &mut TcpStream| {
            let join = json!(["1", "1", "ref:room", "phx_join", {}]).to_string();
            stream.write_all(&masked(true, TEXT, join.as_bytes())).unwrap();
        };
        let open = || Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
        let mut stalled = open();
        join(&mut stalled);
        stalled.set_read_timeout(Some(PATIENCE)).unwrap();
        stalled.peek(&mut [0]).unwrap();

        let progress: Progress = Arc::new((Mutex::new(vec![0; READERS]), Condvar::new()));
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let mut stream = open();
                join(&mut stream);
                let mut frames = Frames::of(stream);
                assert_eq!(frames.message()[3], "phx_reply");
                let progress = progress.clone();
                thread::spawn(move || {
                    for n in 0..MESSAGES {
                        let frame = frames.next();
                        let begin = format!(r#"[null,null,"ref:room","bcast",{{"n":{n},"#);
                        assert!(frame.payload.starts_with(begin.as_bytes()) && frame.payload.len() > SIZE);
                        progress.0.lock().unwrap()[reader] = n + 1;
                        progress.1.notify_all();
                    }
                })
            })
            .collect();
        let mut speaker = Client::joined(server.port, "ref:speaker");
        speaker.send(&json!(["2", "2", "ref:room", "phx_join", {}]));
        assert_eq!(speaker.message()[3], "phx_reply");
        let before = server.memory("VmRSS");
        let content = "x".repeat(SIZE);
        for n in 0..MESSAGES {
            let seen = progress.0.lock().unwrap();
            let is_far = |seen: &mut Vec<usize>| seen.iter().any(|seen| seen + AHEAD < n);
            let (seen, timeout) = progress.1.wait_timeout_while(seen, PATIENCE, is_far).unwrap();
            assert!(!timeout.timed_out(), "of {n} came {seen:?}");
            drop(seen);
            speaker.text(&format!(r#"["2",null,"ref:room","bcast",{{"n":{n},"x":"{content}"}}]"#));
            assert!(matches!(speaker.next(), Item::Text(_)));
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        grows_less_than(&server, 64 * MIB, before);
        // the one who stalls, and nobody else
        comes_to(&server, "hinotori_connections_closed_total{reason=\"slow_reader\"}", 1.0);
    });
}
