//! Each mode against the floor: it must count what it was asked for, and nothing else.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};

use clap::Parser;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{Cli, Mode, connect, fanout, floor, frame, posts, rtt, storm, trust};

fn listener() -> TcpListener {
    floor::bind(([127, 0, 0, 1], 0).into()).unwrap()
}

/// Runs a mode against a floor of its own, which agrees to permessage-deflate; over TLS if the arguments say so.
async fn run<T>(arguments: &str, run: impl AsyncFnOnce(Mode) -> T) -> T {
    LocalSet::new()
        .run_until(async {
            let listener = listener();
            let mut addr = listener.local_addr().unwrap();
            spawn_local(floor::serve(listener, true));
            if arguments.contains("--tls") {
                addr = tls_before(addr);
            }
            let (addr, pid) = (addr.to_string(), std::process::id().to_string());
            let arguments = ["phxload"].into_iter().chain(arguments.split(' '));
            run(Cli::parse_from(arguments.chain(["--addr", &addr, "--pid", &pid])).mode).await
        })
        .await
}

/// A proxy that ends TLS.
fn tls_before(server: SocketAddr) -> SocketAddr {
    let made = trust::certificate().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (listener, acceptor) = (listener(), TlsAcceptor::from(Arc::new(config)));
    let addr = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            spawn_local(async move {
                let mut client = acceptor.accept(client).await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

async fn run_fanout(mode: Mode) -> fanout::Report {
    match mode {
        Mode::Fanout(fanout) => fanout.run().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn run_connect(mode: Mode) -> connect::Report {
    match mode {
        Mode::Connect(connect) => connect.run().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn run_rtt(mode: Mode) -> rtt::Report {
    match mode {
        Mode::Rtt(rtt) => rtt.run().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn run_posts(mode: Mode) -> posts::Report {
    match mode {
        Mode::Posts(posts) => posts.run().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn run_storm(mode: Mode) -> storm::Report {
    match mode {
        Mode::Storm(storm) => storm.run().await.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_subscriber_is_counted_once_for_each_message() {
    let report = run("fanout -n 20 --rate 50 --secs 1", run_fanout).await;
    assert_eq!((report.subscribers, report.failed, report.lost), (20, 0, 0));
    assert_eq!((report.delivered, report.deflated), (20 * 50, 0));
}

#[tokio::test]
async fn without_a_rate_each_message_waits_for_the_one_before() {
    let report = run("fanout -n 5 --rate 0 --count 30", run_fanout).await;
    assert_eq!((report.delivered, report.lost), (5 * 30, 0));
}

#[tokio::test]
async fn subscribers_of_another_node_connect_there_and_the_publisher_does_not() {
    let (report, connected) = LocalSet::new()
        .run_until(async {
            let listener = listener();
            let addr = listener.local_addr().unwrap();
            spawn_local(floor::serve(listener, false));
            let (other, connected) = other_way_to(addr);
            let (addr, other) = (addr.to_string(), other.to_string());
            let arguments = ["phxload", "fanout", "-n", "7", "--rate", "0", "--count", "3"];
            let arguments = arguments.into_iter().chain(["--addr", &addr, "--to", &other]);
            (run_fanout(Cli::parse_from(arguments).mode).await, connected.get())
        })
        .await;
    assert_eq!((report.subscribers, report.delivered, connected), (7, 7 * 3, 7));
}

/// An address that leads to a server, and how many came by it.
fn other_way_to(server: SocketAddr) -> (SocketAddr, Rc<Cell<usize>>) {
    let (listener, connected) = (listener(), Rc::new(Cell::new(0)));
    let (addr, count) = (listener.local_addr().unwrap(), connected.clone());
    spawn_local(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.set(count.get() + 1);
            spawn_local(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (addr, connected)
}

#[tokio::test]
async fn compressed_deliveries_are_counted_with_the_bytes_they_had_on_the_wire() {
    let payload = format!(r#"{{"message":"$T{}"}}"#, "a".repeat(1_000));
    let fanout = format!("fanout -n 4 --rate 0 --count 10 --payload {payload}");
    let plain = run(&fanout, run_fanout).await;
    let deflated = run(&format!("{fanout} --deflate"), run_fanout).await;
    assert_eq!((plain.delivered, plain.deflated), (4 * 10, 0));
    assert_eq!((deflated.delivered, deflated.deflated), (4 * 10, 4));
    assert!(plain.bytes_per_delivery > 1_000.0, "{plain:?}");
    assert!((30.0..200.0).contains(&deflated.bytes_per_delivery), "{deflated:?}");
}

#[tokio::test]
async fn every_poster_waits_for_its_own_posts_and_no_others_are_counted() {
    let report = run("posts -n 20 --count 15", run_posts).await;
    assert_eq!((report.failed, report.posts, report.refused), (0, 20 * 15, 0));
}

#[tokio::test]
async fn connections_join_and_heartbeats_are_answered() {
    let report = run("connect -n 20 --hold 0 --heartbeats 3 --close", run_connect).await;
    assert_eq!((report.joined, report.failed, report.closed), (20, 0, 20));
    let report = run("rtt -c 2 --secs 1 --pause 10", run_rtt).await;
    assert_eq!(report.failed, 0);
    assert!(report.replies > 10, "{report:?}");
    let report = run("rtt -c 2 --count 7", run_rtt).await;
    assert_eq!((report.failed, report.replies), (0, 14));
}

#[tokio::test]
async fn a_client_that_is_not_sent_the_event_it_waits_for_has_not_joined() {
    let report = run("connect -n 1 --hold 0 --until phx_reply", run_connect).await;
    assert_eq!((report.joined, report.failed), (1, 0));
    let report = run("connect -n 1 --hold 0 --until load_messages --patience 1", run_connect).await;
    assert_eq!((report.joined, report.failed), (0, 1));
}

#[tokio::test]
async fn a_storm_ends_when_all_have_joined_from_whatever_address() {
    let report = run("storm -n 50 --per-address 10", run_storm).await;
    assert_eq!((report.joined, report.refused), (50, 0));
    assert!(report.wall_ms > 0.0, "{report:?}");
}

#[tokio::test]
async fn all_works_over_tls_with_a_certificate_that_nobody_vouches_for() {
    let report = run("connect -n 5 --hold 0 --heartbeats 2 --tls", run_connect).await;
    assert_eq!((report.joined, report.failed), (5, 0));
    let report = run("fanout -n 5 --rate 0 --count 4 --tls --deflate", run_fanout).await;
    assert_eq!((report.delivered, report.deflated), (20, 5));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_no_server_over_tls() {
    let report = LocalSet::new()
        .run_until(async {
            let listener = listener();
            let addr = listener.local_addr().unwrap().to_string();
            spawn_local(floor::serve(listener, false));
            run_storm(
                Cli::parse_from(["phxload", "storm", "-n", "2", "--tls", "--patience", "1", "--addr", &addr])
                    .mode,
            )
            .await
        })
        .await;
    assert_eq!((report.joined, report.refused), (0, 2));
}

#[test]
fn what_is_masked_comes_out_of_its_frame_whatever_its_length() {
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let text = vec![b'x'; length];
        let wire = frame::masked(&text);
        let found = frame::find(&wire).unwrap();
        assert_eq!((found.opcode, found.to), (frame::TEXT, wire.len()));
        assert_eq!(frame::unmask(&wire, &found), text);
        assert_eq!(frame::find(&wire[..wire.len() - 1]), None);
    }
}
