//! What waits to be written to one client.
//!
//! Frames are pushed from channels, broadcasts and the session, never waiting for the peer. On a WebSocket they are
//! [written](Outbox::write) soon after by the connection's worker, many in one system call; on long poll the client's next
//! poll [takes](Outbox::take_all) them. The queue is bounded in bytes: a client that stops reading is cut off once it holds
//! more than its limit, and costs nobody else anything.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use crate::wire::Frame;

/// So many times its limit may wait for a client that has taken all that it was offered: broadcasts come in bursts, within
/// which nothing is written.
const BURST: usize = 16;

/// Pieces of frames that one system call writes.
const PIECES: usize = 64;

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame is queued; nothing may follow it.
    Closing,
    /// The transport ends once the queue is empty.
    Finished,
    /// The transport ends now, whatever is queued.
    Cut,
}

/// How a transport is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All that was queued has been written.
    Written,
    /// At once, whatever is queued.
    Cut,
}

/// Bytes of memory that a queued frame holds: a flood of tiny ones counts too.
fn cost(frame: &Frame) -> usize {
    size_of::<Frame>() + frame.len()
}

/// Frames in their order. Mostly there is one or none, which takes no memory of its own.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Frame>,
    rest: VecDeque<Frame>,
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

    /// Writes the first pieces, as many as one call takes.
    fn write(&self, write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let pieces = self.iter().flat_map(Frame::pieces).filter(|piece| !piece.is_empty());
        let count = slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
        write(&slices[..count])
    }

    /// Takes away so many bytes, which have been written. Returns what their frames [`cost`].
    fn written(&mut self, mut bytes: usize) -> usize {
        let mut costs = 0;
        while let Some(first) = &mut self.first {
            let length = first.len();
            if length > bytes {
                costs += bytes;
                while bytes > 0 {
                    bytes -= first.take(bytes).len();
                }
                break;
            }
            bytes -= length;
            costs += cost(first);
            self.first = self.rest.pop_front();
        }
        if self.first.is_none() && self.rest.capacity() > 0 {
            // a burst has passed: an idle connection keeps no memory for it
            self.rest = VecDeque::new();
        }
        costs
    }

    fn into_frames(self) -> Vec<Frame> {
        self.first.into_iter().chain(self.rest).collect()
    }
}

impl FromIterator<Frame> for Queue {
    fn from_iter<T: IntoIterator<Item = Frame>>(frames: T) -> Self {
        let mut frames = frames.into_iter();
        Self { first: frames.next(), rest: frames.collect() }
    }
}

/// The queue of one connection. It lives on one thread, shared by those who push and the one who writes.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Cell<State>,
    /// The peer was offered what waits, and did not take all of it: what waits now is its own fault.
    is_stalled: Cell<bool>,
    queued: Cell<usize>,
    /// Frames that have their place and are not here yet.
    expected: Cell<u32>,
    limit: usize,
    frames: RefCell<Queue>,
    /// The transport's task.
    transport: RefCell<Option<Waker>>,
}

impl Outbox {
    /// An outbox that takes a frame as long as at most `limit` bytes wait before it: one frame of any size, such as a
    /// history, always has room.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Cell::new(State::Open),
            is_stalled: Cell::new(false),
            queued: Cell::new(0),
            expected: Cell::new(0),
            limit,
            frames: RefCell::default(),
            transport: RefCell::default(),
        }
    }

    /// Bytes that may wait.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Queues a frame; does nothing once the connection is closing. False if too much waits already for a peer that does
    /// not read: it is to be cut off.
    #[must_use]
    pub(crate) fn push(&self, frame: &Frame) -> bool {
        let has_room = self.has_room();
        if has_room && self.is_open() {
            self.append(frame);
        }
        has_room
    }

    fn has_room(&self) -> bool {
        let limit = if self.is_stalled.get() { self.limit } else { self.limit.saturating_mul(BURST) };
        !self.is_open() || self.queued.get() <= limit
    }

    fn append(&self, frame: &Frame) {
        self.queued.set(self.queued.get() + cost(frame));
        self.frames.borrow_mut().push_back(frame.clone());
    }

    /// As [`Outbox::push`], for a frame that [comes](Outbox::arrive) later: it counts already.
    #[must_use]
    pub(crate) fn expect(&self, frame: &Frame) -> bool {
        let has_room = self.has_room();
        if has_room && self.is_open() {
            self.queued.set(self.queued.get() + cost(frame));
            self.expected.set(self.expected.get() + 1);
        }
        has_room
    }

    /// Queues a frame that was expected, whatever has been queued since, but for a transport that has ended.
    pub(crate) fn arrive(&self, frame: &Frame) {
        self.expected.set(self.expected.get() - 1);
        if self.state.get() != State::Cut {
            self.frames.borrow_mut().push_back(frame.clone());
        }
    }

    /// Takes nothing any more but this close frame, which comes later.
    pub(crate) fn expect_close(&self, frame: &Frame) {
        if self.expect(frame) {
            self.state.set(State::Closing);
        }
    }

    /// Queues the close frame, after which nothing is taken.
    pub(crate) fn close(&self, frame: &Frame) {
        if self.state.get() == State::Open {
            self.state.set(State::Closing);
            self.append(frame);
        }
    }

    /// Ends the transport after what is queued.
    pub(crate) fn finish(&self) {
        if self.state.get() != State::Cut {
            self.state.set(State::Finished);
            self.wake();
        }
    }

    /// Ends the transport at once.
    pub(crate) fn cut(&self) {
        self.state.set(State::Cut);
        self.frames.take();
        self.queued.set(0);
        self.wake();
    }

    /// Whether so much waits already that a client should not be asked for more of its own messages: their replies come here.
    pub(crate) fn is_filling(&self) -> bool {
        self.queued.get() > self.limit / 2
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.borrow().first.is_none()
    }

    /// Whether the peer did not take all that it was offered.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled.get()
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.set(is_stalled);
    }

    /// Whether the transport is to end now, and how.
    pub(crate) fn end(&self) -> Option<End> {
        match self.state.get() {
            State::Cut => Some(End::Cut),
            State::Finished if self.is_written() => Some(End::Written),
            _ => None,
        }
    }

    fn is_written(&self) -> bool {
        self.is_empty() && self.expected.get() == 0 && !self.is_stalled.get()
    }

    /// Writes what is queued by `write`, which gets pieces in their order and returns how many bytes of them it took.
    ///
    /// # Errors
    /// That of `write`; what it took before is gone from the queue.
    pub(super) fn write(&self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let frames = &mut *self.frames.borrow_mut();
        while let Some(first) = &frames.first {
            let taken = match first.pieces() {
                // nearly always
                [piece] if frames.rest.is_empty() => match write(&[IoSlice::new(piece)]) {
                    Ok(bytes) if bytes == piece.len() => {
                        self.queued.set(self.queued.get() - cost(first));
                        frames.first = None;
                        return Ok(());
                    }
                    taken => taken,
                },
                _ => frames.write(&mut write),
            };
            match taken {
                Ok(bytes) => self.queued.set(self.queued.get() - frames.written(bytes)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ready when something is queued, or nothing will be any more.
    pub(crate) fn poll_queued(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_stalled.set(true);
        if !self.is_empty() || !self.is_open() {
            return Poll::Ready(());
        }
        self.leave_waker(cx);
        Poll::Pending
    }

    /// All frames that are queued.
    pub(crate) fn take_all(&self) -> Vec<Frame> {
        let frames = self.frames.take().into_frames();
        self.queued.set(self.queued.get() - frames.iter().map(cost).sum::<usize>());
        frames
    }

    /// Puts frames back that could not be delivered, before any that came since.
    pub(crate) fn put_back(&self, undelivered: Vec<Frame>) {
        let cost: usize = undelivered.iter().map(cost).sum();
        self.queued.set(self.queued.get() + cost);
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

    /// The waker of the transport's task, for a stream that has room again later.
    pub(super) fn with_waker<R>(&self, with: impl FnOnce(&Waker) -> R) -> R {
        with(self.transport.borrow().as_ref().unwrap_or(Waker::noop()))
    }

    /// Wakes the transport's task: there is something for it to do.
    pub(super) fn wake(&self) {
        if let Some(transport) = &*self.transport.borrow() {
            transport.wake_by_ref();
        }
    }

    /// Wakes a poll that waits for frames, of which there are some now.
    pub(super) fn wake_poll(&self) {
        if let Some(poll) = self.transport.take() {
            self.is_stalled.set(false);
            poll.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{CloseCode, Opcode, Outgoing, Payload, Serializer};

    fn frame(length: usize) -> Frame {
        Frame::of(Opcode::Text, &vec![b'x'; length])
    }

    /// Writes as much as a peer takes who has room for `room` bytes.
    fn write(outbox: &Outbox, mut room: usize) -> (Vec<u8>, io::Result<()>) {
        let mut taken = vec![];
        let result = outbox.write(|pieces| {
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).take(room).collect();
            room -= bytes.len();
            taken.extend(&bytes);
            Ok(bytes.len())
        });
        (taken, result)
    }

    #[test]
    fn all_that_is_queued_leaves_in_one_call() {
        let outbox = Outbox::new(1_000);
        for _ in 0..3 {
            let _ = outbox.push(&frame(10));
        }
        let mut calls = 0;
        outbox
            .write(|pieces| {
                calls += 1;
                Ok(pieces.iter().map(|piece| piece.len()).sum())
            })
            .unwrap();
        assert_eq!(calls, 1);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_reader_who_stalls_is_cut_off_once_its_outbox_is_over_the_limit() {
        let outbox = Outbox::new(100);
        outbox.set_stalled(true);
        assert!(outbox.push(&frame(5_000)), "one frame of any size has room");
        assert!(!outbox.push(&frame(10)));
        outbox.cut();
        assert_eq!(outbox.end(), Some(End::Cut));
        assert!(
            outbox.push(&frame(10)) && outbox.take_all().is_empty(),
            "nothing is kept for who is cut off"
        );
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
        assert!(!outbox.push(&frame(10)), "somebody has, and there was no poll to give them to");
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
    fn nothing_follows_the_close_frame_and_the_end_waits_for_it() {
        let outbox = Outbox::new(100);
        let close = Frame::close(Some(CloseCode::SERVICE_RESTART));
        let _ = outbox.push(&frame(10));
        outbox.close(&close);
        let _ = outbox.push(&frame(10));
        outbox.close(&Frame::close(None));
        outbox.finish();
        assert_eq!(outbox.end(), None);
        let (written, _) = write(&outbox, usize::MAX);
        assert_eq!(written.len(), 12 + close.len());
        assert_eq!(outbox.end(), Some(End::Written));
    }

    /// A short frame, or one whose payload is a piece of its own.
    fn any_frame() -> impl Strategy<Value = Frame> {
        prop_oneof![4 => 0usize..200, 1 => 32_000usize..70_000].prop_map(|length| {
            let payload = Payload::raw_json(format!("{{\"x\":\"{}\"}}", "x".repeat(length))).unwrap();
            let message = Outgoing::Broadcast { topic: "t", event: "e", payload: &payload };
            Serializer::V2.encode(message).unwrap()
        })
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
                written.extend(write(&outbox, rooms.next().unwrap()).0);
                if pushed.len() == 0 && outbox.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(outbox.queued.get(), 0);
            prop_assert!(written == frames.iter().flat_map(Frame::pieces).flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>());
        }
    }
}
