//! A connection to the database.

use std::{future::poll_fn, task::ready, time::Duration};

use hinotori_postgres::Target;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Connection, Socket, tls::TlsStream};

use super::{failure::Failure, statements::Statements};

/// How long the database may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The advisory lock of the one server that writes; with the schema, as a database may have the messages of several.
const WRITES: i32 = i32::from_be_bytes(*b"chat");

/// A connection, and the task that drives it. Dropped, it is cut.
pub(super) struct Link {
    pub(super) client: Client,
    driver: Driver,
}

/// A task that ends when its handle is dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Connects and sets the session up.
    pub(super) async fn connect(target: &Target) -> Result<Self, Failure> {
        let connecting = async {
            let (client, connection) = target.config.connect(target.tls.clone()).await?;
            let link = Self { client, driver: Driver(tokio::spawn(drive(connection))) };
            link.client.batch_execute(include_str!("session.sql")).await?;
            Ok(link)
        };
        within(target.patience, connecting).await
    }

    /// Makes it the one connection that writes.
    pub(super) async fn lock(&self) -> Result<(), Failure> {
        let sql = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        match self.client.query_one(sql, &[&WRITES]).await?.try_get(0)? {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::InUse),
            None => Err(Failure::NoSchema),
        }
    }

    pub(super) async fn prepare(self) -> Result<Prepared, Failure> {
        let statements = Statements::prepare(&self.client).await?;
        Ok(Prepared { link: self, statements })
    }

    /// Comes back when it is cut.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.driver.0).await;
    }

    /// Says goodbye, so that the database gives its lock free.
    pub(super) async fn close(self) {
        let Self { client, mut driver } = self;
        drop(client);
        let _ = timeout(GOODBYE, &mut driver.0).await;
    }
}

/// A connection with its statements.
pub(super) struct Prepared {
    pub(super) statements: Statements,
    pub(super) link: Link,
}

impl Prepared {
    pub(super) fn client(&self) -> &Client {
        &self.link.client
    }
}

/// Waits for something for so long.
pub(super) async fn within<T>(
    patience: Duration,
    what: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(patience, what).await.unwrap_or(Err(Failure::TimedOut))
}

/// Until either side ends it. Notices are nothing to anyone.
async fn drive<T>(mut connection: Connection<Socket, T>)
where
    T: TlsStream + Unpin,
{
    poll_fn(|context| {
        while let Some(Ok(_)) = ready!(connection.poll_message(context)) {}
        std::task::Poll::Ready(())
    })
    .await;
}
