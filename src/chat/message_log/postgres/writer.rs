//! What writes: one batch at a time, each settled before the next begins.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hinotori::cluster::Backoff;
use hinotori_postgres::Target;
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        super::history::Limit,
        Command, Done, Keep, LogError, Meters, Report, Sharing, Sink,
        queue::{Queue, Woken},
    },
    Reached, Work,
    batch::{Found, Head, Needs, Plan},
    failure::Failure,
    forget,
    link::{Link, Prepared, within},
    opening,
    transaction::{self, Batch, Ended},
};

/// Commands of one transaction.
const BATCH: usize = 1_024;

/// Bytes of one transaction, and one command of any size beyond them: 4 MiB.
const BATCH_BYTES: usize = 4 << 20;

/// How long each half of a transaction may take: more than any statement may (`session.sql`).
const HALF: Duration = Duration::from_secs(4);

/// How long a batch may have waited, since it was begun, when it is begun again. Later its callers get an error.
const AGAIN: Duration = Duration::from_secs(5);

/// Messages that may be added before it is looked for those that are beyond what is kept.
const FORGET: usize = 256;

/// How often it is looked for messages that have become too old.
const TICK: Duration = Duration::from_secs(60);

/// How often it is tried whether the database, which has refused a batch, can be written to again.
const PROBE: Duration = Duration::from_secs(1);

type Commands = Vec<(Command, Done)>;

/// Writes what waits in the queue until that is closed.
pub(super) struct Writer {
    target: Target,
    sharing: Sharing,
    queue: Arc<Queue>,
    reload: Arc<Notify>,
    reached: Arc<Mutex<Reached>>,
    /// How often the messages were replaced.
    replaced: u64,
    keep: Keep,
    limit: Limit,
    meters: Meters,
    sink: Sink,
    /// None while the database is away.
    on: Option<Prepared>,
    /// Where the topic was when the last batch of this server was committed.
    head: Head,
    /// The batch that was begun last.
    batch: Batch,
    unsettled: Option<Unsettled>,
    backoff: Backoff,
    /// Whether the last try succeeded.
    is_up: bool,
    /// Messages since some were last deleted.
    unforgotten: usize,
    /// The topic is not what it was, and must be read again.
    is_replaced: bool,
}

/// A batch whose connection was lost.
struct Unsettled {
    commands: Commands,
    /// What it was to do, if it may have been committed.
    plan: Option<Plan>,
    since: Instant,
}

impl Unsettled {
    /// Its callers have waited for too long for another try.
    fn is_late(&self) -> bool {
        self.since.elapsed() >= AGAIN
    }
}

impl Writer {
    pub(super) fn new(work: Work, on: Prepared, head: Head) -> Self {
        let Work { target, sharing, queue, reload, reached, keep, limit, meters, sink } = work;
        // hashers of the standard library have random keys
        let batch = Batch { writer: RandomState::new().hash_one(()).cast_signed(), number: 0 };
        Self {
            target,
            sharing,
            queue,
            reload,
            reached,
            replaced: 0,
            keep,
            limit,
            meters,
            sink,
            on: Some(on),
            head,
            batch,
            unsettled: None,
            backoff: Backoff::default(),
            is_up: true,
            // what a former server left may have to go
            unforgotten: FORGET,
            is_replaced: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Some(on) = self.connected().await else { break };
            if let Some(unsettled) = self.unsettled.take() {
                self.resolve(on, unsettled).await;
                continue;
            }
            if mem::take(&mut self.is_replaced) {
                self.read_again(on).await;
                continue;
            }
            let patience = match (self.unforgotten >= FORGET, self.is_up) {
                (true, _) => Duration::ZERO,
                (false, true) => TICK,
                (false, false) => PROBE,
            };
            match self.wait(on, patience).await {
                Some((on, Woken::Work)) => self.write(on).await,
                // a batch of nothing, which is written like any other
                Some((on, Woken::Idle)) if !self.is_up => self.write(on).await,
                Some((on, Woken::Idle)) => {
                    self.unforgotten = self.unforgotten.max(FORGET);
                    self.on = Some(on);
                }
                Some((on, Woken::Closed)) => return on.link.close().await,
                None => self.lost(&"the database closed the connection"),
            }
            if self.unforgotten >= FORGET {
                self.forget().await;
            }
        }
        // the database is away; callers of a batch that may have been committed learn nothing
        let waiting = self.queue.take(usize::MAX);
        self.refuse(waiting, Failure::TimedOut.into());
    }

    /// The connection, or a new one; none if the log is closed and there is no database.
    async fn connected(&mut self) -> Option<Prepared> {
        if let Some(on) = self.on.take() {
            return Some(on);
        }
        loop {
            sleep(self.backoff.next()).await;
            match connect(&self.target, self.sharing).await {
                Ok(on) => {
                    if self.unsettled.is_none() {
                        self.recovered();
                    }
                    return Some(on);
                }
                Err(failure) => self.lost(&failure),
            }
            match &self.unsettled {
                Some(unsettled) if !unsettled.is_late() => {}
                // a batch that cannot have been committed
                Some(Unsettled { plan: None, .. }) => {
                    let commands = self.unsettled.take().map(|unsettled| unsettled.commands);
                    self.refuse(commands.unwrap_or_default(), Failure::TimedOut.into());
                }
                _ if self.queue.is_closed() => return None,
                _ => {}
            }
        }
    }

    /// Waits for commands; none if the connection is cut meanwhile.
    async fn wait(&mut self, mut on: Prepared, patience: Duration) -> Option<(Prepared, Woken)> {
        select! {
            biased;
            () = self.reload.notified() => {
                self.is_replaced = true;
                Some((on, Woken::Idle))
            }
            woken = self.queue.woken(patience) => Some((on, woken)),
            () = on.link.ended() => None,
        }
    }

    /// Writes one batch. Its commands are taken from the queue when the transaction has begun: until then their callers are
    /// free to give up.
    async fn write(&mut self, on: Prepared) {
        let (mut needs, since) = (Needs::default(), Instant::now());
        let seen = self.queue.look(BATCH, BATCH_BYTES, |command| needs.add(command));
        match self.begin(&on, &needs).await {
            Ok(found) => {
                let commands = self.queue.take_first(seen);
                self.batch.number += 1;
                self.carry_out(on, commands, found, since).await;
            }
            Err(failure) if failure.is_of_statement() => {
                let commands = self.queue.take_first(seen);
                self.fail(on, commands, failure).await;
            }
            Err(failure) => self.lost(&failure),
        }
    }

    async fn begin(&self, on: &Prepared, needs: &Needs) -> Result<Found, Failure> {
        let found = within(HALF, transaction::begin(on, needs)).await?;
        let known = self.known();
        if self.follows(found.head, known) {
            return Ok(found);
        }
        // before anyone gives ids again that clients know: all nodes see it by the epoch
        if self.sharing == Sharing::Nodes && found.head.epoch == known.epoch {
            within(HALF, transaction::replace(on)).await?;
        }
        Err(Failure::Replaced)
    }

    /// How far the topic is known to have come, whoever wrote it. After a failover it may lack what others wrote after this
    /// server's last batch.
    fn known(&self) -> Head {
        let reached = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sharing == Sharing::Alone || reached.replaced != self.replaced {
            return self.head;
        }
        Head {
            last_id: self.head.last_id.max(reached.id),
            last_rev: self.head.last_rev.max(reached.rev),
            ..self.head
        }
    }

    /// Whether a topic that has come this far is the one that had come that far before.
    fn follows(&self, head: Head, before: Head) -> bool {
        match self.sharing {
            Sharing::Alone => head == before,
            // others write too
            Sharing::Nodes => {
                head.epoch == before.epoch
                    && head.last_id >= before.last_id
                    && head.last_rev >= before.last_rev
            }
        }
    }

    /// Reads what has taken the place of the messages.
    async fn read_again(&mut self, on: Prepared) {
        // nobody may have tried to write since
        let checked = match self.begin(&on, &Needs::default()).await {
            Ok(_) | Err(Failure::Replaced) => within(HALF, transaction::roll_back(&on)).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = checked {
            self.is_replaced = true;
            return self.lost(&failure);
        }
        match within(opening::READING, opening::snapshot(&on, self.keep.since(), self.limit)).await {
            Ok((head, snapshot)) => {
                log::warn!(
                    "event=store_replaced messages={} last_id={}",
                    snapshot.newest.len(),
                    head.last_id
                );
                self.head = head;
                self.replaced += 1;
                (self.sink)(Report::Replaced(snapshot));
                self.on = Some(on);
            }
            Err(failure) => {
                self.is_replaced = true;
                self.lost(&failure);
            }
        }
    }

    /// Does what a batch asks for within a transaction, and tells what became of it.
    async fn carry_out(&mut self, on: Prepared, commands: Commands, found: Found, since: Instant) {
        let before = found.head;
        let plan = || Plan::of(found, commands.iter().map(|(command, _)| command));
        let Ok(mut plan) = catch_unwind(AssertUnwindSafe(plan)) else {
            self.refuse(commands, LogError::Panicked);
            return self.roll_back(on).await;
        };
        if plan.posted.is_empty() && plan.liked.is_empty() && self.is_up {
            self.committed(commands, plan, since);
            return self.roll_back(on).await;
        }
        let finish = transaction::finish(&on, self.batch, &mut plan, before);
        match timeout(HALF, finish).await.unwrap_or(Ended::Unknown(Failure::TimedOut)) {
            Ended::Committed => {
                self.committed(commands, plan, since);
                self.on = Some(on);
            }
            Ended::Failed(failure) => self.fail(on, commands, failure).await,
            Ended::Unknown(failure) => {
                self.lost(&failure);
                self.unsettled = Some(Unsettled { commands, plan: Some(plan), since });
            }
        }
    }

    /// Finds out whether a batch was committed; if not, tries it once more under the same number.
    async fn resolve(&mut self, on: Prepared, unsettled: Unsettled) {
        let Unsettled { commands, plan, since } = unsettled;
        if let Some(plan) = plan {
            match within(HALF, transaction::is_committed(&on, self.batch)).await {
                Ok((true, head)) if self.follows(head, plan.head) => {
                    self.committed(commands, plan, since);
                    self.on = Some(on);
                    return;
                }
                Ok((false, head)) if self.follows(head, self.head) => {}
                Ok(_) => return self.fail(on, commands, Failure::Replaced).await,
                Err(failure) if failure.is_of_statement() => return self.fail(on, commands, failure).await,
                Err(failure) => {
                    self.lost(&failure);
                    self.unsettled = Some(Unsettled { commands, plan: Some(plan), since });
                    return;
                }
            }
        }
        let unsettled = Unsettled { commands, plan: None, since };
        if unsettled.is_late() {
            return self.fail(on, unsettled.commands, Failure::TimedOut).await;
        }
        self.again(on, unsettled).await;
    }

    /// Begins with a batch again, which has not been committed.
    async fn again(&mut self, on: Prepared, unsettled: Unsettled) {
        let mut needs = Needs::default();
        for (command, _) in &unsettled.commands {
            needs.add(command);
        }
        match self.begin(&on, &needs).await {
            Ok(found) => self.carry_out(on, unsettled.commands, found, unsettled.since).await,
            Err(failure) if failure.is_of_statement() => self.fail(on, unsettled.commands, failure).await,
            Err(failure) => {
                self.lost(&failure);
                self.unsettled = Some(unsettled);
            }
        }
    }

    /// Refuses a batch of which nothing is stored.
    async fn fail(&mut self, on: Prepared, commands: Commands, failure: Failure) {
        if self.sharing == Sharing::Nodes && matches!(failure, Failure::Replaced) {
            self.is_replaced = true;
        } else {
            self.failed("write", &failure);
        }
        self.refuse(commands, failure.into());
        self.roll_back(on).await;
    }

    async fn roll_back(&mut self, on: Prepared) {
        match within(HALF, transaction::roll_back(&on)).await {
            Ok(()) => self.on = Some(on),
            Err(failure) => self.lost(&failure),
        }
    }

    fn committed(&mut self, commands: Commands, plan: Plan, since: Instant) {
        self.head = plan.head;
        self.backoff = Backoff::default();
        self.recovered();
        if !commands.is_empty() {
            self.meters.commit_seconds.observe(since.elapsed().as_secs_f64());
            self.meters.batch_size.observe(commands.len() as f64);
            self.unforgotten += commands.len();
        }
        Report::settle(&self.sink, commands.into_iter().zip(plan.outcomes.into_iter().map(Ok)));
    }

    fn refuse(&self, commands: Commands, error: LogError) {
        Report::settle(&self.sink, commands.into_iter().map(|command| (command, Err(error.clone()))));
    }

    fn recovered(&mut self) {
        if !self.is_up {
            log::warn!("event=store_recovered");
            self.is_up = true;
            self.meters.up.set(1);
        }
    }

    /// Says that the connection is lost. Whoever calls this drops it.
    fn lost(&mut self, why: &dyn fmt::Display) {
        self.failed("connect", why);
    }

    /// Says so once, until something succeeds again.
    fn failed(&mut self, what: &str, why: &dyn fmt::Display) {
        if self.is_up {
            log::error!("event=store_failed what={what} why={:?}", why.to_string());
        }
        self.is_up = false;
        self.meters.up.set(0);
    }

    /// Deletes some of what is not to be kept any more; the rest after the next batch.
    async fn forget(&mut self) {
        let Some(on) = self.on.take() else { return };
        self.unforgotten = 0;
        match within(HALF, forget::step(on.client(), self.keep)).await {
            Ok(forgotten) => {
                if let Some((up_to, has_more)) = forgotten {
                    (self.sink)(Report::Forgotten(up_to));
                    self.unforgotten = if has_more { FORGET } else { 0 };
                }
                self.on = Some(on);
            }
            Err(failure) if failure.is_of_statement() => {
                log::warn!("event=store_failed what=delete why={:?}", failure.to_string());
                self.on = Some(on);
            }
            Err(failure) => self.lost(&failure),
        }
    }
}

/// Connects as the one that writes.
async fn connect(target: &Target, sharing: Sharing) -> Result<Prepared, Failure> {
    let link = Link::connect(target).await?;
    let locking = async {
        link.lock(sharing).await?;
        link.prepare().await
    };
    within(target.patience, locking).await
}
