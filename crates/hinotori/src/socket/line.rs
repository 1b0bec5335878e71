//! One client's line, independent of the protocol spoken on it: its outbox, its close, and how fast it is read from.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;
use hinotori_protocol::rate::{Rate, Verdict};

use super::{ChannelId, CloseReason, Connecting, Ids, Outbox, Stream, close};
use crate::{
    connections::{Member, Seat},
    node::Node,
    pubsub::{Broadcast, Local, Subscriber, SubscriberKey, Writer},
    reason::Closed,
    telemetry::{Conn, Count, Transport},
    wire::{CloseCode, DISCONNECT, Frame, compression::Window},
};

/// Bytes of a client's messages that may wait to be handled, on top of one message of the maximum length. Above that
/// the server stops reading from the client, and TCP slows the client down: nothing is lost, and other clients are
/// unaffected.
const SPARE_LOAD: usize = 256 * 1024;

/// A silent client is detected within 1/16 of its timeout.
const SILENCE_GRAIN: u32 = 16;

/// The shortest interval between checks for silent clients.
const MIN_PACE: Duration = Duration::from_millis(10);

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Topics that may be joined at a time.
    pub(crate) max_channels: usize,
    /// Bytes that may wait to be written.
    pub(crate) outbox: usize,
    /// Length of the longest message that the client may send, in bytes.
    pub(crate) max_message: usize,
    /// Messages that the client may send: per second, and in one burst. A rate of 0 is unlimited.
    pub(crate) message_rate: (u32, u32),
}

/// The receiver of what a transport reads.
pub(crate) trait Peer {
    fn line(&self) -> &Rc<Line>;
    /// Handles a whole text message, or returns why the line must be closed.
    fn receive_text(&self, text: &ByteString) -> Result<(), String>;
    /// The same for a binary message.
    fn receive_binary(&self, data: &Bytes) -> Result<(), String>;
    /// The transport has ended.
    fn gone(&self);
}

/// See the module.
pub(crate) struct Line {
    this: Weak<Self>,
    /// What a WebSocket reads from and writes to; `None` for long poll.
    stream: RefCell<Option<Stream>>,
    /// Whether the worker is going to write what is queued.
    is_listed: Cell<bool>,
    /// Why the line ends, once that is known.
    why: Cell<Option<CloseReason>>,
    /// The client was closed because it was silent, so it will not answer a close frame either.
    is_silent: Cell<bool>,
    /// Set if the client accepts compressed messages.
    window: Cell<Option<Window>>,
    key: SubscriberKey,
    ids: Ids,
    node: Arc<Node>,
    local: Rc<Local>,
    outbox: Outbox,
    /// Bytes that may wait to be handled.
    max_load: usize,
    /// Bytes of messages that wait to be handled.
    load: Cell<usize>,
    /// When the client was last heard from.
    heard: Cell<Instant>,
    /// Milliseconds for which the client may be silent.
    patience: Cell<u64>,
    /// Channels or raw sockets that have not ended.
    running: Cell<u32>,
    /// The client's message rate, and when the line was opened. `None` if the rate is unlimited, which then costs only
    /// a pointer.
    rate: Option<Box<RefCell<(Rate, Instant)>>>,
    /// Tasks to wake when the load has dropped or the line is closing: the one reader of a WebSocket, or a long poll's
    /// requests and session.
    readers: RefCell<Vec<Waker>>,
    /// Held until the transport has ended. A callback that is still running does not keep the line counted.
    seat: Cell<Option<(Seat, Count)>>,
}

impl Line {
    /// Opens a line in a seat that has been reserved for it. It closes when `disconnect` is broadcast to one of its ids,
    /// or has been while it was being connected.
    pub(crate) fn open(
        limits: Limits,
        transport: Transport,
        connecting: Connecting,
        node: Arc<Node>,
        ids: Vec<String>,
    ) -> Rc<Self> {
        let Connecting { seat, disconnects } = connecting;
        let (per_second, burst) = limits.message_rate;
        let rate = Rate::new(per_second, burst).map(|rate| Box::new(RefCell::new((rate, Instant::now()))));
        let line = Rc::new_cyclic(|this| Self {
            this: this.clone(),
            stream: RefCell::default(),
            is_listed: Cell::new(false),
            why: Cell::new(None),
            is_silent: Cell::new(false),
            window: Cell::new(None),
            key: SubscriberKey::new(),
            ids: ids.into(),
            local: node.pubsub.local(),
            outbox: Outbox::new(limits.outbox),
            max_load: limits.max_message + SPARE_LOAD,
            load: Cell::new(0),
            heard: Cell::new(Instant::now()),
            patience: Cell::new(u64::MAX),
            running: Cell::new(0),
            rate,
            readers: RefCell::default(),
            seat: Cell::new(Some((seat, node.telemetry.opened(transport)))),
            node,
        });
        // until a client polls for the first time, it counts as stalled
        line.outbox.offered(0, transport != Transport::LongPoll);
        line.node.connections.add(line.key, line.clone());
        for id in line.ids.all() {
            line.local.subscribe(id, line.key, line.clone());
        }
        if disconnects.has(line.ids.all()) {
            line.close(Closed::Disconnect);
        }
        if line.node.connections.is_draining() {
            line.drain();
        }
        line
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// From now on, compresses messages for this client.
    pub(crate) fn compress_within(&self, window: Window) {
        self.window.set(Some(window));
    }

    /// The compression window of messages for this client, if they are compressed.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window.get()
    }

    /// A message in the form that this client accepts.
    pub(crate) fn compressed(&self, frame: Frame) -> Frame {
        self.window().and_then(|window| frame.deflated(window)).unwrap_or(frame)
    }

    /// Sends this client a frame after every broadcast made before this call.
    pub(crate) fn push(&self, frame: &Frame) {
        if self.local.is_caught_up() {
            return self.local.counts().sent.add(u64::from(self.forward(frame)));
        }
        if !self.outbox.is_open() {
            return;
        }
        if !self.outbox.expect(frame) {
            return self.cut(Closed::SlowReader);
        }
        self.local.counts().sent.add(1);
        self.arrives_later(frame.clone());
    }

    fn arrives_later(&self, frame: Frame) {
        let Some(this) = self.this.upgrade() else { return };
        self.local.in_order(move |_| {
            this.outbox.arrive(&frame);
            this.announce();
        });
    }

    /// Sends this client a frame, or disconnects it if it does not read. Returns whether the frame was queued.
    pub(crate) fn forward(&self, frame: &Frame) -> bool {
        self.queue(|outbox| outbox.push(frame))
    }

    /// For a client that lags: keeps a frame that supersedes earlier ones until the client has read everything queued
    /// before. Returns false if the client does not lag; the frame is then to be sent like any other.
    pub(crate) fn keep_latest(&self, channel: ChannelId, key: &str, frame: &Frame) -> bool {
        let is_kept = self.outbox.keep_latest(channel, key, frame);
        if is_kept && self.stream.borrow().is_none() {
            self.outbox.wake_poll();
        }
        is_kept
    }

    /// Drops the frames that were kept for a channel.
    pub(crate) fn forget_latest(&self, channel: ChannelId) {
        self.outbox.forget_latest(channel);
    }

    /// Answers a sign of life: after the frame being written, but ahead of everything that waits for a slow reader.
    pub(crate) fn answer_at_once(&self, frame: &Frame) -> bool {
        self.queue(|outbox| outbox.push_ahead(frame))
    }

    /// Writes a frame without queueing it, if nothing is queued and the peer takes at least a part of it. Otherwise
    /// nothing has been written.
    pub(crate) fn write_at_once(&self, frame: &Frame) -> bool {
        let Some(piece) = frame.whole().filter(|_| self.outbox.is_free()) else { return false };
        let Some(stream) = &mut *self.stream.borrow_mut() else { return false };
        let written = self.outbox.with_waker(|waker| {
            let taken = stream.write(waker, &[IoSlice::new(piece)])?;
            Ok::<_, io::Error>((taken, stream.flush(waker)))
        });
        // the error shows up again when the frame has been queued
        let Ok((taken, flushed)) = written else { return false };
        if taken < piece.len() || flushed.is_err() {
            self.outbox.begun(frame, taken);
            // the task waits until the peer takes more, or finds the error
            self.outbox.wake();
        }
        true
    }

    fn queue(&self, push: impl FnOnce(&Outbox) -> bool) -> bool {
        if !self.outbox.is_open() {
            return false;
        }
        let has_room = push(&self.outbox);
        if has_room {
            self.announce();
        } else {
            self.cut(Closed::SlowReader);
        }
        has_room
    }

    /// Something has been queued: has the worker write it, or a poll take it.
    fn announce(&self) {
        if self.stream.borrow().is_none() {
            self.outbox.wake_poll();
        } else if !self.is_listed.replace(true)
            && let Some(this) = self.this.upgrade()
        {
            self.local.write_soon(this);
        }
    }

    /// Uses this stream from now on, for writing and for [reading](Line::poll_read).
    pub(crate) fn take_over(&self, stream: impl Into<Stream>) {
        *self.stream.borrow_mut() = Some(stream.into());
    }

    /// Drops the stream.
    pub(crate) fn hang_up(&self) {
        self.stream.take();
    }

    /// Shuts down the sending side of the stream.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => stream.poll_shutdown(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Reads what has arrived. 0 is the end of the stream.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => stream.poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Runs the connection's task, which at its end writes what has been queued meanwhile, so the worker does not have
    /// to.
    pub(crate) fn write_after(&self, cx: &mut Context<'_>, run: impl FnOnce(&mut Context<'_>)) {
        self.outbox.leave_waker(cx);
        let was_listed = self.is_listed.replace(true);
        run(cx);
        self.is_listed.set(was_listed);
        self.poll_write(cx);
    }

    /// Writes what is queued. If the peer does not take all of it, the task is woken once the peer takes more.
    fn poll_write(&self, cx: &mut Context<'_>) {
        while !self.outbox.is_empty() || self.outbox.is_stalled() {
            match self.write_now() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
            let is_writable = |stream: &Stream| stream.poll_writable(cx).is_ready();
            if !self.stream.borrow().as_ref().is_some_and(is_writable) {
                return;
            }
        }
    }

    /// Writes as much of what is queued as the peer takes. If the peer is gone, the connection is cut.
    fn write_now(&self) -> io::Result<()> {
        let Some(stream) = &mut *self.stream.borrow_mut() else { return Ok(()) };
        let (taken, written) = self.outbox.with_waker(|waker| {
            let (taken, written) = self.outbox.write(|pieces| stream.write(waker, pieces));
            (taken, written.and_then(|()| stream.flush(waker)))
        });
        let is_blocked = matches!(&written, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.outbox.offered(taken, !is_blocked);
        if written.is_err() && !is_blocked {
            self.disconnected();
        } else if !self.readers.borrow().is_empty() {
            self.resume();
        }
        written
    }

    /// Ends the transport without a close frame, which would not get through.
    fn cut(&self, why: Closed) {
        self.report(why, "");
        self.disconnected();
    }

    /// Whether more may be queued for a channel behind this many bytes on their way to the client. If not, the client
    /// is disconnected, as if they waited in its outbox.
    pub(crate) fn has_room_behind(&self, bytes: usize) -> bool {
        if bytes > self.outbox.limit() && self.outbox.is_open() {
            self.cut(Closed::SlowChannel);
        }
        self.outbox.is_open()
    }

    /// Sends a close frame. The transport ends when the client has answered it, or soon after.
    pub(crate) fn close(&self, why: Closed) {
        self.close_over(why, "");
    }

    /// The same, with a detail for the log.
    pub(crate) fn close_over(&self, why: Closed, what: &str) {
        if self.outbox.is_open() {
            self.report(why, what);
            self.is_silent.set(why == Closed::Idle);
            self.say_goodbye(Some(why.code()));
        }
    }

    /// Counts and logs that the server closes this line.
    pub(crate) fn report(&self, why: Closed, what: &str) {
        self.ends_by(why.into());
        self.node.telemetry.closed(why);
        close::log(self.conn(), why, what);
    }

    /// Records why the line ends; only the first reason counts.
    pub(crate) fn ends_by(&self, why: CloseReason) {
        self.why.set(self.why.get().or(Some(why)));
    }

    /// Why the line ends; a client that vanished without a close counts as lost.
    pub(crate) fn why(&self) -> CloseReason {
        self.why.get().unwrap_or(CloseReason::Lost)
    }

    /// The line's name in the log.
    pub(crate) fn conn(&self) -> Conn<'_> {
        Conn { number: self.key, id: self.ids.first() }
    }

    /// Answers the client's close frame.
    pub(crate) fn answer_close(&self, code: Option<CloseCode>) {
        self.ends_by(CloseReason::ByClient);
        self.say_goodbye(code);
    }

    fn say_goodbye(&self, code: Option<CloseCode>) {
        if self.outbox.is_open() {
            let frame = Frame::close(code);
            if self.local.is_caught_up() {
                self.outbox.close(&frame);
                self.announce();
            } else {
                self.outbox.expect_close(&frame);
                self.arrives_later(frame);
            }
            self.outbox.wake();
            self.wake_readers();
        }
    }

    /// Whether the line was closed because its client was silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.get()
    }

    /// The transport can no longer write.
    pub(crate) fn disconnected(&self) {
        self.outbox.cut();
        self.wake_readers();
    }

    /// The transport has ended, or will once it has written what is queued.
    pub(crate) fn end(&self) {
        log::debug!("event=disconnected conn={}", self.conn());
        self.outbox.finish();
        self.wake_readers();
        self.seat.take();
        self.node.connections.remove(self.key);
        for id in self.ids.all() {
            self.local.unsubscribe(id, self.key);
        }
    }

    /// Applies the rate limit to a message from the client; closes the line if the client keeps exceeding it.
    pub(crate) fn judge(&self) -> Verdict {
        let Some(rate) = &self.rate else { return Verdict::Handle };
        let (rate, opened) = &mut *rate.borrow_mut();
        let verdict = rate.judge(u64::try_from(opened.elapsed().as_nanos()).unwrap_or(u64::MAX / 2));
        if verdict == Verdict::Close {
            self.close(Closed::Rate);
        }
        verdict
    }

    /// From now on, closes the line when its client has not been [heard](Self::heard) for this long.
    pub(crate) fn close_after_silence(&self, timeout: Duration) {
        self.patience.set(timeout.as_millis().try_into().unwrap_or(u64::MAX));
        self.node.connections.look_every((timeout / SILENCE_GRAIN).max(MIN_PACE));
    }

    /// The client has been heard from.
    pub(crate) fn heard(&self) {
        self.heard.set(Instant::now());
    }

    /// When the client was last heard from.
    pub(crate) fn last_heard(&self) -> Instant {
        self.heard.get()
    }

    /// How long the client has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.get().elapsed()
    }

    /// An application task for this client starts; it lasts until [`Line::stopped`].
    pub(crate) fn started(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(crate) fn stopped(&self) {
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            self.outbox.wake();
        }
    }

    /// Whether an application task is still running, such as a channel's `terminate`. The transport's task is woken
    /// when the last one ends.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.get() > 0
    }

    /// Counts the bytes of a message that waits to be handled.
    pub(crate) fn load(&self, cost: usize) {
        self.load.set(self.load.get() + cost);
    }

    /// Uncounts the bytes of a message that has been handled.
    pub(crate) fn release(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        self.resume();
    }

    /// Resumes reading if there is room again. Call it when messages have been handled or frames taken.
    pub(crate) fn resume(&self) {
        if !self.is_loaded() {
            self.wake_readers();
        }
    }

    /// Whether this client's unhandled and unsent data is so much that the server stops reading from it.
    pub(crate) fn is_loaded(&self) -> bool {
        self.outbox.is_filling() || self.load.get() > self.max_load
    }

    /// Ready when the client may be read from.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(!self.is_loaded(), cx)
    }

    /// Ready when the line is closing or closed.
    pub(crate) fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(false, cx)
    }

    fn poll_until(&self, is_ready: bool, cx: &mut Context<'_>) -> Poll<()> {
        if is_ready || !self.outbox.is_open() {
            return Poll::Ready(());
        }
        let mut readers = self.readers.borrow_mut();
        if !readers.iter().any(|reader| reader.will_wake(cx.waker())) {
            readers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake_readers(&self) {
        if !self.readers.borrow().is_empty() {
            self.readers.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// Subscribed to its socket's ids, where only `disconnect` has a meaning.
impl Subscriber for Line {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        if broadcast.event == DISCONNECT {
            self.close(Closed::Disconnect);
        }
        false
    }
}

impl Member for Line {
    fn is_open(&self) -> bool {
        self.outbox.is_open()
    }

    fn drain(&self) {
        self.close(Closed::Drain);
    }

    fn look(&self, now: Instant) {
        let silence = now.saturating_duration_since(self.heard.get());
        // a loaded line is not read from, so its client may have spoken; allow it twice the time, but not forever
        let patience = self.patience.get().saturating_mul(if self.is_loaded() { 2 } else { 1 });
        if silence.as_millis() >= patience.into() {
            self.close(Closed::Idle);
        }
        if self.stream.borrow().is_some() && self.outbox.waits_in_vain(now) && self.outbox.is_open() {
            self.cut(Closed::SlowReader);
        }
    }
}

impl Writer for Line {
    fn write(&self) -> bool {
        self.is_listed.set(false);
        if self.outbox.is_stalled() {
            return self.outbox.falls_behind();
        }
        let is_written = self.write_now().is_ok();
        if !is_written || self.outbox.end().is_some() {
            // the task waits until the peer takes more, or ends
            self.outbox.wake();
        }
        !is_written && self.outbox.falls_behind()
    }

    fn falls_behind(&self) -> bool {
        self.outbox.falls_behind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (0, 0) };

    fn open(limits: Limits, node: &Arc<Node>, ids: &[&str]) -> Rc<Line> {
        Line::open(
            limits,
            Transport::WebSocket,
            Connecting::begin(node).unwrap(),
            node.clone(),
            ids.iter().map(|id| (*id).to_owned()).collect(),
        )
    }

    #[actix_web::test]
    async fn a_line_that_opens_while_the_server_drains_is_told_so() {
        let node = Node::unbounded();
        node.connections.begin_drain();
        assert!(!open(LIMITS, &node, &[]).outbox().is_open());
    }

    #[actix_web::test]
    async fn a_client_is_not_read_from_while_too_much_of_its_is_unhandled() {
        let line = open(LIMITS, &Node::unbounded(), &[]);
        let mut cx = Context::from_waker(Waker::noop());
        line.load(LIMITS.max_message + SPARE_LOAD);
        assert!(line.poll_readable(&mut cx).is_ready());
        line.load(1);
        assert!(line.poll_readable(&mut cx).is_pending());
        line.release(1);
        assert!(line.readers.borrow().is_empty(), "the reader was woken");
        line.load(1);
        line.answer_close(None);
        assert!(line.poll_readable(&mut cx).is_ready(), "a close frame must be read");
    }

    #[actix_web::test]
    async fn a_client_that_says_nothing_for_too_long_is_closed_and_one_that_is_not_read_from_has_twice_the_time()
     {
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let lines = [(); 2].map(|()| open(LIMITS, &Node::unbounded(), &[]));
        let [line, loaded] = &lines;
        for line in &lines {
            line.look(after(1_000));
            assert!(line.outbox().is_open(), "without a timeout silence is no fault");
            line.close_after_silence(Duration::from_secs(60));
        }
        loaded.load(LIMITS.max_message + SPARE_LOAD + 1);
        for (seconds, is_open) in
            [(59, [true, true]), (61, [false, true]), (119, [false, true]), (121, [false, false])]
        {
            lines.iter().for_each(|line| line.look(after(seconds)));
            assert_eq!([line.outbox().is_open(), loaded.outbox().is_open()], is_open, "after {seconds} s");
        }
        assert_eq!([line.why(), loaded.why()], [CloseReason::Idle; 2]);
    }

    #[actix_web::test]
    async fn an_ended_line_is_neither_counted_nor_reached() {
        let node = Node::unbounded();
        let line = open(LIMITS, &node, &["users:1", "sessions:1"]);
        assert_eq!(node.connections.count(), 1);
        line.end();
        assert_eq!(node.connections.count(), 0);
        assert_eq!(Rc::strong_count(&line), 1, "nothing holds it");
    }

    #[actix_web::test]
    async fn a_client_that_sends_too_many_messages_is_closed_and_any_number_may_come_where_no_rate_is_set() {
        let line = open(Limits { message_rate: (1, 2), ..LIMITS }, &Node::unbounded(), &[]);
        let verdicts: Vec<Verdict> = (0..5).map(|_| line.judge()).collect();
        use Verdict::{Close, Handle, Refuse};
        assert_eq!(verdicts, [Handle, Handle, Refuse, Refuse, Close]);
        assert!(!line.outbox().is_open());
        line.answer_close(None);
        assert_eq!(line.why(), CloseReason::RateLimited, "the client answers, but it did not begin");
        let free = open(LIMITS, &Node::unbounded(), &[]);
        assert!((0..10_000).all(|_| free.judge() == Handle));
    }
}
