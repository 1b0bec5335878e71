//! One client: a WebSocket that joins a topic and looks at what comes.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use memchr::memmem;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf},
    sync::Semaphore,
    task::spawn_local,
    time::timeout,
};

use crate::{Target, deflate, deflate::Inflater, frame, stream::Stream};

/// How long a server may take to close a connection whose client said goodbye.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes read at a time, into memory that all connections share.
const SCRATCH: usize = 1 << 20;

/// Where all connections of the process read to; never borrowed over an await.
pub(crate) type Scratch = Rc<Shared>;

pub(crate) struct Shared {
    buffer: RefCell<Vec<u8>>,
    /// Bytes that were read into it: as on the wire, but without TLS.
    read: Cell<u64>,
}

impl Shared {
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }
}

pub(crate) fn scratch() -> Scratch {
    Rc::new(Shared { buffer: RefCell::new(vec![0; SCRATCH]), read: Cell::new(0) })
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Bytes that are not a whole frame yet: nothing, nearly always.
    rest: Vec<u8>,
    decoder: Decoder,
}

impl Connection {
    /// Opens a WebSocket.
    pub(crate) async fn open(target: &Target, index: usize) -> io::Result<Self> {
        let mut stream = Stream::connect(target, index).await?;
        let (path, addr) = (&target.path, target.addr);
        let offer = if target.deflate { deflate::OFFER } else { "" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut rest = vec![];
        let end = loop {
            if stream.read_buf(&mut rest).await? == 0 {
                return Err(io::Error::other("closed in the handshake"));
            }
            if let Some(end) = memmem::find(&rest, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = rest.drain(..end).collect::<Vec<u8>>();
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(line))));
        }
        let decoder = Decoder { inflater: Inflater::agreed(&head).map(Box::new), sealed: 0 };
        Ok(Self { stream, rest, decoder })
    }

    /// Joins the topic and waits for the answer, and for the event that is to follow it.
    pub(crate) async fn join(&mut self, target: &Target, scratch: &Scratch) -> io::Result<()> {
        self.send(&format!(r#"["1","1","{}","phx_join",{}]"#, target.topic, target.join)).await?;
        let event = target.until.as_ref().map(|event| format!("\"{event}\""));
        let (mut joined, mut followed) = (false, event.is_none());
        while !(joined && followed) {
            let mut look = |text: &[u8]| {
                joined |= is_reply(text, b"\"ok\"");
                followed |=
                    event.as_ref().is_some_and(|event| memmem::find(text, event.as_bytes()).is_some());
            };
            if !self.read(scratch, &mut look).await? {
                return Err(io::Error::other("closed before the join was answered"));
            }
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(&frame::masked(text.as_bytes())).await?;
        self.stream.flush().await
    }

    /// Sends a message and waits for its reply.
    pub(crate) async fn ask(&mut self, text: &str, reference: u64, scratch: &Scratch) -> io::Result<()> {
        self.send(text).await?;
        let (key, mut answered) = (format!("\"{reference}\""), false);
        while !answered {
            let mut look = |text: &[u8]| answered |= is_reply(text, key.as_bytes());
            if !self.read(scratch, &mut look).await? {
                return Err(io::Error::other("closed before the answer"));
            }
        }
        Ok(())
    }

    /// Reads once and shows `seen` each text that is whole now. False when the connection is over.
    pub(crate) async fn read(&mut self, scratch: &Scratch, seen: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        if !self.rest.is_empty() && frame::find(&self.rest).is_some() {
            return self.take_rest(seen);
        }
        poll_fn(|cx| {
            let mut buffer = scratch.buffer.borrow_mut();
            let mut into = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
            let bytes = into.filled();
            scratch.read.set(scratch.read.get() + bytes.len() as u64);
            Poll::Ready(self.look(bytes, seen))
        })
        .await
    }

    /// What was read: nothing at the end of the stream.
    fn look(&mut self, bytes: &[u8], seen: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(bytes);
            return self.take_rest(seen);
        }
        let (taken, is_open) = self.decoder.take(bytes, seen)?;
        if taken < bytes.len() {
            self.rest = bytes[taken..].to_vec();
        }
        Ok(is_open)
    }

    fn take_rest(&mut self, seen: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        let (taken, is_open) = self.decoder.take(&self.rest, seen)?;
        self.rest.drain(..taken);
        if self.rest.is_empty() {
            self.rest = vec![];
        }
        Ok(is_open)
    }

    /// Reads until the server closes the connection, or for so long. Whether it is still open then.
    pub(crate) async fn idle(&mut self, time: Duration, scratch: &Scratch) -> bool {
        timeout(time, async { while let Ok(true) = self.read(scratch, &mut |_| ()).await {} }).await.is_err()
    }

    /// Says goodbye and waits until the server has closed the connection.
    pub(crate) async fn close(mut self, scratch: &Scratch) -> io::Result<()> {
        self.stream.write_all(&frame::GOODBYE).await?;
        self.stream.flush().await?;
        if self.idle(PATIENCE, scratch).await { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Whether the server compresses what it sends.
    pub(crate) fn is_deflated(&self) -> bool {
        self.decoder.inflater.is_some()
    }

    /// From now on compressed messages are counted, not inflated.
    pub(crate) fn seal(&mut self) {
        self.decoder.inflater = None;
    }

    /// Compressed messages that were counted since the last call.
    pub(crate) fn sealed(&mut self) -> u64 {
        std::mem::take(&mut self.decoder.sealed)
    }

    pub(crate) fn into_split(self) -> (ReadHalf<Stream>, WriteHalf<Stream>) {
        tokio::io::split(self.stream)
    }
}

/// Takes texts out of their frames.
#[derive(Debug)]
struct Decoder {
    inflater: Option<Box<Inflater>>,
    sealed: u64,
}

impl Decoder {
    /// Shows the texts of all whole frames. The bytes that they have, and whether the connection goes on.
    fn take(&mut self, buffer: &[u8], seen: &mut impl FnMut(&[u8])) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        while let Some(found) = frame::find(&buffer[taken..]) {
            let payload = &buffer[taken + found.from..taken + found.to];
            match (found.opcode, found.is_compressed, &mut self.inflater) {
                (frame::TEXT, false, _) => seen(payload),
                (frame::TEXT, true, Some(inflater)) => seen(inflater.inflate(payload)?),
                (frame::TEXT, true, None) => self.sealed += 1,
                (frame::CLOSE, ..) => return Ok((taken, false)),
                _ => {}
            }
            taken += found.to;
        }
        Ok((taken, true))
    }
}

/// Whether a text is a reply that holds something.
pub(crate) fn is_reply(text: &[u8], what: &[u8]) -> bool {
    memmem::find(text, b"\"phx_reply\"").is_some() && memmem::find(text, what).is_some()
}

pub(crate) fn heartbeat(reference: u64) -> String {
    format!(r#"[null,"{reference}","phoenix","heartbeat",{{}}]"#)
}

/// Clients that have joined.
pub(crate) struct Opened {
    pub(crate) connections: Vec<Connection>,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
    /// How long each of them took, from the moment at which it was its turn.
    pub(crate) each: Vec<Duration>,
}

/// Opens and joins so many clients. What fails is counted, and the first failure told.
pub(crate) async fn open_all(target: &Target, n: usize, scratch: &Scratch) -> Opened {
    let begin = Instant::now();
    let gate = Rc::new(Semaphore::new(target.concurrency));
    let open = |index| {
        let (target, gate, scratch) = (target.clone(), gate.clone(), scratch.clone());
        spawn_local(async move {
            let _permit = gate.acquire().await;
            let begin = Instant::now();
            let open = async {
                let mut connection = Connection::open(&target, index).await?;
                connection.join(&target, &scratch).await?;
                Ok((connection, begin.elapsed()))
            };
            let patience = Duration::from_secs(target.patience);
            timeout(patience, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    };
    let tasks: Vec<_> = (0..n).map(open).collect();
    let (connections, each) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut opened = Opened { connections, failed: 0, took: Duration::ZERO, each };
    for task in tasks {
        match task.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((connection, took)) => {
                opened.connections.push(connection);
                opened.each.push(took);
            }
            Err(error) => {
                if opened.failed == 0 {
                    eprintln!("the first that failed: {error}");
                }
                opened.failed += 1;
            }
        }
    }
    opened.took = begin.elapsed();
    opened
}
