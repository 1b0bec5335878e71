//! A client whose bytes are the test's to choose.

use std::{fmt, io, net::SocketAddr};

use actix_web::rt::time::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::PATIENCE;

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// See the module. Both halves, so that one can read while it writes.
pub(super) struct Client {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) local: SocketAddr,
}

pub(super) struct Reader(ReadHalf<Box<dyn Stream>>);

pub(super) struct Writer(WriteHalf<Box<dyn Stream>>);

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, local: SocketAddr) -> Self {
        let (reader, writer) = split(Box::new(stream) as Box<dyn Stream>);
        Self { reader: Reader(reader), writer: Writer(writer), local }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.send(bytes).await;
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(get(path)).await;
        self.reader.answer().await
    }

    /// Asks for a WebSocket and insists on getting it.
    pub(super) async fn upgrade(&mut self, path: &str) -> Answer {
        self.send(upgrade(path)).await;
        let answer = self.reader.answer().await;
        assert_eq!(answer.status(), "101", "{answer:?}");
        answer
    }

    /// A ping is answered, and nothing else came before.
    pub(super) async fn beat(&mut self) {
        self.send(frame(PING, b"beat")).await;
        assert_eq!(self.reader.message().await, (PONG, b"beat".to_vec()));
    }
}

impl Writer {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        timeout(PATIENCE, sent).await.expect("the server reads").unwrap();
    }

    /// The same to a server that may have gone.
    pub(super) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await?;
        self.0.flush().await
    }

    /// Nothing more comes.
    pub(super) async fn shutdown(&mut self) {
        timeout(PATIENCE, self.0.shutdown()).await.expect("the server reads").unwrap();
    }
}

impl Reader {
    pub(super) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.expect("the server speaks");
        read.unwrap();
        bytes
    }

    /// Up to and with what ends it; one byte at a time.
    async fn until(&mut self, end: &[u8]) -> String {
        let mut bytes = vec![];
        while !bytes.ends_with(end) {
            bytes.extend(self.exactly(1).await);
        }
        String::from_utf8(bytes).unwrap_or_else(|error| panic!("what precedes is no text: {error}"))
    }

    pub(super) async fn answer(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 "), "{head}");
        let mut answer = Answer { head, body: vec![] };
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.until(b"\r\n").await;
                let chunk = self.exactly(usize::from_str_radix(size.trim(), 16).unwrap() + 2).await;
                if chunk == b"\r\n" {
                    break;
                }
                answer.body.extend(&chunk[..chunk.len() - 2]);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = self.exactly(length.parse().unwrap()).await;
        }
        answer
    }

    /// The opcode and the payload of the next frame.
    pub(super) async fn message(&mut self) -> (u8, Vec<u8>) {
        let header = self.exactly(2).await;
        assert!(header[0] & 0xf0 == 0x80 && header[1] & 0x80 == 0, "no frame of a server: {header:x?}");
        let length = match header[1] {
            126 => u16::from_be_bytes(self.exactly(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.exactly(8).await.try_into().unwrap()),
            short => short.into(),
        };
        (header[0] & 0x0f, self.exactly(length as usize).await)
    }

    /// What comes until the connection ends. That it is reset is an end like any other.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = vec![];
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the connection ends");
        bytes
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.local)
    }
}

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(super) fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame of one part; its mask is nothing.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
