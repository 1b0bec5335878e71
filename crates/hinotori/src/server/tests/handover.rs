//! From HTTP to a WebSocket on one stream: not a byte is lost, added or out of order, and nothing of HTTP is left.

use std::{
    any::Any,
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_service::{Service, ServiceFactory};
use actix_web::{
    App,
    dev::Extensions,
    rt::{self, task::yield_now, time::timeout},
};
use futures_util::future::{join, join3};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use super::{
    ALL, PATIENCE, SERVER, Settings, Way, app,
    client::{BINARY, CLOSE, Client, PING, PONG, frame, get, upgrade},
    until,
};
use crate::{
    Endpoint,
    server::Http,
    socket::Stream,
    transport::{TakeOver, Transport},
};

const ECHO: &str = "/echo/websocket";

/// So many messages of up to 1,000 bytes, as frames.
fn messages(count: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let payloads: Vec<Vec<u8>> = (0..count).map(|n| format!("{n:0$}", 8 + n * 37 % 1_000).into()).collect();
    (payloads.iter().flat_map(|payload| frame(BINARY, payload)).collect(), payloads)
}

async fn expect(client: &mut Client, payloads: &[Vec<u8>], context: &str) {
    for payload in payloads {
        assert_eq!(client.reader.message().await, (BINARY, payload.clone()), "{context}");
    }
}

#[actix_web::test]
async fn messages_that_come_with_the_request_cut_anywhere_are_answered_in_order() {
    let request = upgrade(ECHO);
    let (frames, payloads) = messages(4);
    let all = [request.as_bytes(), &frames].concat();
    for way in ALL {
        let server = way.start(Settings::default());
        // every other place with TLS, whose handshakes take long
        for cut in (1..=all.len()).step_by(if way.is_tls() { 9 } else { 1 }) {
            let context = format!("{way:?} cut at {cut}");
            let mut client = server.connect().await;
            let (first, second) = all.split_at(cut);
            client.send(first).await;
            if cut < request.len() {
                yield_now().await;
                client.send(second).await;
                assert_eq!(client.reader.answer().await.status(), "101", "{context}");
            } else {
                assert_eq!(client.reader.answer().await.status(), "101", "{context}");
                client.send(second).await;
            }
            expect(&mut client, &payloads, &context).await;
        }
        server.stop().await;
    }
}

#[actix_web::test]
async fn more_than_any_buffer_of_http_holds_may_come_behind_the_request() {
    for way in ALL {
        let server = way.start(Settings::default());
        for count in [100, 1_500] {
            let mut client = server.connect().await;
            let (frames, payloads) = messages(count);
            let all = [upgrade(ECHO).as_bytes(), &frames].concat();
            let (reader, writer) = (&mut client.reader, &mut client.writer);
            let read = async {
                assert_eq!(reader.answer().await.status(), "101", "{way:?}");
                for payload in &payloads {
                    assert_eq!(reader.message().await, (BINARY, payload.clone()), "{way:?}");
                }
            };
            join(writer.send(&all), read).await;
        }
        server.stop().await;
    }
}

#[actix_web::test]
async fn what_comes_while_the_application_decides_is_answered_once_the_socket_is_let_in() {
    for way in ALL {
        let server = way.start(Settings::default());
        for count in [1, 100, 1_500] {
            let mut client = server.connect().await;
            let (frames, payloads) = messages(count);
            client.send(upgrade(&format!("{ECHO}?wait=1"))).await;
            until(|| server.endpoint.node().connections.count() == 1).await;
            let (reader, writer) = (&mut client.reader, &mut client.writer);
            let let_in = async {
                // as much has come by then as there is room for
                for _ in 0..100 {
                    yield_now().await;
                }
                server.gate.add_permits(1);
            };
            let read = async {
                assert_eq!(reader.answer().await.status(), "101", "{way:?}");
                for payload in &payloads {
                    assert_eq!(reader.message().await, (BINARY, payload.clone()), "{way:?}");
                }
            };
            join3(writer.send(&frames), let_in, read).await;
            drop(client);
            until(|| server.endpoint.node().connections.count() == 0).await;
        }
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_client_that_has_said_all_with_its_request_is_answered_before_its_connection_ends() {
    for way in ALL {
        let server = way.start(Settings::default());
        let mut client = server.connect().await;
        let all = [upgrade(ECHO).into_bytes(), frame(PING, b"1"), frame(PING, b"2"), frame(CLOSE, b"")];
        client.send(all.concat()).await;
        client.writer.shutdown().await;
        assert_eq!(client.reader.answer().await.status(), "101", "{way:?}");
        for ping in [b"1", b"2"] {
            assert_eq!(client.reader.message().await, (PONG, ping.to_vec()), "{way:?}");
        }
        assert_eq!(client.reader.message().await, (CLOSE, vec![]), "{way:?}");
        assert_eq!(client.reader.rest().await, b"", "{way:?}");
        until(|| server.endpoint.node().connections.count() == 0).await;
        server.stop().await;
    }
}

#[actix_web::test]
async fn nothing_of_a_socket_precedes_the_head_of_its_answer_however_slowly_that_is_read() {
    // far more than the system keeps of it
    const CHUNKS: usize = 8;
    for way in ALL {
        let server = way.start(Settings { is_narrow: true, ..Settings::default() });
        let mut client = server.connect().await;
        let (frames, payloads) = messages(20);
        let before = get(&format!("/stream?chunks={CHUNKS}"));
        let all = [before.as_bytes(), upgrade(ECHO).as_bytes(), &frames].concat();
        client.send(all).await;
        // the answer that precedes fills the connection, so that the head cannot leave at once
        assert_eq!(client.reader.answer().await.body.len(), CHUNKS * 64 * 1024, "{way:?}");
        assert_eq!(client.reader.answer().await.status(), "101", "{way:?}");
        expect(&mut client, &payloads, &format!("{way:?}")).await;
        client.beat().await;
        server.stop().await;
    }
}

/// A stream that writes, and is flushed, only when the test lets it.
struct Gated {
    tcp: TcpStream,
    stream: DuplexStream,
    writes: Rc<Cell<bool>>,
    flushes: Rc<Cell<bool>>,
}

impl Gated {
    fn poll(gate: &Cell<bool>, cx: &Context<'_>) -> Poll<()> {
        if gate.get() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Self::poll(&self.writes, cx));
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll(&self.flushes, cx).map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Transport for Gated {
    fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl From<Gated> for Stream {
    fn from(stream: Gated) -> Self {
        Self::Other(Box::new(stream))
    }
}

/// This is what `takeover.rs` takes from actix-http's dispatcher for granted.
#[actix_web::test]
async fn a_stream_changes_hands_when_the_head_of_the_answer_has_been_flushed_and_not_before() {
    let (endpoint, gate, of_http) = (Endpoint::new(), Arc::new(Semaphore::new(0)), Arc::new(()));
    let data = of_http.clone();
    let http = Http {
        on_connect: Some(Arc::new(move |_: &dyn Any, of_connection: &mut Extensions| {
            of_connection.insert(data.clone());
        })),
        ..Http::default()
    };
    let app = App::new().configure(|config| app::configure(config, &endpoint, gate));
    let closing = watch::Sender::new(false);
    let signal = closing.subscribe();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TakeOver(http.service::<Gated, _, _, _>(app, signal, address, false));
    let service = ServiceFactory::<Gated>::new_service(&service, ()).await.unwrap();

    let (near, far) = duplex(100_000);
    let [writes, flushes] = [(); 2].map(|()| Rc::new(Cell::new(false)));
    let tcp = TcpStream::connect(address).await.unwrap();
    let gated = Gated { tcp, stream: near, writes: writes.clone(), flushes: flushes.clone() };
    let connection = service.call(gated);
    let counts = Arc::strong_count(&of_http);
    rt::spawn(async { _ = connection.await });
    let mut client = Client::new(far, address);
    client.send([upgrade(ECHO).into_bytes(), frame(PING, b"1")].concat()).await;
    until(|| endpoint.node().connections.count() == 1).await;
    // it comes when HTTP reads no more, and must not be lost with it
    client.send(frame(PING, b"2")).await;
    yield_now().await;
    assert_eq!(Arc::strong_count(&of_http), counts, "HTTP still has the stream");
    writes.set(true);
    assert_eq!(client.reader.answer().await.status(), "101");
    yield_now().await;
    assert_eq!(Arc::strong_count(&of_http), counts, "HTTP still has the stream");
    flushes.set(true);
    for ping in [b"1", b"2"] {
        assert_eq!(client.reader.message().await, (PONG, ping.to_vec()));
    }
    assert_eq!(Arc::strong_count(&of_http), counts - 1, "HTTP is gone");
}

#[actix_web::test]
async fn nothing_of_http_is_left_once_a_socket_has_its_stream() {
    for way in SERVER {
        let mut server = way.start(Settings::default());
        let mut client = server.connect().await;
        client.get("/facts").await;
        assert!(server.gone.is_empty());
        client.upgrade(ECHO).await;
        client.beat().await;
        // the dispatcher had it, and all that hangs on it
        let gone = timeout(PATIENCE, server.gone.recv()).await;
        assert_eq!(gone.expect("it is kept"), Some(client.local), "{way:?}");
        client.beat().await;
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_refused_upgrade_gets_an_ordinary_answer_the_same_as_under_http_server() {
    let answers = async |way: Way| {
        let server = way.start(Settings {
            endpoint: Endpoint::builder().max_connections(1).build(),
            ..Settings::default()
        });
        let mut only = server.connect().await;
        let mut answers = vec![];
        let missing = "GET /echo/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
        let denied = upgrade(&format!("{ECHO}?deny=1"));
        for (request, status) in [(missing, "400"), (denied, "403"), (upgrade(ECHO), "503")] {
            if status == "503" {
                only.upgrade(ECHO).await;
            }
            let mut client = server.connect().await;
            client.send(&request).await;
            let answer = client.reader.answer().await;
            assert_eq!(answer.status(), status, "{way:?}");
            // after a request for an upgrade all that comes is its payload (actix-http), so that nothing can follow it
            let is_last = answer.header("connection") == Some("close");
            assert_eq!(is_last, request.contains("Upgrade"), "{way:?} {answer:?}");
            if is_last {
                client.writer.shutdown().await;
                assert_eq!(client.reader.rest().await, b"", "{way:?}");
            } else {
                assert_eq!(client.get("/facts").await.status(), "200", "{way:?}");
            }
            let mut lines: Vec<&str> =
                answer.head.lines().filter(|line| !line.starts_with("date: ")).collect();
            lines.sort_unstable();
            answers.push(format!("{}{}", lines.join("\n"), answer.text()));
        }
        server.stop().await;
        answers
    };
    let expected = answers(Way::HttpServer).await;
    for way in [Way::Server, Way::ServerTls, Way::HttpServerTls] {
        assert_eq!(answers(way).await, expected, "{way:?}");
    }
}
