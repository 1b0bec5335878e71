//! The adapter on a Redis that is cut, killed and stopped.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../../tests/it/redis_instance.rs"]
mod instance;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hinotori::{
    cluster::{Adapter, BoxFuture, Me, NodeId, Sink, Why},
    testing::adapter::{Engine, conformance, nodes},
};
use hinotori_redis::Redis;
use instance::{Instance, PASSWORD};
use tokio::{sync::mpsc, time::timeout};

/// How long to wait for what must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and how its nodes connect to it.
struct Server {
    instance: Instance,
    address: String,
}

impl Server {
    fn new() -> Self {
        let instance = Instance::new();
        Self { address: instance.address(PASSWORD), instance }
    }

    fn with_tls() -> Self {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let instance = Instance::with_tls(&identity.cert.pem(), &identity.signing_key.serialize_pem());
        Self { address: instance.tls_address(), instance }
    }
}

impl Engine for Server {
    type Adapter = Redis;

    fn adapter(&self) -> Redis {
        Redis::new(&self.address).unwrap()
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { assert_ne!(self.instance.command("CLIENT KILL TYPE pubsub"), ":0\r\n") })
    }

    fn hang(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.instance.freeze() })
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.instance.thaw() })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.instance.restart() })
    }
}

#[actix_web::test]
async fn it_does_what_every_engine_must() {
    conformance(&Server::new()).await;
}

#[actix_web::test]
async fn it_does_so_over_tls() {
    conformance(&Server::with_tls()).await;
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
    redis: Arc<Redis>,
    told: mpsc::UnboundedReceiver<String>,
    run: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Running {
    fn start(redis: Redis) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (redis, (tell, told)) = (Arc::new(redis), mpsc::unbounded_channel());
        let me = Me::new(NodeId(id.into()), &format!("node {id}"));
        let run = tokio::spawn(redis.clone().run(me, Arc::new(Told(tell))));
        Self { redis, told, run }
    }

    async fn next(&mut self) -> String {
        timeout(PATIENCE, self.told.recv()).await.expect("it is told something").unwrap()
    }
}

#[actix_web::test]
async fn clusters_of_different_names_on_one_server_do_not_hear_each_other() {
    let server = Server::new();
    let mut one = Running::start(server.adapter());
    let mut other = Running::start(server.adapter().prefix("other"));
    for node in [&mut one, &mut other] {
        assert_eq!(node.next().await, "up");
    }
    one.redis.publish("of one".into()).unwrap();
    assert_eq!(one.next().await, "of one");
    other.redis.publish("of the other".into()).unwrap();
    assert_eq!(other.next().await, "of the other");
    let clients = server.instance.command("CLIENT LIST TYPE pubsub");
    assert_eq!(clients.matches("name=hinotori:node-").count(), 2, "{clients}");
}

#[actix_web::test]
async fn why_there_is_no_connection_is_told_without_the_password_and_it_is_tried_again() {
    let instance = Instance::new();
    let mut stranger = Running::start(Redis::new(&instance.address("wr0ng")).unwrap());
    for _ in 0..2 {
        let why = stranger.next().await;
        assert!(why.contains("cannot connect") && !why.contains("wr0ng"), "{why}");
    }
    // a certificate that is not trusted
    let server = Server::with_tls();
    let untrusted = server.address.split_once('?').unwrap().0;
    let why = Running::start(Redis::new(untrusted).unwrap()).next().await;
    assert!(why.contains("certificate") && !why.contains(PASSWORD), "{why}");
    // nobody is there
    let address = instance.address(PASSWORD);
    drop(instance);
    let mut early = Running::start(Redis::new(&address).unwrap());
    let why = early.next().await;
    assert!(why.contains("refused") && !why.contains(PASSWORD), "{why}");
}

#[actix_web::test]
async fn a_server_that_hangs_is_given_up_and_used_again_when_it_goes_on() {
    let server = Server::new();
    let mut node = Running::start(server.adapter());
    assert_eq!(node.next().await, "up");
    server.instance.freeze();
    node.redis.publish("lost".into()).unwrap();
    // it has not answered for 3 s
    let why = node.next().await;
    assert!(why.starts_with("down: connection lost"), "{why}");
    let why = node.next().await;
    assert!(why.starts_with("down: cannot connect"), "{why}");
    server.instance.thaw();
    while node.next().await != "up" {}
}
