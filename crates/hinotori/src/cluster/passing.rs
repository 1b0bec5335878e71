//! Requests of long polls that reach another node than their session's: passed on to it, and answered by it.
//!
//! A request is sent once, and carried out at most once. A poll may be repeated by its client, because the session keeps
//! what it has answered until the client has it (`transport/poll_session.rs`). So any loss between nodes costs a poll some
//! time, and a POST its answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use hinotori_protocol::cluster::{Answer, Envelope, Fragment, Fragments, Kind, NoRoom, Passed};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::{Instant, timeout, timeout_at},
};

use super::{BoxFuture, Cluster, NodeId, outward::Outward};
use crate::{telemetry::Unsent, wire::Payload};

/// Bytes of other nodes' requests of which fragments are missing, and of their answers: 16 MiB each.
const FRAGMENTS: usize = 16 * 1024 * 1024;

/// Requests of clients of this node that may wait for another one, and requests of other nodes that this one may be
/// answering. A poll waits for as long as its window.
const WAITING: usize = 65_536;

/// Complete requests of other nodes that are not being answered yet.
const QUEUED: usize = 1_024;

/// Fragments that are sent at a time: 1 MiB.
const AT_ONCE: usize = 16;

/// How long those may take to reach the engine.
const FLUSH: Duration = Duration::from_secs(3);

/// How long a request waits for a connection, and a young node to hear of the others.
const REACH: Duration = Duration::from_secs(3);

/// What this node has sessions of.
pub(crate) trait Serve: Send + Sync {
    /// Carries out a request of another node.
    fn serve(self: Arc<Self>, passed: Passed) -> BoxFuture<'static, Answer>;
}

/// What has become of a request that was passed on.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Answer),
    /// Its node is gone.
    Gone,
    /// There is no answer: it may have been carried out or not.
    Unanswered,
    /// It was not carried out, because too much waits here or there.
    Busy,
}

/// See the module.
pub(super) struct Passing {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    answers: Mutex<Fragments>,
    requests: Mutex<Fragments>,
    complete: mpsc::Sender<Complete>,
    /// Taken by the one task that answers.
    to_answer: Mutex<Option<mpsc::Receiver<Complete>>>,
    /// Set before anything arrives.
    serve: OnceLock<Arc<dyn Serve>>,
    /// Changes when another node may be reachable that was not.
    changed: watch::Sender<()>,
}

/// A request that waits for its answer.
struct Waiting {
    on: u64,
    outcome: oneshot::Sender<Outcome>,
}

/// A request of another node.
pub(super) struct Complete {
    from: u64,
    id: u64,
    passed: Passed,
}

impl Default for Passing {
    fn default() -> Self {
        let (complete, to_answer) = mpsc::channel(QUEUED);
        Self {
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            answers: Mutex::new(Fragments::new(FRAGMENTS)),
            requests: Mutex::new(Fragments::new(FRAGMENTS)),
            complete,
            to_answer: Mutex::new(Some(to_answer)),
            serve: OnceLock::new(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Passing {
    /// Another node may be reachable that was not.
    pub(super) fn changed(&self) {
        self.changed.send_replace(());
    }

    /// The connection is lost, and with it answers.
    pub(super) fn down(&self) {
        lock(&self.waiting).drain().for_each(|(_, waiting)| waiting.end(Outcome::Unanswered));
    }

    /// A node is gone.
    pub(super) fn left(&self, node: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.extract_if(|_, waiting| waiting.on == node).for_each(|(_, one)| one.end(Outcome::Gone));
        drop(waiting);
        lock(&self.answers).left(node);
        lock(&self.requests).left(node);
    }

    /// Whether a fragment is of a request that is arriving.
    pub(super) fn is_arriving(&self, from: u64, id: u64) -> bool {
        lock(&self.requests).has(from, id)
    }

    /// A fragment of another node's request.
    pub(super) fn requested(&self, now: Duration, from: u64, fragment: Fragment) -> Result<(), Unsent> {
        let id = fragment.id;
        let Some(whole) = lock(&self.requests).add(now, from, fragment)? else { return Ok(()) };
        let passed = Passed::decode(whole).ok_or(Unsent::Malformed)?;
        self.complete.try_send(Complete { from, id, passed }).map_err(|error| match error {
            TrySendError::Full(_) => Unsent::Busy,
            TrySendError::Closed(_) => Unsent::Down,
        })
    }

    /// A fragment of an answer.
    pub(super) fn answered(&self, now: Duration, from: u64, fragment: Fragment) -> Result<(), Unsent> {
        let id = fragment.id;
        if lock(&self.waiting).get(&id).is_none_or(|waiting| waiting.on != from) {
            // its client is gone, or it is there twice
            return Err(Unsent::Late);
        }
        let Some(whole) = lock(&self.answers).add(now, from, fragment)? else { return Ok(()) };
        let answer = Answer::decode(whole).ok_or(Unsent::Malformed)?;
        if let Some(waiting) = lock(&self.waiting).remove(&id) {
            waiting.end(if answer.status == Answer::BUSY {
                Outcome::Busy
            } else {
                Outcome::Answered(answer)
            });
        }
        Ok(())
    }

    /// Drops what has stayed incomplete.
    pub(super) fn expire(&self, now: Duration) {
        lock(&self.requests).expire(now);
        lock(&self.answers).expire(now);
    }
}

impl Waiting {
    fn end(self, outcome: Outcome) {
        // an error means that the client is gone
        let _ = self.outcome.send(outcome);
    }
}

impl From<NoRoom> for Unsent {
    fn from(NoRoom: NoRoom) -> Self {
        Self::Busy
    }
}

/// Ends the wait of a request, however it ends.
struct Ended<'a>(&'a Passing, NodeId, u64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let Self(passing, NodeId(on), id) = self;
        lock(&passing.waiting).remove(id);
        lock(&passing.answers).forget(*on, *id);
    }
}

impl Cluster {
    /// Who carries out the requests of other nodes. There is one call.
    pub(crate) fn serve(&self, serve: Arc<dyn Serve>) {
        let _ = self.passing.serve.set(serve);
    }

    /// Passes a request on, and waits for its answer.
    pub(crate) async fn pass(&self, to: NodeId, passed: &Passed, patience: Duration) -> Outcome {
        if let Err(outcome) = self.reach(to).await {
            return outcome;
        }
        let id = self.passing.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut outcome) = oneshot::channel();
        {
            let mut waiting = lock(&self.passing.waiting);
            if waiting.len() >= WAITING {
                return Outcome::Busy;
            }
            waiting.insert(id, Waiting { on: to.0, outcome: sender });
        }
        let _ended = Ended(&self.passing, to, id);
        if !self.send_fragments(Kind::Pass, to, id, passed.encode()).await {
            return Outcome::Busy;
        }
        match timeout(patience, &mut outcome).await {
            Ok(outcome) => outcome.unwrap_or(Outcome::Unanswered),
            Err(_) => Outcome::Unanswered,
        }
    }

    /// How many requests of this node's clients wait for other nodes.
    #[cfg(test)]
    pub(crate) fn waiting_requests(&self) -> usize {
        lock(&self.passing.waiting).len()
    }

    /// Waits until a node can be reached.
    async fn reach(&self, node: NodeId) -> Result<(), Outcome> {
        let mut changes = self.passing.changed.subscribe();
        let end = Instant::now() + REACH / self.speed;
        loop {
            let (is_up, is_known, is_settled) = self.sees(node);
            match (is_up, is_known) {
                (true, true) => return Ok(()),
                (true, false) if is_settled => return Err(Outcome::Gone),
                _ => {}
            }
            // the sender is in the cluster
            if timeout_at(end, changes.changed()).await.is_err() {
                return Err(if is_up { Outcome::Gone } else { Outcome::Unanswered });
            }
        }
    }

    /// Whether there is a connection, whether a node is there, and whether this node would have heard of it by now.
    fn sees(&self, NodeId(node): NodeId) -> (bool, bool, bool) {
        let others = self.others();
        let is_settled =
            others.nodes.is_hearing() && self.now().saturating_sub(others.hearing_since) >= REACH;
        (self.outward.is_up(), others.nodes.knows(node), is_settled)
    }

    /// Sends a request or answer, with no more at a time than the queue has room for beside all else. Returns whether
    /// all of it is queued.
    async fn send_fragments(&self, kind: Kind, to: NodeId, id: u64, whole: Bytes) -> bool {
        let mut fragments = Fragment::all(id, whole);
        loop {
            for fragment in fragments.by_ref().take(AT_ONCE) {
                let envelope = Outward::envelope(kind, "", Payload::binary(fragment.encode()));
                if !self.outward.send(self.now(), Envelope { to: Some(to.0), ..envelope }) {
                    return false;
                }
            }
            if fragments.len() == 0 {
                return true;
            }
            if timeout(FLUSH, self.adapter.flush()).await.is_err() {
                return false;
            }
        }
    }

    /// Answers the requests of other nodes, for ever.
    pub(super) async fn answer_requests(&self) {
        let requests = lock(&self.passing.to_answer).take();
        let mut requests = requests.unwrap_or_else(|| unreachable!("there is one call"));
        let mut answering = FuturesUnordered::new();
        loop {
            tokio::select! {
                // the sender is in the cluster
                Some(request) = requests.recv(), if answering.len() < WAITING => {
                    answering.push(self.answer_request(request));
                }
                Some(()) = answering.next() => {}
            }
        }
    }

    /// Tells a node that its request is not carried out.
    pub(super) fn refuse_request(&self, from: u64, id: u64) {
        for fragment in Fragment::all(id, Answer::status(Answer::BUSY).encode()) {
            let answer = Outward::envelope(Kind::Answer, "", Payload::binary(fragment.encode()));
            self.outward.send(self.now(), Envelope { to: Some(from), ..answer });
        }
    }

    async fn answer_request(&self, Complete { from, id, passed }: Complete) {
        let Some(serve) = self.passing.serve.get() else { return };
        let answer = serve.clone().serve(passed).await;
        if !self.send_fragments(Kind::Answer, NodeId(from), id, answer.encode()).await {
            log::debug!("event=not_sent what=answer node={}", NodeId(from));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
