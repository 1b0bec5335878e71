//! How the outcome of a command comes back from a log, exactly once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;

use super::{Command, Committed, LogError, Snapshot, StoreError};

/// Who waits for a command.
#[derive(Debug)]
pub(crate) struct Done {
    claim: Claim,
    reply: Reply,
}

/// Receives what a log has to tell, in the order of its commits.
pub(crate) type Sink = Arc<dyn Fn(Report) + Send + Sync>;

/// Answers the caller: the id of the message that was posted or liked, if there is one.
pub(crate) type Reply = oneshot::Sender<Result<Option<u64>, StoreError>>;

/// What a log has to tell.
#[derive(Debug)]
pub(crate) enum Report {
    /// The outcomes of commands, in the order in which they were carried out.
    Settled(Vec<Settled>),
    /// Messages up to this id are deleted, as they need not be kept.
    Forgotten(u64),
    /// The log is not what it was, as its database was wiped or restored: this is what it has now.
    Replaced(Snapshot),
}

impl Report {
    /// Tells a sink what became of a batch, if there is anything in it.
    pub(super) fn settle(
        sink: &Sink,
        batch: impl Iterator<Item = ((Command, Done), Result<Committed, LogError>)>,
    ) {
        let settled: Vec<Settled> = batch.map(|((_, done), outcome)| done.settled(outcome)).collect();
        if !settled.is_empty() {
            sink(Self::Settled(settled));
        }
    }
}

/// A command with its outcome.
#[derive(Debug)]
pub(crate) struct Settled {
    /// What was done, or why not.
    pub(crate) outcome: Result<Committed, LogError>,
    /// The caller.
    pub(crate) reply: Reply,
}

/// Decides a race: either the log begins to carry a command out, or its caller gives up first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first who asks.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Done {
    pub(crate) fn new(claim: Claim, reply: Reply) -> Self {
        Self { claim, reply }
    }

    /// Whether the command must be carried out. If so, its caller can no longer give up.
    pub(super) fn begin(&self) -> bool {
        self.claim.take()
    }

    /// The command with its outcome.
    pub(super) fn settled(self, outcome: Result<Committed, LogError>) -> Settled {
        Settled { outcome, reply: self.reply }
    }
}
