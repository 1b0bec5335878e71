#![doc = include_str!("../README.md")]

mod connection;
mod dsn;
mod failure;
mod pieces;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use hinotori::cluster::{Adapter, Backoff, BoxFuture, Full, Me, NodeId, Queue, Sink, To, Why};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use connection::{Listener, Notifier};
pub use dsn::{Dsn, DsnError, Target};

/// Connections that have lasted this long are replaced without a wait.
const STABLE: Duration = Duration::from_secs(2);

/// What the database calls the connections, together with the node's name.
const APPLICATION: &str = "hinotori";

/// The longest name of a cluster: with an underscore and the 16 digits of a node, it must be an identifier of PostgreSQL.
const PREFIX: usize = 46;

/// An adapter that connects nodes by a PostgreSQL database.
///
/// What waits to be sent takes up to [`Queue::LIMIT`] bytes, and what is being sent up to 256 KiB or one frame more, which
/// base64 makes a third larger. What arrives is handled as it is read from the connection, so none of it waits in this
/// process, except for the parts of a large frame whose last part is still to come.
pub struct Postgres {
    target: Target,
    prefix: Arc<str>,
    queue: Queue,
    reconnect: Notify,
}

impl Postgres {
    /// An adapter for a database: `postgres://user:password@host:port/database`. The nodes need no tables and no more rights
    /// than to connect. The connections must last, so do not give the address of a pooler that changes them from one
    /// transaction to the next, such as PgBouncer in its modes `transaction` and `statement`.
    ///
    /// Options follow a `?` and are separated by `&`. `sslmode` may be `disable`, `prefer` (the default), `require` or
    /// `verify-full`, which checks the certificate by the authorities that the system trusts or by those of the PEM file in
    /// `sslrootcert`. Others are those of [`tokio_postgres::Config`].
    ///
    /// It connects when the endpoint starts, and again for as long as it takes: a database that is away is no error.
    ///
    /// # Errors
    /// [`DsnError`] if the address is wrong or the certificates of the authorities cannot be read. Its text has no password.
    pub fn new(address: &str) -> Result<Self, DsnError> {
        Self::at(&Dsn::new(address))
    }

    /// The same for an address that was set already.
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    pub fn at(dsn: &Dsn) -> Result<Self, DsnError> {
        Ok(Self {
            target: dsn.target(APPLICATION)?,
            prefix: "hinotori".into(),
            queue: Queue::new(Queue::LIMIT),
            reconnect: Notify::new(),
        })
    }

    /// Sets the name of the cluster, `hinotori` by default: the channel of its frames, and what the channels of its nodes
    /// begin with. Servers that share one database and are not nodes of each other need different names.
    ///
    /// # Panics
    /// If it is empty or has more than 46 bytes.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        assert!(
            (1..=PREFIX).contains(&prefix.len()),
            "the name of a cluster must have from 1 to {PREFIX} bytes: {prefix:?}"
        );
        Self { prefix: prefix.into(), ..self }
    }

    /// Connects twice. The last to come is what listens: from then on, everything arrives and everything is sent.
    async fn open(
        &self,
        target: &Target,
        me: &Me,
        sink: &Arc<dyn Sink>,
    ) -> Result<(Notifier, Listener), String> {
        let notifier = Notifier::open(target).await?;
        Ok((notifier, Listener::open(target, &self.prefix, me, sink).await?))
    }

    /// While both connections are there. Returns why one is not.
    async fn serve(&self, notifier: Notifier, listener: Listener) -> Why {
        tokio::select! {
            why = listener.run() => Why::Lost(why),
            why = notifier.run(&self.queue, &self.prefix) => Why::Lost(why),
            () = self.reconnect.notified() => Why::Silent,
        }
    }
}

impl Adapter for Postgres {
    fn publish(&self, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::All, frame)
    }

    fn publish_to(&self, node: NodeId, frame: Bytes) -> Result<(), Full> {
        self.queue.push(To::One(node), frame)
    }

    fn run(self: Arc<Self>, me: Me, sink: Arc<dyn Sink>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (target, mut backoff) = (named(&self.target, &me), Backoff::default());
            loop {
                sleep(backoff.next()).await;
                match self.open(&target, &me, &sink).await {
                    Ok((notifier, listener)) => {
                        // what was wanted of the former connections
                        let _ = timeout(Duration::ZERO, self.reconnect.notified()).await;
                        let since = Instant::now();
                        sink.up();
                        let why = self.serve(notifier, listener).await;
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

/// With the node's name for its connections, unless the address has one.
fn named(target: &Target, me: &Me) -> Target {
    let mut target = target.clone();
    if target.config.get_application_name() == Some(APPLICATION) {
        target.config.application_name(format!("{APPLICATION}:{}", me.name));
    }
    target
}

/// Without the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("target", &self.target)
            .field("prefix", &self.prefix)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
