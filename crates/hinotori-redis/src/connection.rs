//! One connection to the server, which publishes and is subscribed.
//!
//! Version 3 of Redis' protocol allows both on one connection, so a node whose frames do not come back knows that this
//! connection is dead, whichever direction it is.
//!
//! # Source
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/#pushes>

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hinotori::cluster::{BoxFuture, Me, NodeId, Queue, Sink, To};
use redis::{
    AsyncConnectionConfig, Pipeline, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::address::Address;

/// How long each step of connecting may take: the TCP connection to one address; TLS, the login and the subscription.
const CONNECT: Duration = Duration::from_secs(2);

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// How long what was sent may stay without the other side's acknowledgment.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How long a connection is quiet before TCP asks whether the other side is still there, and from one try to the next.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));

/// Bytes that are published at a time, and one frame of any size beyond them.
const BATCH: usize = 256 * 1024;

/// A connection that is logged in and subscribed. It is closed when it is dropped.
pub(crate) struct Connection {
    pub(crate) client: MultiplexedConnection,
    /// Reads and writes, until the connection is lost. Nothing moves unless it is polled.
    pub(crate) driver: BoxFuture<'static, ()>,
}

impl Connection {
    /// Connects. What arrives is given to `sink` from now on. Returns when the server has confirmed the subscription, or why
    /// it has not.
    pub(crate) async fn open(
        address: &Address,
        prefix: &str,
        me: &Me,
        sink: &Arc<dyn Sink>,
    ) -> Result<Self, String> {
        let stream = dial(address).await.map_err(|error| error.to_string())?;
        let opening = async {
            let mut connection = match &address.tls {
                None => Self::log_in(address, stream, sink).await?,
                Some(tls) => {
                    let connector = TlsConnector::from(tls.config.clone());
                    let stream = connector.connect(tls.name.clone(), stream).await?;
                    Self::log_in(address, stream, sink).await?
                }
            };
            connection.set_up(prefix, me).await?;
            Ok(connection)
        };
        let opened = timeout(CONNECT, opening).await;
        opened.map_err(|_| "it does not answer".to_owned())?.map_err(|error: RedisError| error.to_string())
    }

    async fn log_in(
        address: &Address,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        sink: &Arc<dyn Sink>,
    ) -> Result<Self, RedisError> {
        let sink = sink.clone();
        let pushed = move |push: PushInfo| {
            // of a channel and a message
            if push.kind == PushKind::Message
                && let Some(Value::BulkString(frame)) = push.data.into_iter().nth(1)
            {
                sink.frame(frame.into());
            }
            Ok::<_, Infallible>(())
        };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER)).set_push_sender(pushed);
        let (client, driver) = MultiplexedConnection::new_with_config(&address.login, stream, config).await?;
        Ok(Self { client, driver: Box::pin(driver) })
    }

    /// Names the connection and subscribes it.
    async fn set_up(&mut self, prefix: &str, me: &Me) -> Result<(), RedisError> {
        let Self { client, driver } = self;
        let channels = [prefix.to_owned(), channel(prefix, me.id)];
        let set_up = async {
            let name = redis::cmd("CLIENT").arg("SETNAME").arg(client_name(&me.name)).to_owned();
            // who may not use the command has no name
            let named = name.exec_async(client).await;
            named.or_else(|error| if error.is_unrecoverable_error() { Err(error) } else { Ok(()) })?;
            client.subscribe(&channels[..]).await
        };
        tokio::select! {
            done = set_up => done,
            () = driver => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }
}

/// Publishes what is queued, until that fails.
pub(crate) async fn send(client: &mut MultiplexedConnection, queue: &Queue, prefix: &str) -> RedisError {
    loop {
        let mut pipeline = Pipeline::new();
        for (to, frame) in queue.take(BATCH).await {
            let publish = pipeline.cmd("PUBLISH");
            match to {
                To::All => publish.arg(prefix),
                To::One(node) => publish.arg(channel(prefix, node)),
            };
            publish.arg(&frame[..]).ignore();
        }
        if let Err(error) = pipeline.exec_async(client).await {
            return error;
        }
    }
}

/// The channel of one node.
fn channel(prefix: &str, node: NodeId) -> String {
    format!("{prefix}:{node}")
}

/// What `CLIENT LIST` calls the connection. Names have no spaces.
fn client_name(node: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '-' };
    format!("hinotori:{}", node.chars().map(printable).collect::<String>())
}

async fn dial(address: &Address) -> io::Result<TcpStream> {
    let addresses = timeout(CONNECT, lookup_host((&*address.host, address.port)));
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses.await?? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                set_up(&stream)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(late) => failure = late.into(),
        }
    }
    Err(failure)
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1))?;
    // other systems have no such option
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}
