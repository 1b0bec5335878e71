//! The connections to the database: one listens, one notifies.
//!
//! A connection that listens does nothing else, so that what arrives never waits for what is sent.
//!
//! # Source
//! <https://www.postgresql.org/docs/current/sql-notify.html>, <https://www.postgresql.org/docs/current/sql-listen.html>

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use hinotori::cluster::{Me, NodeId, Queue, Sink, To};
use tokio::time::timeout;
use tokio_postgres::{
    AsyncMessage, Client, Connection, Error, Socket,
    tls::{MakeTlsConnect, TlsStream},
    types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    dsn::Target,
    failure,
    pieces::{self, Joiner},
};

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(3);

/// Bytes of one transaction before base64, and one frame of any size beyond them.
const BATCH: usize = 256 * 1024;

/// One transaction with all of its notifications. Its row says how many there were.
const NOTIFY: &str = "SELECT count(pg_notify(channel, payload)) FROM unnest($1::text[], $2::text[]) AS sent (channel, payload)";

/// A node that is stopped must not hold what all the others have been sent: the database drops the connection. Without an
/// effect on Unix sockets.
const PROTECT: &str = "SET tcp_user_timeout = '10s'";

/// A connection that is subscribed to the channels of a node.
pub(crate) struct Listener {
    connection: Connection<Socket, Stream>,
    /// The connection ends when this is dropped.
    _client: Client,
    inbox: Inbox,
}

/// Where notifications go.
struct Inbox {
    joiner: Joiner,
    sink: Arc<dyn Sink>,
}

impl Inbox {
    fn take(&mut self, message: AsyncMessage) {
        // notices are nothing to anyone
        if let AsyncMessage::Notification(notification) = message {
            let sink = &self.sink;
            self.joiner.take(notification.process_id(), notification.payload(), |frame| sink.frame(frame));
        }
    }
}

impl Listener {
    /// Connects and subscribes. What arrives is given to `sink` from now on. Returns when the subscription is there.
    pub(crate) async fn open(
        target: &Target,
        prefix: &str,
        me: &Me,
        sink: &Arc<dyn Sink>,
    ) -> Result<Self, String> {
        let (client, mut connection) = connect(target).await?;
        let mut inbox = Inbox { joiner: Joiner::default(), sink: sink.clone() };
        let [all, own] = [prefix.to_owned(), channel(prefix, me.id)].map(|name| quoted(&name));
        let listen = format!("{PROTECT}; LISTEN {all}; LISTEN {own}");
        tokio::select! {
            listens = within(client.batch_execute(&listen)) => listens?,
            why = drive(&mut connection, |message| inbox.take(message)) => return Err(why),
        }
        Ok(Self { connection, _client: client, inbox })
    }

    /// Passes on what arrives, until the connection is lost. Returns why it is.
    pub(crate) async fn run(mut self) -> String {
        drive(&mut self.connection, |message| self.inbox.take(message)).await
    }
}

/// A connection that notifies.
pub(crate) struct Notifier {
    connection: Connection<Socket, Stream>,
    client: Client,
}

impl Notifier {
    pub(crate) async fn open(target: &Target) -> Result<Self, String> {
        let (client, connection) = connect(target).await?;
        Ok(Self { connection, client })
    }

    /// Sends what is queued, until that fails. Returns why it does.
    pub(crate) async fn run(mut self, queue: &Queue, prefix: &str) -> String {
        tokio::select! {
            why = drive(&mut self.connection, |_| ()) => why,
            why = send(&self.client, queue, prefix) => why,
        }
    }
}

async fn send(client: &Client, queue: &Queue, prefix: &str) -> String {
    loop {
        let frames = queue.take(BATCH).await;
        let (mut channels, mut payloads) = (vec![], vec![]);
        for run in frames.chunk_by(|(one, _), (next, _)| one == next) {
            let channel = match run[0].0 {
                To::All => prefix.to_owned(),
                To::One(node) => channel(prefix, node),
            };
            payloads.extend(pieces::cut(run.iter().map(|(_, frame): &(To, Bytes)| frame)));
            channels.resize(payloads.len(), channel);
        }
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&channels, Type::TEXT_ARRAY), (&payloads, Type::TEXT_ARRAY)];
        if let Err(why) = within(client.query_typed(NOTIFY, &parameters)).await {
            return why;
        }
    }
}

async fn connect(target: &Target) -> Result<(Client, Connection<Socket, Stream>), String> {
    let connecting = timeout(target.patience, target.config.connect(target.tls.clone())).await;
    connecting.map_err(|_| late())?.map_err(|error| failure::text(&error))
}

async fn within<T>(what: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    timeout(STATEMENT, what).await.map_err(|_| late())?.map_err(|error| failure::text(&error))
}

fn late() -> String {
    "the database does not answer".to_owned()
}

/// Reads and writes until the connection is lost. Returns why it is.
async fn drive<S>(connection: &mut Connection<Socket, S>, mut take: impl FnMut(AsyncMessage)) -> String
where
    S: TlsStream + Unpin,
{
    poll_fn(|context| {
        loop {
            match connection.poll_message(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(message))) => take(message),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(failure::text(&error)),
                Poll::Ready(None) => return Poll::Ready("the database closed it".to_owned()),
            }
        }
    })
    .await
}

/// The channel of one node.
fn channel(prefix: &str, node: NodeId) -> String {
    format!("{prefix}_{node}")
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
