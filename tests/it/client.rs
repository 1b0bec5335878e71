//! A WebSocket client of our own, so that every byte it sends is the test's to choose.
//!
//! A thread reads the connection and turns frames into [`Item`]s; it answers pings and closes, nothing else.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::{
    PATIENCE,
    frame::{self, Decoder, Frame},
    normal::{normal, same},
};

/// The key of RFC 6455, section 1.3, and the answer that proves that the server read it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How long a server may take to answer the upgrade request.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(10);

/// What a client receives, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Text(Value),
    /// A text message that is not JSON.
    TextRaw(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// A frame that no server may send.
    Forbidden(Frame),
    Eof,
}

impl Item {
    /// In the words of the recordings. It came from the server on `port`.
    pub(crate) fn to_json(&self, port: u16) -> Value {
        match self {
            Self::Text(message) => json!({ "text": normal(port, message) }),
            Self::TextRaw(text) => json!({ "text_raw": text }),
            Self::Binary(data) => json!({ "bin": hex(data) }),
            Self::Ping(data) => json!({ "ping": hex(data) }),
            Self::Pong(data) => json!({ "pong": hex(data) }),
            Self::Close(code) => json!({ "close": code }),
            Self::Forbidden(frame) => json!({ "forbidden": format!("{frame:?}") }),
            Self::Eof => json!({ "eof": true }),
        }
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer to an upgrade request, and the connection.
pub(crate) struct Upgrade {
    pub(crate) stream: TcpStream,
    /// 0: the connection ended without an answer.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// What came behind the answer.
    rest: Vec<u8>,
}

impl Upgrade {
    /// Asks for a WebSocket; a header of `extra` takes the place of a standard one that is spelled the same, and a
    /// header without values leaves it out.
    pub(crate) fn request(port: u16, path: &str, extra: &[(&str, &[&str])]) -> io::Result<Self> {
        Self::request_over(TcpStream::connect(("127.0.0.1", port))?, path, extra)
    }

    /// The same on a connection that is there already.
    pub(crate) fn request_over(
        mut stream: TcpStream,
        path: &str,
        extra: &[(&str, &[&str])],
    ) -> io::Result<Self> {
        let port = stream.peer_addr()?.port();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(UPGRADE_PATIENCE))?;
        let standard: [(&str, &[&str]); 4] = [
            ("Connection", &["Upgrade"]),
            ("Upgrade", &["websocket"]),
            ("Sec-WebSocket-Version", &["13"]),
            ("Sec-WebSocket-Key", &[KEY]),
        ];
        let kept = standard.iter().filter(|(name, _)| extra.iter().all(|(other, _)| other != name));
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n");
        for (name, values) in kept.chain(extra) {
            for value in *values {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;

        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break Some(at);
            }
            match stream.read(&mut chunk)? {
                0 => break None,
                n => bytes.extend_from_slice(&chunk[..n]),
            }
        };
        stream.set_read_timeout(None)?;
        let head = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let rest = end.map_or_else(Vec::new, |at| bytes.split_off(at + 4));
        let upgrade = Self { stream, status, headers, rest };
        assert!(
            status != 101 || upgrade.header("sec-websocket-accept") == Some(ACCEPT),
            "the answer to the key is wrong: {head}"
        );
        Ok(upgrade)
    }

    /// Asks for a WebSocket and insists on getting it.
    pub(crate) fn granted(port: u16, path: &str) -> Self {
        let upgrade = Self::request(port, path, &[]).unwrap();
        assert_eq!(upgrade.status, 101, "upgrade of {path}");
        upgrade
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Hands everything that comes to `sink`, from a thread of its own, the end included.
    pub(crate) fn listen(self, mut sink: impl FnMut(Item) + Send + 'static) -> Writer {
        let Self { mut stream, rest, .. } = self;
        let writer = Writer { stream: stream.try_clone().unwrap() };
        let mut answers = Writer { stream: stream.try_clone().unwrap() };
        thread::spawn(move || {
            let mut messages = Messages::default();
            messages.frames.push(&rest);
            let mut chunk = vec![0; 64 * 1024];
            loop {
                while let Some(item) = messages.next() {
                    match &item {
                        Item::Ping(data) => answers.frame(frame::PONG, data),
                        Item::Close(code) => {
                            answers.frame(
                                frame::CLOSE,
                                &code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec()),
                            );
                        }
                        _ => {}
                    }
                    sink(item);
                }
                match stream.read(&mut chunk) {
                    Ok(n) if n > 0 => messages.frames.push(&chunk[..n]),
                    _ => return sink(Item::Eof),
                }
            }
        });
        writer
    }
}

/// Puts fragments together.
#[derive(Default)]
struct Messages {
    frames: Decoder,
    opcode: u8,
    parts: Vec<u8>,
}

impl Messages {
    fn next(&mut self) -> Option<Item> {
        loop {
            let next = self.frames.next()?;
            if next.masked || next.reserved != 0 {
                return Some(Item::Forbidden(next));
            }
            match next.opcode {
                frame::CLOSE => {
                    let code = next.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Some(Item::Close(code));
                }
                frame::PING => return Some(Item::Ping(next.payload)),
                frame::PONG => return Some(Item::Pong(next.payload)),
                frame::CONTINUATION => {}
                frame::TEXT | frame::BINARY => self.opcode = next.opcode,
                _ => return Some(Item::Forbidden(next)),
            }
            self.parts.extend(next.payload);
            if next.fin {
                let data = std::mem::take(&mut self.parts);
                return Some(match self.opcode {
                    frame::BINARY => Item::Binary(data),
                    _ => serde_json::from_slice(&data).map_or_else(
                        |_| Item::TextRaw(String::from_utf8_lossy(&data).into_owned()),
                        Item::Text,
                    ),
                });
            }
        }
    }
}

/// The sending half. A server that has gone is no error here: what came back tells.
pub(crate) struct Writer {
    stream: TcpStream,
}

impl Writer {
    pub(crate) fn bytes(&mut self, data: &[u8]) {
        let _ = self.stream.write_all(data);
    }

    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.bytes(&frame::masked(true, opcode, payload));
    }

    /// Ends the connection, as a process does that is killed.
    pub(crate) fn cut(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// A client that a test leads by hand.
pub(crate) struct Client {
    writer: Writer,
    inbox: Receiver<Item>,
    /// How long it waits for what must come.
    pub(crate) patience: Duration,
}

impl Client {
    pub(crate) fn open(port: u16, path: &str) -> Self {
        Self::over(Upgrade::granted(port, path))
    }

    /// On a WebSocket that was granted already.
    pub(crate) fn over(upgrade: Upgrade) -> Self {
        let (sink, inbox) = channel();
        let writer = upgrade.listen(move |item| {
            let _ = sink.send(item);
        });
        Self { writer, inbox, patience: PATIENCE }
    }

    /// Opens `/socket/websocket` in version 2 and joins `topic` with the refs `"1"`.
    pub(crate) fn joined(port: u16, topic: &str) -> Self {
        let mut client = Self::open(port, "/socket/websocket?vsn=2.0.0");
        client.join("1", topic);
        client
    }

    /// Joins a topic of the reference server's `ref:*`.
    pub(crate) fn join(&mut self, join_ref: &str, topic: &str) {
        self.send(&json!([join_ref, join_ref, topic, "phx_join", {}]));
        self.expect(
            &json!([join_ref, join_ref, topic, "phx_reply", {"status": "ok", "response": {"echo": {}}}]),
        );
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.text(&message.to_string());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.writer.frame(frame::TEXT, text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, data: &[u8]) {
        self.writer.bytes(data);
    }

    /// When it is dropped, its connection is reset, and what it has not read is thrown away.
    pub(crate) fn reset_at_end(&self) {
        SockRef::from(&self.writer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn next(&self) -> Item {
        match self.inbox.recv_timeout(self.patience) {
            Ok(item) => item,
            Err(RecvTimeoutError::Timeout) => panic!("nothing came within {:?}", self.patience),
            Err(RecvTimeoutError::Disconnected) => panic!("the connection has already ended"),
        }
    }

    /// The next message; anything else is a failure.
    pub(crate) fn message(&self) -> Value {
        match self.next() {
            Item::Text(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next message is this one.
    pub(crate) fn expect(&self, wanted: &Value) {
        let got = self.message();
        assert!(same(&got, wanted), "expected {wanted}\n     got {got}");
    }

    /// A heartbeat is answered, and nothing else came before the answer.
    pub(crate) fn beat(&mut self) {
        self.send(&json!([null, "beat", "phoenix", "heartbeat", {}]));
        self.expect(&json!([null, "beat", "phoenix", "phx_reply", {"status": "ok", "response": {}}]));
    }

    /// The server closes with this code and ends the connection, without a word before.
    pub(crate) fn closes(&self, code: u16) {
        let got = [self.next(), self.next()];
        assert_eq!(got, [Item::Close(Some(code)), Item::Eof]);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.writer.cut();
    }
}
