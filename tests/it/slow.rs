//! Clients that take their time, and peers that are gone without a word: nothing waits for them for ever.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    frame::{TEXT, masked},
    guest::Guest,
    http::{KeptAlive, get},
    metrics::{comes_to, scrape},
    poller::Poller,
    server::{Launch, Server},
};

/// How long a client of these tests may be silent, in milliseconds.
const IDLE: u64 = 700;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Writes a byte now and then, until the server has had enough: all that it said.
fn drip(mut stream: TcpStream, bytes: &'static [u8]) -> thread::JoinHandle<String> {
    let mut writer = stream.try_clone().unwrap();
    let drip = move || {
        for byte in bytes.iter().cycle() {
            if writer.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    };
    thread::spawn(drip);
    thread::spawn(move || {
        let mut said = String::new();
        match stream.read_to_string(&mut said) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("it is not closed: {said:?}")
            }
            _ => said,
        }
    })
}

#[test]
fn a_handshake_that_never_ends_or_never_begins_is_given_up_and_its_descriptor_is_free_again() {
    const EACH: usize = 20;
    let server = Launch::reference().start();
    assert_eq!(get(server.port, "/", &[]).text(), "ok");
    let before = server.descriptors();
    let begin = b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let slow: Vec<_> = (0..EACH)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(begin).unwrap();
            drip(stream, b"x")
        })
        .collect();
    let mut mute: Vec<_> = (0..EACH).map(|_| connect(&server)).collect();
    // they hold nobody up meanwhile
    Client::joined(server.port, "ref:room").beat();
    for slow in slow {
        assert!(slow.join().unwrap().starts_with("HTTP/1.1 408 "));
    }
    for stream in &mut mute {
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap_or_else(|error| panic!("it is not closed: {error}"));
    }
    server.settles_at(before);
}

#[test]
fn a_head_that_grows_and_grows_is_refused_whether_it_is_the_first_on_its_connection_or_not() {
    let server = Launch::reference().start();
    for heads in [1, 2] {
        let mut stream = connect(&server);
        for _ in 1..heads {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
        }
        let before = server.memory("VmRSS");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ").unwrap();
        // an error is the server's answer
        let _ = (0..1_000).try_for_each(|_| stream.write_all(&[b'x'; 64 * 1024]));
        let mut said = Vec::new();
        let end = stream.read_to_end(&mut said);
        let is_open = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_open, "{}", String::from_utf8_lossy(&said));
        let grown = server.memory("VmHWM").saturating_sub(before);
        assert!(grown < 4_000_000, "grown by {grown} bytes");
    }
}

#[test]
fn a_long_polls_body_that_does_not_come_is_given_up_and_its_session_lives() {
    let server = Launch::chat().set("IDLE_TIMEOUT", IDLE).start();
    let poller = Poller::open(server.port, "/socket");
    let mut stream = connect(&server);
    stream.write_all(poller.head(1_000).as_bytes()).unwrap();
    assert!(drip(stream, b" ").join().unwrap().starts_with("HTTP/1.1 408 "));
    poller.posts(&[json!([null, "1", "phoenix", "heartbeat", {}])], 200);
}

#[test]
fn bodies_of_one_session_together_are_no_longer_than_one_may_be_and_a_stranger_keeps_none() {
    const BODY: usize = 7_000_000;
    const AT_ONCE: usize = 20;
    let server = Launch::reference().start();
    let poller = Poller::open(server.port, "/socket");
    let stranger = poller.without_token();
    let before = server.memory("VmRSS");
    // all but the last byte of each
    let send = |head: String| {
        let mut stream = connect(&server);
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; BODY - 1]).unwrap();
        stream
    };
    let mut streams: Vec<TcpStream> =
        (0..AT_ONCE).flat_map(|_| [send(poller.head(BODY)), send(stranger.head(BODY))]).collect();
    let mut answers: Vec<String> = vec![];
    for stream in &mut streams {
        stream.write_all(b"\n").unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).unwrap();
        answers.push(String::from_utf8_lossy(&answer[..length]).into_owned());
    }
    let count = |what: &str| answers.iter().filter(|answer| answer.contains(what)).count();
    assert_eq!(count(r#"{"status":410}"#), AT_ONCE, "{answers:?}");
    assert_eq!(count("HTTP/1.1 413 ") + count(r#"{"status":200}"#), AT_ONCE, "{answers:?}");
    assert!(count("HTTP/1.1 413 ") >= AT_ONCE - 2, "{answers:?}");
    let grown = server.memory("VmHWM").saturating_sub(before);
    // one body, and what it is copied from while it grows
    assert!(grown < 4 * BODY as u64, "grown by {grown} bytes");
    poller.posts(&[json!([null, "1", "phoenix", "heartbeat", {}])], 200);
}

#[test]
fn pollers_who_do_not_read_their_answers_hold_one_history_together() {
    const MESSAGES: usize = 1_000;
    const LENGTH: usize = 4_000;
    const POLLERS: usize = 10;
    let server = Launch::chat().start();
    let (mut speaker, _) = Guest::enter(&server);
    for _ in 0..MESSAGES {
        speaker.posts(&"x".repeat(LENGTH));
    }
    // who has read the history, asks for it once more, and lets it be
    let unread = || {
        let mut poller = Poller::open(server.port, "/socket");
        poller.posts(&[json!(["1", "1", "chat:lobby", "phx_join", {}])], 200);
        while poller.messages().iter().all(|message| message[3] != "load_messages") {}
        poller.posts(&[json!(["1", "2", "chat:lobby", "get_messages", {}])], 200);
        let mut stream = connect(&server);
        stream.write_all(poller.get().as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 1);
        stream
    };
    let _first = unread();
    let before = server.memory("VmRSS");
    let _others: Vec<TcpStream> = (0..POLLERS).map(|_| unread()).collect();
    let grown = server.memory("VmRSS").saturating_sub(before);
    assert!(grown < 2 * (MESSAGES * LENGTH) as u64, "grown by {grown} bytes");
}

#[test]
fn pollers_keep_no_large_buffers_after_a_long_answer() {
    const LENGTH: usize = 100_000;
    const POLLERS: usize = 200;
    let server = Launch::reference().set("WORKERS", 1).start();
    // each waits for something to come, on the connection of its last answer
    let join = json!(["1", "1", "ref:room", "phx_join", {}]);
    let mut waiting: Vec<(KeptAlive, String)> = (0..POLLERS)
        .map(|_| {
            let mut poller = Poller::open(server.port, "/socket");
            poller.posts(std::slice::from_ref(&join), 200);
            assert_eq!(poller.messages()[0][3], "phx_reply");
            (KeptAlive::open(server.port), poller.get())
        })
        .collect();
    let wait = |waiting: &mut Vec<(KeptAlive, String)>| {
        waiting.iter_mut().for_each(|(connection, request)| connection.send(request));
        // the one worker has read them all when it answers this
        assert_eq!(get(server.port, "/", &[]).text(), "ok");
    };
    wait(&mut waiting);
    let before = server.memory("VmRSS");
    let mut speaker = Client::joined(server.port, "ref:room");
    speaker.send(&json!(["1", null, "ref:room", "bcast", {"x": "x".repeat(LENGTH)}]));
    for (connection, _) in &mut waiting {
        assert!(connection.answer().body.len() > LENGTH);
    }
    wait(&mut waiting);
    let grown = server.memory("VmRSS").saturating_sub(before) / POLLERS as u64;
    assert!(grown < 16 * 1024, "grown by {grown} bytes for each");
}

#[test]
fn peers_that_are_gone_without_a_word_are_closed_and_their_channels_end() {
    const GONE: usize = 20;
    let server = Launch::chat().set("IDLE_TIMEOUT", IDLE).start();
    let (mut other, _) = Guest::enter(&server);
    let before = server.descriptors();
    // their connections stay open on this side: no FIN, no RST, no answer, ever
    let _gone: Vec<TcpStream> = (0..GONE)
        .map(|_| {
            let mut stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
            let join = json!(["1", "1", "chat:lobby", "phx_join", {}]).to_string();
            stream.write_all(&masked(true, TEXT, join.as_bytes())).unwrap();
            stream
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    let closed = "hinotori_connections_closed_total{reason=\"idle\"}";
    let channels = "hinotori_channels{topic=\"chat:lobby\"}";
    while (scrape(server.port)[closed], scrape(server.port)[channels]) != (GONE as f64, 1.0) {
        assert!(Instant::now() < until, "{:?}", scrape(server.port));
        // whoever speaks stays
        other.client.beat();
        thread::sleep(Duration::from_millis(IDLE / 10));
    }
    server.settles_at(before);
    other.client.beat();
}

#[test]
fn peers_that_are_gone_without_a_word_are_closed_on_either_server() {
    const GONE: usize = 20;
    Launch::on_both(|launch| {
        let server = launch.set("WORKERS", 1).start();
        // the worker has all of its own by then
        assert_eq!(get(server.port, "/", &[]).text(), "ok");
        let before = server.descriptors();
        let _gone: Vec<Upgrade> =
            (0..GONE).map(|_| Upgrade::granted(server.port, "/idle/websocket?vsn=2.0.0")).collect();
        comes_to(&server, "hinotori_connections_closed_total{reason=\"idle\"}", GONE as f64);
        comes_to(&server, "hinotori_connections{transport=\"websocket\"}", 0.0);
        server.settles_at(before);
    });
}
