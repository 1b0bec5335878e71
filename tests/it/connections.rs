//! How many connections a server takes, and that each of them is given back.

use std::{
    io::{Read, Write},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    frame::{CLOSE, TEXT, header, masked},
    http::get,
    metrics::comes_to,
    poller::Poller,
    server::{Launch, Server},
};

const WEBSOCKET: &str = "/socket/websocket?vsn=2.0.0";
const LONG_POLL: &str = "/socket/longpoll?vsn=2.0.0";

fn with_room_for(connections: usize) -> Server {
    with_room(Launch::reference(), connections)
}

fn with_room(launch: Launch, connections: usize) -> Server {
    launch.set("MAX_CONNECTIONS", connections).set("WORKERS", 3).start()
}

#[test]
fn of_many_that_connect_at_once_exactly_as_many_get_in_as_there_is_room_for() {
    const ROOM: usize = 20;
    const CLIENTS: usize = 60;
    let server = with_room_for(ROOM);
    let start = Barrier::new(CLIENTS);
    let upgrades: Vec<Upgrade> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    Upgrade::request(server.port, WEBSOCKET, &[]).unwrap()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let (inside, outside): (Vec<_>, Vec<_>) = upgrades.into_iter().partition(|upgrade| upgrade.status == 101);
    assert_eq!((inside.len(), outside.len()), (ROOM, CLIENTS - ROOM));
    for refused in outside {
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    }
    comes_to(&server, "hinotori_connections_refused_total{reason=\"full\"}", (CLIENTS - ROOM) as f64);
    for client in inside {
        Client::over(client).join("1", "ref:room");
    }
}

#[test]
fn a_full_server_refuses_long_polls_as_well_and_keeps_serving_those_inside_and_plain_requests() {
    let server = with_room_for(2);
    let mut websocket = Client::joined(server.port, "ref:room");
    let mut poller = Poller::open(server.port, "/socket");
    for path in [LONG_POLL, "/auth/longpoll?vsn=2.0.0"] {
        let refused = get(server.port, path, &[]);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    }
    assert_eq!(Upgrade::request(server.port, "/small/websocket?vsn=2.0.0", &[]).unwrap().status, 503);
    assert_eq!(get(server.port, "/", &[]).text(), "ok");
    poller.posts(&[json!(["1", "1", "ref:room", "phx_join", {}])], 200);
    assert_eq!(poller.messages()[0][3], "phx_reply");
    websocket.beat();
}

/// The one place of the server is free again, or will be soon.
fn has_room(server: &Server, after: &str) -> Upgrade {
    let until = Instant::now() + PATIENCE;
    loop {
        let upgrade = Upgrade::request(server.port, WEBSOCKET, &[]).unwrap();
        if upgrade.status == 101 {
            return upgrade;
        }
        assert_eq!(upgrade.status, 503);
        assert!(Instant::now() < until, "the place is still taken after {after}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_place_is_free_again_however_a_connection_ends() {
    Launch::on_both(|launch| {
        type End<'a> = &'a dyn Fn(&mut Client);
        let server = with_room(launch, 1);
        let endings: [(&str, End); 7] = [
            ("a close", &|client| client.bytes(&masked(true, CLOSE, &1000_u16.to_be_bytes()))),
            ("a frame without a mask", &|client| client.bytes(b"\x81\x02[]")),
            ("a frame too long", &|client| client.bytes(&header(0x80 | TEXT, 1 << 40))),
            ("a message that does not decode", &|client| client.text("no message")),
            ("half a frame and the end", &|client| client.bytes(&masked(true, TEXT, b"half")[..5])),
            ("a crash of its channel and the end", &|client| {
                client.send(&json!(["1", "2", "ref:room", "crash", {}]))
            }),
            ("a long callback and the end", &|client| {
                client.send(&json!(["1", "2", "ref:room", "sleep", {"ms": 60_000}]));
            }),
        ];
        for (how, end) in endings {
            let mut client = Client::over(has_room(&server, how));
            client.join("1", "ref:room");
            end(&mut client);
            drop(client);
            has_room(&server, how);
        }
    });
}

#[test]
fn a_place_is_free_again_when_a_client_is_silent_or_stays_away() {
    Launch::on_both(|launch| {
        let server = with_room(launch, 1);
        let silent = Client::open(server.port, "/idle/websocket?vsn=2.0.0");
        silent.closes(1002);
        has_room(&server, "silence");
        drop(silent);
        let until = Instant::now() + PATIENCE;
        // the place may be taken for a moment more
        while get(server.port, "/idle/longpoll?vsn=2.0.0", &[]).status == 503 {
            assert!(Instant::now() < until);
        }
        has_room(&server, "a long poll that was not polled");
    });
}

#[test]
fn a_client_that_is_not_let_in_takes_no_place() {
    let server = with_room_for(1);
    for _ in 0..3 {
        let refused = get(server.port, "/auth/longpoll?vsn=2.0.0", &[("origin", "http://else.where")]);
        assert_eq!(refused.text(), r#"{"status":403}"#);
    }
    let none: &[(&str, &[&str])] = &[];
    let refused = [
        ("/auth/websocket?vsn=2.0.0&deny=true", none, 403),
        ("/auth/websocket?vsn=2.0.0&deny=crash", none, 500),
        ("/auth/websocket?vsn=2.0.0", &[("Sec-WebSocket-Version", &["12"])], 400),
        ("/socket/websocket?vsn=9.0.0", none, 403),
        ("/socket/websocket?vsn=2.0.0", &[("Sec-WebSocket-Key", &[])], 400),
    ];
    for (path, headers, status) in refused.into_iter().cycle().take(20) {
        let until = Instant::now() + PATIENCE;
        loop {
            let upgrade = Upgrade::request(server.port, path, headers).unwrap();
            if upgrade.status == status {
                break;
            }
            assert!(upgrade.status == 503 && Instant::now() < until, "{path}: {}", upgrade.status);
        }
    }
    has_room(&server, "those who were not let in");
}

#[test]
fn a_client_that_is_gone_before_it_is_answered_takes_no_place() {
    Launch::on_both(|launch| {
        let server = with_room(launch, 1);
        for _ in 0..20 {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            let request = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
        }
        let mut stream = has_room(&server, "20 that went at once").stream;
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "it is open");
    });
}
