//! A network between a node and its engine that a test disturbs: a TCP proxy that holds back, delays, cuts and resets.
//!
//! What is held back is not lost: as on a real network, it arrives when packets pass again, if its connection is still there.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::PATIENCE;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What the node sends.
    Out = 0,
    /// What the engine sends.
    Back = 1,
}

/// A port in front of another one.
pub(crate) struct Wire {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nothing passes this way.
    is_held: [bool; 2],
    delay: Duration,
    /// Bytes a second in each direction of a connection.
    rate: Option<u32>,
    /// Bytes, of both ways, until all connections end.
    left: Option<usize>,
    connections: Vec<Weak<Connection>>,
}

/// What has passed and has not arrived.
struct Chunk {
    bytes: Vec<u8>,
    due: Instant,
    /// All connections end behind it.
    is_cut: bool,
}

/// Both sides, which are closed when nothing reads from them or writes to them any more.
struct Connection {
    node: TcpStream,
    engine: TcpStream,
    is_reset: AtomicBool,
}

impl Connection {
    /// Ends it without a FIN, and throws away what is under way.
    fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for stream in [&self.node, &self.engine] {
            // it may be closed already
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Ends it after what has passed.
    fn end(&self) {
        for stream in [&self.node, &self.engine] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    /// To an address.
    pub(crate) fn to(address: impl ToSocketAddrs + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let shared = wire.shared.clone();
        // it ends with the tests: nothing waits for it
        thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                // who cannot be reached closes
                let Ok(engine) = TcpStream::connect(&address) else { continue };
                let connection = Arc::new(Connection { node, engine, is_reset: AtomicBool::new(false) });
                for stream in [&connection.node, &connection.engine] {
                    stream.set_nodelay(true).unwrap();
                }
                shared.state().connections.push(Arc::downgrade(&connection));
                for way in [Way::Out, Way::Back] {
                    let (sender, receiver) = mpsc::channel();
                    let (from, to) = (connection.clone(), connection.clone());
                    let (taking, bringing) = (shared.clone(), shared.clone());
                    thread::spawn(move || taking.take(&from, way, &sender));
                    thread::spawn(move || bringing.bring(&to, way, &receiver));
                }
            }
        });
        wire
    }

    /// Lets nothing pass in some directions, of old connections and of new ones, without either side noticing.
    pub(crate) fn hold(&self, ways: &[Way]) {
        self.change(|state| ways.iter().for_each(|way| state.is_held[*way as usize] = true));
    }

    /// Lets everything pass again, at once.
    pub(crate) fn release(&self) {
        self.change(|state| {
            (state.is_held, state.delay, state.rate) = ([false; 2], Duration::ZERO, None);
        });
    }

    /// Makes everything take so long, in either direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// Lets only so many bytes pass a second, in each direction of each connection.
    pub(crate) fn narrow(&self, rate: u32) {
        self.change(|state| state.rate = Some(rate));
    }

    /// Resets all connections.
    pub(crate) fn reset(&self) {
        self.change(|state| state.connections().for_each(|connection| connection.reset()));
    }

    /// Ends all connections when so many bytes have passed, in both directions together.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.change(|state| state.left = Some(bytes));
    }

    /// Waits until [`cut_after`](Self::cut_after) has come true.
    pub(crate) fn is_cut(&self) {
        let wait = self
            .shared
            .changed
            .wait_timeout_while(self.shared.state(), PATIENCE, |state| state.left.is_some());
        assert!(!wait.unwrap().1.timed_out(), "so many bytes have not passed");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl State {
    /// Those that are open. They are forgotten.
    fn connections(&mut self) -> impl Iterator<Item = Arc<Connection>> {
        self.connections.drain(..).filter_map(|connection| connection.upgrade())
    }

    /// How many of so many bytes pass before the cut.
    fn pass(&mut self, bytes: usize) -> usize {
        let Some(left) = &mut self.left else { return bytes };
        let passes = bytes.min(*left);
        *left -= passes;
        passes
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what one side sends.
    fn take(&self, connection: &Connection, way: Way, sender: &Sender<Chunk>) {
        let mut from = match way {
            Way::Out => &connection.node,
            Way::Back => &connection.engine,
        };
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = from.read(&mut chunk).unwrap_or(0);
            let held = |state: &mut State| state.is_held[way as usize];
            let mut state =
                self.changed.wait_while(self.state(), held).unwrap_or_else(PoisonError::into_inner);
            let (passes, due, rate) = (state.pass(read), Instant::now() + state.delay, state.rate);
            let is_cut = state.left == Some(0);
            drop(state);
            let sent = sender.send(Chunk { bytes: chunk[..passes].to_vec(), due, is_cut });
            if read == 0 || sent.is_err() {
                return;
            }
            if let Some(rate) = rate {
                thread::sleep(Duration::from_secs(read as u64) / rate);
            }
        }
    }

    /// Brings it to the other side when it is due.
    fn bring(&self, connection: &Connection, way: Way, receiver: &Receiver<Chunk>) {
        let mut to = match way {
            Way::Out => &connection.engine,
            Way::Back => &connection.node,
        };
        for Chunk { bytes, due, is_cut } in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if connection.is_reset.load(Ordering::SeqCst) {
                return;
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
            if is_cut {
                let mut state = self.state();
                state.left = None;
                state.connections().for_each(|connection| connection.end());
                self.changed.notify_all();
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
