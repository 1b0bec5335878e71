//! The actor of one joined channel: runs its callbacks, one at a time, and catches what they throw.
//!
//! A callback borrows the channel's state over its awaits, so the state is taken out of the actor, the future runs in
//! `ctx.wait`, which holds back the mailbox, and the state is put back.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message as ActixMessage, Recipient,
    WrapFuture,
};
use futures_util::FutureExt;

use super::{Channel, Context, Exit, Link, Reply, Result};
use crate::{
    pubsub::Broadcast,
    socket::{Ended, Joined, reason},
    supervise::panic_message,
    telemetry::{Count, Crash, Quoted},
    wire::{InvalidPayload, Message, Payload, Ref, Status},
};

/// What a socket tells its channels.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub(crate) enum Command {
    /// A message of the client, and its [`Message::cost`].
    In(Message, usize),
    /// A broadcast that the channel intercepts.
    Out(Arc<Broadcast>),
    /// The client leaves; what its leave's reply must carry.
    Leave(Ref),
    /// The client's line is cut already.
    Stop(Exit),
}

/// A message for `handle_info`.
#[derive(ActixMessage)]
#[rtype(result = "()")]
pub(crate) struct Info<I: 'static>(pub(crate) I);

/// The same, when a time has passed.
#[derive(ActixMessage)]
#[rtype(result = "()")]
pub(super) struct Later<I: 'static> {
    pub(super) delay: Duration,
    pub(super) info: I,
}

/// A reply that was given outside of its callback.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub(crate) struct Answer {
    pub(super) reference: Ref,
    pub(super) status: Status,
    pub(super) payload: Payload,
}

pub(crate) struct ChannelActor<C: Channel> {
    _count: Count,
    link: Rc<Link>,
    begun: Instant,
    /// Not here while a callback runs, before the join was accepted, and after the end.
    running: Option<Box<Running<C>>>,
}

struct Running<C: Channel> {
    channel: C,
    context: Context<C>,
}

impl<C: Channel> Actor for ChannelActor<C> {
    type Context = actix::Context<Self>;
}

impl<C: Channel> Drop for ChannelActor<C> {
    fn drop(&mut self) {
        self.link.dropped();
    }
}

/// What a callback came to: its own result, or what it panicked with.
type Outcome<T> = std::result::Result<Result<T>, Box<dyn Any + Send>>;

impl<C: Channel> ChannelActor<C> {
    /// Starts an actor that runs the join, and the channel if the join is accepted.
    pub(crate) fn join(
        socket: Rc<C::Socket>,
        link: Rc<Link>,
        payload: Payload,
        count: Count,
    ) -> Recipient<Command> {
        Self::create(|ctx| {
            let mut context = Context::new(socket, link.clone(), ctx.address().downgrade());
            if !C::INTERCEPT.is_empty() {
                link.intercept(C::INTERCEPT, ctx.address().recipient());
            }
            link.started();
            let actor = Self { _count: count, link: link.clone(), begun: Instant::now(), running: None };
            let join = async move {
                let join = async { C::join(link.topic(), payload, &mut context).await };
                let outcome = AssertUnwindSafe(join).catch_unwind().await;
                (outcome, context)
            };
            ctx.wait(join.into_actor(&actor).map(|(outcome, context), actor: &mut Self, ctx| {
                actor.joined(outcome, context, ctx);
            }));
            actor
        })
        .recipient()
    }

    fn joined(
        &mut self,
        outcome: Outcome<super::Join<C>>,
        mut context: Context<C>,
        ctx: &mut actix::Context<Self>,
    ) {
        let (conn, topic, took) = (self.link.conn(), self.link.topic(), self.begun.elapsed());
        let refused = match outcome {
            Ok(Ok(super::Join(Ok((channel, reply))))) => {
                log::info!("event=joined conn={conn} topic={} took={took:?}", Quoted(topic));
                context.joined = true;
                self.running = Some(Box::new(Running { channel, context }));
                self.link.joined(Joined::Ok(reply));
                return;
            }
            Ok(Ok(super::Join(Err(reply)))) => Joined::Refused(reply),
            Ok(Err(error)) => match error.downcast::<InvalidPayload>() {
                Ok(invalid) => Joined::Refused(reason(&invalid.to_string())),
                Err(error) => self.join_crashed(&chain(&*error)),
            },
            Err(panic) => self.join_crashed(&panic_message(&*panic)),
        };
        if let Joined::Refused(_) = refused {
            log::info!("event=join_refused conn={conn} topic={} took={took:?}", Quoted(topic));
        }
        self.link.joined(refused);
        ctx.stop();
    }

    fn join_crashed(&self, why: &str) -> Joined {
        self.log_crash(Crash::Join, why);
        Joined::Crashed
    }

    /// Counts and logs that a callback crashed.
    fn log_crash(&self, what: Crash, why: &str) {
        self.link.pubsub().telemetry().crashed(what);
        let (conn, topic, lived) = (self.link.conn(), Quoted(self.link.topic()), self.begun.elapsed());
        log::error!("event=crashed of={what} conn={conn} topic={topic} lived={lived:?} why={}", Quoted(why));
    }

    /// Runs a callback, and then `after` with its outcome.
    fn call<T: 'static>(
        &mut self,
        ctx: &mut actix::Context<Self>,
        callback: impl AsyncFnOnce(&mut C, &mut Context<C>) -> T + 'static,
        after: impl FnOnce(&mut Self, std::result::Result<T, Box<dyn Any + Send>>, &mut actix::Context<Self>)
        + 'static,
    ) {
        let Some(mut running) = self.running.take() else { return };
        let future = async move {
            let call = async { callback(&mut running.channel, &mut running.context).await };
            let outcome = AssertUnwindSafe(call).catch_unwind().await;
            (outcome, running)
        };
        ctx.wait(future.into_actor(self).map(|(outcome, running), actor, ctx| {
            actor.running = Some(running);
            after(actor, outcome, ctx);
        }));
    }

    fn handle_in(&mut self, message: Message, cost: usize, ctx: &mut actix::Context<Self>) {
        let Message { reference, event, payload, .. } = message;
        let begun = Instant::now();
        let answered = reference.clone();
        self.call(
            ctx,
            async move |channel, context| {
                context.reference = Some(reference);
                channel.handle_in(&event, payload, context).await
            },
            move |actor, outcome, ctx| {
                actor.link.handled(cost);
                log::debug!(
                    "event=handled conn={} topic={} took={:?}",
                    actor.link.conn(),
                    Quoted(actor.link.topic()),
                    begun.elapsed()
                );
                match outcome {
                    Ok(Ok(Reply(answer))) => {
                        if let Some((status, payload)) = answer {
                            actor.link.reply(&answered, status, &payload);
                        }
                        actor.stop_if_told(ctx);
                    }
                    Ok(Err(error)) => match error.downcast::<InvalidPayload>() {
                        Ok(invalid) => {
                            actor.link.reply(&answered, Status::Error, &reason(&invalid.to_string()));
                            actor.stop_if_told(ctx);
                        }
                        Err(error) => actor.crash(chain(&*error), ctx),
                    },
                    Err(panic) => actor.crash(panic_message(&*panic), ctx),
                }
            },
        );
    }

    fn handle_info(&mut self, info: C::Info, ctx: &mut actix::Context<Self>) {
        self.call(
            ctx,
            async move |channel, context| {
                context.reference = None;
                channel.handle_info(info, context).await
            },
            Self::handled,
        );
    }

    fn handle_out(&mut self, broadcast: Arc<Broadcast>, ctx: &mut actix::Context<Self>) {
        let handled = broadcast.clone();
        self.call(
            ctx,
            async move |channel, context| {
                context.reference = None;
                channel.handle_out(&broadcast.event, broadcast.payload.clone(), context).await
            },
            move |actor, outcome, ctx| {
                actor.link.handled_out(&handled);
                actor.handled(outcome, ctx);
            },
        );
    }

    /// After a callback that has no answer to give.
    fn handled(&mut self, outcome: Outcome<()>, ctx: &mut actix::Context<Self>) {
        match outcome {
            Ok(Ok(())) => self.stop_if_told(ctx),
            Ok(Err(error)) => self.crash(chain(&*error), ctx),
            Err(panic) => self.crash(panic_message(&*panic), ctx),
        }
    }

    fn stop_if_told(&mut self, ctx: &mut actix::Context<Self>) {
        if self.running.as_ref().is_some_and(|running| running.context.stopped) {
            self.link.ended(Ended::Closed);
            self.terminate(Exit::Normal, ctx);
        }
    }

    fn crash(&mut self, why: String, ctx: &mut actix::Context<Self>) {
        self.terminate(Exit::Crashed(why), ctx);
    }

    /// Lets the channel clean up, then ends the actor.
    fn terminate(&mut self, exit: Exit, ctx: &mut actix::Context<Self>) {
        match &exit {
            Exit::Crashed(why) => self.log_crash(Crash::Channel, why),
            exit => log::info!(
                "event=ended conn={} topic={} lived={:?} reason={}",
                self.link.conn(),
                Quoted(self.link.topic()),
                self.begun.elapsed(),
                Quoted(&exit.to_string())
            ),
        }
        let crashed = matches!(exit, Exit::Crashed(_));
        self.call(
            ctx,
            async move |channel, context| channel.terminate(&exit, context).await,
            move |actor, outcome, ctx| {
                if let Err(panic) = outcome {
                    actor.log_crash(Crash::Terminate, &panic_message(&*panic));
                }
                if crashed {
                    actor.link.ended(Ended::Crashed);
                }
                actor.running = None;
                ctx.stop();
            },
        );
    }
}

impl<C: Channel> Handler<Command> for ChannelActor<C> {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            Command::In(message, cost) => self.handle_in(message, cost, ctx),
            Command::Out(broadcast) => self.handle_out(broadcast, ctx),
            Command::Leave(reference) => {
                self.link.reply(&reference, Status::Ok, &Payload::empty());
                self.link.ended(Ended::Closed);
                self.terminate(Exit::Left, ctx);
            }
            Command::Stop(exit) => self.terminate(exit, ctx),
        }
    }
}

impl<C: Channel> Handler<Info<C::Info>> for ChannelActor<C> {
    type Result = ();

    fn handle(&mut self, Info(info): Info<C::Info>, ctx: &mut Self::Context) {
        self.handle_info(info, ctx);
    }
}

impl<C: Channel> Handler<Later<C::Info>> for ChannelActor<C> {
    type Result = ();

    fn handle(&mut self, Later { delay, info }: Later<C::Info>, ctx: &mut Self::Context) {
        let address = ctx.address();
        ctx.run_later(delay, move |_, _| address.do_send(Info(info)));
    }
}

impl<C: Channel> Handler<Answer> for ChannelActor<C> {
    type Result = ();

    fn handle(&mut self, Answer { reference, status, payload }: Answer, _: &mut Self::Context) {
        self.link.reply(&reference, status, &payload);
    }
}

/// An error and all that caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
