//! Any interleaving of messages, changes, joins, cuts and slow sources: each page shows all, once, in order.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    thread,
};

use actix_web::rt::{System, task::yield_now};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, PubSub, Refused, Result, Routes,
    SocketHandler,
    recovery::{Cursor, Recovery},
    testing::{ChannelTest, TestSocket},
    wire::IntoPayload,
};

const PAGES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// On this thread, or on another one.
    Publish(bool),
    /// Changes one of the messages.
    Change(bool, u8),
    /// A page joins, on a new connection or again on the one that it has.
    Join(usize),
    /// Its join goes on after a pause.
    Resume(usize),
    /// It reads this many of the messages that have arrived.
    Read(usize, usize),
    Cut(usize),
    /// The source forgets all but this many messages.
    Forget(usize),
    /// The server dies with all that its source has.
    Restart,
    /// Other tasks of the thread run.
    Yield,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = 0..PAGES;
    let step = prop_oneof![
        10 => any::<bool>().prop_map(Step::Publish),
        4 => (any::<bool>(), any::<u8>()).prop_map(|(elsewhere, which)| Step::Change(elsewhere, which)),
        6 => page.clone().prop_map(Step::Join),
        10 => page.clone().prop_map(Step::Resume),
        8 => (page.clone(), 1usize..6).prop_map(|(page, count)| Step::Read(page, count)),
        2 => page.prop_map(Step::Cut),
        1 => (0usize..4).prop_map(Step::Forget),
        1 => Just(Step::Restart),
        10 => Just(Step::Yield),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A source whose messages change. It broadcasts a message when it has it.
struct Source {
    pubsub: PubSub,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    epoch: u64,
    /// All of this epoch, by position.
    messages: Vec<Message>,
    forgotten: usize,
    /// The number of changes.
    rev: u64,
}

struct Message {
    version: u64,
    /// The change that made this version, and the newest one when the message was posted.
    rev: u64,
    posted_at: u64,
}

impl Log {
    fn last_id(&self) -> u64 {
        self.messages.len() as u64
    }

    fn kept(&self) -> RangeInclusive<u64> {
        self.forgotten as u64 + 1..=self.last_id()
    }

    fn get(&self, id: u64) -> Option<&Message> {
        self.messages.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn message(&self, id: u64) -> Value {
        json!({ "id": id, "version": self.get(id).map(|message| message.version) })
    }

    /// These messages, as a source gives them to a recovery.
    fn payloads(&self, ids: impl Iterator<Item = u64>) -> Vec<Payload> {
        ids.map(|id| self.message(id).into_payload().unwrap()).collect()
    }

    fn answer(&self, cursor: Cursor) -> Recovery {
        let last = cursor.last_seen_id();
        let posted_at = self.get(last).map_or(0, |message| message.posted_at);
        let has_changed =
            |id: &u64| *id <= last && self.get(*id).is_some_and(|message| message.rev > posted_at);
        let history: Vec<_> = self.kept().map(|id| self.message(id)).collect();
        let history = json!({ "epoch": self.epoch, "last_id": self.last_id(), "messages": history });
        Recovery::new(cursor, self.epoch, self.last_id(), self.payloads(self.kept().filter(|id| *id > last)))
            .unwrap()
            .changed("changed", self.payloads(self.kept().filter(has_changed)))
            .unwrap()
            .or_push("history", history)
            .unwrap()
    }
}

impl Source {
    fn publish(&self) {
        let mut log = self.log.lock().unwrap();
        let posted_at = log.rev;
        log.messages.push(Message { version: 0, rev: 0, posted_at });
        let position = log.last_id().try_into().unwrap();
        self.pubsub.broadcast_at(position, "t", "message", log.message(log.last_id())).unwrap();
    }

    fn change(&self, which: u8) {
        let mut log = self.log.lock().unwrap();
        if let Some(id) = u64::from(which).checked_rem(log.last_id()) {
            log.rev += 1;
            let rev = log.rev;
            let message = log.messages.get_mut(usize::try_from(id).unwrap()).unwrap();
            (message.version, message.rev) = (message.version + 1, rev);
            self.pubsub.broadcast("t", "changed", log.message(id + 1)).unwrap();
        }
    }
}

/// Has a permit for each pause that may end.
#[derive(Debug)]
struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Gate {
    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    fn open(&self, times: usize) {
        self.0.add_permits(times);
    }
}

struct UserSocket {
    source: Arc<Source>,
    gate: Arc<Gate>,
}

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let source = info.app_data::<Arc<Source>>().unwrap().clone();
        Ok(Self { source, gate: info.app_data::<Arc<Gate>>().unwrap().clone() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("t");
    }
}

struct Room;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let cursor = cx.recover(&payload)?.unwrap();
        let UserSocket { source, gate } = cx.socket();
        // a slow source: it is asked late, and answers late
        gate.pass().await;
        let recovery = source.log.lock().unwrap().answer(cursor);
        gate.pass().await;
        Join::recovered(Self, recovery)
    }
}

/// What a page does with phoenix.js, as in the module's documentation, and what it must not see.
#[derive(Debug, Default)]
struct Page {
    socket: Option<TestSocket>,
    gate: Arc<Gate>,
    arrived: VecDeque<(Value, Value, String, Value)>,
    last: u64,
    epoch: Option<u64>,
    /// The version of each message.
    shown: BTreeMap<u64, u64>,
    /// The ref of its newest join.
    join: Value,
    is_joining: bool,
    /// It has joined more than once on this connection, so it may hear broadcasts of an older membership.
    has_rejoined: bool,
    awaits_history: bool,
}

fn number(message: &Value, key: &str) -> u64 {
    message[key].as_u64().unwrap()
}

impl Page {
    async fn join(&mut self, endpoint: &Endpoint, source: &Arc<Source>) {
        self.has_rejoined = self.socket.is_some();
        if self.socket.is_none() {
            self.gate = Arc::default();
            let test = ChannelTest::new(endpoint).app_data(source.clone()).app_data(self.gate.clone());
            self.socket = Some(test.connect::<UserSocket>().await.unwrap());
        }
        let payload = json!({ "last_seen_id": self.last, "epoch": self.epoch });
        let join = self.socket.as_mut().unwrap().push("t", "phx_join", payload).unwrap();
        self.join = join.reference();
        (self.is_joining, self.awaits_history) = (true, false);
    }

    fn cut(&mut self) {
        self.socket = None;
        self.arrived.clear();
        self.awaits_history = false;
        // a join that still waits goes on for nobody
        self.gate.open(100);
    }

    fn read(&mut self, count: usize) {
        self.arrived.extend(self.socket.iter_mut().flat_map(TestSocket::arrived));
        for _ in 0..count {
            let Some((join_ref, reference, event, payload)) = self.arrived.pop_front() else { return };
            match event.as_str() {
                "phx_reply" if reference == self.join => self.joined(&payload),
                "history" if join_ref == self.join => self.load(&payload),
                // of an older join
                "phx_reply" | "history" | "phx_close" => assert!(self.has_rejoined, "{event} {payload}"),
                "message" => self.see(&payload),
                "changed" => self.change(&payload),
                _ => panic!("{event} {payload}"),
            }
        }
    }

    fn joined(&mut self, reply: &Value) {
        assert_eq!(reply["status"], "ok", "{reply}");
        self.is_joining = false;
        let response = &reply["response"];
        self.awaits_history = response["recovered"] == false;
        let messages = |key: &str| response[key].as_array().into_iter().flatten();
        for message in messages("messages") {
            self.see(message);
            // which it may have had before the reply, and is newer now
            self.change(message);
        }
        messages("changed").for_each(|message| self.change(message));
    }

    fn load(&mut self, history: &Value) {
        assert!(std::mem::take(&mut self.awaits_history), "{history}");
        (self.last, self.epoch) = (number(history, "last_id"), Some(number(history, "epoch")));
        let messages = history["messages"].as_array().unwrap().iter();
        self.shown = messages.map(|message| (number(message, "id"), number(message, "version"))).collect();
    }

    fn see(&mut self, message: &Value) {
        let (id, last) = (number(message, "id"), self.last);
        assert!(!self.awaits_history, "{message} came before the history");
        if id == last + 1 {
            self.last = id;
            self.shown.insert(id, number(message, "version"));
        } else if id <= last {
            assert!(self.has_rejoined, "{message} came twice, after {last}");
        } else {
            assert!(self.has_rejoined && self.is_joining, "{message} came after {last}");
        }
    }

    fn change(&mut self, message: &Value) {
        if let Some(shown) = self.shown.get_mut(&number(message, "id")) {
            *shown = number(message, "version");
        }
    }
}

struct World {
    endpoint: Endpoint,
    source: Arc<Source>,
    pages: Vec<Page>,
}

/// Runs something here or on another thread, to its end.
fn somewhere(elsewhere: bool, run: impl FnOnce() + Send) {
    if elsewhere {
        thread::scope(|scope| scope.spawn(run).join().unwrap());
    } else {
        run();
    }
}

impl World {
    fn new() -> Self {
        let endpoint = Endpoint::new();
        let log = Mutex::new(Log { epoch: 1, ..Log::default() });
        let source = Arc::new(Source { pubsub: endpoint.pubsub().clone(), log });
        Self { endpoint, source, pages: (0..PAGES).map(|_| Page::default()).collect() }
    }

    async fn play(&mut self, step: &Step) {
        match *step {
            Step::Publish(elsewhere) => somewhere(elsewhere, || self.source.publish()),
            Step::Change(elsewhere, which) => somewhere(elsewhere, || self.source.change(which)),
            Step::Join(page) => self.pages[page].join(&self.endpoint, &self.source).await,
            Step::Resume(page) => self.pages[page].gate.open(1),
            Step::Read(page, count) => self.pages[page].read(count),
            Step::Cut(page) => self.pages[page].cut(),
            Step::Forget(kept) => {
                let mut log = self.source.log.lock().unwrap();
                log.forgotten = log.forgotten.max(log.messages.len().saturating_sub(kept));
            }
            Step::Restart => {
                self.pages.iter_mut().for_each(Page::cut);
                let mut log = self.source.log.lock().unwrap();
                *log = Log { epoch: log.epoch + 1, ..Log::default() };
            }
            Step::Yield => yield_now().await,
        }
    }

    /// Lets all pages join and read everything.
    async fn settle(&mut self) {
        for page in &mut self.pages {
            if page.socket.is_none() {
                page.join(&self.endpoint, &self.source).await;
            }
            page.gate.open(100);
        }
        self.source.publish();
        let last_id = self.source.log.lock().unwrap().last_id();
        for page in &mut self.pages {
            // all happens on this thread, so a number of turns is enough on any machine
            for _ in 0..100 {
                yield_now().await;
                page.read(usize::MAX);
            }
            assert!(!page.is_joining && !page.awaits_history && page.last == last_id, "{page:?}");
        }
    }

    fn check(&self) {
        let log = self.source.log.lock().unwrap();
        for page in &self.pages {
            let shown: Vec<_> = page.shown.keys().copied().collect();
            let first = shown.first().copied().unwrap();
            assert!(first <= *log.kept().start());
            assert_eq!(shown, (first..=log.last_id()).collect::<Vec<_>>());
            for id in log.kept() {
                assert_eq!(page.shown.get(&id), Some(&log.get(id).unwrap().version), "the version of {id}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_page_shows_all_once_in_order_whatever_happens(steps in steps()) {
        System::new().block_on(async {
            let mut world = World::new();
            for step in &steps {
                world.play(step).await;
            }
            world.settle().await;
            world.check();
        });
    }
}
