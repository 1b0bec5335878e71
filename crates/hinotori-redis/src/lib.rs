#![doc = include_str!("../README.md")]

mod address;
mod connection;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use hinotori::cluster::{Adapter, Backoff, BoxFuture, Full, Me, NodeId, Queue, Sink, To, Why};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use address::Address;
pub use address::AddressError;
use connection::Connection;

/// A connection that has lasted this long is replaced without a wait.
const STABLE: Duration = Duration::from_secs(2);

/// An adapter that connects nodes by a Redis server, or by one that speaks its protocol.
///
/// What waits to be sent takes up to [`Queue::LIMIT`] bytes, and what is being sent up to 256 KiB or one frame more. What
/// arrives is handled as it is read from the connection, so none of it waits in this process: if a node is too slow, Redis
/// closes its connection (`client-output-buffer-limit pubsub`), and it connects again.
pub struct Redis {
    address: Address,
    prefix: Arc<str>,
    queue: Queue,
    reconnect: Notify,
}

impl Redis {
    /// An adapter for a server: `redis://user:password@host:port`, or `rediss://…` for TLS. User, password and the port, 6379
    /// by default, may be left out. The certificate of a server with TLS must be for the host and signed by an authority
    /// that the system trusts, or by one of the PEM file in `?cacert=/path/to/ca.pem`.
    ///
    /// It connects when the endpoint starts, and again for as long as it takes: a server that is away is no error.
    ///
    /// # Errors
    /// [`AddressError`] if the address is wrong or the certificates of the authorities cannot be read. Its text has no
    /// password.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        Ok(Self {
            address: Address::parse(address)?,
            prefix: "hinotori".into(),
            queue: Queue::new(Queue::LIMIT),
            reconnect: Notify::new(),
        })
    }

    /// Sets the name of the cluster, `hinotori` by default: the channel of its frames, and what the channels of its nodes
    /// begin with. Servers that share one Redis and are not nodes of each other need different names, as a Redis has the
    /// same channels in all its databases.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// While the connection is there. Returns why it is not.
    async fn serve(&self, Connection { mut client, driver }: Connection) -> Why {
        tokio::select! {
            () = driver => Why::Lost("Redis closed it".to_owned()),
            () = self.reconnect.notified() => Why::Silent,
            error = connection::send(&mut client, &self.queue, &self.prefix) => Why::Lost(error.to_string()),
        }
    }
}

impl Adapter for Redis {
    fn publish(&self, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::All, frame)
    }

    fn publish_to(&self, node: NodeId, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::One(node), frame)
    }

    fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                sleep(backoff.next()).await;
                match Connection::open(&self.address, &self.prefix, &me, &sink).await {
                    Ok(connection) => {
                        // what was wanted of the former connection
                        let _ = tokio::time::timeout(Duration::ZERO, self.reconnect.notified()).await;
                        let since = Instant::now();
                        sink.up();
                        let why = self.serve(connection).await;
                        sink.down(why);
                        if since.elapsed() >= STABLE {
                            backoff = Backoff::default();
                        }
                    }
                    Err(why) => sink.down(Why::Connect(why)),
                }
            }
        })
    }

    fn reconnect(&self) {
        self.reconnect.notify_one();
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.queue.flush())
    }
}

/// Without the password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &format_args!("{}", self.address))
            .field("prefix", &self.prefix)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
