//! One client's line, whatever is spoken on it: its outbox, its close, and how fast it is read from.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix::Recipient;
use bytes::Bytes;

use super::{Outbox, actor::Closing};
use crate::{
    pubsub::{Broadcast, ConnectionCount, Drain, Local, PubSub, Subscriber, SubscriberKey},
    wire::{CloseCode, DISCONNECT, Frame},
};

/// Bytes of a client's messages that may wait to be handled before the server stops reading from it: it is told by TCP to
/// slow down, nothing is lost, and nobody else notices.
const MAX_LOAD: usize = 256 * 1024;

/// What a transport reads for.
pub(crate) trait Peer {
    fn line(&self) -> &Line;
    /// Takes a whole message, or says why the line must be closed for it.
    fn receive(&self, is_text: bool, data: &Bytes) -> Result<(), String>;
    /// The transport is gone.
    fn gone(&self);
}

/// See the module.
pub(crate) struct Line {
    key: SubscriberKey,
    /// The socket's id, which is a topic too.
    id: Option<String>,
    pubsub: PubSub,
    local: Rc<Local>,
    outbox: Outbox,
    outbox_limit: usize,
    /// Bytes of messages that wait to be handled.
    load: Cell<usize>,
    /// Reads on when the load has gone down.
    reader: RefCell<Option<Waker>>,
    /// Whoever ends the transport after a close frame.
    closer: RefCell<Option<Recipient<Closing>>>,
    /// Until the transport is gone; a callback that still runs does not keep the line counted.
    count: Cell<Option<ConnectionCount>>,
}

impl Line {
    /// Opens a line; one with an id closes when `disconnect` is broadcast to it.
    pub(crate) fn open(outbox_limit: usize, pubsub: PubSub, id: Option<String>) -> Rc<Self> {
        let line = Rc::new(Self {
            key: SubscriberKey::new(),
            id,
            local: pubsub.local(),
            outbox: Outbox::new(outbox_limit),
            outbox_limit,
            load: Cell::new(0),
            reader: RefCell::default(),
            closer: RefCell::default(),
            count: Cell::new(Some(pubsub.count_connection())),
            pubsub,
        });
        line.local.add_connection(line.key, line.clone());
        if let Some(id) = &line.id {
            line.local.subscribe(id, line.key, line.clone());
        }
        line
    }

    pub(crate) fn pubsub(&self) -> &PubSub {
        &self.pubsub
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Sends a frame to this client, after all broadcasts that came before it.
    pub(crate) fn push(&self, frame: &Frame) {
        self.local.flush();
        self.outbox.push(frame);
    }

    /// Whether so many bytes may wait for a channel on their way to this client; else it is cut off, as if they waited in
    /// its outbox.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        if bytes > self.outbox_limit {
            log::warn!(
                "a client whose channel does not handle its broadcasts is cut off: {bytes} bytes wait for it"
            );
            self.outbox.cut();
        }
        self.outbox.is_open()
    }

    /// Says goodbye; the transport ends when the client has answered, or soon after.
    pub(crate) fn close(&self, code: Option<CloseCode>) {
        if self.outbox.is_open() {
            self.outbox.close(&Frame::close(code));
            self.wake_reader();
            if let Some(closer) = &*self.closer.borrow() {
                closer.do_send(Closing);
            }
        }
    }

    pub(crate) fn tell_when_closing(&self, closer: Recipient<Closing>) {
        *self.closer.borrow_mut() = Some(closer);
    }

    /// The transport is gone, or will be when it has written what is queued.
    pub(crate) fn end(&self) {
        self.outbox.finish();
        self.closer.take();
        self.count.take();
        self.local.remove_connection(self.key);
        if let Some(id) = &self.id {
            self.local.unsubscribe(id, self.key);
        }
    }

    /// Messages of so many bytes wait to be handled.
    pub(crate) fn load(&self, cost: usize) {
        self.load.set(self.load.get() + cost);
    }

    /// Messages of so many bytes have been handled.
    pub(crate) fn release(&self, cost: usize) {
        self.load.set(self.load.get() - cost);
        if !self.is_loaded() {
            self.wake_reader();
        }
    }

    /// Whether so much of this client's is unhandled that it is not read from.
    pub(crate) fn is_loaded(&self) -> bool {
        self.load.get() > MAX_LOAD
    }

    /// Ready when the client may be read from.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_loaded() || !self.outbox.is_open() {
            return Poll::Ready(());
        }
        *self.reader.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Subscribed to its socket's id, where one event means something.
impl Subscriber for Line {
    fn deliver(&self, broadcast: &Arc<Broadcast>) {
        if broadcast.event == DISCONNECT {
            self.close(Some(CloseCode::GOING_AWAY));
        }
    }
}

impl Drain for Line {
    fn drain(&self) {
        self.close(Some(CloseCode::SERVICE_RESTART));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_client_is_not_read_from_while_too_much_of_its_is_unhandled() {
        let line = Line::open(1_000, PubSub::new(), None);
        let mut cx = Context::from_waker(Waker::noop());
        line.load(MAX_LOAD);
        assert!(line.poll_readable(&mut cx).is_ready());
        line.load(1);
        assert!(line.poll_readable(&mut cx).is_pending());
        line.release(1);
        assert!(line.reader.borrow().is_none(), "the reader was woken");
        line.load(1);
        line.close(None);
        assert!(line.poll_readable(&mut cx).is_ready(), "a close frame must be read");
    }

    #[actix_web::test]
    async fn an_ended_line_is_neither_counted_nor_reached() {
        let pubsub = PubSub::new();
        let line = Line::open(1_000, pubsub.clone(), Some("users:1".into()));
        assert_eq!(pubsub.connections(), 1);
        line.end();
        assert_eq!(pubsub.connections(), 0);
        assert_eq!(Rc::strong_count(&line), 1, "nothing holds it");
    }
}
