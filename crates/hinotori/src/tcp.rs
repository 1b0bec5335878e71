//! Sets up a client's TCP connection for sockets.

#[cfg(target_os = "linux")]
use std::time::Duration;
use std::{any::Any, io};

use actix_web::{dev::Extensions, rt::net::TcpStream};
use socket2::SockRef;

use crate::telemetry::Quoted;

/// How long a peer may accept no data before the kernel drops it. Far above any stall of a mobile network that TCP
/// survives in practice.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Sets up a client's TCP connection for sockets. Pass it to `actix_web::HttpServer::on_connect`;
/// [`Server`](crate::Server) does this for every connection.
///
/// `TCP_NODELAY`: a small message does not wait until the one before it has been acknowledged. `TCP_USER_TIMEOUT`
/// (Linux): the kernel drops a peer that accepts no data for 20 s. Its socket ends long before, but only this frees the
/// connection. Both also apply to TLS connections of rustls 0.23 (`HttpServer::bind_rustls_0_23`); streams of any other
/// type are left as they are.
///
/// Of a TLS connection it also keeps the client's certificates, if there are any, for
/// [`ConnectInfo::peer_certificate`](crate::ConnectInfo).
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    #[cfg(feature = "tls")]
    crate::tls::keep_certificates(connection, data);
    #[cfg(not(feature = "tls"))]
    let _ = data;
    let stream = connection.downcast_ref::<TcpStream>();
    #[cfg(feature = "tls")]
    let stream = stream.or_else(|| crate::tls::tcp(connection));
    if let Some(stream) = stream {
        let socket = SockRef::from(stream);
        let set = socket.set_tcp_nodelay(true).and_then(|()| set_user_timeout(&socket));
        if let Err(error) = set {
            log::debug!("event=not_set_up why={}", Quoted(&error.to_string()));
        }
    }
}

#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Other systems have no such option: there, the kernel only drops a peer that is gone.
#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
