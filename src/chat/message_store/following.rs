//! What brings the store news: its log, other nodes, and polls of the log in case these are not heard.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use hinotori::{Endpoint, Subscription};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    super::{
        follower::Place,
        hint::Hint,
        history::Limit,
        message_log::{LogError, Page, Reader, Report},
    },
    MessageStore, Polled, Reach, Where,
};

/// How often the log is polled while the other nodes are heard: a hint may be lost.
const WELL: Duration = Duration::from_secs(1);

/// How often while they are not.
const DEAF: Duration = Duration::from_millis(250);

/// How long a client that has seen more than this node waits for it.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Bytes of hints that may wait for the store: 4 MiB. If older ones are dropped, the log has what was in them.
const HINTS: usize = 4 << 20;

/// Only the head of the log.
const HEAD: Limit = Limit { messages: 0, bytes: 0 };

/// Passes on what the log reports.
pub(super) async fn pass_on(mut reports: mpsc::UnboundedReceiver<Report>, store: Addr<MessageStore>) {
    while let Some(report) = reports.recv().await {
        store.do_send(report);
    }
}

/// Passes on what other nodes have committed.
pub(super) async fn hear(hints: Subscription, me: u64, store: Addr<MessageStore>) {
    let mut hints = hints.limit(HINTS);
    while let Some(heard) = hints.recv().await {
        // what was dropped is missed as if it had been lost
        let Ok(heard) = heard else { continue };
        match heard.payload().as_binary().and_then(Hint::decode) {
            Some(hint) if hint.node == me => {}
            // one at a time: what waits is bounded here, and not by the store
            Some(hint) => _ = store.send(hint).await,
            None => log::debug!("event=hint_ignored why=\"it is of another version\""),
        }
    }
}

/// Polls the log until it is closed.
pub(super) async fn poll(endpoint: Endpoint, reader: Arc<dyn Reader>, store: Addr<MessageStore>) {
    loop {
        sleep(if endpoint.is_connected() { WELL } else { DEAF }).await;
        if let Err(LogError::Closed) = look(&*reader, &store).await {
            return;
        }
    }
}

/// Tells the store how far the log has come. Returns the id of its newest message.
async fn look(reader: &dyn Reader, store: &Addr<MessageStore>) -> Result<u64, LogError> {
    let asked = store.send(Where).await.map_err(|_| LogError::Closed)?;
    let Page { epoch, first_id, last_id, last_rev, .. } = reader.after(0, 0, HEAD).await?;
    store.do_send(Polled { asked, epoch, first_id, head: Place { id: last_id, rev: last_rev } });
    Ok(last_id)
}

/// Waits until the store has come as far as a message that a client has seen on another node, if the log has.
pub(super) async fn catch_up(reader: &dyn Reader, store: &Addr<MessageStore>, id: u64) {
    let caught_up = async {
        // clients may say anything
        if look(reader, store).await.is_ok_and(|last_id| id <= last_id)
            && let Ok(reached) = store.send(Reach(id)).await
        {
            // an error means that there is another log now
            let _ = reached.await;
        }
    };
    // otherwise, it loads what there is
    let _ = timeout(CATCH_UP, caught_up).await;
}
