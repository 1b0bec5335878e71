//! A WebSocket after its handshake: one task reads it, answers it, and ends it.
//!
//! The task is small and owns no buffer. All connections of a thread read into the same memory, and only the beginning
//! of an incomplete message is kept. The worker does most of the writing (`pubsub/local.rs`), for all clients that are
//! sent something at a time. The task writes what was queued in its own turn, and what the peer did not take at once.

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
    reason::Closed,
    socket::{End, Line, Peer, Stream, Verdict},
    wire::{CloseCode, Frame},
};

/// How long a client has to answer a close frame with its own. Then the transport ends anyway.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client must be silent after a broken frame before the transport ends. What it still sends is read and
/// discarded, because a reset would discard the close frame.
const SILENCE: Duration = Duration::from_millis(100);

/// How long a client may take to read what was queued before the end. Then the connection is cut.
const LINGER: Duration = Duration::from_secs(20);

/// Bytes per read.
const SCRATCH: usize = 64 * 1024;

/// Messages and reads before the task yields to other connections.
const TURN: usize = 64;

thread_local! {
    /// The buffer that all connections of the thread read into.
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// See the module.
pub(super) struct Conversation {
    peer: Rc<dyn Peer>,
    frames: Frames,
    /// What has been read and waits for the task's next turn, or until fewer of the client's messages are unhandled.
    unread: Bytes,
    goodbye: Option<Box<Goodbye>>,
    /// The peer was notified that the transport is gone; only what is queued is still written.
    is_gone: bool,
}

/// The schedule of the end, once either side has closed.
#[derive(Default)]
struct Goodbye {
    timer: Option<Pin<Box<Sleep>>>,
    /// When to finish if the client is silent until then.
    silence: Option<Instant>,
    /// When to finish: the transport then ends after what is queued.
    finish: Option<Instant>,
    /// When to end, whether that could be written or not.
    stop: Option<Instant>,
}

impl Goodbye {
    /// Ready when the next of these times has come, with that time.
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

    /// Continues. Ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.line().clone();
        line.write_after(cx, |cx| {
            self.listen(cx);
            self.part(cx);
        });
        let Some(end) = line.outbox().end() else { return Poll::Pending };
        if line.is_busy() && line.node().connections.is_draining() {
            // under HttpServer, a worker counts a connection until its body ends
            self.leave();
            return Poll::Pending;
        }
        if end == End::Written {
            ready!(line.poll_shutdown(cx));
        }
        line.hang_up();
        self.leave();
        // a worker that is stopping ends with its last connection, and with it everything that runs there
        if line.is_busy() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Notifies the peer that the transport is gone.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.is_gone, true) {
            self.peer.gone();
            self.goodbye =
                Some(Box::new(Goodbye { stop: Some(Instant::now() + LINGER), ..Goodbye::default() }));
        }
    }

    /// Reads and handles what there is, for one turn.
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

    /// Reads once, and handles the messages. False at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], turn: &mut usize) -> Poll<bool> {
        let read = ready!(self.line().poll_read(cx, buffer));
        let Ok(length @ 1..) = read else { return Poll::Ready(false) };
        self.line().heard();
        let left = self.hear_all(&buffer[..length], turn);
        self.unread = Bytes::copy_from_slice(&buffer[length - left..length]);
        Poll::Ready(true)
    }

    /// Handles messages while the client may be read from and the turn lasts. Returns how many bytes are left.
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
            // closing: it only matters whether the client has closed too
            if let Incoming::Close(_) = incoming {
                self.finish();
            }
            return;
        }
        match incoming {
            Incoming::Text(text) => self.judge(self.peer.receive_text(&text)),
            Incoming::Binary(data) => self.judge(self.peer.receive_binary(&data)),
            // a ping counts like any other message; one above the rate is not answered
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

    /// A message that does not decode ends the conversation.
    fn judge(&self, received: Result<(), String>) {
        if let Err(why) = received {
            self.line().close_over(Closed::Malformed, &why);
        }
    }

    /// Makes sure that a connection ends once one side has closed it.
    fn part(&mut self, cx: &mut Context<'_>) {
        let line = self.peer.line();
        if line.outbox().is_open() || line.outbox().end() == Some(End::Cut) {
            return;
        }
        let goodbye = self.goodbye.get_or_insert_with(|| {
            let silence = line.is_silent().then(|| Instant::now() + SILENCE);
            Box::new(Goodbye { silence, ..Goodbye::default() })
        });
        if goodbye.stop.is_none() {
            // the client could be late with its close frame, or send forever
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
                // its answer to a close frame cannot be understood, so wait for silence
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

    /// The client did not read in time what was queued.
    fn stop(&mut self) {
        if self.is_gone {
            self.line().disconnected();
        } else {
            self.leave();
        }
    }
}

/// Lets other tasks run and the reactor poll before this task continues.
fn take_turns(cx: &mut Context<'_>) {
    // pending; the waker is woken after that
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
    use std::{
        future::{Future, poll_fn},
        io::{self, IoSlice},
        iter::Cycle,
        sync::Arc,
        vec,
    };

    use actix_http::BoxedPayloadStream;
    use actix_web::{
        body::MessageBody,
        dev,
        rt::{
            self, System,
            time::{sleep, timeout},
        },
    };
    use bytestring::ByteString;
    use futures_util::{StreamExt, future::join, stream};
    use proptest::prelude::*;
    use tokio::io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split,
    };

    use super::*;
    use crate::{
        connections::Member,
        node::Node,
        socket::{ChannelId, CloseReason, Connecting, Limits},
        telemetry::Transport,
        transport::piped::pipe,
    };

    const LIMITS: Limits =
        Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (0, 0) };

    /// Answers each message with itself, so many times.
    struct Echo(Rc<Line>, usize);

    impl Peer for Echo {
        fn line(&self) -> &Rc<Line> {
            &self.0
        }

        fn receive_text(&self, text: &ByteString) -> Result<(), String> {
            self.receive_binary(text.as_bytes())
        }

        fn receive_binary(&self, data: &Bytes) -> Result<(), String> {
            (0..self.1).for_each(|_| self.0.push(&Frame::pong(data)));
            Ok(())
        }

        fn gone(&self) {
            self.0.end();
        }
    }

    /// A client of a conversation, whose stream holds `buffer` bytes in each direction.
    fn open(node: &Arc<Node>, buffer: usize) -> (Rc<Line>, DuplexStream) {
        let connecting = Connecting::begin(node).unwrap();
        let line = Line::open(LIMITS, Transport::WebSocket, connecting, node.clone(), vec![]);
        let (client, stream) = duplex(buffer);
        let frames = Frames::new(1_000, 1_000);
        let mut conversation =
            Conversation::new(Rc::new(Echo(line.clone(), 10)), frames, Duration::from_secs(60));
        conversation.begin(Stream::Other(Box::new(stream)), Bytes::new());
        rt::spawn(async move { poll_fn(|cx| conversation.poll(cx)).await });
        (line, client)
    }

    /// All that a client says by way of HTTP.
    fn payload(pieces: Vec<Bytes>) -> dev::Payload {
        dev::Payload::Stream { payload: Box::pin(stream::iter(pieces).map(Ok)) as BoxedPayloadStream }
    }

    async fn ends(node: &Node) {
        let ended = async {
            while node.connections.count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it is kept for as long as the client likes");
    }

    /// A client's frame of bytes; its mask is nothing.
    fn frame(payload: &[u8]) -> Vec<u8> {
        frame_of(0x82, payload)
    }

    fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            length @ 0..126 => vec![0x80 | length as u8],
            length => [&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        };
        [&[first], &length[..], &[0; 4], payload].concat()
    }

    #[actix_web::test]
    async fn a_client_that_comes_in_during_a_drain_and_answers_nothing_does_not_hold_it_up() {
        let node = Node::unbounded();
        node.connections.begin_drain();
        let _client = open(&node, 1_000);
        ends(&node).await;
    }

    #[actix_web::test]
    async fn a_client_that_lags_is_written_the_newest_when_it_has_read_what_waits() {
        let (line, mut client) = open(&Node::unbounded(), 10);
        let (long, newest) = (Frame::pong(&[b'x'; 100]), Frame::pong(b"2"));
        line.push(&long);
        while !line.outbox().is_stalled() {
            yield_now().await;
        }
        for frame in [Frame::pong(b"1"), newest.clone()] {
            assert!(line.keep_latest(ChannelId(1), "key", &frame));
        }
        let mut read = vec![0; long.size() + newest.size()];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(read[long.size()..], newest.whole().unwrap()[..]);
    }

    #[actix_web::test]
    async fn a_client_that_closes_is_told_apart_from_one_that_is_lost() {
        for (why, last) in [(CloseReason::ByClient, frame_of(0x88, b"")), (CloseReason::Lost, vec![])] {
            let node = Node::unbounded();
            let (line, mut client) = open(&node, 1_000);
            client.write_all(&last).await.unwrap();
            drop(client);
            ends(&node).await;
            assert_eq!(line.why(), why);
        }
    }

    #[actix_web::test]
    async fn a_client_that_was_closed_for_its_silence_cannot_stay_by_speaking_again() {
        let node = Node::unbounded();
        let (line, mut client) = open(&node, 1_000);
        let chatter = async {
            while client.write_all(&frame(b"x")).await.is_ok() {
                sleep(SILENCE / 10).await;
            }
        };
        line.look(Instant::now() + Duration::from_secs(61));
        assert!(!line.outbox().is_open());
        tokio::select! {
            () = ends(&node) => {}
            () = chatter => ends(&node).await,
        }
    }

    #[actix_web::test]
    async fn a_client_that_does_not_read_to_the_end_is_cut_in_the_end() {
        let node = Node::unbounded();
        let (line, client) = open(&node, 10);
        line.push(&Frame::pong(&[b'x'; 100]));
        let mut conversation = Conversation::new(Rc::new(Echo(line, 1)), Frames::new(1, 1), Duration::MAX);
        conversation.leave();
        let goodbye = conversation.goodbye.as_ref().unwrap();
        assert!(goodbye.stop.is_some_and(|stop| stop > Instant::now()));
        conversation.stop();
        assert_eq!(conversation.line().outbox().end(), Some(End::Cut));
        drop(client);
        ends(&node).await;
    }

    #[actix_web::test]
    async fn a_client_that_has_closed_and_takes_nothing_more_does_not_keep_its_place() {
        let node = Node::unbounded();
        let line =
            Line::open(LIMITS, Transport::WebSocket, Connecting::begin(&node).unwrap(), node.clone(), vec![]);
        let frames = Frames::new(1_000, 1_000);
        let mut conversation = Conversation::new(Rc::new(Echo(line, 1)), frames, Duration::from_secs(60));
        let close = Bytes::from(frame_of(0x88, b""));
        // nobody comes for what is written
        let (stream, _body) = pipe(payload(vec![close]));
        conversation.begin(Stream::Other(Box::new(stream)), Bytes::new());
        rt::spawn(async move { poll_fn(|cx| conversation.poll(cx)).await });
        ends(&node).await;
    }

    #[actix_web::test]
    async fn a_stream_that_takes_a_few_bytes_at_a_time_gets_them_all_in_order() {
        for buffer in [1, 7, 64, 1_000] {
            let (_, mut client) = open(&Node::unbounded(), buffer);
            let mut read = vec![0; 10 * 7];
            for message in [b"first", b"later"] {
                client.write_all(&frame(message)).await.unwrap();
                client.read_exact(&mut read).await.unwrap();
                assert_eq!(read, [&[0x8a, 5], &message[..]].concat().repeat(10), "{buffer}");
            }
        }
    }

    /// A stream that gives and takes some part of what it could, and nothing at all before each part of 0 bytes.
    struct Fickle<S>(S, [Cycle<vec::IntoIter<usize>>; 3]);

    /// What is asked of a stream: each has its own parts, so that none gets nothing for ever.
    enum Ask {
        Read,
        Write,
        Flush,
    }

    impl<S> Fickle<S> {
        fn new(stream: S, parts: Vec<usize>) -> Self {
            Self(stream, [(); 3].map(|()| parts.clone().into_iter().cycle()))
        }

        fn poll_part(&mut self, ask: Ask, cx: &Context<'_>) -> Poll<usize> {
            match self.1[ask as usize].next() {
                Some(part @ 1..) => Poll::Ready(part),
                _ => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        }
    }

    impl<S: AsyncRead + Unpin> AsyncRead for Fickle<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let mut bytes = vec![0; ready!(self.poll_part(Ask::Read, cx)).min(buffer.remaining())];
            let mut part = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.0).poll_read(cx, &mut part))?;
            buffer.put_slice(part.filled());
            Poll::Ready(Ok(()))
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Fickle<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let part = ready!(self.poll_part(Ask::Write, cx)).min(bytes.len());
            Pin::new(&mut self.0).poll_write(cx, &bytes[..part])
        }

        /// Takes of several pieces, if it takes so much.
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.poll_write(cx, &bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.poll_part(Ask::Flush, cx));
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.poll_part(Ask::Flush, cx));
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// All that a client says until it closes, and what it is answered.
    fn talk(messages: &[(bool, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
        let said = messages.iter().flat_map(|(is_ping, payload)| match is_ping {
            true => frame_of(0x89, &payload[..payload.len().min(125)]),
            false => frame(payload),
        });
        let answered = messages.iter().flat_map(|(is_ping, payload)| {
            let length = if *is_ping { payload.len().min(125) } else { payload.len() };
            Frame::pong(&payload[..length]).whole().unwrap().to_vec()
        });
        let close = [0x88, 0x80, 0, 0, 0, 0];
        (said.chain(close).collect(), answered.chain([0x88, 0]).collect())
    }

    fn any_messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..40)
    }

    fn any_parts() -> impl Strategy<Value = Vec<usize>> {
        // one of them is a part, so that it goes on
        prop::collection::vec(prop_oneof![Just(0), 1usize..20, 20usize..2_000], 1..20)
            .prop_map(|parts| [parts, vec![7]].concat())
    }

    /// A conversation that answers each message once, to its end.
    async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, unread: Bytes) {
        let (node, limits) = (Node::unbounded(), Limits { outbox: 1_000_000, ..LIMITS });
        let line =
            Line::open(limits, Transport::WebSocket, Connecting::begin(&node).unwrap(), node.clone(), vec![]);
        let (echo, frames) = (Rc::new(Echo(line, 1)), Frames::new(1_000, 1_000));
        let mut conversation = Conversation::new(echo, frames, Duration::from_secs(600));
        conversation.begin(Stream::Other(Box::new(stream)), unread);
        poll_fn(|cx| conversation.poll(cx)).await;
        assert_eq!(node.connections.count(), 0);
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        System::new()
            .block_on(async { timeout(Duration::from_secs(60), future).await.expect("it stands still") })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// What has been taken in part is not said again, and no waker is lost.
        #[test]
        fn what_is_said_does_not_depend_on_how_much_the_stream_gives_and_takes_at_a_time(
            messages in any_messages(), begun in 0usize..500, room in 1usize..3_000, server in any_parts(), client in any_parts()
        ) {
            let (said, answered) = talk(&messages);
            let (unread, later) = said.split_at(begun.min(said.len()));
            let heard = block_on(async {
                let (near, far) = duplex(room);
                let (mut reader, mut writer) = split(Fickle::new(far, client));
                let conversation = converse(Fickle::new(near, server), Bytes::copy_from_slice(unread));
                let mut heard = vec![];
                let speak = async {
                    // the server need not take what it does not need any more
                    let _ = writer.write_all(later).await;
                    let _ = writer.flush().await;
                };
                let (_, read) = join(conversation, join(speak, reader.read_to_end(&mut heard))).await;
                read.1.unwrap();
                heard
            });
            prop_assert_eq!(heard, answered);
        }

        #[test]
        fn the_same_is_said_by_way_of_a_payload_and_a_body(messages in any_messages(), cut in 1usize..5_000) {
            let (said, answered) = talk(&messages);
            let pieces = said.chunks(cut).map(Bytes::copy_from_slice).collect();
            let heard = block_on(async {
                let (stream, body) = pipe(payload(pieces));
                let mut body = Box::pin(body);
                let mut heard = vec![];
                let read = async {
                    while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
                        heard.extend(piece.unwrap());
                    }
                };
                join(converse(stream, Bytes::new()), read).await;
                heard
            });
            prop_assert_eq!(heard, answered);
        }
    }
}
