//! Where a server listens, how many threads it has, and how it ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use actix_web::{App, HttpResponse, rt, web};
use tokio::sync::oneshot;

use super::{
    ALL, Server, Settings, Way,
    client::{CLOSE, Client, upgrade},
    identity, until,
};
use crate::Endpoint;

const SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

#[actix_web::test]
async fn a_server_that_is_stopped_closes_its_sockets_with_1012_answers_what_was_asked_and_ends() {
    for way in ALL {
        let server = way.start(Settings::default());
        let (mut socket, mut idle, mut late) =
            (server.connect().await, server.connect().await, server.connect().await);
        socket.upgrade("/echo/websocket").await;
        assert_eq!(idle.get("/facts").await.status(), "200", "{way:?}");
        late.send(upgrade("/echo/websocket?wait=1")).await;
        until(|| server.endpoint.node().connections.count() == 2).await;
        let (gate, endpoint) = (server.gate.clone(), server.endpoint.clone());
        let ended = rt::spawn(server.stop());
        assert_eq!(socket.reader.message().await, (CLOSE, SERVICE_RESTART.to_vec()), "{way:?}");
        assert_eq!(idle.reader.rest().await, b"", "{way:?}");
        assert!(!ended.is_finished(), "somebody is still asking");
        // let in while the server drains
        gate.add_permits(1);
        assert_eq!(late.reader.answer().await.status(), "101", "{way:?}");
        assert_eq!(late.reader.message().await, (CLOSE, SERVICE_RESTART.to_vec()), "{way:?}");
        ended.await.unwrap();
        assert_eq!(endpoint.node().connections.count(), 0, "{way:?}");
    }
}

#[actix_web::test]
async fn one_server_listens_on_several_addresses_and_each_worker_has_an_app_for_each() {
    let made = Arc::new(AtomicUsize::new(0));
    let (endpoint, count) = (Endpoint::new(), made.clone());
    let app = move || {
        count.fetch_add(1, Ordering::Relaxed);
        App::new().route("/", web::get().to(async || HttpResponse::Ok().body("here")))
    };
    let (config, tls) = identity();
    let server = Server::new(&endpoint, app)
        .workers(3)
        .bind(("127.0.0.1", 0))
        .unwrap()
        .bind_tls(("127.0.0.1", 0), config)
        .unwrap();
    let [plain, encrypted] = server.addrs()[..] else { panic!("not two addresses") };
    assert!(format!("{server:?}").contains(&encrypted.port().to_string()));
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = rt::spawn(server.run_until(async { _ = stopped.await }));
    let stream = rt::net::TcpStream::connect(plain).await.unwrap();
    assert_eq!(Client::new(stream, plain).get("/").await.text(), "here");
    let stream = rt::net::TcpStream::connect(encrypted).await.unwrap();
    let stream = tls.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(Client::new(stream, encrypted).get("/").await.text(), "here");
    assert_eq!(made.load(Ordering::Relaxed), 2 * 3);
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
}

#[actix_web::test]
async fn an_address_that_is_taken_is_an_error_and_so_is_to_listen_nowhere() {
    let server = Way::Server.start(Settings::default());
    let endpoint = Endpoint::new();
    let error = Server::new(&endpoint, App::new).bind(server.address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    // where one of several can be listened on, that one does
    let both = [server.address, "127.0.0.1:0".parse().unwrap()];
    assert_eq!(Server::new(&endpoint, App::new).bind(&both[..]).unwrap().addrs().len(), 1);
    let error = Server::new(&endpoint, App::new).bind(&[][..]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = Server::new(&endpoint, App::new).run().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    server.stop().await;
}

#[actix_web::test]
async fn a_callback_that_panics_ends_the_connection_that_it_was_called_for_and_no_other() {
    let (endpoint, called) = (Endpoint::new(), AtomicBool::new(false));
    let app = || App::new().route("/", web::get().to(async || "here"));
    let server = Server::new(&endpoint, app)
        .workers(1)
        .on_connect(move |_, _| assert!(called.swap(true, Ordering::Relaxed), "told to crash"))
        .bind(("127.0.0.1", 0))
        .unwrap();
    let address = server.addrs()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = rt::spawn(server.run_until(async { _ = stopped.await }));
    let mut first = Client::new(rt::net::TcpStream::connect(address).await.unwrap(), address);
    assert_eq!(first.reader.rest().await, b"");
    let mut second = Client::new(rt::net::TcpStream::connect(address).await.unwrap(), address);
    assert_eq!(second.get("/").await.text(), "here");
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
}
