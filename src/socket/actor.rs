//! The actor of one socket: reads what the client sends, and decides when its connection is over.

use std::{rc::Rc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Handler, Message as ActixMessage, StreamHandler};
use bytes::Bytes;
use futures_util::Stream;

use super::{Incoming, Line, Peer, Verdict};
use crate::{
    telemetry::Closed,
    wire::{CloseCode, Frame},
};

/// How long a client that was sent a close frame has to answer with its own. Then the transport ends all the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client must have been silent after a broken frame before the transport ends. What it still sends is read
/// and thrown away, as a reset would take the close frame with it.
const SILENCE: Duration = Duration::from_millis(100);

/// Reads one socket.
pub(crate) struct SocketActor {
    peer: Rc<dyn Peer>,
}

/// A line is to end.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub(crate) enum Closing {
    /// A close frame has been queued, or a line of a server that drains was opened with it.
    Said,
    /// The same, to a client that says nothing any more.
    Silent,
    /// The client does not read, or is gone: there is no use in waiting for it.
    Cut,
}

impl SocketActor {
    /// Starts an actor that reads `incoming` for as long as it lasts, and the client is not silent for `timeout`.
    pub(crate) fn start_reading(
        peer: Rc<dyn Peer>,
        timeout: Duration,
        incoming: impl Stream<Item = Incoming> + 'static,
    ) {
        Self::create(|ctx| {
            ctx.add_stream(incoming);
            peer.line().tell_when_closing(ctx.address().downgrade().recipient());
            peer.line().close_after_silence(timeout);
            Self { peer }
        });
    }

    /// Ends the transport once the client is silent; it could not be understood if it answered the close frame.
    fn finish_in_silence(&self, ctx: &mut actix::Context<Self>) {
        ctx.run_later(SILENCE, |actor, ctx| {
            if actor.line().silence() >= SILENCE {
                actor.finish(ctx);
            } else {
                actor.finish_in_silence(ctx);
            }
        });
    }

    /// Ends the transport when the client has had its time to answer the close frame.
    fn finish_in_time(&self, ctx: &mut actix::Context<Self>) {
        ctx.run_later(CLOSE_TIMEOUT, |actor, ctx| actor.finish(ctx));
    }

    /// Ends the transport after what is queued, and this actor soon after, whether that could be written or not.
    fn finish(&self, ctx: &mut actix::Context<Self>) {
        self.line().outbox().finish();
        ctx.run_later(CLOSE_TIMEOUT, |_, ctx| ctx.stop());
    }

    fn received(&self, is_text: bool, data: &Bytes) {
        if let Err(why) = self.peer.receive(is_text, data) {
            self.line().close_over(Closed::Malformed, &why);
        }
    }

    fn line(&self) -> &Line {
        self.peer.line()
    }
}

impl Actor for SocketActor {
    type Context = actix::Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.peer.gone();
    }
}

impl StreamHandler<Incoming> for SocketActor {
    fn handle(&mut self, incoming: Incoming, ctx: &mut Self::Context) {
        self.line().heard();
        if !self.line().outbox().is_open() {
            // closing: all that matters is whether the client has closed too
            if let Incoming::Close(_) = incoming {
                self.finish(ctx);
            }
            return;
        }
        match incoming {
            Incoming::Text(data) => self.received(true, &data),
            Incoming::Binary(data) => self.received(false, &data),
            // a ping is a message like any other that must be answered; one too many is not
            Incoming::Ping(data) if self.line().judge() == Verdict::Handle => {
                self.line().forward(&Frame::pong(&data));
            }
            Incoming::Ping(_) => {}
            Incoming::Alive => {}
            Incoming::Close(code) => {
                let code = match code {
                    Some(code) if !code.is_valid_from_client() => Some(CloseCode::PROTOCOL),
                    code => code,
                };
                self.line().answer_close(code);
                self.finish(ctx);
            }
            Incoming::Broken(why) => {
                self.line().close(why);
                self.finish_in_silence(ctx);
            }
        }
    }

    /// The client will send nothing more.
    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Closing> for SocketActor {
    type Result = ();

    fn handle(&mut self, closing: Closing, ctx: &mut Self::Context) {
        match closing {
            Closing::Said => self.finish_in_time(ctx),
            Closing::Silent => {
                self.finish_in_silence(ctx);
                // should it speak again
                self.finish_in_time(ctx);
            }
            Closing::Cut => ctx.stop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use actix_web::rt::time::{sleep, timeout};
    use futures_util::stream;

    use super::*;
    use crate::{
        pubsub::{Member, PubSub},
        socket::Limits,
        telemetry::Transport,
    };

    /// A client to whom nothing is sent.
    struct Mute(Rc<Line>);

    impl Mute {
        fn open(pubsub: &PubSub) -> Rc<Self> {
            let limits = Limits { max_channels: 1, outbox: 1_000, max_message: 1_000, message_rate: (0, 0) };
            let seat = pubsub.seat().unwrap();
            Rc::new(Self(Line::open(limits, Transport::WebSocket, seat, pubsub.clone(), None)))
        }
    }

    impl Peer for Mute {
        fn line(&self) -> &Rc<Line> {
            &self.0
        }

        fn receive(&self, _: bool, _: &Bytes) -> Result<(), String> {
            Ok(())
        }

        fn gone(&self) {
            self.0.end();
        }
    }

    async fn ends(pubsub: &PubSub) {
        let ended = async {
            while pubsub.connections() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it is kept for as long as the client likes");
    }

    #[actix_web::test]
    async fn a_client_that_comes_in_during_a_drain_and_answers_nothing_does_not_hold_it_up() {
        let pubsub = PubSub::new();
        pubsub.begin_drain();
        SocketActor::start_reading(Mute::open(&pubsub), Duration::MAX, stream::pending());
        ends(&pubsub).await;
    }

    #[actix_web::test]
    async fn a_client_that_was_closed_for_its_silence_cannot_stay_by_speaking_again() {
        let pubsub = PubSub::new();
        let client = Mute::open(&pubsub);
        let chatter = stream::unfold((), async |()| {
            sleep(SILENCE / 10).await;
            Some((Incoming::Alive, ()))
        });
        SocketActor::start_reading(client.clone(), Duration::from_secs(60), Box::pin(chatter));
        client.line().look(Instant::now() + Duration::from_secs(61));
        assert!(!client.line().outbox().is_open());
        ends(&pubsub).await;
    }
}
