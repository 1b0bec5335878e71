//! Checks the health of the server that runs with the same settings: for a container, which has no curl.

use std::{
    error::Error,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::settings::Settings;

/// How long each step may take: connecting, sending the request, receiving the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The beginning of a good answer.
const GOOD: &str = "HTTP/1.1 200 ";

/// Requests `/healthz`, and fails if the answer is not 200.
///
/// # Errors
/// Why it is not healthy.
pub fn ask(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let address = settings.ops_listen.unwrap_or(SocketAddr::new(settings.host, settings.port));
    let address = reachable(address);
    let status = status(address).map_err(|error| format!("no answer from {address}: {error}"))?;
    if status.starts_with(GOOD) { Ok(()) } else { Err(format!("{address} answered {status:?}").into()) }
}

/// The address at which a server that listens on `address` is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The beginning of the answer to `GET /healthz`.
fn status(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = [0; GOOD.len()];
    stream.read_exact(&mut status)?;
    Ok(String::from_utf8_lossy(&status).into_owned())
}
