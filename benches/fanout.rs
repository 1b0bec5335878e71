//! A broadcast to up to 10,000 subscribers of one worker, without the network: `cargo bench --bench fanout`.
//!
//! The sockets are real: handshake, frames, session, channel and outbox. `queued` is the broadcast alone, as it holds up
//! its sender; `taken` adds what each connection's transport does before it writes.

#![allow(missing_docs, reason = "a benchmark")]

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use actix_http::Payload as Body;
use actix_web::{
    App, Error,
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceResponse},
    rt::System,
    test::{self, TestRequest},
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{StreamExt, stream};
use hinotori::{
    Channel, ConnectInfo, Endpoint, Join, Params, Payload, Refused, Routes, SocketHandler, SocketOptions,
};
use serde_json::json;

struct Socket;

impl SocketHandler for Socket {
    async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

struct Room;

impl Channel for Room {
    type Socket = Socket;
    type Info = ();

    async fn join(_: &str, _: Payload, _: &mut hinotori::Context<Self>) -> hinotori::Result<Join<Self>> {
        Join::ok(Self)
    }
}

/// The join of `room:1`, as a masked frame; the mask is zero.
fn join() -> Bytes {
    let text = br#"["1","1","room:1","phx_join",{}]"#;
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], &text[..]].concat().into()
}

/// A client that has joined: what its transport would write comes out of its response's body.
async fn subscriber<S>(app: &S) -> Pin<Box<BoxBody>>
where
    S: Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let mut request = TestRequest::get()
        .uri("/socket/websocket?vsn=2.0.0")
        .insert_header(("host", "localhost"))
        .insert_header(("connection", "upgrade"))
        .insert_header(("upgrade", "websocket"))
        .insert_header(("sec-websocket-version", "13"))
        .insert_header(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
        .to_request();
    // the client stays connected and says nothing more
    let said = stream::iter([Ok(join())]).chain(stream::pending());
    *request.payload() = Body::Stream { payload: Box::pin(said) };
    let mut body = Box::pin(test::call_service(app, request).await.into_body());
    while take(&mut body) == 0 {
        actix_web::rt::task::yield_now().await;
    }
    body
}

/// Takes what is to be written, and returns how many bytes it is.
fn take(body: &mut Pin<Box<BoxBody>>) -> usize {
    let mut taken = 0;
    while let Poll::Ready(Some(Ok(bytes))) = body.as_mut().poll_next(&mut Context::from_waker(Waker::noop()))
    {
        taken += bytes.len();
    }
    taken
}

fn fan_out(c: &mut Criterion) {
    let system = System::new();
    let mut group = c.benchmark_group("fan-out");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for subscribers in [1, 100, 1_000, 10_000] {
        let endpoint = Endpoint::new();
        let mut bodies = system.block_on(async {
            let app = test::init_service(
                App::new().configure(endpoint.socket::<Socket>("/socket", SocketOptions::default())),
            )
            .await;
            let mut bodies = Vec::with_capacity(subscribers);
            for _ in 0..subscribers {
                bodies.push(subscriber(&app).await);
            }
            bodies
        });
        let payload = json!({ "body": "a message of some sixty bytes, as they are in a chat" });
        group.throughput(Throughput::Elements(subscribers as u64));
        for with_taking in [false, true] {
            let name = format!("{}, {subscribers} subscribers", if with_taking { "taken" } else { "queued" });
            group.bench_function(name, |b| {
                b.iter_custom(|iterations| {
                    let mut took = Duration::ZERO;
                    system.block_on(async {
                        for _ in 0..iterations {
                            let begin = Instant::now();
                            endpoint.broadcast("room:1", "said", &payload).expect("an object");
                            let queued = begin.elapsed();
                            let taken: usize = bodies.iter_mut().map(take).sum();
                            assert!(taken > subscribers * 60, "every subscriber was sent it");
                            took += if with_taking { begin.elapsed() } else { queued };
                        }
                    });
                    took
                });
            });
        }
    }
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
