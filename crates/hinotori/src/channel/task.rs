//! The task of one channel. It runs the callbacks one at a time, catches their panics and errors, and ends within a
//! time limit.

use std::{
    future::{Future, poll_fn, ready},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use actix_web::rt;
use futures_util::future::LocalBoxFuture;

use super::{
    Accepted, Channel, Context, Exit, Join, Membership, Reply, Result,
    command::Command,
    mailbox::{Item, Mailbox},
    membership::End,
};
use crate::{
    callback::{self, Outcome},
    pubsub::Broadcast,
    recovery::Follows,
    socket::{CloseReason, Ended, Joined, reason},
    tasks::Unfinished,
    telemetry::{Count, Crash, Quoted, Span},
    wire::{InvalidPayload, Message, Payload, Status},
};

/// Why a channel's callbacks end.
enum Over {
    /// The channel stopped itself.
    Stopped,
    Crashed(String),
    /// The client or its connection ended it.
    Ended,
}

/// See the module.
struct Task<C: Channel> {
    membership: Rc<Membership>,
    mailbox: Arc<Mailbox<Command, C::Info>>,
    context: Context<C>,
    begun: Instant,
    _count: Count,
    _unfinished: Unfinished,
}

/// Starts a channel with its join callback.
pub(crate) fn start<C: Channel>(
    socket: Rc<C::Socket>,
    membership: Rc<Membership>,
    payload: Payload,
    count: Count,
) {
    let mailbox = Arc::new(Mailbox::<Command, C::Info>::default());
    membership.started(mailbox.clone(), C::INTERCEPT);
    let context = Context::<C>::new(socket, membership.clone(), &mailbox);
    let (begun, _unfinished) = (Instant::now(), membership.node().tasks.channel());
    let mut task = Task { membership, mailbox, context, begun, _count: count, _unfinished };
    // the async block captures these directly: moving a value inside a future takes room for it twice. The callbacks'
    // futures are boxed, so an idle channel takes only the memory of its own state
    rt::spawn(async move {
        let join = Box::pin(task.join(payload));
        if let Some(mut channel) = join.await {
            let over = task.serve(&mut channel).await;
            Box::pin(task.terminate(&mut channel, over)).await;
        }
        let membership = task.membership.clone();
        drop(task);
        membership.over();
    });
}

/// Either the channel or its thread has ended.
impl<C: Channel> Drop for Task<C> {
    fn drop(&mut self) {
        self.mailbox.clear();
        self.membership.dropped();
    }
}

impl<C: Channel> Task<C> {
    async fn join(&mut self, payload: Payload) -> Option<C> {
        let topic = self.membership.topic().to_owned();
        let callback = C::join(&topic, payload, &mut self.context);
        let callback = span(&self.membership, "join", None).around(callback);
        let outcome = guard::<C, _>(&self.membership, callback).await;
        self.membership.decided();
        let (conn, took) = (self.membership.conn(), self.begun.elapsed());
        let how = match outcome {
            Outcome::Returned(Ok(Join(Ok((_, Accepted::Recovers(_)))))) if !self.context.recovers => self
                .join_crashed("Join::recovered needs a call of Context::recover before the source is asked"),
            Outcome::Returned(Ok(Join(Ok((channel, accepted))))) => {
                log::info!("event=joined conn={conn} topic={} took={took:?}", Quoted(&topic));
                self.context.joined = true;
                let (reply, follows) = match accepted {
                    Accepted::Reply(reply) => (reply, Follows::default()),
                    Accepted::Recovers(recovery) => recovery.into_reply(),
                };
                self.membership.joined(Joined::Ok(reply), follows);
                return Some(channel);
            }
            Outcome::Returned(Ok(Join(Err(reply)))) => Joined::Refused(reply),
            Outcome::Returned(Err(error)) => match InvalidPayload::find(&*error) {
                Some(invalid) => Joined::Refused(reason(&invalid.to_string())),
                None => self.join_crashed(&chain(&*error)),
            },
            Outcome::Panicked(why) => self.join_crashed(&why),
            Outcome::Cut => self.join_crashed("the join did not end in time"),
        };
        if let Joined::Refused(_) = how {
            log::info!("event=join_refused conn={conn} topic={} took={took:?}", Quoted(&topic));
        }
        self.membership.joined(how, Follows::default());
        None
    }

    fn join_crashed(&self, why: &str) -> Joined {
        self.log_crash(Crash::Join, why);
        Joined::Crashed
    }

    /// Counts and logs a crashed callback.
    fn log_crash(&self, what: Crash, why: &str) {
        self.membership.node().telemetry.crashed(what);
        let (conn, topic) = (self.membership.conn(), Quoted(self.membership.topic()));
        let lived = self.begun.elapsed();
        log::error!("event=crashed of={what} conn={conn} topic={topic} lived={lived:?} why={}", Quoted(why));
    }

    /// Handles items until the channel should end.
    async fn serve(&mut self, channel: &mut C) -> Over {
        while !self.context.stopped {
            let Some(item) = poll_fn(|cx| self.poll_next(cx)).await else { return Over::Ended };
            match self.handle(channel, item).await {
                Outcome::Returned(Ok(())) => {}
                Outcome::Returned(Err(error)) => return Over::Crashed(chain(&*error)),
                Outcome::Panicked(why) => return Over::Crashed(why),
                Outcome::Cut => return Over::Ended,
            }
        }
        Over::Stopped
    }

    /// Handles one item. Nothing else is kept besides this future.
    fn handle<'a>(
        &'a mut self,
        channel: &'a mut C,
        item: Item<Command, C::Info>,
    ) -> LocalBoxFuture<'a, Outcome<Result<()>>> {
        match item {
            Item::Command(Command::Answer(reference, status, payload)) => {
                self.membership.reply(&reference, status, &payload);
                Box::pin(ready(Outcome::Returned(Ok(()))))
            }
            Item::Command(Command::In(message, cost)) => Box::pin(self.handle_in(channel, message, cost)),
            Item::Command(Command::Out(broadcast)) => Box::pin(self.handle_out(channel, broadcast)),
            Item::Command(Command::Heard(broadcast)) => Box::pin(self.heard(channel, broadcast)),
            Item::Info(info) => Box::pin(self.handle_info(channel, info)),
        }
    }

    /// The next item to handle; `None` once the channel should end and everything queued before has been handled.
    fn poll_next(&self, cx: &mut std::task::Context<'_>) -> Poll<Option<Item<Command, C::Info>>> {
        // alternate: a timer may be due again each time the channel becomes free
        if self.context.timers.have_had_their_turn()
            && let Poll::Ready(item) = self.mailbox.poll_next(cx)
        {
            return Poll::Ready(item);
        }
        // likewise, a timer that restarts each time it fires must not keep an ending channel alive
        if !self.membership.is_ending()
            && let Poll::Ready(info) = self.context.timers.poll_next(cx)
        {
            return Poll::Ready(Some(Item::Info(info)));
        }
        self.mailbox.poll_next(cx)
    }

    async fn handle_in(&mut self, channel: &mut C, message: Message, cost: usize) -> Outcome<Result<()>> {
        let Message { reference, event, payload, .. } = message;
        let begun = Instant::now();
        self.context.reference = Some(reference.clone());
        let callback = channel.handle_in(&event, payload, &mut self.context);
        let callback = span(&self.membership, "handle_in", Some(&event)).around(callback);
        let outcome = guard::<C, _>(&self.membership, callback).await;
        self.context.reference = None;
        self.membership.handled(cost);
        let (conn, topic) = (self.membership.conn(), Quoted(self.membership.topic()));
        log::debug!("event=handled conn={conn} topic={topic} took={:?}", begun.elapsed());
        match outcome {
            Outcome::Returned(Ok(Reply(answer))) => {
                if let Some((status, payload)) = answer {
                    self.membership.reply(&reference, status, &payload);
                }
                Outcome::Returned(Ok(()))
            }
            Outcome::Returned(Err(error)) => match InvalidPayload::find(&*error) {
                Some(invalid) => {
                    self.membership.reply(&reference, Status::Error, &reason(&invalid.to_string()));
                    Outcome::Returned(Ok(()))
                }
                None => Outcome::Returned(Err(error)),
            },
            Outcome::Panicked(why) => Outcome::Panicked(why),
            Outcome::Cut => Outcome::Cut,
        }
    }

    async fn handle_out(&mut self, channel: &mut C, broadcast: Arc<Broadcast>) -> Outcome<Result<()>> {
        let callback = channel.handle_out(&broadcast.event, broadcast.payload.clone(), &mut self.context);
        let callback = span(&self.membership, "handle_out", Some(&broadcast.event)).around(callback);
        let outcome = guard::<C, _>(&self.membership, callback).await;
        self.membership.handled_out(&broadcast);
        outcome
    }

    /// Broadcasts on the channel's own topic go through `handle_out`, as in Phoenix, whether or not the event is
    /// intercepted.
    async fn heard(&mut self, channel: &mut C, broadcast: Arc<Broadcast>) -> Outcome<Result<()>> {
        let Broadcast { topic, event, payload, .. } = &*broadcast;
        let (payload, context) = (payload.clone(), &mut self.context);
        let outcome = if topic == self.membership.pubsub_topic() {
            let callback = channel.handle_out(event, payload, context);
            let callback = span(&self.membership, "handle_out", Some(event)).around(callback);
            guard::<C, _>(&self.membership, callback).await
        } else {
            let callback = channel.handle_broadcast(topic, event, payload, context);
            let callback = span(&self.membership, "handle_broadcast", Some(event)).around(callback);
            guard::<C, _>(&self.membership, callback).await
        };
        self.membership.handled_heard(&broadcast);
        outcome
    }

    async fn handle_info(&mut self, channel: &mut C, info: C::Info) -> Outcome<Result<()>> {
        let callback = channel.handle_info(info, &mut self.context);
        guard::<C, _>(&self.membership, span(&self.membership, "handle_info", None).around(callback)).await
    }

    /// Notifies the client and runs the channel's cleanup. After a crash, the client is notified once the cleanup is
    /// done.
    async fn terminate(&mut self, channel: &mut C, over: Over) {
        self.mailbox.close();
        let exit = match over {
            Over::Stopped => {
                self.membership.ended(Ended::Closed);
                Exit::Normal
            }
            Over::Crashed(why) => {
                self.log_crash(Crash::Channel, &why);
                Exit::Crashed(why)
            }
            Over::Ended => match self.membership.why() {
                Some(End::Leave(reference)) => {
                    self.membership.reply(&reference, Status::Ok, &Payload::empty());
                    self.membership.ended(Ended::Closed);
                    Exit::Left
                }
                Some(End::Stop(exit)) => exit,
                None => Exit::Closed(CloseReason::Lost),
            },
        };
        if !matches!(exit, Exit::Crashed(_)) {
            let (conn, topic) = (self.membership.conn(), Quoted(self.membership.topic()));
            let (lived, why) = (self.begun.elapsed(), exit.to_string());
            log::info!("event=ended conn={conn} topic={topic} lived={lived:?} reason={}", Quoted(&why));
        }
        match self.clean_up(channel, &exit).await {
            Outcome::Returned(()) => {}
            Outcome::Panicked(why) => self.log_crash(Crash::Terminate, &why),
            Outcome::Cut => self.log_crash(Crash::Terminate, "terminate did not end in time"),
        }
        if let Exit::Crashed(_) = exit {
            self.membership.ended(Ended::Crashed);
        }
    }

    /// Runs `terminate` within its time limit.
    async fn clean_up(&mut self, channel: &mut C, exit: &Exit) -> Outcome<()> {
        let membership = self.membership.clone();
        let mut end = pin!(rt::time::sleep(C::SHUTDOWN));
        let mut is_awaited = true;
        let terminate = async { channel.terminate(exit, &mut self.context).await };
        callback::run(span(&membership, "terminate", None).around(terminate), |cx| {
            if is_awaited && membership.poll_overdue(C::SHUTDOWN, cx).is_ready() {
                is_awaited = false;
                membership.overdue();
            }
            end.as_mut().poll(cx)
        })
        .await
    }
}

/// Runs a callback to its end, unless it has been asked to end and its time is up.
async fn guard<C: Channel, T>(membership: &Membership, callback: impl Future<Output = T>) -> Outcome<T> {
    callback::run(callback, |cx| membership.poll_overdue(C::SHUTDOWN, cx)).await
}

/// The tracing span around a callback.
fn span<'a>(membership: &'a Membership, callback: &'static str, event: Option<&'a str>) -> Span<'a> {
    Span { callback, conn: Some(membership.conn()), topic: Some(membership.topic()), event }
}

/// An error and all its causes, on one line. An invalid payload is named by its field, because its text quotes values that
/// a client has sent, which do not belong into a log. Only keys that the client chose itself may be there: those of a map,
/// and unknown ones.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let Some(invalid) = InvalidPayload::find(error) else { return text };
    let field = invalid.field().map(|field| format!(": {field}")).unwrap_or_default();
    text.replace(&invalid.to_string(), &format!("invalid payload{field}"))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use serde_json::json;

    use super::*;
    use crate::{BoxError, IntoPayload};

    #[test]
    fn the_log_of_an_invalid_payload_has_its_field_and_no_value_that_a_client_wrote() {
        #[derive(Debug, serde::Deserialize)]
        struct Post {
            #[expect(dead_code, reason = "it is not read")]
            likes: u8,
        }
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Transparent(InvalidPayload);

        let invalid = |payload: serde_json::Value| {
            payload.into_payload().unwrap().parse::<Post>().map(drop).unwrap_err()
        };
        let field = || invalid(json!({ "likes": "my secret" }));
        let context = Err::<(), _>(field()).context("reading a post").unwrap_err();
        let errors: [(BoxError, &str); 4] = [
            (field().into(), "invalid payload: likes: sent by the client"),
            (Transparent(field()).into(), "invalid payload: likes: sent by the client"),
            (context.into(), "reading a post: invalid payload: likes: sent by the client"),
            (invalid(json!("my secret")).into(), "invalid payload: sent by the client"),
        ];
        for (error, logged) in errors {
            assert_eq!(chain(&*error), logged);
        }
    }
}
