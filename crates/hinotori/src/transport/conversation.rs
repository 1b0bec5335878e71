//! A WebSocket after its handshake: one task reads it, answers it, and sees its end through.
//!
//! The task is small and owns no buffer. All connections of a thread read into the same memory, of which only the beginning
//! of a message is kept. Most writing is not done here but by the worker (`pubsub/local.rs`), for all clients who are sent
//! something at a time; the task writes what it has said itself, and what the peer did not take at once.

use std::{
    cell::RefCell,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_web::rt::{
    task::yield_now,
    time::{Sleep, sleep_until},
};
use bytes::Bytes;
use hinotori_protocol::frames::{Frames, Incoming};

use crate::{
    socket::{End, Line, Peer, Stream, Verdict},
    telemetry::Closed,
    wire::{CloseCode, Frame},
};

/// How long a client that was sent a close frame has to answer with its own. Then the transport ends all the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client must have been silent after a broken frame before the transport ends. What it still sends is read
/// and thrown away, as a reset would take the close frame with it.
const SILENCE: Duration = Duration::from_millis(100);

/// How long a client may take to read what was queued before its end. Then the connection is cut.
const LINGER: Duration = Duration::from_secs(20);

/// Bytes that are read at a time.
const SCRATCH: usize = 64 * 1024;

/// Messages and reads before other connections get their turn.
const TURN: usize = 64;

thread_local! {
    /// Where all connections of the thread read to.
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// See the module.
pub(super) struct Conversation {
    peer: Rc<dyn Peer>,
    frames: Frames,
    /// What has been read and waits for the client's turn, or until less of the client's is unhandled.
    unread: Bytes,
    goodbye: Option<Box<Goodbye>>,
    /// The peer was told that the transport is gone; all that is left is to write what is queued.
    is_gone: bool,
}

/// What happens when, once one of both sides has closed.
#[derive(Default)]
struct Goodbye {
    timer: Option<Pin<Box<Sleep>>>,
    /// Finishes then, if the client is silent by then.
    silence: Option<Instant>,
    /// Finishes then: the transport ends after what is queued.
    finish: Option<Instant>,
    /// Ends then, whether that could be written or not.
    stop: Option<Instant>,
}

impl Goodbye {
    /// Ready when the next of its times has come, with that time.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(next) = [self.silence, self.finish, self.stop].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next.into())));
        if timer.deadline().into_std() != next {
            timer.as_mut().reset(next.into());
        }
        timer.as_mut().poll(cx).map(|()| next)
    }
}

impl Conversation {
    pub(super) fn new(peer: Rc<dyn Peer>, frames: Frames, timeout: Duration) -> Self {
        peer.line().close_after_silence(timeout);
        Self { peer, frames, unread: Bytes::new(), goodbye: None, is_gone: false }
    }

    /// Begins with a stream, of which `unread` has been read already.
    pub(super) fn begin(&mut self, stream: impl Into<Stream>, unread: Bytes) {
        self.unread = unread;
        self.line().take_over(stream);
    }

    fn line(&self) -> &Rc<Line> {
        self.peer.line()
    }

    /// Goes on; ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.line().clone();
        line.write_after(cx, |cx| {
            self.listen(cx);
            self.part(cx);
        });
        let Some(end) = line.outbox().end() else { return Poll::Pending };
        if end == End::Written {
            ready!(line.poll_shutdown(cx));
        }
        line.hang_up();
        self.leave();
        // a worker that is told to stop ends with its last connection, and with it whatever runs there
        if line.is_busy() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Tells the peer that nobody listens to it any more.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.is_gone, true) {
            self.peer.gone();
            self.goodbye =
                Some(Box::new(Goodbye { stop: Some(Instant::now() + LINGER), ..Goodbye::default() }));
        }
    }

    /// Hears what there is, for one turn.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let mut turn = TURN;
        while turn > 0 {
            if self.is_gone || self.line().poll_readable(cx).is_pending() {
                return;
            }
            if !self.unread.is_empty() {
                let unread = std::mem::take(&mut self.unread);
                let left = self.hear_all(&unread, &mut turn);
                self.unread = unread.slice(unread.len() - left..);
                continue;
            }
            turn -= 1;
            match SCRATCH_BUFFER.with_borrow_mut(|buffer| self.read(cx, buffer, &mut turn)) {
                Poll::Pending => return,
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.leave(),
            }
        }
        take_turns(cx);
    }

    /// Reads once, and hears what that says. False at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], turn: &mut usize) -> Poll<bool> {
        let read = ready!(self.line().poll_read(cx, buffer));
        let Ok(length @ 1..) = read else { return Poll::Ready(false) };
        self.line().heard();
        let left = self.hear_all(&buffer[..length], turn);
        self.unread = Bytes::copy_from_slice(&buffer[length - left..length]);
        Poll::Ready(true)
    }

    /// Hears messages, for as long as the client may be read from and has its turn. Returns how many bytes are left.
    fn hear_all(&mut self, mut bytes: &[u8], turn: &mut usize) -> usize {
        while *turn > 0
            && let Some(incoming) = self.frames.next(&mut bytes)
        {
            *turn -= 1;
            self.hear(incoming);
            if self.line().is_loaded() && self.line().outbox().is_open() {
                break;
            }
        }
        bytes.len()
    }

    fn hear(&mut self, incoming: Incoming) {
        let line = self.peer.line();
        if !line.outbox().is_open() {
            // closing: all that matters is whether the client has closed too
            if let Incoming::Close(_) = incoming {
                self.finish();
            }
            return;
        }
        match incoming {
            Incoming::Text(data) => self.received(true, &data),
            Incoming::Binary(data) => self.received(false, &data),
            // a ping is a message like any other that must be answered; one too many is not
            Incoming::Ping(data) if line.judge() == Verdict::Handle => {
                line.forward(&Frame::pong(&data));
            }
            Incoming::Ping(_) | Incoming::Pong => {}
            Incoming::Close(code) => {
                let code = match code {
                    Some(code) if !code.is_valid_from_client() => Some(CloseCode::PROTOCOL),
                    code => code,
                };
                line.answer_close(code);
                self.finish();
            }
            Incoming::Broken(why) => {
                line.close(why);
                self.goodbye.get_or_insert_default().silence = Some(Instant::now() + SILENCE);
            }
        }
    }

    fn received(&self, is_text: bool, data: &Bytes) {
        if let Err(why) = self.peer.receive(is_text, data) {
            self.line().close_over(Closed::Malformed, &why);
        }
    }

    /// Sees to it that a connection which one side has closed ends.
    fn part(&mut self, cx: &mut Context<'_>) {
        let line = self.peer.line();
        if line.outbox().is_open() || line.outbox().end().is_some() {
            return;
        }
        let goodbye = self.goodbye.get_or_insert_with(|| {
            let silence = line.is_silent().then(|| Instant::now() + SILENCE);
            Box::new(Goodbye { silence, ..Goodbye::default() })
        });
        if goodbye.stop.is_none() {
            // it could be late with its close frame, or speak on for ever
            goodbye.finish.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT);
        }
        while let Some(goodbye) = &mut self.goodbye
            && let Poll::Ready(time) = goodbye.poll_next(cx)
        {
            if goodbye.stop == Some(time) {
                goodbye.stop = None;
                self.stop();
            } else if goodbye.finish == Some(time) || self.peer.line().silence() >= SILENCE {
                self.finish();
            } else {
                // nothing was understood since, so it could not answer a close frame: it has to be silent first
                goodbye.silence = Some(Instant::now() + SILENCE);
            }
        }
    }

    /// Ends the transport after what is queued, and this task soon after, whether that could be written or not.
    fn finish(&mut self) {
        self.line().outbox().finish();
        let stop = Instant::now() + CLOSE_TIMEOUT;
        let goodbye = self.goodbye.get_or_insert_default();
        (goodbye.silence, goodbye.finish) = (None, None);
        goodbye.stop.get_or_insert(stop);
    }

    /// The client has not read what was queued in its time.
    fn stop(&mut self) {
        if self.is_gone {
            self.line().disconnected();
        } else {
            self.leave();
        }
    }
}

/// Lets other tasks run, and input and output be looked at, before this task goes on.
fn take_turns(cx: &mut Context<'_>) {
    // pending, with the waker left where it is woken after that
    let _ = pin!(yield_now()).poll(cx);
}

/// The worker ends, or a callback panicked.
impl Drop for Conversation {
    fn drop(&mut self) {
        if !self.is_gone {
            self.line().disconnected();
            self.line().hang_up();
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use actix_web::rt::{
        self,
        time::{sleep, timeout},
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::{
        pubsub::{Member, PubSub},
        socket::Limits,
        telemetry::Transport,
    };

    const LIMITS: Limits =
        Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (0, 0) };

    /// Answers each message with itself, ten times.
    struct Echo(Rc<Line>);

    impl Peer for Echo {
        fn line(&self) -> &Rc<Line> {
            &self.0
        }

        fn receive(&self, _: bool, data: &Bytes) -> Result<(), String> {
            (0..10).for_each(|_| self.0.push(&Frame::pong(data)));
            Ok(())
        }

        fn gone(&self) {
            self.0.end();
        }
    }

    /// A client of a conversation, whose stream holds `buffer` bytes in each direction.
    fn open(pubsub: &PubSub, buffer: usize) -> (Rc<Line>, DuplexStream) {
        let line = Line::open(LIMITS, Transport::WebSocket, pubsub.seat().unwrap(), pubsub.clone(), None);
        let (client, stream) = duplex(buffer);
        let frames = Frames::new(1_000, 1_000);
        let mut conversation =
            Conversation::new(Rc::new(Echo(line.clone())), frames, Duration::from_secs(60));
        conversation.begin(Stream::Other(Box::new(stream)), Bytes::new());
        rt::spawn(async move { poll_fn(|cx| conversation.poll(cx)).await });
        (line, client)
    }

    async fn ends(pubsub: &PubSub) {
        let ended = async {
            while pubsub.connections() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it is kept for as long as the client likes");
    }

    /// A client's frame; its mask is nothing.
    fn frame(payload: &[u8]) -> Vec<u8> {
        [&[0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
    }

    #[actix_web::test]
    async fn a_client_that_comes_in_during_a_drain_and_answers_nothing_does_not_hold_it_up() {
        let pubsub = PubSub::new();
        pubsub.begin_drain();
        let _client = open(&pubsub, 1_000);
        ends(&pubsub).await;
    }

    #[actix_web::test]
    async fn a_client_that_was_closed_for_its_silence_cannot_stay_by_speaking_again() {
        let pubsub = PubSub::new();
        let (line, mut client) = open(&pubsub, 1_000);
        let chatter = async {
            while client.write_all(&frame(b"x")).await.is_ok() {
                sleep(SILENCE / 10).await;
            }
        };
        line.look(Instant::now() + Duration::from_secs(61));
        assert!(!line.outbox().is_open());
        tokio::select! {
            () = ends(&pubsub) => {}
            () = chatter => ends(&pubsub).await,
        }
    }

    #[actix_web::test]
    async fn a_client_that_does_not_read_to_the_end_is_cut_in_the_end() {
        let pubsub = PubSub::new();
        let (line, client) = open(&pubsub, 10);
        line.push(&Frame::pong(&[b'x'; 100]));
        let mut conversation = Conversation::new(Rc::new(Echo(line)), Frames::new(1, 1), Duration::MAX);
        conversation.leave();
        let goodbye = conversation.goodbye.as_ref().unwrap();
        assert!(goodbye.stop.is_some_and(|stop| stop > Instant::now()));
        conversation.stop();
        assert_eq!(conversation.line().outbox().end(), Some(End::Cut));
        drop(client);
        ends(&pubsub).await;
    }

    #[actix_web::test]
    async fn a_stream_that_takes_a_few_bytes_at_a_time_gets_them_all_in_order() {
        for buffer in [1, 7, 64, 1_000] {
            let (_, mut client) = open(&PubSub::new(), buffer);
            let mut read = vec![0; 10 * 7];
            for message in [b"first", b"later"] {
                client.write_all(&frame(message)).await.unwrap();
                client.read_exact(&mut read).await.unwrap();
                assert_eq!(read, [&[0x8a, 5], &message[..]].concat().repeat(10), "{buffer}");
            }
        }
    }
}
