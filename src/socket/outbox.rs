//! What waits to be written to one client.
//!
//! Frames are pushed from channels, broadcasts and the session, never waiting for the peer; the transport takes them out
//! as fast as the peer reads, many in one piece. The queue is bounded in bytes: a reader who stalls beyond it is cut off
//! and costs nobody else anything.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use crate::wire::Frame;

/// For `HttpServer::h1_write_buffer_size`: bytes that may wait in a connection's write buffer before they are written. 4 KiB;
/// actix-web's own 32 KiB leave each connection with a buffer of up to 64 KiB after its first history or burst, for good.
pub const WRITE_BUFFER_SIZE: usize = 4 * 1024;

/// Bytes given to the transport in one piece: one that comes behind a buffer that is not full yet just fits into the 8 KiB
/// with which actix-http begins.
const CHUNK: usize = WRITE_BUFFER_SIZE;

/// So many times its limit may wait while the writer is on its way: broadcasts come in bursts, within which no writer runs.
const BURST: usize = 16;

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

/// Bytes of memory that a queued frame holds: a flood of tiny ones counts too.
fn cost(frame: &Frame) -> usize {
    size_of::<Frame>() + frame.len()
}

fn append(chunk: &mut BytesMut, frame: &Frame) {
    frame.pieces().iter().for_each(|piece| chunk.extend_from_slice(piece));
}

/// The queue of one connection. It lives on one thread, shared by those who push and the one who writes.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: RefCell<VecDeque<Frame>>,
    queued: Cell<usize>,
    limit: usize,
    state: Cell<State>,
    writer: RefCell<Option<Waker>>,
    /// The writer has been woken and has not come yet: what waits now is not the peer's fault.
    due: Cell<bool>,
}

impl Outbox {
    /// An outbox that takes a frame as long as at most `limit` bytes wait before it: one frame of any size, such as a
    /// history, always has room.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            frames: RefCell::default(),
            queued: Cell::new(0),
            limit,
            state: Cell::new(State::Open),
            writer: RefCell::default(),
            due: Cell::new(false),
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
        if self.state.get() != State::Open {
            return true;
        }
        let queued = self.queued.get();
        let limit = if self.due.get() { self.limit.saturating_mul(BURST) } else { self.limit };
        if queued <= limit {
            self.append(frame);
        }
        queued <= limit
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
        self.frames.borrow_mut().clear();
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

    /// The next piece to write: as many frames as have room in [`CHUNK`], or as much of one.
    ///
    /// # Errors
    /// When the connection was cut.
    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.due.set(false);
        if self.state.get() == State::Cut {
            let error = io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut");
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(chunk) = self.take_chunk() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if self.state.get() == State::Finished {
            return Poll::Ready(None);
        }
        self.leave_waker(cx);
        Poll::Pending
    }

    fn take_chunk(&self) -> Option<Bytes> {
        let mut frames = self.frames.borrow_mut();
        let first = frames.front_mut()?;
        if first.len() > CHUNK {
            // a long frame is never copied whole, neither here nor by the transport
            let piece = first.take(CHUNK);
            self.queued.set(self.queued.get() - piece.len());
            return Some(piece);
        }
        let mut chunk = BytesMut::new();
        let mut queued = self.queued.get();
        let mut first = frames.pop_front()?;
        queued -= cost(&first);
        let has_room =
            |frame: Option<&Frame>, length| frame.is_some_and(|frame| length + frame.len() <= CHUNK);
        let chunk = if has_room(frames.front(), first.len()) || first.pieces().len() > 1 {
            chunk.reserve(CHUNK.min(self.queued.get()));
            append(&mut chunk, &first);
            while has_room(frames.front(), chunk.len()) {
                let Some(frame) = frames.pop_front() else { break };
                queued -= cost(&frame);
                append(&mut chunk, &frame);
            }
            chunk.freeze()
        } else {
            first.take(CHUNK)
        };
        if frames.is_empty() {
            // a burst has passed: an idle connection keeps no memory for it
            frames.shrink_to(1);
        }
        self.queued.set(queued);
        Some(chunk)
    }

    /// Ready when something is queued, or nothing will be any more.
    pub(crate) fn poll_queued(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.due.set(false);
        if !self.frames.borrow().is_empty() || !self.is_open() {
            return Poll::Ready(());
        }
        self.leave_waker(cx);
        Poll::Pending
    }

    /// All frames that are queued.
    pub(crate) fn take_all(&self) -> Vec<Frame> {
        self.due.set(false);
        self.queued.set(0);
        self.frames.take().into()
    }

    /// Puts frames back that could not be delivered, before any that came since.
    pub(crate) fn put_back(&self, undelivered: Vec<Frame>) {
        let cost: usize = undelivered.iter().map(cost).sum();
        self.queued.set(self.queued.get() + cost);
        let mut frames = self.frames.borrow_mut();
        for frame in undelivered.into_iter().rev() {
            frames.push_front(frame);
        }
    }

    /// Wakes the writer when there is something new.
    pub(super) fn leave_waker(&self, cx: &Context<'_>) {
        match &mut *self.writer.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn append(&self, frame: &Frame) {
        self.queued.set(self.queued.get() + cost(frame));
        self.frames.borrow_mut().push_back(frame.clone());
        self.wake();
    }

    /// Wakes the writer, once a burst: it leaves its waker again only when it has written all.
    pub(super) fn wake(&self) {
        if let Some(writer) = self.writer.take() {
            self.due.set(true);
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CloseCode, Opcode};

    fn frame(length: usize) -> Frame {
        Frame::of(Opcode::Text, &vec![b'x'; length])
    }

    fn poll(outbox: &Outbox) -> Poll<Option<io::Result<Bytes>>> {
        outbox.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    fn chunk(outbox: &Outbox) -> Bytes {
        match poll(outbox) {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            other => panic!("expected a chunk, got {other:?}"),
        }
    }

    #[test]
    fn all_that_is_queued_leaves_in_one_piece() {
        let outbox = Outbox::new(1_000);
        assert!(poll(&outbox).is_pending());
        for _ in 0..3 {
            let _ = outbox.push(&frame(10));
        }
        assert_eq!(chunk(&outbox).len(), 36);
        assert!(poll(&outbox).is_pending());
    }

    #[test]
    fn a_frame_larger_than_a_piece_leaves_in_several_and_what_follows_it_comes_after() {
        let outbox = Outbox::new(4 * CHUNK);
        let frames = [frame(10), frame(2 * CHUNK), frame(20)];
        frames.iter().for_each(|frame| assert!(outbox.push(frame)));
        let pieces: Vec<Bytes> = (0..4).map(|_| chunk(&outbox)).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= CHUNK));
        assert_eq!(pieces.concat(), frames.map(|frame| frame.pieces().concat()).concat());
        assert!(poll(&outbox).is_pending());
        assert_eq!(outbox.queued.get(), 0);
    }

    #[test]
    fn a_reader_who_stalls_is_cut_off_once_its_outbox_is_over_the_limit() {
        let outbox = Outbox::new(100);
        assert!(outbox.push(&frame(5_000)), "one frame of any size has room");
        assert!(!outbox.push(&frame(10)));
        outbox.cut();
        assert!(matches!(poll(&outbox), Poll::Ready(Some(Err(_)))));
        assert!(
            outbox.push(&frame(10)) && outbox.take_all().is_empty(),
            "nothing is kept for who is cut off"
        );
    }

    #[test]
    fn a_burst_before_the_writer_has_come_is_not_the_peers_fault() {
        let outbox = Outbox::new(100);
        assert!(poll(&outbox).is_pending());
        let burst = (0..100).take_while(|_| outbox.push(&frame(50))).count();
        assert!(burst > 10 && burst < 100, "{burst}: beyond the limit, but not without end");
        assert!(poll(&outbox).is_ready());
        let _ = outbox.push(&frame(150));
        assert!(!outbox.push(&frame(10)), "it has come, and left the rest");
    }

    #[test]
    fn a_poll_that_is_missing_is_the_peers_fault_once_it_was_looked_for() {
        let outbox = Outbox::new(100);
        let look = || outbox.poll_queued(&mut Context::from_waker(Waker::noop()));
        assert!(look().is_pending());
        assert!(outbox.push(&frame(150)) && outbox.push(&frame(10)), "nobody has come to take them yet");
        assert!(look().is_ready());
        assert!(!outbox.push(&frame(10)), "somebody has, and there was no poll to give them to");
    }

    #[test]
    fn frames_that_could_not_be_delivered_come_before_those_that_came_since() {
        let outbox = Outbox::new(1_000);
        assert!(outbox.poll_queued(&mut Context::from_waker(Waker::noop())).is_pending());
        for length in [1, 2, 3] {
            let _ = outbox.push(&frame(length));
        }
        let taken = outbox.take_all();
        assert_eq!(outbox.queued.get(), 0);
        let _ = outbox.push(&frame(4));
        outbox.put_back(taken);
        assert!(outbox.poll_queued(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(outbox.take_all(), [1, 2, 3, 4].map(frame));
        assert_eq!(outbox.queued.get(), 0);
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
        assert_eq!(chunk(&outbox).len(), 12 + close.len());
        assert!(matches!(poll(&outbox), Poll::Ready(None)));
    }
}
