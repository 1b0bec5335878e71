//! What every log must do: each runs [`all`] in its own tests.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    super::{
        history::{History, Limit},
        message::{Draft, Message},
        store_error::StoreError,
        transfer::export,
    },
    Claim, Command, Committed, Done, Keep, Liked, Memory, MessageLog, Meters, Report, Settled, Sink,
    sqlite::{Sqlite, Synchronous},
};

/// Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::chat) const LIMIT: Limit = Limit { messages: 10, bytes: 1_000_000 };

/// Metrics of nobody.
pub(in crate::chat) fn meters() -> Meters {
    Meters::new().unwrap()
}

/// A folder that is gone when it is dropped.
pub(in crate::chat) struct Folder(std::path::PathBuf);

impl Folder {
    pub(in crate::chat) fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("realtime-chat-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(in crate::chat) fn file(&self) -> std::path::PathBuf {
        self.0.join("chat.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes each of the logs; the second thing is what it must not outlive.
pub(in crate::chat) fn each() -> [(Box<dyn MessageLog>, Option<Folder>); 2] {
    let folder = Folder::new();
    let sqlite = Sqlite::connect(&folder.file(), Synchronous::Full, Keep::All, meters()).unwrap();
    [(Box::new(Memory::default()), None), (Box::new(sqlite), Some(folder))]
}

/// A log and a history of what it has committed, as the actor has them.
pub(in crate::chat) struct Lobby {
    pub(in crate::chat) log: Box<dyn MessageLog>,
    pub(in crate::chat) history: History,
    pub(in crate::chat) epoch: u64,
    reports: mpsc::Receiver<Report>,
    /// Of a batch that was reported.
    settled: VecDeque<Settled>,
}

impl Lobby {
    pub(in crate::chat) fn open(mut log: Box<dyn MessageLog>, limit: Limit) -> Self {
        let (sender, reports) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Arc::new(move |report| _ = sender.lock().unwrap().send(report));
        let snapshot = log.open(limit, sink).unwrap();
        let epoch = snapshot.epoch;
        assert!((1..1 << 53).contains(&epoch), "{epoch}");
        assert_eq!(snapshot.newest.last().map_or(0, Message::id), snapshot.last_id);
        let history = History::new(limit, snapshot).unwrap();
        Self { log, history, epoch, reports, settled: VecDeque::new() }
    }

    pub(in crate::chat) fn done(&self) -> (Claim, oneshot::Receiver<Result<Option<u64>, StoreError>>, Done) {
        let (reply, waits) = oneshot::channel();
        let claim = Claim::default();
        (claim.clone(), waits, Done::new(claim, reply))
    }

    pub(in crate::chat) fn draft(&self, content: &str, reply_to: Option<i128>) -> Command {
        let quote = reply_to.and_then(|id| self.history.content(id)).map(<[u8]>::to_vec);
        Command::Post { draft: Draft::new(content, reply_to, None).unwrap(), quote }
    }

    /// What the log settles next.
    pub(in crate::chat) fn settled(&mut self) -> Result<Committed, super::LogError> {
        loop {
            if let Some(settled) = self.settled.pop_front() {
                return settled.outcome;
            }
            match self.reports.recv_timeout(PATIENCE).unwrap() {
                Report::Settled(batch) => self.settled.extend(batch),
                Report::Forgotten(up_to) => self.history.forget(up_to),
                Report::Replaced(snapshot) => {
                    self.epoch = snapshot.epoch;
                    self.history = History::new(LIMIT, snapshot).unwrap();
                }
            }
        }
    }

    /// Hands a command in, and waits.
    pub(in crate::chat) fn run(&mut self, command: Command) -> Committed {
        let (_, _waits, done) = self.done();
        let settled = self.log.submit(command, done).unwrap();
        let committed = settled.map_or_else(|| self.settled(), |settled| settled.outcome).unwrap();
        match &committed {
            Committed::Posted(message) => _ = self.history.push(message).unwrap(),
            Committed::Liked(message) => _ = self.history.replace(message).unwrap(),
            Committed::Repeated(_) | Committed::NotFound => {}
        }
        committed
    }

    pub(in crate::chat) fn post(&mut self, content: &str, reply_to: Option<i128>) -> Value {
        let command = self.draft(content, reply_to);
        let Committed::Posted(message) = self.run(command) else { panic!("not posted") };
        value(&message)
    }

    /// The likes that a message has then; none if there is no such message.
    pub(in crate::chat) fn like(&mut self, id: i128) -> Option<u64> {
        let known = self.history.get(id);
        match self.run(Command::Like { id, known }) {
            Committed::Liked(message) => {
                assert_eq!(i128::from(message.id()), id);
                Some(message.likes().count)
            }
            committed => {
                assert_eq!(committed, Committed::NotFound);
                None
            }
        }
    }
}

pub(super) fn value(message: &Message) -> Value {
    serde_json::from_slice(&message.json()).unwrap()
}

/// Runs all of it on logs that `make` makes, each empty.
pub(super) fn all(make: impl Fn() -> Box<dyn MessageLog>) {
    for test in [
        ids_count_from_one,
        replies_quote,
        likes_count,
        likes_make_revisions,
        unknown_ids,
        nonces,
        what_is_closed,
        many_wait,
    ] {
        test(make());
    }
}

fn ids_count_from_one(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    assert_eq!(lobby.history.messages(), 0);
    // more than the history has
    for id in 1..=25 {
        let message = lobby.post("\u{0}\"\\\u{1f525}", None);
        assert_eq!((&message["id"], &message["content"]), (&json!(id), &json!("\u{0}\"\\\u{1f525}")));
        assert_eq!((&message["likes"], &message["reply_to_id"]), (&json!(0), &Value::Null));
    }
}

fn replies_quote(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    lobby.post("first \"one\"", None);
    let reply = lobby.post("a reply", Some(1));
    assert_eq!((&reply["reply_to_id"], &reply["reply_to_content"]), (&json!(1), &json!("first \"one\"")));
    // one to a reply quotes that, and not what it quotes
    assert_eq!(lobby.post("another", Some(2))["reply_to_content"], "a reply");
}

fn likes_count(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    lobby.post("a", None);
    lobby.post("b", None);
    for likes in 1..=11 {
        assert_eq!(lobby.like(2), Some(likes));
    }
    assert_eq!(lobby.like(1), Some(1));
    assert_eq!(lobby.post("c", Some(2))["reply_to_content"], "b");
}

fn likes_make_revisions(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    let mut revs = Vec::new();
    for like in [None, None, Some(1), Some(1), None, Some(2), Some(9), None] {
        let command = match like {
            None => lobby.draft("x", None),
            Some(id) => Command::Like { id, known: lobby.history.get(id) },
        };
        match lobby.run(command) {
            Committed::Posted(message) => revs.push((message.likes().posted_rev, message.likes().rev)),
            Committed::Liked(message) => revs.push((message.likes().posted_rev, message.likes().rev)),
            committed => assert_eq!(committed, Committed::NotFound),
        }
    }
    assert_eq!(revs, [(0, 0), (0, 0), (0, 1), (0, 2), (2, 2), (0, 3), (3, 3)]);
}

/// A name is that of one message, also within what is committed at once.
fn nonces(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    let mut post = |content: &str, nonce: &str| {
        let draft = Draft::new(content, None, Some(nonce.to_owned())).unwrap();
        match lobby.run(Command::Post { draft, quote: None }) {
            Committed::Posted(message) => Ok(message.id()),
            Committed::Repeated(id) => Err(id),
            committed => panic!("{committed:?}"),
        }
    };
    assert_eq!(
        [post("a", "n1"), post("b", "n2"), post("a", "n1"), post("x", "n2")],
        [Ok(1), Ok(2), Err(1), Err(2)]
    );
    assert_eq!(post("a", "N1"), Ok(3));
    let mut waiting = Vec::new();
    let mut repeated = 0;
    for _ in 0..20 {
        let draft = Draft::new("again", None, Some("n4".to_owned())).unwrap();
        let (_, waits, done) = lobby.done();
        match lobby.log.submit(Command::Post { draft, quote: None }, done).unwrap() {
            Some(settled) => repeated += u32::from(settled.outcome.unwrap() == Committed::Repeated(4)),
            None => waiting.push(waits),
        }
    }
    for _ in waiting {
        repeated += u32::from(lobby.settled().unwrap() == Committed::Repeated(4));
    }
    assert_eq!(repeated, 19);
    assert_eq!(lobby.post("next", None)["id"], 5);
}

/// Runs what every log on disk must do, on logs that `make` makes, each empty, and that keep their messages.
pub(super) fn on_disk(make: impl Fn() -> Box<dyn MessageLog>) {
    for test in [older_ones, what_came_after] {
        test(make());
    }
}

fn ids(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(Message::id).collect()
}

/// Waits until it is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not {what}");
        thread::yield_now();
    }
}

/// Waits for a reader.
pub(in crate::chat) fn wait<T>(future: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(future)
}

fn older_ones(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    for n in 1..=20 {
        lobby.post(&n.to_string(), None);
    }
    lobby.like(8);
    let reader = lobby.log.reader();
    let before = |id, messages, bytes| wait(reader.before(id, Limit { messages, bytes })).unwrap();
    let all = before(11, 3, 10_000);
    assert_eq!(ids(&all), [8, 9, 10]);
    assert_eq!((all[0].likes().count, all[1].quote()), (1, &b"\"9\""[..]));
    for (id, messages, bytes, expected) in [
        (3, 100, 10_000, &[1, 2][..]),
        (1, 100, 10_000, &[]),
        (0, 100, 10_000, &[]),
        (u64::MAX, 2, 10_000, &[19, 20]),
        (11, 3, 1, &[10]),
        (11, 3, all[1].json().len() + all[2].json().len(), &[9, 10]),
    ] {
        assert_eq!(ids(&before(id, messages, bytes)), expected, "{id} {messages} {bytes}");
    }
}

fn what_came_after(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    for like in [1, 2, 1] {
        lobby.post("x", None);
        lobby.post("y", None);
        lobby.like(like);
    }
    let reader = lobby.log.reader();
    let after = |id, rev, messages| {
        let page = wait(reader.after(id, rev, Limit { messages, bytes: 10_000 })).unwrap();
        assert_eq!((page.epoch, page.first_id, page.last_id, page.last_rev), (lobby.epoch, 1, 6, 3));
        (ids(&page.posted), page.liked.iter().map(Liked::from).collect::<Vec<_>>())
    };
    let (one, two) = (Liked { id: 1, count: 2, rev: 3 }, Liked { id: 2, count: 1, rev: 2 });
    assert_eq!(after(0, 0, 10), ((1..=6).collect(), vec![]));
    assert_eq!(after(4, 1, 2), (vec![5, 6], vec![two, one]));
    assert_eq!(after(4, 1, 1), (vec![5], vec![two]));
    assert_eq!(after(4, 1, 0), (vec![], vec![]));
    assert_eq!(after(1, 0, 10), ((2..=6).collect(), vec![one]));
    assert_eq!(after(6, 2, 10), (vec![], vec![one]));
    assert_eq!(after(6, 3, 10), (vec![], vec![]));
    assert_eq!(after(u64::MAX >> 1, 9, 10), (vec![], vec![]));
}

/// What a log on disk must do when someone else has damaged messages, which `damage` does to those of some ids.
pub(super) fn damaged_ones(log: Box<dyn MessageLog>, damage: impl Fn(&str)) {
    let mut lobby = Lobby::open(log, LIMIT);
    let reader = lobby.log.reader();
    let limit = |messages| Limit { messages, bytes: 10_000 };
    assert_eq!(wait(reader.after(0, 0, limit(0))).unwrap().first_id, 1);
    for n in 1..=6 {
        lobby.post(&n.to_string(), None);
    }
    for id in [1, 2, 4] {
        lobby.like(id);
    }
    damage("2, 3, 6");
    let after = |id, messages| {
        let page = wait(reader.after(id, 0, limit(messages))).unwrap();
        assert_eq!(page.last_id, 6);
        (ids(&page.posted), page.damaged, ids(&page.liked))
    };
    assert_eq!(after(0, 10), (vec![1, 4, 5], vec![2, 3, 6], vec![]));
    assert_eq!(after(0, 2), (vec![1, 4], vec![2, 3], vec![]));
    assert_eq!(after(2, 1), (vec![4], vec![3], vec![1]));
    assert_eq!(after(5, 2), (vec![], vec![6], vec![1, 4]));
    assert_eq!(ids(&wait(reader.before(u64::MAX, limit(2))).unwrap()), [4, 5]);
    assert_eq!(ids(&wait(reader.before(4, limit(2))).unwrap()), [1]);
    let folder = Folder::new();
    let why = wait(export(&*reader, &folder.file())).unwrap_err().to_string();
    assert!(why.contains("message 2 is damaged"), "{why}");
}

fn unknown_ids(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    lobby.post("a", None);
    for id in [0, 99, -1, i128::from(u64::MAX), i128::MIN, i128::MAX] {
        assert_eq!(lobby.like(id), None, "{id}");
        let reply = lobby.post("b", Some(id.clamp(i64::MIN.into(), u64::MAX.into())));
        assert_eq!(reply["reply_to_content"], Value::Null, "{id}");
    }
}

fn what_is_closed(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    lobby.post("a", None);
    lobby.log.close();
    lobby.log.close();
}

/// Commands that nobody waits for in between are settled once each, in their order.
fn many_wait(log: Box<dyn MessageLog>) {
    let mut lobby = Lobby::open(log, LIMIT);
    let (mut ids, mut later) = (Vec::new(), 0);
    for n in 0..1_000 {
        let command = lobby.draft(&n.to_string(), None);
        let (_, _waits, done) = lobby.done();
        match lobby.log.submit(command, done).unwrap() {
            Some(settled) => ids.push(settled.outcome.unwrap()),
            None => later += 1,
        }
    }
    for _ in 0..later {
        ids.push(lobby.settled().unwrap());
    }
    let expected: Vec<(u64, String)> = (0..1_000).map(|n| (n + 1, format!("\"{n}\""))).collect();
    let got: Vec<(u64, String)> = ids
        .iter()
        .map(|committed| match committed {
            Committed::Posted(message) => {
                (message.id(), String::from_utf8(message.quote().to_vec()).unwrap())
            }
            committed => panic!("{committed:?}"),
        })
        .collect();
    assert_eq!(got, expected);
    assert_eq!(got.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 1_000);
    lobby.log.close();
    assert!(lobby.settled.is_empty() && lobby.reports.try_recv().is_err(), "settled twice");
}
