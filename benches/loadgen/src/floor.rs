//! The lower bound: a server that does only what none can avoid, one write for each delivery.
//!
//! It looks for words in what comes instead of decoding it, forgets nobody's frame for longer than a write, and drops
//! what a full socket does not take.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use flate2::{Compress, Compression, FlushCompress};
use memchr::memmem;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::spawn_local,
};

use crate::{deflate::TAIL, frame};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
/// One compressed frame fits all clients only if no message refers to what one of them was sent before.
const DEFLATES: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
const JOINED: &[u8] = br#"["1","1","chat:lobby","phx_reply",{"status":"ok","response":{}}]"#;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Bytes of the longest message; a client that sends more is dropped.
const LONGEST: usize = 4096;

/// Bytes by which a message may grow when it is compressed.
const SLACK: usize = 64;

struct Floor {
    peers: RefCell<Vec<Rc<Peer>>>,
    deflate: Option<RefCell<Compress>>,
}

struct Peer {
    stream: TcpStream,
    is_deflated: bool,
}

pub(crate) fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, deflate: bool) -> io::Result<()> {
    let deflate = deflate.then(|| RefCell::new(Compress::new(Compression::default(), false)));
    let floor = Rc::new(Floor { peers: RefCell::default(), deflate });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = floor.clone();
        // whatever ends a connection, the others go on
        spawn_local(async move { floor.talk(stream).await });
    }
}

impl Floor {
    async fn talk(&self, stream: TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; LONGEST];
        let mut have = 0;
        while memmem::find(&buffer[..have], b"\r\n\r\n").is_none() {
            have += read(&stream, &mut buffer[have..]).await?;
        }
        let is_deflated =
            self.deflate.is_some() && memmem::find(&buffer[..have], b"permessage-deflate").is_some();
        let extensions = if is_deflated { DEFLATES } else { "" };
        stream.try_write(format!("{ACCEPTED}{extensions}\r\n").as_bytes())?;
        let peer = Rc::new(Peer { stream, is_deflated });
        let ended = self.answer_all(&peer, &mut buffer).await;
        self.peers.borrow_mut().retain(|other| !Rc::ptr_eq(other, &peer));
        ended
    }

    async fn answer_all(&self, peer: &Rc<Peer>, buffer: &mut [u8]) -> io::Result<()> {
        let mut have = 0;
        loop {
            have += read(&peer.stream, &mut buffer[have..]).await?;
            while let Some(found) = frame::find(&buffer[..have]) {
                if found.opcode == frame::CLOSE {
                    return Ok(());
                }
                self.answer(&frame::unmask(buffer, &found), peer)?;
                buffer.copy_within(found.to..have, 0);
                have -= found.to;
            }
        }
    }

    fn answer(&self, text: &[u8], peer: &Rc<Peer>) -> io::Result<()> {
        if memmem::find(text, b"phx_join").is_some() {
            self.peers.borrow_mut().push(peer.clone());
            peer.stream.try_write(&frame::plain(JOINED))?;
        } else if memmem::find(text, b"heartbeat").is_some() {
            let reference = text.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
            let reference = String::from_utf8_lossy(reference);
            let reply =
                format!(r#"[null,"{reference}","phoenix","phx_reply",{{"status":"ok","response":{{}}}}]"#);
            peer.stream.try_write(&frame::plain(reply.as_bytes()))?;
        } else {
            let (plain, deflated) = (frame::plain(text), self.deflated(text)?);
            for peer in self.peers.borrow().iter() {
                let _ = peer.stream.try_write(if peer.is_deflated { &deflated } else { &plain });
            }
        }
        Ok(())
    }

    /// The compressed frame of a message; empty if nobody is sent any.
    fn deflated(&self, text: &[u8]) -> io::Result<Vec<u8>> {
        let Some(deflate) = &self.deflate else { return Ok(vec![]) };
        let (mut deflate, mut payload) = (deflate.borrow_mut(), Vec::with_capacity(text.len() + SLACK));
        deflate.reset();
        deflate.compress_vec(text, &mut payload, FlushCompress::Sync)?;
        payload.truncate(payload.len().saturating_sub(TAIL.len()));
        Ok(frame::compressed(&payload))
    }
}

/// Reads at least one byte.
async fn read(stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            other => return other,
        }
    }
}
