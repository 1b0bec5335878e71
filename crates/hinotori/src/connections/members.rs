//! The open connections of one worker thread, and the task that checks and closes them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::rt::{self, time::sleep};
use indexmap::IndexMap;
use tokio::sync::watch;

use super::Batch;
use crate::{
    per_thread::{self, PerThread, Registered, ServerId},
    pubsub::SubscriberKey,
};

/// The longest interval at which a thread checks its connections.
const MAX_PACE: Duration = Duration::from_secs(1);

/// A connection that closes itself when the server drains or its client is silent. Its methods are called within a loop
/// over all connections of the thread, so they must not wait, and not add or remove a connection.
pub(crate) trait Member {
    /// Whether it is neither closing nor closed.
    fn is_open(&self) -> bool;
    /// Begins to close.
    fn drain(&self);
    /// Begins to close if its client has been silent for too long, or is cut off if it has not read for too long.
    fn look(&self, now: Instant);
}

thread_local! {
    static MEMBERS: PerThread<Members> = PerThread::default();
}

/// The connections of this thread, if it has had any.
pub(super) fn find(id: ServerId) -> Option<Rc<Members>> {
    per_thread::find(&MEMBERS, id)
}

/// Creates the list of this thread, and a task that checks it until the server is dropped.
pub(super) fn start(id: ServerId, batches: watch::Receiver<Batch>) -> Rc<Members> {
    let members = Rc::new(Members { list: RefCell::default(), pace: Cell::new(MAX_PACE) });
    let registered = Registered::new(&MEMBERS, id, members.clone());
    let looking = members.clone();
    rt::spawn(async move {
        looking.look_after(batches).await;
        drop(registered);
    });
    members
}

/// See the module.
pub(super) struct Members {
    /// Removal takes constant time, because ten thousand may leave at once.
    list: RefCell<IndexMap<SubscriberKey, Rc<dyn Member>>>,
    /// How often they are checked. There is one timer for all, so an idle connection costs none.
    pace: Cell<Duration>,
}

impl Members {
    pub(super) fn add(&self, key: SubscriberKey, connection: Rc<dyn Member>) {
        self.list.borrow_mut().insert(key, connection);
    }

    pub(super) fn remove(&self, key: SubscriberKey) {
        self.list.borrow_mut().swap_remove(&key);
    }

    pub(super) fn look_every(&self, pace: Duration) {
        self.pace.set(self.pace.get().min(pace));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Until the server is dropped.
    async fn look_after(&self, mut batches: watch::Receiver<Batch>) {
        loop {
            tokio::select! {
                changed = batches.changed() => match changed {
                    Ok(()) => self.drain(&batches.borrow_and_update().clone()),
                    Err(_) => return,
                },
                () = sleep(self.pace.get()) => self.look(Instant::now()),
            }
        }
    }

    fn drain(&self, batch: &Batch) {
        let list = self.list.borrow();
        let open = list.values().filter(|connection| connection.is_open());
        open.take_while(|_| batch.take()).for_each(|connection| connection.drain());
    }

    fn look(&self, now: Instant) {
        for connection in self.list.borrow().values() {
            connection.look(now);
        }
    }
}
