//! Bytes that RFC 6455 forbids end the connection with the code it names, and that connection only.

use serde_json::json;

use crate::{
    client::{Client, Item},
    frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, header, masked},
    server::Launch,
};

/// Sends each on a connection of its own, where a channel is joined; the server must close it with `code`.
fn each_is_closed(code: u16, cases: &[(&str, Vec<u8>)]) {
    Launch::on_both(|launch| {
        let server = launch.set("WORKERS", 1).start();
        let mut other = Client::joined(server.port, "ref:room");
        for (what, bytes) in cases {
            let mut client = Client::joined(server.port, "ref:room");
            client.bytes(bytes);
            let got = [client.next(), client.next()];
            assert_eq!(got, [Item::Close(Some(code)), Item::Eof], "{what}");
            other.beat();
        }
        assert!(!server.log().contains("panicked"), "{}", server.log());
    });
}

#[test]
fn text_that_is_not_utf_8_is_1007() {
    let in_fragments = |first: &[u8], second: &[u8]| {
        [masked(false, TEXT, first), masked(true, CONTINUATION, second)].concat()
    };
    each_is_closed(
        1007,
        &[
            ("a byte that never occurs", masked(true, TEXT, b"\xff")),
            ("an overlong slash", masked(true, TEXT, b"\xc0\xaf")),
            ("half a surrogate pair", masked(true, TEXT, b"\xed\xa0\x80")),
            ("beyond U+10FFFF", masked(true, TEXT, b"\xf4\x90\x80\x80")),
            ("a character cut off at the end", masked(true, TEXT, "火".as_bytes().split_last().unwrap().1)),
            (
                "inside a JSON string",
                masked(true, TEXT, b"[\"1\",\"2\",\"ref:room\",\"echo\",{\"x\":\"\xff\"}]"),
            ),
            ("in the second fragment", in_fragments(b"[\"1\",", b"\"\xff\"]")),
        ],
    );
}

#[test]
fn a_character_cut_by_a_fragment_is_whole_again() {
    let server = Launch::reference().start();
    let mut client = Client::joined(server.port, "ref:room");
    let text = json!(["1", "2", "ref:room", "echo", {"x": "火🔥"}]).to_string();
    for cut in 1..text.len() {
        client.bytes(&masked(false, TEXT, &text.as_bytes()[..cut]));
        client.bytes(&masked(true, CONTINUATION, &text.as_bytes()[cut..]));
        client
            .expect(&json!(["1", "2", "ref:room", "phx_reply", {"status": "ok", "response": {"x": "火🔥"}}]));
    }
}

#[test]
fn reserved_bits_and_opcodes_are_1002() {
    let with_bit = |bit: u8| [header(0x80 | bit | TEXT, 2), b"[]".to_vec()].concat();
    let mut cases = vec![
        ("RSV1, compression that was not agreed on", with_bit(0x40)),
        ("RSV2", with_bit(0x20)),
        ("RSV3", with_bit(0x10)),
        ("RSV1 on a ping", header(0x80 | 0x40 | PING, 0)),
    ];
    cases.extend((3..8).chain(11..16).map(|opcode| ("a reserved opcode", masked(true, opcode, b""))));
    each_is_closed(1002, &cases);
}

#[test]
fn a_frame_without_a_mask_is_1002() {
    let plain = |opcode: u8, payload: &[u8]| [&[0x80 | opcode, payload.len() as u8], payload].concat();
    each_is_closed(
        1002,
        &[
            ("text", plain(TEXT, b"[null,\"1\",\"phoenix\",\"heartbeat\",{}]")),
            ("an empty text", plain(TEXT, b"")),
            ("binary", plain(BINARY, b"\0")),
            ("ping", plain(PING, b"hi")),
        ],
    );
}

#[test]
fn control_frames_that_are_fragmented_or_too_long_are_1002() {
    let long = [b'x'; 126];
    each_is_closed(
        1002,
        &[
            ("a fragmented ping", masked(false, PING, b"hi")),
            ("a fragmented pong", masked(false, PONG, b"hi")),
            ("a fragmented close", masked(false, CLOSE, &1000_u16.to_be_bytes())),
            ("a ping of 126 bytes", masked(true, PING, &long)),
            ("a pong of 126 bytes", masked(true, PONG, &long)),
            (
                "a close of 126 bytes",
                masked(true, CLOSE, &[&1000_u16.to_be_bytes()[..], &long[..124]].concat()),
            ),
        ],
    );
}

#[test]
fn a_ping_of_125_bytes_is_answered_with_all_of_them() {
    let server = Launch::reference().start();
    let mut client = Client::joined(server.port, "ref:room");
    for length in [0, 1, 125] {
        let data: Vec<u8> = (0..length).collect();
        client.bytes(&masked(true, PING, &data));
        assert_eq!(client.next(), Item::Pong(data));
    }
}

#[test]
fn half_a_close_code_is_1002() {
    each_is_closed(1002, &[("one byte", masked(true, CLOSE, &[0x03]))]);
}

#[test]
fn close_codes_that_nobody_may_send_are_1002() {
    let codes = [0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999];
    let close = |code: u16| ("a close code that nobody may send", masked(true, CLOSE, &code.to_be_bytes()));
    // the contract echoes 1000-1003, 1007-1011 and 3000 up, and takes nothing else
    each_is_closed(1002, &codes.map(close));
}
