//! Reads the database beside the writer, by a connection of its own.

use std::{fmt, thread, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use hinotori_postgres::{Dsn, Target};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::Instant,
};

use super::{
    super::{
        super::{LOBBY, history::Limit, message::Message},
        LogError, OpenError, Page, Reader,
    },
    batch::Head,
    failure::{self, Failure},
    link::{Link, Prepared, within},
    runtime, schema,
    transaction::{head, message, number},
};

/// Questions that may wait.
const WAITING: usize = 256;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long nobody tries to connect again after that has failed: whoever asks meanwhile is refused.
const PAUSE: Duration = Duration::from_secs(1);

/// Messages that are read at once.
const PAGE: usize = 256;

/// Begins a transaction whose statements all see the same.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Asks the thread that reads.
pub(in super::super) struct DatabaseReader(mpsc::Sender<Question>);

impl fmt::Debug for DatabaseReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseReader").finish_non_exhaustive()
    }
}

/// What is to be read, and who asks.
enum Question {
    Before { id: u64, limit: Limit, asker: Asker<Vec<Message>> },
    After { id: u64, rev: u64, limit: Limit, asker: Asker<Page> },
}

type Asker<T> = oneshot::Sender<Result<T, Failure>>;

/// A reader, and what answers it.
pub(super) fn pair() -> (DatabaseReader, Reads) {
    let (sender, questions) = mpsc::channel(WAITING);
    (DatabaseReader(sender), Reads { questions, on: None, failed_at: None })
}

impl DatabaseReader {
    /// Connects to a database that has messages in tables of this version, and reads on a thread of its own.
    pub(in super::super) fn open(dsn: &Dsn) -> Result<Self, OpenError> {
        let target = failure::target(dsn)?;
        let failed = |failure| OpenError::Postgres(target.name.clone(), failure);
        let (runtime, (reader, mut reads)) = (runtime().map_err(failed)?, pair());
        let (sender, opened) = std::sync::mpsc::channel();
        let to = target.clone();
        let read = move || {
            runtime.block_on(async {
                let connected = reads.connect(&to).await;
                let is_connected = connected.is_ok();
                let _ = sender.send(connected.map(|on| reads.on = Some(on)));
                if is_connected {
                    reads.run(to).await;
                }
            });
            runtime.shutdown_background();
        };
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(read)
            .map_err(|error| failed(Failure::Thread(error)))?;
        opened.recv().unwrap_or(Err(Failure::Ended)).map_err(failed)?;
        Ok(reader)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Asker<T>) -> Question,
    ) -> BoxFuture<'static, Result<T, LogError>> {
        let (asker, answer) = oneshot::channel();
        let asked = self.0.try_send(question(asker));
        async move {
            match asked {
                Ok(()) => Ok(answer.await.map_err(|_| LogError::Closed)??),
                Err(TrySendError::Full(_)) => Err(Failure::Busy.into()),
                Err(TrySendError::Closed(_)) => Err(LogError::Closed),
            }
        }
        .boxed()
    }
}

impl Reader for DatabaseReader {
    fn before(&self, id: u64, limit: Limit) -> BoxFuture<'static, Result<Vec<Message>, LogError>> {
        self.ask(|asker| Question::Before { id, limit, asker })
    }

    fn after(&self, id: u64, rev: u64, limit: Limit) -> BoxFuture<'static, Result<Page, LogError>> {
        self.ask(|asker| Question::After { id, rev, limit, asker })
    }
}

/// Answers questions, one at a time.
pub(super) struct Reads {
    questions: mpsc::Receiver<Question>,
    /// From the first question on, until it is cut.
    on: Option<Prepared>,
    failed_at: Option<Instant>,
}

impl Reads {
    pub(super) async fn run(mut self, target: Target) {
        while let Some(question) = self.questions.recv().await {
            match question {
                Question::Before { id, limit, asker } => {
                    let answer = self.answer(&target, async |on| before(on, id, limit).await).await;
                    let _ = asker.send(answer);
                }
                Question::After { id, rev, limit, asker } => {
                    let answer = self.answer(&target, async |on| after(on, id, rev, limit).await).await;
                    let _ = asker.send(answer);
                }
            }
        }
    }

    async fn answer<T>(
        &mut self,
        target: &Target,
        read: impl AsyncFnOnce(&Prepared) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let on = match self.on.take() {
            Some(on) if !on.client().is_closed() => on,
            _ => self.connect(target).await?,
        };
        let answer = within(PATIENCE, read(&on)).await;
        // after an error it may be within a transaction
        if answer.is_ok() {
            self.on = Some(on);
        }
        answer
    }

    async fn connect(&mut self, target: &Target) -> Result<Prepared, Failure> {
        if self.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Failure::TimedOut);
        }
        let connecting = async {
            let link = Link::connect(target).await?;
            schema::is_current(&link.client).await?;
            link.prepare().await
        };
        let connected = within(target.patience, connecting).await;
        self.failed_at = connected.is_err().then(Instant::now);
        connected
    }
}

/// The newest messages with a smaller id, within a limit, the oldest of them first.
pub(super) async fn before(on: &Prepared, id: u64, limit: Limit) -> Result<Vec<Message>, Failure> {
    let mut newest = Vec::new();
    let (mut below, mut within) = (i64::try_from(id).unwrap_or(i64::MAX), Within::new(limit));
    while let Some(most) = within.page() {
        let rows = on.client().query(&on.statements.before, &[&LOBBY, &below, &most]).await?;
        for row in &rows {
            below = number(row, 0)?.cast_signed();
            newest.extend(message(row)?.and_then(|message| within.fits(message)));
        }
        if (rows.len() as i64) < most {
            break;
        }
    }
    newest.reverse();
    Ok(newest)
}

/// What came after a cursor.
async fn after(on: &Prepared, id: u64, rev: u64, limit: Limit) -> Result<Page, Failure> {
    let client = on.client();
    let [mut id, rev] = [id, rev].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    if limit.messages == 0 {
        return topic(on).await;
    }
    client.batch_execute(SNAPSHOT).await?;
    let mut page = topic(on).await?;
    page.liked = liked(on, id, rev, limit.messages).await?;
    let mut within = Within::new(limit);
    while let Some(most) = within.page() {
        let rows = client.query(&on.statements.after, &[&LOBBY, &id, &most]).await?;
        for row in &rows {
            id = number(row, 0)?.cast_signed();
            match message(row)? {
                Some(message) => page.posted.extend(within.fits(message)),
                None => page.damaged.push(id.cast_unsigned()),
            }
        }
        if (rows.len() as i64) < most {
            break;
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(page)
}

/// The first messages, at most `most`, up to an id that were liked after a revision.
async fn liked(on: &Prepared, id: i64, mut rev: i64, most: usize) -> Result<Vec<Message>, Failure> {
    let mut liked = Vec::new();
    while liked.len() < most {
        let page = PAGE.min(most - liked.len()) as i64;
        let rows = on.client().query(&on.statements.liked, &[&LOBBY, &rev, &id, &page]).await?;
        for row in &rows {
            rev = number(row, 3)?.cast_signed();
            liked.extend(message(row)?);
        }
        if (rows.len() as i64) < page {
            break;
        }
    }
    Ok(liked)
}

/// Where the topic begins and how far it has come, as a page of nothing. One that was wiped has no epoch.
async fn topic(on: &Prepared) -> Result<Page, Failure> {
    let row = on.client().query_opt(&on.statements.topic, &[&LOBBY]).await?;
    let (Head { epoch, last_id, last_rev }, first_id) = match row {
        Some(row) => (head(&row)?, number(&row, 3)?),
        None => (Head { epoch: 0, last_id: 0, last_rev: 0 }, 1),
    };
    let (posted, liked, damaged) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Page { epoch, first_id, last_id, last_rev, posted, liked, damaged })
}

/// The first of some messages, as many as are within a limit; one of any length.
struct Within {
    limit: Limit,
    messages: usize,
    bytes: usize,
    is_full: bool,
}

impl Within {
    fn new(limit: Limit) -> Self {
        Self { limit, messages: 0, bytes: 0, is_full: limit.messages == 0 }
    }

    /// How many to read next, if any.
    fn page(&self) -> Option<i64> {
        (!self.is_full).then(|| PAGE.min(self.limit.messages - self.messages) as i64)
    }

    fn fits(&mut self, message: Message) -> Option<Message> {
        self.bytes += message.json().len();
        self.is_full |= self.bytes > self.limit.bytes && self.messages > 0;
        if self.is_full {
            return None;
        }
        self.messages += 1;
        self.is_full = self.messages == self.limit.messages;
        Some(message)
    }
}
