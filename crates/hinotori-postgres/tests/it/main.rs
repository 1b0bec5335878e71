//! The adapter on a PostgreSQL that is cut, killed and stopped.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../../tests/it/instance.rs"]
mod instance;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hinotori::{
    cluster::{Adapter, BoxFuture, Me, NodeId, Sink, Why},
    testing::adapter::{Engine, conformance, nodes},
};
use hinotori_postgres::Postgres;
use instance::{Frozen, Instance, PASSWORD};
use tokio::{sync::mpsc, time::timeout};

/// How long to wait for what must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that a test may disturb.
struct Server {
    instance: Instance,
    frozen: Mutex<Option<Frozen>>,
}

impl Server {
    fn new() -> Self {
        Self { instance: Instance::new(), frozen: Mutex::default() }
    }

    fn address(&self) -> String {
        self.instance.address("postgres", PASSWORD, "postgres")
    }
}

impl Engine for Server {
    type Adapter = Postgres;

    fn adapter(&self) -> Postgres {
        Postgres::new(&self.address()).unwrap()
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'hinotori:%'";
        Box::pin(async { assert_ne!(self.instance.sql("postgres", cut), "0") })
    }

    fn hang(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { *self.frozen.lock().unwrap() = Some(self.instance.freeze()) })
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { *self.frozen.lock().unwrap() = None })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.instance.crash();
            self.instance.start();
        })
    }
}

#[actix_web::test]
async fn it_does_what_every_engine_must() {
    conformance(&Server::new()).await;
}

#[actix_web::test]
async fn endpoints_on_it_are_one_server() {
    nodes(&Server::new()).await;
}

/// A sink that tells what it gets.
struct Told(mpsc::UnboundedSender<String>);

impl Sink for Told {
    fn frame(&self, frame: Bytes) {
        let _ = self.0.send(String::from_utf8_lossy(&frame).into_owned());
    }

    fn up(&self) {
        let _ = self.0.send("up".to_owned());
    }

    fn down(&self, why: Why) {
        let _ = self.0.send(format!("down: {why}"));
    }
}

/// An adapter that runs until it is dropped.
struct Running {
    postgres: Arc<Postgres>,
    told: mpsc::UnboundedReceiver<String>,
    run: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Running {
    fn start(postgres: Postgres) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (postgres, (tell, told)) = (Arc::new(postgres), mpsc::unbounded_channel());
        let me = Me::new(NodeId(id.into()), &format!("node {id}"));
        let run = tokio::spawn(postgres.clone().run(me, Arc::new(Told(tell))));
        Self { postgres, told, run }
    }

    async fn next(&mut self) -> String {
        timeout(PATIENCE, self.told.recv()).await.expect("it is told something").unwrap()
    }
}

#[actix_web::test]
async fn clusters_of_different_names_in_one_database_do_not_hear_each_other() {
    let database = Instance::shared().database();
    let adapter = || Postgres::new(&database.address()).unwrap();
    let mut one = Running::start(adapter());
    let mut other = Running::start(adapter().prefix("an \"other\""));
    for node in [&mut one, &mut other] {
        assert_eq!(node.next().await, "up");
    }
    one.postgres.publish("of one".into()).unwrap();
    assert_eq!(one.next().await, "of one");
    other.postgres.publish("of the other".into()).unwrap();
    assert_eq!(other.next().await, "of the other");
    let names =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'hinotori:node %' AND datname = ";
    assert_eq!(database.sql(&format!("{names}'{}'", database.name)), "4");
}

#[actix_web::test]
async fn frames_of_any_size_arrive_from_someone_who_may_only_connect() {
    let database = Instance::shared().database();
    let user = format!("guest_{}", database.name);
    database.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'guest'"));
    let address = database.instance.address(&user, "guest", &database.name);
    let mut node = Running::start(Postgres::new(&address).unwrap());
    assert_eq!(node.next().await, "up");
    for length in [0, 1, 5_988, 5_989, 5_990, 8_000, 3 * 1024 * 1024] {
        let frame = "a".repeat(length);
        // equal frames are sent as often as they are published
        for _ in 0..2 {
            node.postgres.publish(frame.clone().into()).unwrap();
        }
        for _ in 0..2 {
            assert!(node.next().await == frame, "a frame of {length} bytes has changed");
        }
    }
    database.sql(&format!("DROP ROLE {user}"));
}

#[actix_web::test]
async fn why_there_is_no_connection_is_told_without_the_password_and_it_is_tried_again() {
    let instance = Instance::shared();
    let address = instance.address("postgres", "wr0ng", "postgres");
    let mut stranger = Running::start(Postgres::new(&address).unwrap());
    for _ in 0..2 {
        let why = stranger.next().await;
        assert!(why.contains("cannot connect") && why.contains("28P01") && !why.contains("wr0ng"), "{why}");
    }
    let shown = format!("{:?}", stranger.postgres);
    assert!(!shown.contains("wr0ng"), "{shown}");
}

#[actix_web::test]
async fn a_database_that_hangs_is_given_up_and_used_again_when_it_goes_on() {
    let server = Server::new();
    let mut node = Running::start(server.adapter());
    assert_eq!(node.next().await, "up");
    let frozen = server.instance.freeze();
    node.postgres.publish("lost".into()).unwrap();
    // it has not answered for 3 s
    let why = node.next().await;
    assert!(why.starts_with("down: connection lost"), "{why}");
    let why = node.next().await;
    assert!(why.starts_with("down: cannot connect"), "{why}");
    drop(frozen);
    while node.next().await != "up" {}
}
