//! What waits to be written to one client.
//!
//! Channels, broadcasts and the session push frames here and never wait for the peer. On a WebSocket, the connection's
//! worker [writes](Outbox::write) them soon after, many in one system call. On long poll, the client's next poll
//! [takes](Outbox::take_all) them. The queue is bounded in bytes: a client that stops reading is disconnected once more
//! than its limit waits, and does not affect other clients.
//!
//! A slow client is one that does not read. The limit does not count the frame being written, however long it is, nor
//! the pieces of a [`PayloadList`](crate::PayloadList), such as a history, which the client shares with others.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{ChannelId, latest::Latest};
use crate::wire::Frame;

/// A client that reads may have this many times its limit waiting, because nothing is written during a burst of
/// broadcasts.
const BURST: usize = 16;

/// A client counts as reading if it has taken this part of its limit within this time.
const GRACE: Duration = Duration::from_millis(300);
const PROGRESS: usize = 16;

/// A peer that has not taken that part for this long is disconnected if more than its limit waits, shared pieces
/// included.
const STALL: Duration = Duration::from_secs(10);

/// Ratio of the length of a list's pieces to the memory that each client needs for them, which is their addresses.
const LISTED: usize = 512;

/// The part of the limit that may be kept for a client that lags, in addition to what is queued. It is sent as soon as
/// the queue is empty.
const KEPT: usize = 4;

/// Pieces of frames per system call.
const PIECES: usize = 64;

/// The state of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame is queued; nothing may follow it.
    Closing,
    /// The transport ends once the queue is empty.
    Finished,
    /// The transport ends now, even if frames are queued.
    Cut,
}

/// How a transport should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything queued has been written.
    Written,
    /// Immediately, even if frames are queued.
    Cut,
}

/// Bytes of memory that a queued frame does not share with others. It includes a fixed part, so that a flood of tiny
/// frames counts too.
fn cost(frame: &Frame) -> usize {
    size_of::<Frame>() + frame.size() - frame.shared()
}

/// Frames in order. Usually there is at most one, which needs no allocation.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Frame>,
    rest: VecDeque<Frame>,
    /// Bytes of the first frame that have been written.
    written: usize,
}

impl Queue {
    fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.first.iter().chain(&self.rest)
    }

    fn push_back(&mut self, frame: Frame) {
        match &self.first {
            None => self.first = Some(frame),
            Some(_) => self.rest.push_back(frame),
        }
    }

    /// The piece that waits, if it is the only one and its frame has not been started.
    fn only(&self) -> Option<&Bytes> {
        self.first.as_ref().filter(|_| self.written == 0 && self.rest.is_empty())?.whole()
    }

    /// Writes the first pieces, as many as fit in one call.
    fn write(&self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut written = self.written;
        let pieces = self.iter().flat_map(Frame::pieces).filter_map(|piece| {
            let skipped = written.min(piece.len());
            written -= skipped;
            piece.get(skipped..).filter(|left| !left.is_empty())
        });
        let count = slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
        write(&slices[..count])
    }

    /// Removes this many bytes, which have been written. Calls `done` with each frame that has been written completely.
    fn written(&mut self, bytes: usize, mut done: impl FnMut(&Frame)) {
        self.written += bytes;
        while let Some(first) = self.first.take_if(|first| first.size() <= self.written) {
            self.written -= first.size();
            done(&first);
            self.first = self.rest.pop_front();
        }
        if self.first.is_none() && self.rest.capacity() > 0 {
            // the burst is over: an idle connection keeps no memory for it
            self.rest = VecDeque::new();
        }
    }

    fn into_frames(self) -> Vec<Frame> {
        self.first.into_iter().chain(self.rest).collect()
    }
}

impl FromIterator<Frame> for Queue {
    fn from_iter<T: IntoIterator<Item = Frame>>(frames: T) -> Self {
        let mut frames = frames.into_iter();
        Self { first: frames.next(), rest: frames.collect(), written: 0 }
    }
}

/// The queue of one connection. It lives on one thread, shared by those who push and the one who writes.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Cell<State>,
    /// Set if the peer did not take everything it was offered: when it last made progress. What waits now is the peer's
    /// own fault.
    stalled: Cell<Option<Instant>>,
    /// Bytes that it has taken since then.
    taken: Cell<usize>,
    /// Bytes that wait and are not shared.
    queued: Cell<usize>,
    /// Bytes that wait in pieces of lists.
    shared: Cell<usize>,
    /// Frames that are counted and have not arrived yet.
    expected: Cell<u32>,
    limit: usize,
    frames: RefCell<Queue>,
    /// What to send once a client that lags has taken everything queued. Boxed, because few clients lag.
    latest: RefCell<Option<Box<Latest>>>,
    /// The transport's task.
    transport: RefCell<Option<Waker>>,
}

impl Outbox {
    /// Creates an outbox that accepts a frame as long as at most `limit` bytes wait before it, not counting the frame
    /// being written. So one frame of any size always fits.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Cell::new(State::Open),
            stalled: Cell::new(None),
            taken: Cell::new(0),
            queued: Cell::new(0),
            shared: Cell::new(0),
            expected: Cell::new(0),
            limit,
            frames: RefCell::default(),
            latest: RefCell::default(),
            transport: RefCell::default(),
        }
    }

    /// Bytes that may wait.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Queues a frame; does nothing once the connection is closing. Returns false if too much already waits for a peer
    /// that does not read, which should then be disconnected.
    #[must_use]
    pub(crate) fn push(&self, frame: &Frame) -> bool {
        self.push_to(&mut self.frames.borrow_mut(), frame)
    }

    /// If the peer lags, keeps a frame that supersedes earlier ones, and queues it once everything else has been taken.
    /// Returns false if the peer does not lag; the frame should then be pushed like any other.
    pub(super) fn keep_latest(&self, channel: ChannelId, key: &str, frame: &Frame) -> bool {
        let mut latest = self.latest.borrow_mut();
        // while an older one is still here, the new one must not overtake it
        let is_kept = self.is_open() && (self.is_stalled() || latest.is_some());
        if is_kept {
            latest.get_or_insert_default().keep(channel, key, frame, self.limit / KEPT);
        }
        is_kept
    }

    /// Drops the frames kept for a channel, which has ended.
    pub(super) fn forget_latest(&self, channel: ChannelId) {
        if let Some(latest) = &mut *self.latest.borrow_mut() {
            latest.forget(channel);
        }
    }

    /// Queues what was kept. Returns false if there was nothing.
    fn queue_latest(&self, frames: &mut Queue) -> bool {
        let Some(latest) = self.latest.take().filter(|_| self.is_open()) else { return false };
        for frame in latest.into_frames() {
            self.count(&frame);
            frames.push_back(frame);
        }
        frames.first.is_some()
    }

    /// Like [`Outbox::push`], but ahead of the frames that wait behind the one being written.
    #[must_use]
    pub(crate) fn push_ahead(&self, frame: &Frame) -> bool {
        let frames = &mut *self.frames.borrow_mut();
        if frames.rest.is_empty() || !self.is_stalled() {
            return self.push_to(frames, frame);
        }
        let has_room = self.has_room_in(frames);
        if has_room && self.is_open() {
            self.count(frame);
            frames.rest.push_front(frame.clone());
        }
        has_room
    }

    fn push_to(&self, frames: &mut Queue, frame: &Frame) -> bool {
        let has_room = self.has_room_in(frames);
        if has_room && self.is_open() {
            self.count(frame);
            frames.push_back(frame.clone());
        }
        has_room
    }

    fn has_room_in(&self, frames: &Queue) -> bool {
        let most = self.limit.saturating_mul(BURST);
        let queued = self.queued.get();
        // the most likely condition first
        !self.is_open()
            || self.shared.get() / LISTED <= most
                && (queued <= self.limit
                    || self.waits(frames) <= self.limit
                    || self.reads() && self.waits(frames) <= most)
    }

    /// Bytes that wait behind the frame being written.
    fn waits(&self, frames: &Queue) -> usize {
        self.queued.get() - frames.first.as_ref().map_or(0, cost)
    }

    /// Whether the peer takes what it is offered.
    fn reads(&self) -> bool {
        self.stalled.get().is_none_or(|since| since.elapsed() < GRACE)
    }

    /// Whether the peer reads, but has so much waiting that nothing more should be queued for a moment.
    pub(super) fn falls_behind(&self) -> bool {
        self.is_stalled()
            && self.is_open()
            && self.queued.get() > self.limit / 2
            && self.waits(&self.frames.borrow()) > self.limit / 2
            && self.reads()
    }

    fn count(&self, frame: &Frame) {
        self.queued.set(self.queued.get() + cost(frame));
        self.shared.set(self.shared.get() + frame.shared());
    }

    fn uncount(&self, frame: &Frame) {
        self.queued.set(self.queued.get() - cost(frame));
        self.shared.set(self.shared.get() - frame.shared());
    }

    /// Whether a frame may be written without queueing it.
    pub(super) fn is_free(&self) -> bool {
        self.is_open() && !self.is_stalled() && self.is_empty()
    }

    /// After a direct write to the peer of a free outbox: queues what the peer did not take, or did not flush.
    pub(super) fn begun(&self, frame: &Frame, written: usize) {
        self.offered(written, false);
        if written < frame.size() {
            let frames = &mut *self.frames.borrow_mut();
            self.count(frame);
            (frames.first, frames.written) = (Some(frame.clone()), written);
        }
    }

    /// Like [`Outbox::push`], for a frame that [arrives](Outbox::arrive) later but counts from now on.
    #[must_use]
    pub(crate) fn expect(&self, frame: &Frame) -> bool {
        let has_room = self.has_room_in(&self.frames.borrow());
        if has_room && self.is_open() {
            self.count(frame);
            self.expected.set(self.expected.get() + 1);
        }
        has_room
    }

    /// Queues a frame that was expected, whatever has been queued since, unless the transport has ended.
    pub(crate) fn arrive(&self, frame: &Frame) {
        self.expected.set(self.expected.get() - 1);
        if self.state.get() != State::Cut {
            self.frames.borrow_mut().push_back(frame.clone());
        }
    }

    /// From now on, accepts only this close frame, which arrives later.
    pub(crate) fn expect_close(&self, frame: &Frame) {
        if self.expect(frame) {
            self.state.set(State::Closing);
        }
    }

    /// Queues the close frame. Nothing is accepted after it.
    pub(crate) fn close(&self, frame: &Frame) {
        if self.state.get() == State::Open {
            self.state.set(State::Closing);
            self.count(frame);
            self.frames.borrow_mut().push_back(frame.clone());
        }
    }

    /// Ends the transport once everything queued has been written.
    pub(crate) fn finish(&self) {
        if self.state.get() != State::Cut {
            self.state.set(State::Finished);
            self.wake();
        }
    }

    /// Ends the transport immediately.
    pub(crate) fn cut(&self) {
        self.state.set(State::Cut);
        self.frames.take();
        self.latest.take();
        self.queued.set(0);
        self.shared.set(0);
        self.wake();
    }

    /// Whether so much waits that the server should read no more messages from the client, because their replies would
    /// be queued here.
    pub(crate) fn is_filling(&self) -> bool {
        self.queued.get() + self.shared.get() / LISTED > self.limit / 2
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.borrow().first.is_none()
    }

    /// Whether the peer did not take everything it was offered.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.get().is_some()
    }

    /// Records that the peer was offered everything that waits, how many bytes of it were taken, and whether that was
    /// all.
    pub(crate) fn offered(&self, taken: usize, is_all_taken: bool) {
        if is_all_taken {
            return self.stalled.set(None);
        }
        let taken = if self.is_stalled() { self.taken.get() + taken } else { usize::MAX };
        if taken < self.limit / PROGRESS {
            self.taken.set(taken);
        } else {
            self.taken.set(0);
            self.stalled.set(Some(Instant::now()));
        }
    }

    /// Whether the peer has not read for so long, with so much waiting, that it should be disconnected.
    pub(super) fn waits_in_vain(&self, now: Instant) -> bool {
        let waits = self.queued.get() + self.shared.get();
        waits > self.limit
            && self.stalled.get().is_some_and(|since| now.saturating_duration_since(since) > STALL)
    }

    /// Whether the transport should end now, and how.
    pub(crate) fn end(&self) -> Option<End> {
        match self.state.get() {
            State::Cut => Some(End::Cut),
            State::Finished if self.is_written() => Some(End::Written),
            _ => None,
        }
    }

    fn is_written(&self) -> bool {
        self.is_empty() && self.expected.get() == 0 && !self.is_stalled()
    }

    /// Writes what is queued with `write`, which gets pieces in order and returns how many bytes of them it took.
    /// Returns the total number of bytes taken.
    ///
    /// # Errors
    /// The error of `write`, next to the total. Bytes taken before the error have left the queue.
    pub(super) fn write(
        &self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> (usize, io::Result<()>) {
        let frames = &mut *self.frames.borrow_mut();
        let mut all = 0;
        while frames.first.is_some() || self.queue_latest(frames) {
            let taken = match frames.only() {
                // by far the most common case
                Some(piece) => write(&[IoSlice::new(piece)]),
                None => frames.write(&mut write),
            };
            match taken {
                Ok(bytes) => {
                    all += bytes;
                    frames.written(bytes, |frame| self.uncount(frame));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (all, Err(error)),
            }
        }
        (all, Ok(()))
    }

    /// Like [`Outbox::poll_any`], for a peer that may stay away: while it does, it counts as stalled.
    pub(crate) fn poll_queued(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.offered(0, false);
        self.poll_any(cx)
    }

    /// Ready when something is queued, or nothing will be any more.
    pub(crate) fn poll_any(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_empty() || self.latest.borrow().is_some() || !self.is_open() {
            return Poll::Ready(());
        }
        self.leave_waker(cx);
        Poll::Pending
    }

    /// Takes all queued frames.
    pub(crate) fn take_all(&self) -> Vec<Frame> {
        let mut frames = self.frames.take();
        self.queue_latest(&mut frames);
        let frames = frames.into_frames();
        frames.iter().for_each(|frame| self.uncount(frame));
        frames
    }

    /// Puts back frames that could not be delivered, ahead of any queued since.
    pub(crate) fn put_back(&self, undelivered: Vec<Frame>) {
        undelivered.iter().for_each(|frame| self.count(frame));
        let since = self.frames.take().into_frames();
        self.frames.replace(undelivered.into_iter().chain(since).collect());
    }

    /// Wakes the transport's task at the next [`Outbox::wake`].
    pub(crate) fn leave_waker(&self, cx: &Context<'_>) {
        match &mut *self.transport.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// The waker of the transport's task, for a stream to use once it has room again.
    pub(super) fn with_waker<R>(&self, with: impl FnOnce(&Waker) -> R) -> R {
        with(self.transport.borrow().as_ref().unwrap_or(Waker::noop()))
    }

    /// Wakes the transport's task because it has something to do.
    pub(super) fn wake(&self) {
        if let Some(transport) = &*self.transport.borrow() {
            transport.wake_by_ref();
        }
    }

    /// Wakes a poll that waits for frames.
    pub(super) fn wake_poll(&self) {
        if let Some(poll) = self.transport.take() {
            self.offered(0, true);
            poll.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{CloseCode, Opcode, Outgoing, Payload, PayloadList, Serializer};

    fn frame(length: usize) -> Frame {
        Frame::of(Opcode::Text, &vec![b'x'; length])
    }

    /// Writes as much as fits for a peer with `room` bytes of room.
    fn write(outbox: &Outbox, mut room: usize) -> Vec<u8> {
        let mut taken = vec![];
        let (all, result) = outbox.write(|pieces| {
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).take(room).collect();
            room -= bytes.len();
            taken.extend(&bytes);
            Ok(bytes.len())
        });
        assert_eq!(all, taken.len());
        outbox.offered(all, result.is_ok());
        taken
    }

    /// Lets enough time pass for a client that has not read to count as not reading.
    fn stall(outbox: &Outbox) {
        outbox.stalled.set(outbox.stalled.get().and_then(|since| since.checked_sub(GRACE)));
    }

    /// A push with a list of about 100 KB, like a history.
    fn history() -> Frame {
        let mut list = PayloadList::new();
        (0..100).for_each(|_| list.push("x".repeat(1_000)).unwrap());
        let payload = list.payload("messages");
        Serializer::V2.encode(Outgoing::Broadcast { topic: "t", event: "e", payload: &payload }).unwrap()
    }

    #[test]
    fn all_that_is_queued_leaves_in_one_call() {
        let outbox = Outbox::new(1_000);
        for _ in 0..3 {
            let _ = outbox.push(&frame(10));
        }
        let mut calls = 0;
        let (_, result) = outbox.write(|pieces| {
            calls += 1;
            Ok(pieces.iter().map(|piece| piece.len()).sum())
        });
        result.unwrap();
        assert_eq!(calls, 1);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_reader_who_stalls_is_cut_off_once_more_than_the_limit_waits_behind_what_is_being_written() {
        let outbox = Outbox::new(1_000);
        assert!(outbox.push(&frame(5_000)), "one frame of any size has room");
        write(&outbox, 10);
        stall(&outbox);
        let behind = (0..100).take_while(|_| outbox.push(&frame(50))).count();
        assert!(behind > 5 && behind < 20, "{behind}");
        outbox.cut();
        assert_eq!(outbox.end(), Some(End::Cut));
        assert!(
            outbox.push(&frame(10)) && outbox.take_all().is_empty(),
            "nothing is kept for who is cut off"
        );
    }

    #[test]
    fn histories_are_no_fault_of_their_reader_who_is_heard_for_as_long_as_they_are_few() {
        let outbox = Outbox::new(2_000);
        outbox.offered(0, false);
        let histories = (0..1_000).take_while(|_| outbox.push(&history()) && !outbox.is_filling()).count();
        assert!((2..10).contains(&histories), "{histories}");
        assert!(outbox.push(&frame(10)), "nobody is cut off for what others hold too");
        while !outbox.is_empty() {
            write(&outbox, 30_000);
            assert!(outbox.is_empty() || outbox.is_stalled());
        }
        assert_eq!((outbox.queued.get(), outbox.shared.get()), (0, 0));
        assert!(!outbox.is_filling());
    }

    #[test]
    fn who_takes_nothing_for_long_with_more_than_the_limit_waiting_waits_in_vain() {
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let outbox = Outbox::new(1_000);
        let _ = outbox.push(&history());
        assert!(!outbox.waits_in_vain(after(60)), "nothing was offered");
        write(&outbox, 0);
        assert!(!outbox.waits_in_vain(after(1)));
        assert!(outbox.waits_in_vain(after(60)));
        let stalled = outbox.stalled.get();
        write(&outbox, 0);
        assert_eq!(outbox.stalled.get(), stalled, "asking again is no progress");
        write(&outbox, 1);
        assert_eq!(outbox.stalled.get(), stalled, "nor is a byte now and then");
        write(&outbox, 1_000 / PROGRESS);
        assert!(outbox.stalled.get() > stalled);
        write(&outbox, 200_000);
        assert!(outbox.push(&frame(10)) && !outbox.waits_in_vain(after(60)), "so little may wait for ever");
    }

    #[test]
    fn what_goes_ahead_waits_for_the_frame_that_is_being_written_and_for_no_other() {
        let outbox = Outbox::new(1_000);
        for length in [1, 2] {
            assert!(outbox.push_ahead(&frame(length)));
        }
        write(&outbox, 2);
        assert!(outbox.push(&frame(3)) && outbox.push_ahead(&frame(4)));
        let whole = [1, 4, 2, 3].map(|length| frame(length).whole().unwrap().to_vec()).concat();
        assert_eq!(write(&outbox, 1_000), whole[2..], "in order as long as the peer reads");
    }

    #[test]
    fn who_takes_something_now_and_then_has_room_for_a_burst_and_falls_behind_until_it_has_read() {
        let outbox = Outbox::new(1_000);
        let burst = |length| (0..1_000).take_while(|_| outbox.push(&frame(length))).count();
        write(&outbox, 0);
        let first = burst(100);
        assert_eq!(first, 16_000 / cost(&frame(100)) + 2, "sixteen times the limit, beside the first");
        assert!(!outbox.falls_behind(), "nothing was offered");
        write(&outbox, 1);
        assert!(outbox.falls_behind());
        write(&outbox, 102 * first - 300);
        assert!(!outbox.falls_behind() && outbox.is_stalled());
        assert!(burst(100) > 80);
        stall(&outbox);
        assert!(burst(100) == 0 && !outbox.falls_behind(), "nobody waits for who does not read");
    }

    #[test]
    fn a_burst_before_anything_was_offered_is_not_the_peers_fault() {
        let outbox = Outbox::new(100);
        let burst = (0..100).take_while(|_| outbox.push(&frame(50))).count();
        assert!(burst > 10 && burst < 100, "{burst}: beyond the limit, but not without end");
    }

    #[test]
    fn a_poll_that_is_missing_is_the_peers_fault_once_it_was_looked_for() {
        let outbox = Outbox::new(100);
        let look = || outbox.poll_queued(&mut Context::from_waker(Waker::noop()));
        assert!(look().is_pending());
        assert!(outbox.push(&frame(150)));
        outbox.wake_poll();
        assert!(outbox.push(&frame(10)), "nobody has come to take them yet");
        assert!(look().is_ready());
        stall(&outbox);
        let more = (0..100).take_while(|_| outbox.push(&frame(10))).count();
        assert!(more < 10, "somebody has, and there was no poll to give them to");
    }

    #[test]
    fn frames_that_could_not_be_delivered_come_before_those_that_came_since() {
        let outbox = Outbox::new(1_000);
        for length in [1, 2, 3] {
            let _ = outbox.push(&frame(length));
        }
        let taken = outbox.take_all();
        assert!(outbox.is_empty());
        let _ = outbox.push(&frame(4));
        outbox.put_back(taken);
        assert_eq!(outbox.take_all(), [1, 2, 3, 4].map(frame));
        assert!(outbox.is_empty());
    }

    #[test]
    fn who_lags_is_sent_the_newest_of_each_key_when_all_that_waits_has_been_taken() {
        let (outbox, channel) = (Outbox::new(10_000), ChannelId(1));
        let bytes = |length| frame(length).whole().unwrap().to_vec();
        assert!(!outbox.keep_latest(channel, "ann", &frame(1)), "who reads is sent all of them");
        let _ = outbox.push(&frame(100));
        write(&outbox, 10);
        for (channel, key, length) in [(1, "ann", 2), (2, "ann", 3), (1, "bob", 4), (1, "ann", 5)] {
            assert!(outbox.keep_latest(ChannelId(channel), key, &frame(length)));
        }
        outbox.forget_latest(ChannelId(2));
        let _ = outbox.push(&frame(6));
        assert_eq!(write(&outbox, 10).len(), 10);
        let left = [bytes(100)[20..].to_vec(), bytes(6), bytes(4), bytes(5)].concat();
        assert_eq!(write(&outbox, 1_000), left);
        assert!(!outbox.is_stalled() && !outbox.keep_latest(channel, "ann", &frame(7)));
        assert_eq!((outbox.queued.get(), outbox.is_empty()), (0, true));
    }

    #[test]
    fn a_poll_takes_what_was_kept_behind_all_else_and_an_older_one_never_comes_after_a_newer() {
        let (outbox, channel) = (Outbox::new(10_000), ChannelId(1));
        let look = || outbox.poll_queued(&mut Context::from_waker(Waker::noop()));
        assert!(look().is_pending());
        assert!(outbox.keep_latest(channel, "ann", &frame(1)));
        outbox.wake_poll();
        assert!(
            outbox.keep_latest(channel, "ann", &frame(2)),
            "the poll has been woken and has taken nothing yet"
        );
        assert!(outbox.push(&frame(3)));
        assert!(look().is_ready());
        assert_eq!(outbox.take_all(), [3, 2].map(frame));
        assert!(outbox.take_all().is_empty());
        assert!(outbox.keep_latest(channel, "ann", &frame(4)));
        assert!(look().is_ready(), "what is kept is enough to answer a poll");
        outbox.close(&Frame::close(None));
        assert_eq!(outbox.take_all(), [Frame::close(None)], "nothing comes after the close frame");
    }

    #[test]
    fn nothing_follows_the_close_frame_and_the_end_waits_for_it() {
        let outbox = Outbox::new(100);
        let close = Frame::close(Some(CloseCode::SERVICE_RESTART));
        let _ = outbox.push(&frame(10));
        outbox.close(&close);
        let _ = outbox.push(&frame(10));
        outbox.close(&Frame::close(None));
        outbox.finish();
        assert_eq!(outbox.end(), None);
        assert_eq!(write(&outbox, usize::MAX).len(), 12 + close.size());
        assert_eq!(outbox.end(), Some(End::Written));
    }

    /// A short frame, and one whose payload is a separate piece.
    fn any_frame() -> impl Strategy<Value = Frame> {
        let any = prop_oneof![4 => 0usize..200, 1 => 32_000usize..70_000].prop_map(|length| {
            let payload = Payload::raw_json(format!("{{\"x\":\"{}\"}}", "x".repeat(length))).unwrap();
            let message = Outgoing::Broadcast { topic: "t", event: "e", payload: &payload };
            Serializer::V2.encode(message).unwrap()
        });
        prop_oneof![9 => any, 1 => Just(history())]
    }

    proptest! {
        /// A piece that was taken in part is not written again from its beginning.
        #[test]
        fn a_peer_that_takes_any_part_at_a_time_gets_each_byte_once(frames in prop::collection::vec(any_frame(), 1..100), rooms in prop::collection::vec(1usize..5_000, 1..20)) {
            let outbox = Outbox::new(usize::MAX);
            let (mut pushed, mut rooms) = (frames.iter(), rooms.into_iter().cycle());
            let mut written = vec![];
            loop {
                for frame in pushed.by_ref().take(3) {
                    prop_assert!(outbox.push(frame));
                }
                written.extend(write(&outbox, rooms.next().unwrap()));
                if pushed.len() == 0 && outbox.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((outbox.queued.get(), outbox.shared.get()), (0, 0));
            prop_assert!(written == frames.iter().flat_map(Frame::pieces).flatten().copied().collect::<Vec<u8>>());
        }
    }
}
