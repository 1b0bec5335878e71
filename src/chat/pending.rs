//! A post or a like that the store has taken.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{StoreError, message_log::Claim};
use hinotori::supervise::Crashed;

/// How long it may wait to be written. phoenix.js gives a push up after 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// The id of the message that was posted or liked; none if there is no such message.
pub(super) type Outcome = Result<Option<u64>, StoreError>;

/// What will become of a command: one outcome, whatever happens.
#[derive(Debug)]
pub(crate) struct Pending {
    claim: Claim,
    reply: oneshot::Receiver<Outcome>,
    deadline: Instant,
}

impl Pending {
    pub(super) fn new(claim: Claim, reply: oneshot::Receiver<Outcome>) -> Self {
        Self { claim, reply, deadline: Instant::now() + PATIENCE }
    }

    /// Waits for it, and returns the id of the message; none if there is no such message. What has not been begun with after 5 s never will be; what has been, is
    /// waited for.
    ///
    /// # Errors
    /// [`StoreError`] if nothing was done, or if the store crashed over it.
    pub(crate) async fn outcome(mut self) -> Result<Option<u64>, StoreError> {
        let outcome = match timeout_at(self.deadline, &mut self.reply).await {
            Ok(outcome) => outcome,
            Err(_) if self.claim.take() => return Err(StoreError::Late),
            Err(_) => self.reply.await,
        };
        // who drops the other end has panicked
        outcome.unwrap_or(Err(StoreError::Crashed(Crashed)))
    }
}
