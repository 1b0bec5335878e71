//! Plain HTTP is as under actix-web's own server: what a handler sees, what an application does, how long a client may take.

use std::time::Duration;

use actix_web::rt::{
    net::TcpStream,
    time::{sleep, timeout},
};
use serde_json::{Value, json};

use super::{
    ALL, PATIENCE, SERVER, Settings, Way,
    client::{TEXT, frame, get, upgrade},
};

/// How long a peer may take nothing.
const PATIENT: Duration = Duration::from_secs(20);

/// A time that passes soon.
const SOON: Duration = Duration::from_millis(300);

#[actix_web::test]
async fn a_handler_sees_its_server_its_connection_and_its_application_and_the_connection_is_set_up() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        let facts: Value = serde_json::from_slice(&client.get("/facts").await.body).unwrap();
        let address = server.address.to_string();
        let scheme = if way.is_tls() { "https" } else { "http" };
        let expected = json!({
            "secure": way.is_tls(),
            "host": address,
            "local": address,
            "url": format!("{scheme}://localhost/facts"),
            "peer": client.local,
            "of_connection": (client.local, (true, PATIENT)),
            "of_application": "of the application",
        });
        assert_eq!(facts, expected, "{way:?}");
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_websocket_of_the_applications_own_is_left_to_it() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        client.upgrade("/own").await;
        for n in 0..3 {
            client.send(frame(TEXT, format!("{n}").as_bytes())).await;
            assert_eq!(client.reader.message().await, (TEXT, format!("own: {n}").into_bytes()), "{way:?}");
        }
        assert_eq!(server.endpoint.node().connections.count(), 0, "it is none of the endpoint's");
        drop(client);
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_middleware_sees_the_request_of_a_socket_and_what_it_adds_is_in_the_head_of_the_answer() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        assert_eq!(client.get("/facts").await.header("x-seen"), Some("/facts"), "{way:?}");
        let answer = client.upgrade("/echo/websocket").await;
        assert_eq!(answer.header("x-seen"), Some("/echo/websocket"), "{way:?}");
        client.beat().await;
        server.stop().await;
    }
}

#[actix_web::test]
async fn requests_that_precede_a_sockets_on_its_connection_are_answered_first_and_in_order() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        let body = vec![b'x'; 1_000_000];
        let head = "POST /length HTTP/1.1\r\nHost: localhost\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n", body.len())).await;
        client.send(&body).await;
        assert_eq!(client.reader.answer().await.text(), body.len().to_string(), "{way:?}");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        client.send([get("/stream?chunks=2"), chunked, get("/nowhere")].concat()).await;
        let ask = upgrade("/echo/websocket");
        // while one is to be answered, actix-http takes its payload for that of the request before, and ends the connection
        // after that; that of a socket is not actix-http's any more by then
        let is_pipelined = SERVER.contains(&way);
        if is_pipelined {
            client.send(&ask).await;
        }
        assert_eq!(client.reader.answer().await.body.len(), 2 * 64 * 1024, "{way:?}");
        assert_eq!(client.reader.answer().await.text(), "5", "{way:?}");
        assert_eq!(client.reader.answer().await.status(), "404", "{way:?}");
        if !is_pipelined {
            client.send(&ask).await;
        }
        assert_eq!(client.reader.answer().await.status(), "101", "{way:?}");
        client.beat().await;
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_head_that_never_ends_is_answered_with_408() {
    for way in ALL {
        let server = way.start(Settings { request_timeout: SOON, ..Settings::default() });
        let mut client = server.connect().await;
        client.send("GET /facts HTTP/1.1\r\nX-Slow: ").await;
        let (reader, writer) = (&mut client.reader, &mut client.writer);
        let drip = async {
            loop {
                writer.send("x").await;
                sleep(SOON / 20).await;
            }
        };
        let answer = tokio::select! {
            answer = reader.answer() => answer,
            () = drip => unreachable!("it never ends"),
        };
        assert_eq!(answer.status(), "408", "{way:?}");
        assert_eq!(reader.rest().await, b"", "{way:?}");
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_connection_that_stays_idle_after_its_answer_is_closed_and_that_of_a_socket_is_not() {
    for way in ALL {
        let server = way.start(Settings { keep_alive: SOON, request_timeout: SOON, ..Settings::default() });
        let (mut idle, mut socket) = (server.connect().await, server.connect().await);
        socket.upgrade("/echo/websocket").await;
        assert_eq!(idle.get("/facts").await.status(), "200", "{way:?}");
        assert_eq!(idle.reader.rest().await, b"", "{way:?}");
        socket.beat().await;
        server.stop().await;
    }
}

/// actix-server's own bound on handshakes of a worker, which keeps further clients waiting.
const HANDSHAKES: usize = 256;

#[actix_web::test]
async fn clients_that_stall_in_the_handshake_of_tls_keep_nobody_out() {
    rlimit::increase_nofile_limit(8 * HANDSHAKES as u64).unwrap();
    let server = Way::ServerTls.start(Settings::default());
    let mut stalled = vec![];
    for _ in 0..=HANDSHAKES {
        stalled.push(TcpStream::connect(server.address).await.unwrap());
    }
    // connections are accepted in their order, so that all of them are in their handshake
    let mut client = server.connect().await;
    client.upgrade("/echo/websocket").await;
    client.beat().await;
    drop(stalled);
    server.stop().await;
}

#[actix_web::test]
async fn a_client_that_stalls_in_the_handshake_of_tls_is_dropped() {
    let server = Way::ServerTls.start(Settings { handshake_timeout: SOON, ..Settings::default() });
    let stream = TcpStream::connect(server.address).await.unwrap();
    let dropped = async {
        while stream.readable().await.is_ok() && stream.try_read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    };
    timeout(PATIENCE, dropped).await.expect("it is not dropped");
    server.stop().await;
}
