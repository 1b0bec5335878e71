//! One client: a WebSocket that joins a topic and looks at what comes.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use memchr::memmem;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::spawn_local,
    time::timeout,
};

use crate::{Target, frame};

/// How long a connect and join may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections from one source address: the system has some 28,000 ports for each.
const PER_ADDRESS: usize = 20_000;

/// Bytes read at a time, into memory that all connections share.
const SCRATCH: usize = 1 << 20;

/// Where all connections of the process read to; never borrowed over an await.
pub(crate) type Scratch = Rc<RefCell<Vec<u8>>>;

pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SCRATCH]))
}

pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes that are not a whole frame yet: nothing, nearly always.
    rest: Vec<u8>,
}

impl Connection {
    /// Opens a WebSocket.
    pub(crate) async fn open(target: &Target, index: usize) -> io::Result<Self> {
        let stream = connect(target.addr, index).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, rest: vec![] };
        let (path, addr) = (&target.path, target.addr);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        connection.stream.write_all(request.as_bytes()).await?;
        let end = loop {
            if connection.stream.read_buf(&mut connection.rest).await? == 0 {
                return Err(io::Error::other("closed in the handshake"));
            }
            if let Some(end) = memmem::find(&connection.rest, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = connection.rest.drain(..end).collect::<Vec<u8>>();
        if !head.starts_with(b"HTTP/1.1 101") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(line))));
        }
        Ok(connection)
    }

    /// Joins the topic and waits for the answer.
    pub(crate) async fn join(&mut self, target: &Target, scratch: &Scratch) -> io::Result<()> {
        self.send(&format!(r#"["1","1","{}","phx_join",{}]"#, target.topic, target.join)).await?;
        let mut joined = false;
        while !joined {
            let is_open = self.read(scratch, &mut |text| joined |= is_reply(text, b"\"ok\"")).await?;
            if !is_open {
                return Err(io::Error::other("closed before the join was answered"));
            }
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(&frame::masked(text.as_bytes())).await
    }

    /// Reads once and shows `seen` each text that is whole now. False when the connection is over.
    pub(crate) async fn read(&mut self, scratch: &Scratch, seen: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        if self.rest.is_empty() || frame::find(&self.rest).is_none() {
            self.stream.readable().await?;
            let mut scratch = scratch.borrow_mut();
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return Ok(false),
                Ok(length) if self.rest.is_empty() => {
                    let (taken, is_open) = take(&scratch[..length], seen);
                    if taken < length {
                        self.rest = scratch[taken..length].to_vec();
                    }
                    return Ok(is_open);
                }
                Ok(length) => self.rest.extend_from_slice(&scratch[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        let (taken, is_open) = take(&self.rest, seen);
        self.rest.drain(..taken);
        if self.rest.is_empty() {
            self.rest = vec![];
        }
        Ok(is_open)
    }

    pub(crate) fn into_split(self) -> (tokio::net::tcp::OwnedReadHalf, tokio::net::tcp::OwnedWriteHalf) {
        self.stream.into_split()
    }
}

/// Shows the texts of all whole frames. The bytes that they have, and whether the connection goes on.
fn take(buffer: &[u8], seen: &mut impl FnMut(&[u8])) -> (usize, bool) {
    let mut taken = 0;
    while let Some(found) = frame::find(&buffer[taken..]) {
        match found.opcode {
            frame::TEXT => seen(&buffer[taken + found.from..taken + found.to]),
            frame::CLOSE => return (taken, false),
            _ => {}
        }
        taken += found.to;
    }
    (taken, true)
}

/// Whether a text is a reply that holds something.
pub(crate) fn is_reply(text: &[u8], what: &[u8]) -> bool {
    memmem::find(text, b"\"phx_reply\"").is_some() && memmem::find(text, what).is_some()
}

async fn connect(addr: SocketAddr, index: usize) -> io::Result<TcpStream> {
    if index < PER_ADDRESS || !addr.is_ipv4() || !addr.ip().is_loopback() {
        return TcpStream::connect(addr).await;
    }
    // a bound address takes its port for all that it could connect to, so only when the first has no more
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let last = 1 + u8::try_from(index / PER_ADDRESS).unwrap_or(u8::MAX - 1);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into())?;
    TcpSocket::from_std_stream(socket.into()).connect(addr).await
}

/// Clients that have joined.
pub(crate) struct Opened {
    pub(crate) connections: Vec<Connection>,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
}

/// Opens and joins so many clients. What fails is counted, and the first failure told.
pub(crate) async fn open_all(target: &Target, n: usize, scratch: &Scratch) -> Opened {
    let begin = Instant::now();
    let gate = Rc::new(Semaphore::new(target.concurrency));
    let open = |index| {
        let (target, gate, scratch) = (target.clone(), gate.clone(), scratch.clone());
        spawn_local(async move {
            let _permit = gate.acquire().await;
            let open = async {
                let mut connection = Connection::open(&target, index).await?;
                connection.join(&target, &scratch).await?;
                Ok(connection)
            };
            timeout(PATIENCE, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    };
    let tasks: Vec<_> = (0..n).map(open).collect();
    let mut opened = Opened { connections: Vec::with_capacity(n), failed: 0, took: Duration::ZERO };
    for task in tasks {
        match task.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(connection) => opened.connections.push(connection),
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
