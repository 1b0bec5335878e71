//! What the wire format and the rules of a socket cost, without runtime or network: `cargo bench --bench rules`.

#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hinotori_protocol::{
    session::{Effect, Joined, Session},
    wire::{Message, Outgoing, Payload, Ref, Serializer, Status},
};

const HEARTBEAT: &[u8] = br#"[null,"7","phoenix","heartbeat",{}]"#;
const PUSH: &[u8] = br#"["3","8","chat:lobby","new_message",{"message":"It works, \"quotes\" and \u00e9 too","reply_to":null}]"#;
const PUSH_V1: &[u8] =
    br#"{"topic":"chat:lobby","event":"new_message","payload":{"message":"It works","reply_to":null},"ref":"8"}"#;
/// join_ref "3", ref "8", topic "chat:lobby", event "image", and a payload.
const BINARY: &[u8] = b"\0\x01\x01\x0a\x0538chat:lobbyimage\0\x01\x02\x03";
const MESSAGE: &[u8] = br#"{"message":{"id":1,"content":"It works","reply_to_id":null,"reply_to_content":null,"timestamp":"2025-01-01T00:00:00.000000Z","likes":0}}"#;

fn decoded(text: &'static [u8]) -> Message {
    Serializer::V2
        .decode_text(&Bytes::from_static(text).try_into().expect("UTF-8"))
        .expect("a message of version 2")
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, serializer, message) in [
        ("heartbeat, version 2", Serializer::V2, HEARTBEAT),
        ("push, version 2", Serializer::V2, PUSH),
        ("push, version 1", Serializer::V1, PUSH_V1),
    ] {
        group.throughput(Throughput::Bytes(message.len() as u64));
        let message = Bytes::from_static(message).try_into().expect("UTF-8");
        group.bench_function(name, |b| b.iter(|| serializer.decode_text(black_box(&message))));
    }
    let binary = Bytes::from_static(BINARY);
    group.throughput(Throughput::Bytes(binary.len() as u64));
    group.bench_function("push, binary", |b| b.iter(|| Serializer::V2.decode_binary(black_box(&binary))));
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let (reference, empty) = (Ref::Text("7".into()), Payload::empty());
    let payload = Payload::raw_json(MESSAGE).expect("JSON");
    let history = format!("[{}]", vec![String::from_utf8_lossy(MESSAGE); 1_000].join(","));
    let history = Payload::raw_json(format!(r#"{{"messages":{history}}}"#)).expect("JSON");
    let push = |payload| Outgoing::Push {
        join_ref: &reference,
        reference: &Ref::Null,
        topic: "chat:lobby",
        event: "load_messages",
        payload,
    };
    for serializer in [Serializer::V1, Serializer::V2] {
        let reply = Outgoing::Reply {
            join_ref: &Ref::Null,
            reference: &reference,
            topic: "phoenix",
            status: Status::Ok,
            payload: &empty,
        };
        let broadcast = Outgoing::Broadcast { topic: "chat:lobby", event: "new_message", payload: &payload };
        for (name, message) in
            [("reply", reply), ("broadcast", broadcast), ("history of 1,000", push(&history))]
        {
            group.bench_function(format!("{name}, {serializer:?}"), |b| {
                b.iter(|| serializer.encode(black_box(message)));
            });
        }
    }
}

fn rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    let join = decoded(br#"["3","3","chat:lobby","phx_join",{}]"#);
    let joined = || {
        let mut session = Session::<()>::new(100);
        if let Some(Effect::Start { channel, .. }) = session.receive(join.clone(), 0, |_| true).first() {
            session.joined(*channel, Joined::Ok(Payload::empty()), |_| true);
        }
        session
    };
    for (name, message) in [("heartbeat", HEARTBEAT), ("push", PUSH)] {
        let (mut session, message) = (joined(), decoded(message));
        group.bench_function(name, |b| {
            b.iter_batched(
                || message.clone(),
                |message| session.receive(message, 0, |_| true),
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("join and its answer", |b| b.iter(joined));
}

criterion_group!(benches, decoding, encoding, rules);
criterion_main!(benches);
