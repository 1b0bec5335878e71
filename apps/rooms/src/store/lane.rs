//! Threads with a connection each, and the queue of their work.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
};

use hinotori::Endpoint;
use tokio::sync::oneshot;

use super::{Access, DbError, Session, Tx};
use crate::failure::Failure;

/// Transactions that may wait. Further ones are refused: their clients try again.
const WAITING: usize = 4_096;

/// Makes a connection, on its thread.
pub(super) type Open = Box<dyn FnOnce() -> Result<Box<dyn Session>, String> + Send>;

type Job = Box<dyn FnOnce(&mut dyn Session, &Endpoint) + Send>;

/// Threads that take work from one queue. They end when it is dropped.
pub(super) struct Lane {
    jobs: SyncSender<Job>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

impl Lane {
    /// Starts a thread for each connection, and waits until all are open.
    pub(super) fn start(name: &str, connections: Vec<Open>, endpoint: &Endpoint) -> Result<Self, String> {
        let (jobs, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let (opened, is_open) = channel();
        for open in connections {
            let (waiting, endpoint, opened) = (waiting.clone(), endpoint.clone(), opened.clone());
            let work = move || match open() {
                Ok(mut session) => {
                    let _ = opened.send(Ok(()));
                    drop(opened);
                    while let Some(job) = next(&waiting) {
                        job(session.as_mut(), &endpoint);
                    }
                }
                Err(why) => _ = opened.send(Err(why)),
            };
            thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| error.to_string())?;
        }
        drop(opened);
        is_open.iter().collect::<Result<(), String>>()?;
        Ok(Self { jobs })
    }

    /// Runs a transaction on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, is_done) = oneshot::channel();
        let job: Job = Box::new(move |session, endpoint| {
            // a client that has gone needs no answer
            let _ = done.send(transact(session, endpoint, access, work));
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("too much waits for it"),
            TrySendError::Disconnected(_) => unavailable("its thread has ended"),
        })?;
        is_done.await.map_err(|_| unavailable("its thread has ended"))?
    }
}

/// The next work; `None` if there will be no more.
fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn unavailable(why: &str) -> Failure {
    DbError::Unavailable(why.to_owned()).into()
}

fn transact<T>(
    session: &mut dyn Session,
    endpoint: &Endpoint,
    access: Access,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    session.begin(access)?;
    let mut tx = Tx::new(session);
    let worked = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
    let broadcasts = tx.into_broadcasts();
    match worked {
        Ok(Ok(value)) => {
            session.commit()?;
            for broadcast in broadcasts {
                broadcast.send(endpoint);
            }
            Ok(value)
        }
        Ok(Err(failure)) => {
            session.rollback();
            Err(failure)
        }
        Err(_) => {
            session.rollback();
            Err(DbError::Statement("the transaction panicked".to_owned()).into())
        }
    }
}
