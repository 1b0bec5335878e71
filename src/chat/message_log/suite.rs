//! What every log must do: each runs [`all`] in its own tests.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use hinotori::prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    super::{
        history::{History, Limit},
        message::{Draft, Message},
        store_error::StoreError,
    },
    Claim, Command, Committed, Done, Keep, Memory, MessageLog, Meters, Settled, Sink,
    sqlite::Sqlite,
};

/// Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(in crate::chat) const LIMIT: Limit = Limit { messages: 10, bytes: 1_000_000 };

/// Metrics of nobody.
pub(in crate::chat) fn meters() -> Meters {
    Meters::register(&Registry::new()).unwrap()
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
    let sqlite = Sqlite::connect(&folder.file(), Keep::All, meters()).unwrap();
    [(Box::new(Memory::default()), None), (Box::new(sqlite), Some(folder))]
}

/// A log and a history of what it has committed, as the actor has them.
pub(super) struct Lobby {
    pub(super) log: Box<dyn MessageLog>,
    pub(super) history: History,
    settled: mpsc::Receiver<Settled>,
    sink: Sink,
}

impl Lobby {
    pub(super) fn open(mut log: Box<dyn MessageLog>, limit: Limit) -> Self {
        let newest = log.open(limit).unwrap();
        let mut lobby = Self::around(log, limit);
        for message in newest {
            lobby.history.push(&message).unwrap();
        }
        lobby
    }

    /// Around a log that is open, and empty.
    pub(super) fn around(log: Box<dyn MessageLog>, limit: Limit) -> Self {
        let (sender, settled) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Arc::new(move |settled| _ = sender.lock().unwrap().send(settled));
        Self { log, history: History::new(limit), settled, sink }
    }

    pub(super) fn done(&self) -> (Claim, oneshot::Receiver<Result<bool, StoreError>>, Done) {
        let (reply, waits) = oneshot::channel();
        let claim = Claim::default();
        (claim.clone(), waits, Done::new(claim, reply, Arc::clone(&self.sink)))
    }

    pub(super) fn draft(&self, content: &str, reply_to: Option<i128>) -> Command {
        let quote = reply_to.and_then(|id| self.history.content(id)).map(<[u8]>::to_vec);
        Command::Post { draft: Draft::new(content, reply_to).unwrap(), quote }
    }

    /// What the log settles next.
    pub(super) fn settled(&self) -> Result<Committed, super::LogError> {
        self.settled.recv_timeout(PATIENCE).unwrap().outcome
    }

    /// Hands a command in, and waits.
    pub(super) fn run(&mut self, command: Command) -> Committed {
        let (_, _waits, done) = self.done();
        let settled = self.log.submit(command, done).unwrap();
        let committed = settled.map_or_else(|| self.settled(), |settled| settled.outcome).unwrap();
        match &committed {
            Committed::Posted(message) => _ = self.history.push(message).unwrap(),
            Committed::Liked(message) => _ = self.history.replace(message).unwrap(),
            Committed::NotFound => {}
        }
        committed
    }

    pub(super) fn post(&mut self, content: &str, reply_to: Option<i128>) -> Value {
        let command = self.draft(content, reply_to);
        let Committed::Posted(message) = self.run(command) else { panic!("not posted") };
        value(&message)
    }

    /// The likes that a message has then; none if there is no such message.
    pub(super) fn like(&mut self, id: i128) -> Option<u64> {
        let known = self.history.get(id);
        match self.run(Command::Like { id, known }) {
            Committed::Liked(message) => {
                assert_eq!(i128::from(message.id()), id);
                Some(message.likes())
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
    for test in [ids_count_from_one, replies_quote, likes_count, unknown_ids, what_is_closed, many_wait] {
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
    ids.extend((0..later).map(|_| lobby.settled().unwrap()));
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
    assert!(lobby.settled.try_recv().is_err(), "settled twice");
}
