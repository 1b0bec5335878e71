//! Compressed messages (`permessage-deflate`), on the mounts `/deflate` of the examples `reference` and `echo_socket`, and in
//! the chat with `--compress`.
//!
//! Another implementation of DEFLATE than the server's writes and reads them.

use miniz_oxide::{
    DataFormat,
    deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output},
    inflate::decompress_to_vec,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Item, Upgrade},
    folder::Folder,
    frame::{BINARY, CONTINUATION, PING, RSV1, TEXT, masked},
    guest::{Guest, LOBBY},
    http::get,
    server::Launch,
    tls,
};

const PATH: &str = "/deflate/websocket?vsn=2.0.0";

/// The end of a compressed message, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty block that is the last: where a message ends, so may a stream.
const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// What a client sends: with its context, or each message by itself.
struct Compressor {
    context: Box<CompressorOxide>,
    takes_over: bool,
}

impl Compressor {
    fn new(takes_over: bool) -> Self {
        let mut context = Box::<CompressorOxide>::default();
        context.set_format_and_level(DataFormat::Raw, 6);
        Self { context, takes_over }
    }

    /// The payload of a message.
    fn payload(&mut self, message: &[u8]) -> Vec<u8> {
        if !self.takes_over {
            self.context.reset();
        }
        let mut payload = vec![];
        compress_to_output(&mut self.context, message, TDEFLFlush::Sync, |bytes| {
            payload.extend_from_slice(bytes);
            true
        });
        payload.strip_suffix(&TAIL).unwrap().to_vec()
    }

    fn frame(&mut self, message: &Value) -> Vec<u8> {
        masked(true, RSV1 | TEXT, &self.payload(message.to_string().as_bytes()))
    }
}

/// Asks for a connection; the offers are a header line each.
fn ask(port: u16, path: &str, offers: &[&str]) -> Upgrade {
    let upgrade = Upgrade::request(port, path, &[("Sec-WebSocket-Extensions", offers)]).unwrap();
    assert_eq!(upgrade.status, 101, "{offers:?}");
    upgrade
}

/// A client with whose offer the server has agreed, joined to a topic.
fn joined(port: u16, offer: &str, topic: &str) -> Client {
    let upgrade = ask(port, PATH, &[offer]);
    assert!(upgrade.header("sec-websocket-extensions").is_some(), "{offer}");
    let mut client = Client::over(upgrade);
    client.join("1", topic);
    client
}

/// The next message came compressed: its payload, and what it says.
fn compressed(client: &Client) -> (Vec<u8>, Value) {
    let (payload, text) = inflated(client, TEXT);
    (payload, serde_json::from_slice(&text).unwrap())
}

/// The payload of the next message, which came compressed, and the message.
fn inflated(client: &Client, opcode: u8) -> (Vec<u8>, Vec<u8>) {
    let item = client.next();
    let Item::Forbidden(frame) = item else { panic!("it is not compressed: {item:?}") };
    assert_eq!((frame.fin, frame.reserved, frame.opcode, frame.masked), (true, RSV1, opcode, false));
    let message = decompress_to_vec(&[&frame.payload[..], &TAIL, &LAST].concat()).unwrap();
    assert!(frame.payload.len() < message.len(), "it would have been shorter as it is");
    (frame.payload, message)
}

fn echo(payload: &Value) -> (Value, Value) {
    let push = json!(["1", "2", "ref:room", "echo", payload]);
    (push, json!(["1", "2", "ref:room", "phx_reply", {"status": "ok", "response": payload}]))
}

/// Long enough to be compressed.
fn long() -> Value {
    json!({ "text": "what is said twice can be said in fewer bytes; ".repeat(20) })
}

#[test]
fn offers_are_answered_as_phoenix_does_and_the_server_never_takes_its_context_over() {
    Launch::on_both(|launch| {
        let server = launch.start();
        // P stands for permessage-deflate; what follows `P;server_no_context_takeover` in the answer, or none
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&[","], None),
            (&["P"], Some("")),
            (&["P;"], Some("")),
            (&["; P"], Some("")),
            (&["P,,P"], Some("")),
            (&["P, x-unknown"], Some("")),
            (&["P; client_max_window_bits"], Some(";client_max_window_bits=15")),
            (&["P; client_max_window_bits=15"], Some(";client_max_window_bits=15")),
            (&["P; client_max_window_bits=10"], Some(";client_max_window_bits=10")),
            (&["P; client_max_window_bits=8"], Some(";client_max_window_bits=8")),
            (
                &["P; server_no_context_takeover; client_no_context_takeover"],
                Some(";client_no_context_takeover"),
            ),
            (
                &["P; client_no_context_takeover; server_no_context_takeover"],
                Some(";client_no_context_takeover"),
            ),
            (&["P; server_no_context_takeover"], Some("")),
            (&["P; client_no_context_takeover"], Some(";client_no_context_takeover")),
            (&["P; server_max_window_bits=10"], Some(";server_max_window_bits=10")),
            (&["P; server_max_window_bits=8"], Some(";server_max_window_bits=8")),
            (&["P;server_max_window_bits=10"], Some(";server_max_window_bits=10")),
            (&["P; server_max_window_bits = 10"], Some(";server_max_window_bits=10")),
            (&["P; server_max_window_bits=010"], Some(";server_max_window_bits=10")),
            (
                &[
                    "P; server_max_window_bits=10; client_max_window_bits; server_no_context_takeover; client_no_context_takeover",
                ],
                Some(";client_no_context_takeover;server_max_window_bits=10;client_max_window_bits=15"),
            ),
            (&["P; server_max_window_bits=10, P"], Some(";server_max_window_bits=10")),
            (&["P; server_max_window_bits=10", "P"], Some(";server_max_window_bits=10")),
            (&["P, P; server_max_window_bits=10"], Some("")),
            (
                &["P; server_max_window_bits=16, P; client_max_window_bits"],
                Some(";client_max_window_bits=15"),
            ),
            (
                &["P; server_max_window_bits=99", "P; server_max_window_bits=9"],
                Some(";server_max_window_bits=9"),
            ),
            (&["x-unknown; a=b, P; client_max_window_bits"], Some(";client_max_window_bits=15")),
            (&["x-webkit-deflate-frame"], None),
            (&["Permessage-Deflate"], None),
            (&["P; foo"], None),
            (&["P; server_no_context_takeover=1"], None),
            (&["P; server_no_context_takeover; server_no_context_takeover"], None),
            (&["P; server_max_window_bits=10; server_max_window_bits=10"], None),
            (&["P; server_max_window_bits=7"], None),
            (&["P; server_max_window_bits=16"], None),
            (&["P; server_max_window_bits=abc"], None),
            (&["P; server_max_window_bits="], None),
            (&["P; server_max_window_bits=\"10\""], None),
            (&["P; server_max_window_bits"], None),
            (&["P; client_max_window_bits=7"], None),
            (&["P; client_max_window_bits=16"], None),
            (&["P; client_max_window_bits=abc"], None),
            (&["P; client_max_window_bits="], None),
            (&["P; =10"], None),
            (&["\"P"], None),
            // where Phoenix's server fails: 500, and an answer that is in no RFC
            (&["P; server_max_window_bits=10x"], None),
            (&["P; max_inflate_ratio"], None),
        ];
        for (offers, answer) in table {
            let offers: Vec<String> =
                offers.iter().map(|line| line.replace('P', "permessage-deflate")).collect();
            let lines: Vec<&str> = offers.iter().map(String::as_str).collect();
            let answer = answer.map(|rest| format!("permessage-deflate;server_no_context_takeover{rest}"));
            let upgrade = ask(server.port, PATH, &lines);
            assert_eq!(upgrade.header("sec-websocket-extensions"), answer.as_deref(), "{offers:?}");
            // the connection goes on, whatever was agreed on
            Client::over(upgrade).beat();
            let elsewhere = ask(server.port, "/socket/websocket?vsn=2.0.0", &lines);
            assert_eq!(elsewhere.header("sec-websocket-extensions"), None, "{offers:?}");
        }
    });
}

#[test]
fn long_messages_come_compressed_and_short_ones_and_control_frames_as_they_are() {
    Launch::on_both(|launch| {
        let server = launch.start();
        let mut client = joined(server.port, "permessage-deflate", "ref:room");
        client.beat();
        let (push, reply) = echo(&long());
        client.send(&push);
        let (first, message) = compressed(&client);
        assert_eq!(message, reply);
        client.send(&push);
        assert_eq!(compressed(&client).0, first, "nothing refers to what was sent before");
        client.bytes(&masked(true, PING, &[b'x'; 125]));
        assert_eq!(client.next(), Item::Pong(vec![b'x'; 125]));
        let mut plain = Client::joined(server.port, "ref:room");
        plain.send(&push);
        plain.expect(&reply);
    });
}

#[test]
fn a_broadcast_is_the_same_bytes_for_everyone_who_may_have_them() {
    Launch::on_both(|launch| {
        let server = launch.start();
        let offers =
            ["permessage-deflate", "permessage-deflate; client_no_context_takeover; client_max_window_bits"];
        let clients: Vec<Client> =
            offers.iter().cycle().take(6).map(|offer| joined(server.port, offer, "ref:room")).collect();
        let small = joined(server.port, "permessage-deflate; server_max_window_bits=9", "ref:room");
        let mut plain = Client::joined(server.port, "ref:room");
        plain.send(&json!(["1", null, "ref:room", "bcast", long()]));
        let broadcast = json!([null, null, "ref:room", "bcast", long()]);
        plain.expect(&broadcast);
        assert_eq!(compressed(&small).1, broadcast);
        let payloads: Vec<Vec<u8>> = clients
            .iter()
            .map(|client| {
                let (payload, message) = compressed(client);
                assert_eq!(message, broadcast);
                payload
            })
            .collect();
        assert!(payloads.iter().all(|payload| *payload == payloads[0]));
    });
}

#[test]
fn a_client_may_take_its_context_over_or_not_and_may_send_messages_as_they_are() {
    Launch::on_both(|launch| {
        let server = launch.start();
        for (offer, takes_over) in
            [("permessage-deflate", true), ("permessage-deflate; client_no_context_takeover", false)]
        {
            let mut client = joined(server.port, offer, "ref:room");
            let mut compressor = Compressor::new(takes_over);
            for at in 0..20 {
                let (push, reply) = echo(&json!({ "at": at, "text": "short" }));
                client.bytes(&compressor.frame(&push));
                client.expect(&reply);
                if at % 3 == 0 {
                    client.beat();
                }
            }
        }
    });
}

#[test]
fn a_compressed_message_may_come_in_fragments_with_control_frames_between() {
    Launch::on_both(|launch| {
        let server = launch.start();
        let mut client = joined(server.port, "permessage-deflate", "ref:room");
        let mut compressor = Compressor::new(true);
        let (push, reply) = echo(&json!({ "text": "火🔥" }));
        for size in [1, 2, 7] {
            let payload = compressor.payload(push.to_string().as_bytes());
            let pieces: Vec<&[u8]> = payload.chunks(size).collect();
            for (at, piece) in pieces.iter().enumerate() {
                // only the first frame of a message says that it is compressed
                let first = if at == 0 { RSV1 | TEXT } else { CONTINUATION };
                client.bytes(&masked(at + 1 == pieces.len(), first, piece));
                if at == 1 {
                    client.bytes(&masked(true, PING, b"between"));
                    assert_eq!(client.next(), Item::Pong(b"between".to_vec()));
                }
            }
            client.expect(&reply);
        }
    });
}

#[test]
fn what_does_not_inflate_or_not_to_text_is_1007_and_bits_that_were_not_agreed_on_are_1002() {
    Launch::on_both(|launch| {
        let server = launch.set("WORKERS", 1).start();
        let mut other = joined(server.port, "permessage-deflate", "ref:room");
        let heartbeat = br#"[null,"1","phoenix","heartbeat",{}]"#;
        let payload = Compressor::new(true).payload(heartbeat);
        let with = |first: u8, payload: &[u8]| masked(true, first, payload);
        let cases = [
            (1007, "no DEFLATE", with(RSV1 | TEXT, b"\xff\xff")),
            (1007, "cut short", with(RSV1 | TEXT, &payload[..payload.len() / 2])),
            (1007, "a reference to nothing", with(RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")),
            (1007, "binary too", with(RSV1 | BINARY, b"\xff\xff")),
            (1007, "not UTF-8", with(RSV1 | TEXT, &Compressor::new(true).payload(b"[\"\xff\"]"))),
            (1002, "RSV1 on a ping", with(RSV1 | PING, b"")),
            (
                1002,
                "RSV1 on a continuation",
                [masked(false, RSV1 | TEXT, &payload[..1]), with(RSV1 | CONTINUATION, &payload[1..])]
                    .concat(),
            ),
            (1002, "RSV2", with(0x20 | TEXT, heartbeat)),
            (1002, "RSV1 and RSV3", with(0x50 | TEXT, &payload)),
        ];
        for (code, what, bytes) in cases {
            let mut client = joined(server.port, "permessage-deflate", "ref:room");
            client.bytes(&bytes);
            assert_eq!([client.next(), client.next()], [Item::Close(Some(code)), Item::Eof], "{what}");
            other.beat();
        }
        let mut declined = Client::joined(server.port, "ref:room");
        declined.bytes(&with(RSV1 | TEXT, &payload));
        declined.closes(1002);
        assert!(!server.log().contains("panicked"), "{}", server.log());
    });
}

#[test]
fn a_message_that_would_be_too_long_is_1009_however_short_it_comes() {
    Launch::on_both(|launch| {
        let server = launch.set("WORKERS", 1).start();
        let mut other = joined(server.port, "permessage-deflate", "ref:room");
        let bomb = Compressor::new(false).payload(&vec![b' '; 100_000_000]);
        assert!(bomb.len() < 200_000);
        let mut client = joined(server.port, "permessage-deflate", "ref:room");
        client.bytes(&masked(true, RSV1 | TEXT, &bomb));
        client.closes(1009);
        other.beat();
    });
}

#[test]
fn a_long_poll_compresses_nothing_where_websockets_do() {
    let server = Launch::reference().start();
    assert_eq!(get(server.port, "/deflate/longpoll?vsn=2.0.0", &[]).status, 404);
}

#[test]
fn a_raw_socket_compresses_text_and_bytes() {
    let server = Launch::example("echo_socket").start();
    let mut client = Client::over(ask(server.port, "/deflate/websocket", &["permessage-deflate"]));
    let mut compressor = Compressor::new(true);
    let long = "what is said twice can be said in fewer bytes; ".repeat(20);
    for opcode in [TEXT, BINARY] {
        client.bytes(&masked(true, RSV1 | opcode, &compressor.payload(long.as_bytes())));
        assert_eq!(inflated(&client, opcode).1, long.as_bytes());
    }
    client.bytes(&masked(true, RSV1 | TEXT, &compressor.payload(b"short")));
    assert_eq!(client.next(), Item::TextRaw("short".to_owned()));
    let plain = ask(server.port, "/echo/websocket", &["permessage-deflate"]);
    assert_eq!(plain.header("sec-websocket-extensions"), None);
}

/// Says something long in the chat: who has agreed to it hears it compressed, and so the history.
fn converse(port: u16) {
    let enter = || {
        let upgrade = ask(port, "/socket/websocket?vsn=2.0.0", &["permessage-deflate"]);
        let mut client = Client::over(upgrade);
        client.send(&json!(["1", "1", LOBBY, "phx_join", {}]));
        client.expect(&json!(["1", "1", LOBBY, "phx_reply", { "status": "ok", "response": {} }]));
        client
    };
    let ann = enter();
    assert_eq!(ann.message()[4], json!({ "messages": [] }));
    let (mut bob, _) = Guest::enter_by(port);
    let text = "what is said twice can be said in fewer bytes; ".repeat(20);
    let said = bob.posts(&text);
    let (payload, broadcast) = compressed(&ann);
    assert_eq!(broadcast, json!([null, null, LOBBY, "new_message", { "message": said }]));
    assert!(payload.len() < 300, "{}", payload.len());
    assert_eq!(compressed(&enter()).1[4], json!({ "messages": [said] }));
}

#[test]
fn the_chat_compresses_if_it_is_told_to_and_over_tls_too() {
    converse(Launch::chat().arguments(&["--compress"]).start().port);
    let folder = Folder::new();
    let launch = |launch: Launch| launch.set("COMPRESS", "true");
    let (_server, tunnel) = tls::start_with(&tls::Identity::new(), &folder, launch);
    converse(tunnel.port);
}

#[test]
fn the_chat_compresses_nothing_by_default() {
    let server = Launch::chat().start();
    let upgrade = ask(server.port, "/socket/websocket?vsn=2.0.0", &["permessage-deflate"]);
    assert_eq!(upgrade.header("sec-websocket-extensions"), None);
}
