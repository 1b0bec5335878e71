//! How clients are sent away when a server goes down: in batches, with a close frame for each, until a deadline.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{
    PATIENCE,
    client::{Client, Item, Upgrade},
    frame::{CLOSE, masked},
    http::{KeptAlive, get},
    server::{Launch, Server},
    turns::heavy,
};

const WEBSOCKET: &str = "/socket/websocket?vsn=2.0.0";

/// Longer than any test.
const NEVER: u64 = 3_600_000;

fn clients(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::open(server.port, WEBSOCKET)).collect()
}

fn step(server: &Server, step: &str) -> String {
    server.log_line(|line| line.contains(&format!("event=drain step={step}")))
}

/// The numbers that the steps of a log give for a key.
fn numbers(log: &str, step: &str, key: &str) -> Vec<usize> {
    let lines = log.lines().filter(|line| line.contains(&format!("event=drain step={step} ")));
    let value =
        |line: &str| line.split_once(&format!(" {key}=")).unwrap().1.split(' ').next().unwrap().parse();
    lines.map(|line| value(line).unwrap()).collect()
}

fn exits_with_0(server: &mut Server) {
    let status = server.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn of_four_clients_and_batches_of_two_one_half_goes_and_the_other_is_served_on() {
    let server = Launch::reference()
        .set("WORKERS", 3)
        .set("DRAIN_BATCH", 2)
        .set("DRAIN_INTERVAL", NEVER)
        .set("DRAIN_DEADLINE", NEVER)
        .start();
    let mut clients = clients(&server, 4);
    server.signal("TERM");
    let first = step(&server, "batch");
    assert!(first.contains("batch=1 closed=2 "), "{first}");
    let mut served = 0;
    for client in &mut clients {
        client.send(&json!([null, "1", "phoenix", "heartbeat", {}]));
        match client.next() {
            Item::Text(reply) => served += usize::from(reply[3] == "phx_reply"),
            other => assert_eq!(other, Item::Close(Some(1012))),
        }
    }
    assert_eq!(served, 2);
}

#[test]
fn the_batches_follow_each_other_until_all_are_gone() {
    Launch::on_both(|launch| {
        let mut server = launch.set("WORKERS", 3).set("DRAIN_BATCH", 2).set("DRAIN_INTERVAL", 50).start();
        let clients = clients(&server, 5);
        server.signal("TERM");
        clients.iter().for_each(|client| client.closes(1012));
        exits_with_0(&mut server);
        let log = server.log();
        assert_eq!(numbers(&log, "batch", "batch"), [1, 2, 3], "{log}");
        assert_eq!(numbers(&log, "batch", "closed"), [2, 2, 1], "{log}");
        assert_eq!(numbers(&log, "begin", "connections"), [5], "{log}");
        assert_eq!(numbers(&log, "end", "connections"), [0], "{log}");
    });
}

#[test]
fn a_long_poll_is_of_the_batch_and_its_poll_is_answered() {
    let mut server = Launch::reference().set("WORKERS", 1).start();
    let mut polling = KeptAlive::open(server.port);
    let opened: Value = serde_json::from_slice(&polling.get("/socket/longpoll?vsn=2.0.0").body).unwrap();
    polling.ask(&format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().unwrap()));
    // the one worker has read that when it answers this
    assert_eq!(get(server.port, "/", &[]).status, 200);
    server.signal("TERM");
    let polled: Value = serde_json::from_slice(&polling.answer().body).unwrap();
    assert_eq!(polled["status"], 204);
    exits_with_0(&mut server);
    assert_eq!(numbers(&server.log(), "batch", "closed"), [1]);
}

#[test]
fn the_end_of_a_channel_is_waited_for_however_soon_its_client_has_gone() {
    Launch::on_both(|launch| {
        let mut server = launch.set("WORKERS", 1).start();
        let client = Client::joined(server.port, "ref:slow_end");
        server.signal("TERM");
        client.closes(1012);
        exits_with_0(&mut server);
        assert!(server.log().contains("a slow end has come to its end"), "{}", server.log());
        assert_eq!(numbers(&server.log(), "end", "channels"), [0]);
    });
}

#[test]
fn nobody_waits_for_a_batch_that_would_be_empty() {
    let mut server = Launch::reference().set("DRAIN_INTERVAL", NEVER).set("DRAIN_DEADLINE", NEVER).start();
    let clients = clients(&server, 3);
    server.signal("TERM");
    clients.iter().for_each(|client| client.closes(1012));
    exits_with_0(&mut server);
}

#[test]
fn whom_no_batch_has_reached_is_told_before_the_deadline() {
    Launch::on_both(|launch| {
        let mut server =
            launch.set("DRAIN_BATCH", 1).set("DRAIN_INTERVAL", NEVER).set("DRAIN_DEADLINE", 2_000).start();
        let clients = clients(&server, 10);
        server.signal("TERM");
        clients.iter().for_each(|client| client.closes(1012));
        exits_with_0(&mut server);
        assert_eq!(numbers(&server.log(), "batch", "closed"), [1, 9]);
    });
}

#[test]
fn what_is_left_at_the_deadline_is_logged_and_the_process_exits_with_0() {
    Launch::on_both(|launch| {
        let mut server = launch.set("DRAIN_DEADLINE", 1_500).start();
        let mut busy = Client::joined(server.port, "ref:slow");
        busy.send(&json!(["1", "2", "ref:slow", "sleep", { "ms": NEVER }]));
        busy.beat();
        server.signal("TERM");
        busy.closes(1012);
        exits_with_0(&mut server);
        let end = step(&server, "end");
        assert!(end.contains("WARN") && end.contains("connections=0 channels=1 "), "{end}");
    });
}

#[test]
fn within_its_grace_a_server_is_alive_and_not_ready_and_serves_all_who_come() {
    let server = Launch::reference().set("DRAIN_GRACE", NEVER).start();
    let mut before = Client::joined(server.port, "ref:room");
    let mut operator = KeptAlive::open(server.port);
    assert_eq!(operator.get("/readyz").status, 200);
    server.signal("TERM");
    step(&server, "grace");
    let ready = operator.get("/readyz");
    assert_eq!((ready.status, &*ready.text()), (503, "draining\n"));
    assert_eq!(get(server.port, "/readyz", &[]).status, 503);
    assert_eq!(get(server.port, "/healthz", &[]).status, 200);
    before.beat();
    Client::joined(server.port, "ref:room").beat();
}

#[test]
fn after_its_grace_a_server_closes_its_port_and_sends_all_away() {
    let mut server = Launch::reference().set("DRAIN_GRACE", 50).start();
    let client = Client::joined(server.port, "ref:room");
    server.signal("TERM");
    client.closes(1012);
    // the thread that accepts is told at the same time
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", server.port)).is_ok() {
        assert!(Instant::now() < until, "a new connection is accepted");
    }
    exits_with_0(&mut server);
}

#[test]
fn an_operators_own_port_has_all_three_paths_the_other_none_and_it_answers_while_the_server_drains() {
    let server = Launch::chat()
        .set("OPS_LISTEN", "127.0.0.1:0")
        .set("DRAIN_BATCH", 1)
        .set("DRAIN_INTERVAL", NEVER)
        .set("DRAIN_DEADLINE", NEVER)
        .start();
    assert_ne!(server.ops, server.port);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            (get(server.port, path, &[]).status, get(server.ops, path, &[]).status),
            (404, 200),
            "{path}"
        );
    }
    assert_eq!(get(server.ops, "/", &[]).status, 404);
    let _clients = clients(&server, 2);
    server.signal("TERM");
    step(&server, "batch");
    assert_eq!(get(server.ops, "/readyz", &[]).status, 503);
    assert_eq!(get(server.ops, "/healthz", &[]).status, 200);
    assert!(get(server.ops, "/metrics", &[]).text().contains("reason=\"drain\"} 1\n"));
}

/// Clients of the great drain, if the system has descriptors for them.
const MANY: usize = 10_000;

/// Descriptors that a process needs beside those of its clients; other tests run in this one.
const SPARE: u64 = 600;

/// One of many: a connection without a thread.
struct Bare(TcpStream);

impl Bare {
    /// Of an address of its own with a few thousand others: one address has not ports enough for all that may be going on.
    fn open(port: u16, number: usize) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let own = Ipv4Addr::new(127, 0, 1, u8::try_from(number / 2_000).unwrap());
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let upgrade = Upgrade::request_over(socket.into(), WEBSOCKET, &[]).unwrap();
        assert_eq!(upgrade.status, 101, "client {number}");
        Self(upgrade.stream)
    }

    /// The code of the close frame that comes, and the end of the connection behind it.
    fn close_code(mut self) -> Option<u16> {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut frame = [0; 4];
        self.0.read_exact(&mut frame).ok()?;
        let _ = self.0.write_all(&masked(true, CLOSE, &frame[2..]));
        let ended = self.0.read(&mut frame).is_ok_and(|n| n == 0);
        (frame[..2] == [0x88, 2] && ended).then(|| u16::from_be_bytes([frame[2], frame[3]]))
    }
}

#[test]
fn each_of_ten_thousand_clients_gets_its_close_frame_within_the_deadline() {
    let _turn = heavy();
    const DEADLINE: Duration = Duration::from_secs(30);
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let many = MANY.min(usize::try_from(allowed.saturating_sub(SPARE)).unwrap());
    if many < MANY {
        eprintln!("{many} clients instead of {MANY}: the system allows {allowed} descriptors");
    }
    let mut server = Launch::chat()
        .set("DRAIN_BATCH", many.div_ceil(4))
        .set("DRAIN_INTERVAL", 200)
        .set("DRAIN_DEADLINE", DEADLINE.as_millis())
        .set("RUST_LOG", "info")
        .start();
    let clients: Vec<Bare> = (0..many).map(|number| Bare::open(server.port, number)).collect();
    server.signal("TERM");
    let begun = Instant::now();
    let codes: Vec<Option<u16>> = clients.into_iter().map(Bare::close_code).collect();
    let told = codes.iter().filter(|code| **code == Some(1012)).count();
    assert_eq!(told, many, "clients that got a close frame with 1012");
    exits_with_0(&mut server);
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    let log = server.log();
    assert_eq!(numbers(&log, "batch", "closed").iter().sum::<usize>(), many, "{log}");
    assert!(numbers(&log, "batch", "closed").len() >= 4, "{log}");
    assert_eq!(numbers(&log, "end", "connections"), [0], "{log}");
}
