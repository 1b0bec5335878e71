//! One client's line, whatever is spoken on it: its outbox, its close, and how fast it is read from.

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

use super::{ChannelId, CloseReason, Outbox, Stream, close};
use crate::{
    connections::{Member, Seat},
    node::Node,
    pubsub::{Broadcast, Local, Subscriber, SubscriberKey, Writer},
    reason::Closed,
    telemetry::{Conn, Count, Transport},
    wire::{CloseCode, DISCONNECT, Frame, compression::Window},
};

/// Bytes of a client's messages that may wait to be handled, beyond one of the greatest length, before the server stops
/// reading from it: it is told by TCP to slow down, nothing is lost, and nobody else notices.
const SPARE_LOAD: usize = 256 * 1024;

/// A client's silence is noticed within so small a part of what it may last.
const SILENCE_GRAIN: u32 = 16;

/// As often as silence is looked for, at most.
const MIN_PACE: Duration = Duration::from_millis(10);

/// What one connection may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Topics joined at a time.
    pub(crate) max_channels: usize,
    /// Bytes that may wait to be written.
    pub(crate) outbox: usize,
    /// Bytes of the longest message that the client may send.
    pub(crate) max_message: usize,
    /// Messages that the client may send: a second, and at once. A rate of 0 is any number.
    pub(crate) message_rate: (u32, u32),
}

/// What a transport reads for.
pub(crate) trait Peer {
    fn line(&self) -> &Rc<Line>;
    /// Takes a whole message, or says why the line must be closed for it.
    fn receive_text(&self, text: &ByteString) -> Result<(), String>;
    /// The same for a binary message.
    fn receive_binary(&self, data: &Bytes) -> Result<(), String>;
    /// The transport is gone.
    fn gone(&self);
}

/// See the module.
pub(crate) struct Line {
    this: Weak<Self>,
    /// What a WebSocket reads from and writes to; none on long poll.
    stream: RefCell<Option<Stream>>,
    /// The worker will write what is queued.
    is_listed: Cell<bool>,
    /// Why the line ends, from when that is known.
    why: Cell<Option<CloseReason>>,
    /// The client was closed for its silence, so it will answer no close frame either.
    is_silent: Cell<bool>,
    /// Set if the client takes compressed messages.
    window: Cell<Option<Window>>,
    key: SubscriberKey,
    /// The socket's id, which is a topic too.
    id: Option<Box<str>>,
    node: Arc<Node>,
    local: Rc<Local>,
    outbox: Outbox,
    /// Bytes that may wait to be handled.
    max_load: usize,
    /// Bytes of messages that wait to be handled.
    load: Cell<usize>,
    /// When the client was last heard.
    heard: Cell<Instant>,
    /// Milliseconds that it may be silent.
    patience: Cell<u64>,
    /// Channels, or the raw socket, whose actors have not ended.
    running: Cell<u32>,
    /// Of the client's messages, and when the line was opened; nothing if any number is allowed, so that this costs a pointer.
    rate: Option<Box<RefCell<(Rate, Instant)>>>,
    /// Go on when the load has gone down or the line is closing: the one reader of a WebSocket, or requests and the session
    /// of a long poll.
    readers: RefCell<Vec<Waker>>,
    /// Until the transport is gone; a callback that still runs does not keep the line counted.
    seat: Cell<Option<(Seat, Count)>>,
}

impl Line {
    /// Opens a line in a seat that was found for it; one with an id closes when `disconnect` is broadcast to it.
    pub(crate) fn open(
        limits: Limits,
        transport: Transport,
        seat: Seat,
        node: Arc<Node>,
        id: Option<String>,
    ) -> Rc<Self> {
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
            id: id.map(String::into_boxed_str),
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
        // until a client polls for the first time, what waits for it is its own fault
        line.outbox.offered(0, transport != Transport::LongPoll);
        line.node.connections.add(line.key, line.clone());
        if let Some(id) = &line.id {
            line.local.subscribe(id, line.key, line.clone());
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

    /// Compresses messages for this client from now on.
    pub(crate) fn compress_within(&self, window: Window) {
        self.window.set(Some(window));
    }

    /// Within which messages for this client are compressed, if they are.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window.get()
    }

    /// A message as this client takes it.
    pub(crate) fn compressed(&self, frame: Frame) -> Frame {
        self.window().and_then(|window| frame.deflated(window)).unwrap_or(frame)
    }

    /// Sends a frame to this client, after all broadcasts that had been made when this was decided.
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

    /// Sends a frame to this client, which is cut off if it does not read. Says whether it was queued.
    pub(crate) fn forward(&self, frame: &Frame) -> bool {
        self.queue(|outbox| outbox.push(frame))
    }

    /// Keeps a frame of which only the newest counts until a client that lags has taken all that waits for it. False if the
    /// client does not lag, and the frame is to be sent as any other.
    pub(crate) fn keep_latest(&self, channel: ChannelId, key: &str, frame: &Frame) -> bool {
        let is_kept = self.outbox.keep_latest(channel, key, frame);
        if is_kept && self.stream.borrow().is_none() {
            self.outbox.wake_poll();
        }
        is_kept
    }

    /// Nothing more is sent of what was kept for a channel.
    pub(crate) fn forget_latest(&self, channel: ChannelId) {
        self.outbox.forget_latest(channel);
    }

    /// Answers that the server lives: behind what is being written, but before all that waits for a client that reads slowly.
    pub(crate) fn answer_at_once(&self, frame: &Frame) -> bool {
        self.queue(|outbox| outbox.push_ahead(frame))
    }

    /// Writes a frame without queueing it, if nothing is queued and the peer takes all of it or a part. Otherwise nothing has
    /// been written.
    pub(crate) fn write_at_once(&self, frame: &Frame) -> bool {
        let Some(piece) = frame.whole().filter(|_| self.outbox.is_free()) else { return false };
        let Some(stream) = &mut *self.stream.borrow_mut() else { return false };
        let written = self.outbox.with_waker(|waker| {
            let taken = stream.write(waker, &[IoSlice::new(piece)])?;
            Ok::<_, io::Error>((taken, stream.flush(waker)))
        });
        // what is wrong with the stream is found out when the frame has been queued
        let Ok((taken, flushed)) = written else { return false };
        if taken < piece.len() || flushed.is_err() {
            self.outbox.begun(frame, taken);
            // the task waits for the peer to take more, or finds out what is wrong
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

    /// Something is queued: the worker is to write it, or a poll to take it.
    fn announce(&self) {
        if self.stream.borrow().is_none() {
            self.outbox.wake_poll();
        } else if !self.is_listed.replace(true)
            && let Some(this) = self.this.upgrade()
        {
            self.local.write_soon(this);
        }
    }

    /// Writes to this stream from now on, and [reads](Line::poll_read) from it.
    pub(crate) fn take_over(&self, stream: impl Into<Stream>) {
        *self.stream.borrow_mut() = Some(stream.into());
    }

    /// Drops the stream.
    pub(crate) fn hang_up(&self) {
        self.stream.take();
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => stream.poll_shutdown(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Reads what is there. The end is 0.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => stream.poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Runs the connection's task, which writes at its end what has been queued meanwhile: the worker need not.
    pub(crate) fn write_after(&self, cx: &mut Context<'_>, run: impl FnOnce(&mut Context<'_>)) {
        self.outbox.leave_waker(cx);
        let was_listed = self.is_listed.replace(true);
        run(cx);
        self.is_listed.set(was_listed);
        self.poll_write(cx);
    }

    /// Writes what is queued; wakes the task when a peer that does not take all of it takes more.
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

    /// Writes as much of what is queued as the peer takes. A peer that is gone is cut off.
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

    /// Ends the transport and all that hangs on it, without a word: none would get through.
    fn cut(&self, why: Closed) {
        self.report(why, "");
        self.disconnected();
    }

    /// Whether more may wait behind so many bytes that wait for a channel on their way to this client; else it is cut off, as
    /// if they waited in its outbox.
    pub(crate) fn has_room_behind(&self, bytes: usize) -> bool {
        if bytes > self.outbox.limit() && self.outbox.is_open() {
            self.cut(Closed::SlowChannel);
        }
        self.outbox.is_open()
    }

    /// Says goodbye; the transport ends when the client has answered, or soon after.
    pub(crate) fn close(&self, why: Closed) {
        self.close_over(why, "");
    }

    /// The same, for something that the log should have.
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

    /// The first reason is why the line ends.
    pub(crate) fn ends_by(&self, why: CloseReason) {
        self.why.set(self.why.get().or(Some(why)));
    }

    /// Why the line ends; a client that is gone without a word is lost.
    pub(crate) fn why(&self) -> CloseReason {
        self.why.get().unwrap_or(CloseReason::Lost)
    }

    /// What the log calls this line.
    pub(crate) fn conn(&self) -> Conn<'_> {
        Conn { number: self.key, id: self.id.as_deref() }
    }

    /// Answers the client's own goodbye.
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

    /// Whether the line was closed because its client says nothing.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.get()
    }

    /// The transport has nowhere left to write to.
    pub(crate) fn disconnected(&self) {
        self.outbox.cut();
        self.wake_readers();
    }

    /// The transport is gone, or will be when it has written what is queued.
    pub(crate) fn end(&self) {
        log::debug!("event=disconnected conn={}", self.conn());
        self.outbox.finish();
        self.wake_readers();
        self.seat.take();
        self.node.connections.remove(self.key);
        if let Some(id) = &self.id {
            self.local.unsubscribe(id, self.key);
        }
    }

    /// Judges a message that the client sends; closes the line if it sends too many for too long.
    pub(crate) fn judge(&self) -> Verdict {
        let Some(rate) = &self.rate else { return Verdict::Handle };
        let (rate, opened) = &mut *rate.borrow_mut();
        let verdict = rate.judge(u64::try_from(opened.elapsed().as_nanos()).unwrap_or(u64::MAX / 2));
        if verdict == Verdict::Close {
            self.close(Closed::Rate);
        }
        verdict
    }

    /// The line is closed from now on when nothing was [heard](Self::heard) from its client for so long.
    pub(crate) fn close_after_silence(&self, timeout: Duration) {
        self.patience.set(timeout.as_millis().try_into().unwrap_or(u64::MAX));
        self.node.connections.look_every((timeout / SILENCE_GRAIN).max(MIN_PACE));
    }

    /// The client speaks.
    pub(crate) fn heard(&self) {
        self.heard.set(Instant::now());
    }

    /// When the client last spoke.
    pub(crate) fn last_heard(&self) -> Instant {
        self.heard.get()
    }

    /// How long the client has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.get().elapsed()
    }

    /// Something of the application's runs for this client, until [`Line::stopped`].
    pub(crate) fn started(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(crate) fn stopped(&self) {
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            self.outbox.wake();
        }
    }

    /// Whether something of the application's still runs, such as the `terminate` of a channel. The transport's task is woken
    /// when nothing does.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.get() > 0
    }

    /// Messages of so many bytes wait to be handled.
    pub(crate) fn load(&self, cost: usize) {
        self.load.set(self.load.get() + cost);
    }

    /// Messages of so many bytes have been handled.
    pub(crate) fn release(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        self.resume();
    }

    /// Reads on if there is room again; to be called when messages have been handled or frames been taken.
    pub(crate) fn resume(&self) {
        if !self.is_loaded() {
            self.wake_readers();
        }
    }

    /// Whether so much of this client's is unhandled, or on its way to it, that it is not read from.
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

/// Subscribed to its socket's id, where one event means something.
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
        // a loaded line is not read from, so its client may well have spoken; but not for ever
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
            // the task waits for the peer to take more, or ends
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

    fn open(limits: Limits, node: &Arc<Node>, id: Option<String>) -> Rc<Line> {
        Line::open(limits, Transport::WebSocket, node.connections.seat().unwrap(), node.clone(), id)
    }

    #[actix_web::test]
    async fn a_line_that_opens_while_the_server_drains_is_told_so() {
        let node = Node::unbounded();
        node.connections.begin_drain();
        assert!(!open(LIMITS, &node, None).outbox().is_open());
    }

    #[actix_web::test]
    async fn a_client_is_not_read_from_while_too_much_of_its_is_unhandled() {
        let line = open(LIMITS, &Node::unbounded(), None);
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
        let lines = [(); 2].map(|()| open(LIMITS, &Node::unbounded(), None));
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
        let line = open(LIMITS, &node, Some("users:1".into()));
        assert_eq!(node.connections.count(), 1);
        line.end();
        assert_eq!(node.connections.count(), 0);
        assert_eq!(Rc::strong_count(&line), 1, "nothing holds it");
    }

    #[actix_web::test]
    async fn a_client_that_sends_too_many_messages_is_closed_and_any_number_may_come_where_no_rate_is_set() {
        let line = open(Limits { message_rate: (1, 2), ..LIMITS }, &Node::unbounded(), None);
        let verdicts: Vec<Verdict> = (0..5).map(|_| line.judge()).collect();
        use Verdict::{Close, Handle, Refuse};
        assert_eq!(verdicts, [Handle, Handle, Refuse, Refuse, Close]);
        assert!(!line.outbox().is_open());
        line.answer_close(None);
        assert_eq!(line.why(), CloseReason::RateLimited, "the client answers, but it did not begin");
        let free = open(LIMITS, &Node::unbounded(), None);
        assert!((0..10_000).all(|_| free.judge() == Handle));
    }
}
