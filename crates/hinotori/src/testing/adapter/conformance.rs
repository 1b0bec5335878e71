//! What every adapter must do, checked on a real engine.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::cluster::{Adapter, BoxFuture, Me, NodeId, Sink, Why};

/// How long a check waits for what must happen. It decides only how late a failure is reported.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is published again while a check waits for a connection to be made.
const AGAIN: Duration = Duration::from_millis(20);

/// A frame as large as the payload of a client's message may be.
const LARGE: usize = 1024 * 1024;

/// What a hanging engine may make an adapter keep, a few frames beyond its queue included.
const KEPT: usize = 32 * 1024 * 1024;

/// An engine of which the checks can have adapters, and which they can disturb.
pub trait Engine: Send + Sync {
    /// The adapter that is checked.
    type Adapter: Adapter;

    /// An adapter for one more node of the same cluster.
    fn adapter(&self) -> Self::Adapter;

    /// Ends all connections of all adapters, as an administrator would. They connect again by themselves.
    fn cut(&self) -> BoxFuture<'_, ()>;

    /// Makes the engine hang, as SIGSTOP does: connections stay, and nothing moves.
    fn hang(&self) -> BoxFuture<'_, ()>;

    /// Makes it go on.
    fn resume(&self) -> BoxFuture<'_, ()>;

    /// Kills the engine, as `kill -9` does, and starts it again. By default, its connections are [cut](Self::cut).
    fn restart(&self) -> BoxFuture<'_, ()> {
        self.cut()
    }
}

/// Checks an adapter: all nodes get all frames, unchanged, in the order of each sender, the sender's own included; a
/// frame of 1 MiB passes; a frame for one node reaches it; connections that are cut are made again, as they are
/// after the engine was killed; an engine that hangs costs a bounded amount of memory and goes on afterwards. To be
/// called within a tokio runtime with time and I/O.
///
/// ```
/// use hinotori::testing::adapter::{Hub, conformance};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// conformance(&Hub::new(7)).await;
/// # });
/// # Ok::<_, hinotori::BoxError>(())
/// ```
///
/// # Panics
/// If the adapter does something else.
pub async fn conformance(engine: &impl Engine) {
    all_get_all_in_order(engine).await;
    bytes_are_unchanged(engine).await;
    one_node_alone_is_reached(engine).await;
    a_cut_connection_is_made_again(engine).await;
    a_dead_connection_is_made_again(engine).await;
    an_engine_that_was_killed_is_used_again(engine).await;
    a_hanging_engine_costs_bounded_memory(engine).await;
}

async fn all_get_all_in_order(engine: &impl Engine) {
    const COUNT: u64 = 500;
    let nodes = Node::start_all(engine, 3).await;
    for n in 0..COUNT {
        for node in &nodes {
            node.send(&n.to_le_bytes());
        }
    }
    for node in &nodes {
        node.flushed().await;
        for from in &nodes {
            let got = node.got_from(from, COUNT).await;
            let wanted: Vec<Bytes> = (0..COUNT).map(|n| n.to_le_bytes().to_vec().into()).collect();
            assert!(
                got == wanted,
                "{} got other frames of {} than were published",
                node.me.name,
                from.me.name
            );
        }
    }
}

async fn bytes_are_unchanged(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 2).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let frames = [vec![], vec![0], every_byte.clone(), vec![b'\''; 9_000], every_byte.repeat(LARGE / 256)];
    for frame in &frames {
        nodes[0].send(frame);
    }
    for node in &nodes {
        let got = node.got_from(&nodes[0], frames.len() as u64).await;
        assert!(got == frames, "{} got other bytes than were published", node.me.name);
    }
}

async fn one_node_alone_is_reached(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 3).await;
    nodes[0].send_to(&nodes[1], b"to one");
    nodes[0].send(b"to all");
    assert_eq!(nodes[1].got_from(&nodes[0], 2).await, ["to one", "to all"]);
}

async fn a_cut_connection_is_made_again(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 2).await;
    for _ in 0..3 {
        let before: Vec<_> = nodes.iter().map(|node| node.sink.ups()).collect();
        engine.cut().await;
        for (node, before) in nodes.iter().zip(before) {
            node.is_up_after(before).await;
        }
        Node::all_hear_each_other(&nodes).await;
    }
}

async fn a_dead_connection_is_made_again(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 2).await;
    let before = nodes[0].sink.ups();
    nodes[0].adapter.reconnect();
    nodes[0].is_up_after(before).await;
    Node::all_hear_each_other(&nodes).await;
}

async fn an_engine_that_was_killed_is_used_again(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 2).await;
    let before: Vec<_> = nodes.iter().map(|node| node.sink.ups()).collect();
    engine.restart().await;
    for (node, before) in nodes.iter().zip(before) {
        node.is_up_after(before).await;
    }
    Node::all_hear_each_other(&nodes).await;
}

async fn a_hanging_engine_costs_bounded_memory(engine: &impl Engine) {
    let nodes = Node::start_all(engine, 2).await;
    engine.hang().await;
    let frame = Bytes::from(vec![7; 64 * 1024]);
    let mut taken = 0;
    while nodes[0].adapter.publish(nodes[0].frame(&frame)).is_ok() {
        taken += frame.len();
        assert!(taken < KEPT, "the adapter has taken {taken} bytes while the engine hangs");
        tokio::task::yield_now().await;
    }
    engine.resume().await;
    Node::all_hear_each_other(&nodes).await;
}

/// An adapter that runs. It ends when it is dropped.
struct Node<A> {
    me: Me,
    adapter: Arc<A>,
    sink: Arc<Heard>,
    running: JoinHandle<()>,
}

impl<A> Drop for Node<A> {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl<A: Adapter> Node<A> {
    /// Nodes that are connected and hear each other.
    async fn start_all(engine: &impl Engine<Adapter = A>, count: usize) -> Vec<Self> {
        let nodes: Vec<_> = (0..count).map(|_| Self::start(engine)).collect();
        for node in &nodes {
            node.is_up_after(0).await;
        }
        Self::all_hear_each_other(&nodes).await;
        nodes
    }

    fn start(engine: &impl Engine<Adapter = A>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        // frames of other tests on the same engine are told apart by the process
        let id = NodeId(u64::from(std::process::id()) << 32 | nth);
        let me = Me { id, name: format!("conformance-{nth}").into() };
        let (adapter, sink) = (Arc::new(engine.adapter()), Arc::new(Heard::default()));
        let running = tokio::spawn(adapter.clone().run(me.clone(), sink.clone()));
        Self { me, adapter, sink, running }
    }

    /// Each publishes until all have heard it. Then nothing of it is under way any more that counts: what was heard is
    /// forgotten.
    async fn all_hear_each_other(nodes: &[Self]) {
        static ROUND: AtomicU64 = AtomicU64::new(1);
        let mark = format!("round {}", ROUND.fetch_add(1, Ordering::Relaxed));
        for from in nodes {
            let have_heard = || nodes.iter().all(|node| node.sink.of(from.me.id).iter().any(|f| *f == mark));
            let hear = async {
                while !have_heard() {
                    // refused while the queue is full
                    let _ = from.adapter.publish(from.frame(mark.as_bytes()));
                    sleep(AGAIN).await;
                }
            };
            timeout(PATIENCE, hear).await.unwrap_or_else(|_| panic!("{} is not heard by all", from.me.name));
        }
        // a last one behind all those that were published again
        for from in nodes {
            from.send(b"last");
            for node in nodes {
                node.until(|| node.sink.of(from.me.id).iter().any(|frame| *frame == "last")).await;
            }
        }
        nodes.iter().for_each(|node| node.sink.forget());
    }

    /// What is published: the sender, then the rest.
    fn frame(&self, rest: &[u8]) -> Bytes {
        [&self.me.id.0.to_le_bytes(), rest].concat().into()
    }

    fn send(&self, rest: &[u8]) {
        self.adapter.publish(self.frame(rest)).expect("nothing waits for this long");
    }

    fn send_to(&self, other: &Self, rest: &[u8]) {
        self.adapter.publish_to(other.me.id, self.frame(rest)).expect("nothing waits for this long");
    }

    async fn flushed(&self) {
        timeout(PATIENCE, self.adapter.flush()).await.expect("what is queued is sent and then flushed");
    }

    async fn is_up_after(&self, ups: u64) {
        self.until(|| self.sink.ups() > ups).await;
    }

    /// The first frames of a node, when there are as many.
    async fn got_from(&self, from: &Self, count: u64) -> Vec<Bytes> {
        self.until(|| self.sink.of(from.me.id).len() as u64 >= count).await;
        self.sink.of(from.me.id)
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        let mut changes = self.sink.changed.subscribe();
        let wait = async {
            while !is_so() {
                changes.changed().await.expect("the sink is there");
            }
        };
        let state = || format!("ups={} last={:?}", self.sink.ups(), self.sink.last_down());
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{} waits in vain: {}", self.me.name, state()));
    }
}

/// A sink that remembers.
#[derive(Default)]
struct Heard {
    frames: Mutex<Vec<Bytes>>,
    ups: AtomicU64,
    why: Mutex<Option<Why>>,
    changed: watch::Sender<()>,
}

impl Heard {
    /// The frames of one sender, without its id.
    fn of(&self, NodeId(id): NodeId) -> Vec<Bytes> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |frame: &Bytes| frame.strip_prefix(&id.to_le_bytes()).map(|rest| frame.slice_ref(rest));
        frames.iter().filter_map(of).collect()
    }

    fn forget(&self) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn ups(&self) -> u64 {
        self.ups.load(Ordering::SeqCst)
    }

    fn last_down(&self) -> Option<Why> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Heard {
    fn frame(&self, frame: Bytes) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        self.changed.send_replace(());
    }

    fn up(&self) {
        self.ups.fetch_add(1, Ordering::SeqCst);
        self.changed.send_replace(());
    }

    fn down(&self, why: Why) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.changed.send_replace(());
    }
}
