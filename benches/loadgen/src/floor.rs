//! The lower bound: a server that does only what none can avoid, one write for each delivery.
//!
//! It looks for words in what comes instead of decoding it, forgets nobody's frame for longer than a write, and drops
//! what a full socket does not take.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use memchr::memmem;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::spawn_local,
};

use crate::frame;

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const JOINED: &[u8] = br#"["1","1","chat:lobby","phx_reply",{"status":"ok","response":{}}]"#;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Bytes of the longest message; a client that sends more is dropped.
const LONGEST: usize = 4096;

type Peers = Rc<RefCell<Vec<Rc<TcpStream>>>>;

pub(crate) fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    let peers = Peers::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (stream, peers) = (Rc::new(stream), peers.clone());
        spawn_local(async move {
            // whatever ends a connection, the others go on
            let _ = talk(&stream, &peers).await;
            peers.borrow_mut().retain(|peer| !Rc::ptr_eq(peer, &stream));
        });
    }
}

async fn talk(stream: &Rc<TcpStream>, peers: &Peers) -> io::Result<()> {
    let (mut buffer, mut have, mut is_open) = (vec![0; LONGEST], 0, false);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[have..]) {
            Ok(0) => return Ok(()),
            Ok(length) => have += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if !is_open {
            if memmem::find(&buffer[..have], b"\r\n\r\n").is_some() {
                (is_open, have) = (true, 0);
                stream.try_write(ACCEPTED)?;
            }
            continue;
        }
        while let Some(found) = frame::find(&buffer[..have]) {
            answer(&frame::unmask(&buffer, &found), stream, peers)?;
            buffer.copy_within(found.to..have, 0);
            have -= found.to;
        }
    }
}

fn answer(text: &[u8], stream: &Rc<TcpStream>, peers: &Peers) -> io::Result<()> {
    if memmem::find(text, b"phx_join").is_some() {
        peers.borrow_mut().push(stream.clone());
        stream.try_write(&frame::plain(JOINED))?;
    } else if memmem::find(text, b"heartbeat").is_some() {
        let reference = text.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
        let reference = String::from_utf8_lossy(reference);
        let reply =
            format!(r#"[null,"{reference}","phoenix","phx_reply",{{"status":"ok","response":{{}}}}]"#);
        stream.try_write(&frame::plain(reply.as_bytes()))?;
    } else {
        let delivery = frame::plain(text);
        for peer in peers.borrow().iter() {
            let _ = peer.try_write(&delivery);
        }
    }
    Ok(())
}
