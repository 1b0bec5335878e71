//! The thread that writes.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, MAIN_DB, TransactionBehavior, wal::CheckpointMode};

use super::{
    super::{
        Committed, LogError, Report, Sink,
        queue::{Closes, Queue, Woken},
    },
    Command, Done, Keep, Meters,
    batch::Batch,
    database::Database,
    forget,
    tables::{self, Head},
};

/// Commands of one transaction.
const BATCH: usize = 256;

/// Bytes that are written into the log until they are moved to where they belong: 4 MiB, as much as SQLite itself takes.
const CHECKPOINT: usize = 4 << 20;

/// Bytes that a transaction writes beside its messages: the pages that it changes, about.
const PAGES: usize = 4 * 4_096;

/// Bytes that deleting a message writes, about.
const ROW: usize = 512;

/// How often it is looked for messages that have become too old.
const TICK: Duration = Duration::from_secs(60);

/// How often it is tried whether the file, which could not be written to, can be again.
const PROBE: Duration = Duration::from_secs(1);

/// Commands of a transaction that was tried.
type Commands = Vec<(Command, Done)>;

/// Writes what waits in the queue until that is closed.
pub(super) struct Writer {
    database: Database,
    queue: Arc<Queue>,
    keep: Keep,
    meters: Meters,
    sink: Sink,
    /// How far the topic had come when this server last wrote.
    head: Head,
    /// Whether the last write succeeded.
    is_up: bool,
    /// Bytes in the log since it was last checkpointed.
    logged: usize,
    /// Messages since some were last deleted.
    unforgotten: usize,
}

/// How a transaction ended.
enum Tried {
    /// With what was done for each command, and how far the topic has come.
    Committed(Vec<Committed>, Head),
    /// It did not begin, as another process holds the database locked. Nothing was taken from the queue.
    Locked,
    /// With nothing.
    Failed(LogError),
}

impl Writer {
    pub(super) fn new(
        database: Database,
        head: Head,
        queue: Arc<Queue>,
        keep: Keep,
        meters: Meters,
        sink: Sink,
    ) -> Self {
        // a former server may have left something to delete, and a log to move
        let (unforgotten, logged) = (forget::STEP, CHECKPOINT);
        Self { database, queue, keep, meters, sink, head, is_up: true, logged, unforgotten }
    }

    pub(super) fn run(mut self) {
        let _closes = Closes(Arc::clone(&self.queue));
        // a panic costs what it was over, and no more
        while catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or(true) {}
        // the file is whole without its log then, even if someone else has it open
        self.checkpoint();
    }

    /// Writes what waits, and then does what else is due. False when the queue is closed.
    fn step(&mut self) -> bool {
        let patience = match (self.unforgotten >= BATCH, self.is_up) {
            (true, _) => Duration::ZERO,
            (false, true) => TICK,
            (false, false) => PROBE,
        };
        match self.queue.wait(patience) {
            Woken::Work => self.write(),
            // a batch of nothing, which is written like any other
            Woken::Idle if !self.is_up => self.write(),
            Woken::Idle => self.unforgotten = self.unforgotten.max(BATCH),
            Woken::Closed => return false,
        }
        if self.unforgotten >= BATCH {
            self.forget();
        }
        if self.logged >= CHECKPOINT {
            self.checkpoint();
        }
        true
    }

    /// Writes one batch, and tells what became of it.
    fn write(&mut self) {
        let (mut batch, start) = (Commands::new(), Instant::now());
        let tried = catch_unwind(AssertUnwindSafe(|| {
            transact(&mut self.database.connection, self.head, &self.queue, &mut batch)
        }));
        match tried.unwrap_or(Tried::Failed(LogError::Panicked)) {
            Tried::Committed(outcomes, head) => {
                self.head = head;
                self.wrote(&batch, start);
                Report::settle(&self.sink, batch.into_iter().zip(outcomes.into_iter().map(Ok)));
            }
            Tried::Locked => self.failed(&"another process holds the database locked"),
            Tried::Failed(error) => {
                self.failed(&error);
                // a disk that is full may have room when the log is moved, which can then be overwritten
                self.logged = CHECKPOINT;
                Report::settle(&self.sink, batch.into_iter().map(|command| (command, Err(error.clone()))));
            }
        }
    }

    fn wrote(&mut self, batch: &Commands, start: Instant) {
        if !self.is_up {
            log::warn!("event=store_recovered");
            self.is_up = true;
            self.meters.up.set(1);
        }
        if batch.is_empty() {
            return;
        }
        self.meters.commit_seconds.observe(start.elapsed().as_secs_f64());
        self.meters.batch_size.observe(batch.len() as f64);
        self.logged += PAGES + batch.iter().map(|(command, _)| command.bytes()).sum::<usize>();
        self.unforgotten += batch.len();
    }

    /// Says so once, until something is written again.
    fn failed(&mut self, why: &dyn fmt::Display) {
        if self.is_up {
            log::error!("event=store_failed what=write why={:?}", why.to_string());
        }
        self.is_up = false;
        self.meters.up.set(0);
    }

    /// Deletes some of what is not to be kept any more; the rest after the next batch.
    fn forget(&mut self) {
        self.unforgotten = 0;
        match forget::step(&self.database.connection, self.keep) {
            Ok(None) => {}
            Ok(Some((up_to, count))) => {
                self.unforgotten = if count == forget::STEP { BATCH } else { 0 };
                self.logged += PAGES + count * ROW;
                (self.sink)(Report::Forgotten(up_to));
            }
            Err(error) => {
                self.logged = CHECKPOINT;
                log::warn!("event=store_failed what=delete why={:?}", error.to_string());
            }
        }
    }

    /// Moves what is in the log to where it belongs, as far as nobody reads it.
    fn checkpoint(&mut self) {
        self.logged = 0;
        if let Err(error) = self.database.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)
        {
            log::warn!("event=store_failed what=checkpoint why={:?}", error.to_string());
        }
    }
}

/// Begins a transaction, and only then takes a batch for it from the queue: while another process holds the database locked,
/// those who wait are free to give up.
fn transact(connection: &mut Connection, head: Head, queue: &Queue, commands: &mut Commands) -> Tried {
    let failed = |error: rusqlite::Error| Tried::Failed(error.into());
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    // closed, it has no time to wait
    if let Err(error) = &begun
        && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
        && !queue.is_closed()
    {
        return Tried::Locked;
    }
    *commands = queue.take(BATCH);
    let transaction = match begun {
        Ok(transaction) => transaction,
        Err(error) => return failed(error),
    };
    // one that is dropped is rolled back, and so is one whose commit fails
    match carry_out(&transaction, head, commands) {
        Ok((outcomes, head)) => match transaction.commit() {
            Ok(()) => Tried::Committed(outcomes, head),
            Err(error) => failed(error),
        },
        Err(error) => Tried::Failed(error),
    }
}

/// Carries all of them out on the topic as this server left it.
fn carry_out(
    connection: &Connection,
    head: Head,
    commands: &Commands,
) -> Result<(Vec<Committed>, Head), LogError> {
    if tables::head(connection)? != head {
        return Err(LogError::Replaced);
    }
    let mut batch = Batch::begin(connection, head)?;
    let outcomes =
        commands.iter().map(|(command, _)| batch.carry_out(command)).collect::<rusqlite::Result<_>>()?;
    Ok((outcomes, batch.finish()?))
}
