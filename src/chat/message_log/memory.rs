//! Messages that are gone when the process ends.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures_util::future::{self, BoxFuture, FutureExt};
use hinotori::BoxError;

use super::{
    super::{history::Limit, message::Message},
    Busy, Command, Committed, Done, LogError, MessageLog, Messages, OpenError, Page, Reader, Settled, Sink,
    Snapshot,
    snapshot::new_epoch,
};

/// Counts ids. What it knows of messages is what the commands bring with them: the history is all there is.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    last_id: u64,
    last_rev: u64,
    nonces: Nonces,
}

/// The newest nonces.
#[derive(Debug, Default)]
struct Nonces {
    ids: HashMap<Arc<str>, u64>,
    in_order: VecDeque<Arc<str>>,
    most: usize,
}

impl Nonces {
    fn add(&mut self, nonce: &str, id: u64) {
        let nonce = Arc::<str>::from(nonce);
        self.ids.insert(Arc::clone(&nonce), id);
        self.in_order.push_back(nonce);
        while self.in_order.len() > self.most
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl Memory {
    fn carry_out(&mut self, command: Command) -> Committed {
        match command {
            Command::Post { draft, quote } => {
                if let Some(id) = draft.nonce().and_then(|nonce| self.nonces.ids.get(nonce)) {
                    return Committed::Repeated(*id);
                }
                self.last_id += 1;
                if let Some(nonce) = draft.nonce() {
                    self.nonces.add(nonce, self.last_id);
                }
                Committed::Posted(draft.message(self.last_id, self.last_rev, quote.as_deref()))
            }
            Command::Like { known: None, .. } => Committed::NotFound,
            Command::Like { known: Some(message), .. } => {
                self.last_rev += 1;
                Committed::Liked(message.liked(self.last_rev))
            }
        }
    }
}

impl MessageLog for Memory {
    fn open(&mut self, limit: Limit, _: Sink) -> Result<Snapshot, OpenError> {
        self.nonces.most = limit.messages;
        Ok(Snapshot { epoch: new_epoch(), last_id: 0, last_rev: 0, newest: Vec::new(), liked: Vec::new() })
    }

    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy> {
        let committed = self.carry_out(command);
        Ok(Some(done.settled(Ok(committed))))
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(Nothing)
    }

    fn import(&mut self, _: &mut Messages<'_>) -> Result<u64, BoxError> {
        Err("the store is in memory, which keeps nothing: set --store to a database".into())
    }

    fn close(&mut self) {}
}

/// The history is all there is.
#[derive(Debug)]
struct Nothing;

impl Reader for Nothing {
    fn before(&self, _: u64, _: Limit) -> BoxFuture<'static, Result<Vec<Message>, LogError>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn after(&self, id: u64, rev: u64, _: Limit) -> BoxFuture<'static, Result<Page, LogError>> {
        let (posted, liked, damaged) = (Vec::new(), Vec::new(), Vec::new());
        let nothing = Page { epoch: 0, first_id: id + 1, last_id: id, last_rev: rev, posted, liked, damaged };
        future::ready(Ok(nothing)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::suite, *};

    #[test]
    fn it_does_what_every_log_must() {
        suite::all(|| Box::new(Memory::default()));
    }
}
