//! What a client does on a channel: it broadcasts, is present, and renews its token.

use hinotori::{Channel, Context, Join, Payload, PayloadError, Reply, Result, TimerRef};
use serde_json::{Value, json};

use crate::{
    join_config::JoinConfig,
    refusal::Refusal,
    session::Session,
    tracked::{Change, Tracked},
    user_socket::UserSocket,
};

/// What stands before a channel's name in its topic.
pub(crate) const TOPIC: &str = "realtime:";
/// The scope of private channels: those of a public channel of the same name hear nothing of them.
pub(crate) const PRIVATE: &str = "private";
/// The event of all broadcasts.
pub(crate) const BROADCAST: &str = "broadcast";

/// See the module.
pub(crate) struct RealtimeChannel {
    config: JoinConfig,
    session: Session,
    tracked: Tracked,
    /// When the token is checked again.
    check: Option<TimerRef>,
}

pub(crate) enum Info {
    /// The client has the reply to its join.
    Joined,
    CheckToken,
}

impl Channel for RealtimeChannel {
    type Socket = UserSocket;
    type Info = Info;

    async fn join(topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        match Self::admit(topic, &payload, cx.socket()) {
            Ok(channel) => {
                if channel.config.private {
                    cx.scope(PRIVATE);
                }
                cx.send_self(Info::Joined);
                Join::reply(channel, json!({ "postgres_changes": [] }))
            }
            Err(refusal) => {
                cx.socket().project.meters.refused(&refusal);
                Join::refuse(refusal.response())
            }
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            BROADCAST => self.broadcast(payload, cx),
            "presence" => self.presence(&payload, cx).await,
            "access_token" => {
                let token = payload.parse().unwrap_or(Value::Null);
                match self.session.renew(&cx.socket().project, &token) {
                    Ok(true) => self.check_later(cx),
                    Ok(false) => {}
                    Err(refusal) => self.close(&refusal, cx)?,
                }
                Reply::none()
            }
            // clients of other versions may know more
            _ => Reply::none(),
        }
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<()> {
        match info {
            Info::Joined => {
                self.check_later(cx);
                if self.config.presence {
                    self.push_presences(cx)?;
                }
            }
            Info::CheckToken => match self.session.check(&cx.socket().project) {
                Ok(()) => self.check_later(cx),
                Err(refusal) => self.close(&refusal, cx)?,
            },
        }
        Ok(())
    }
}

impl RealtimeChannel {
    fn admit(topic: &str, payload: &Payload, socket: &UserSocket) -> Result<Self, Refusal> {
        let name = topic.strip_prefix(TOPIC).filter(|name| !name.is_empty()).ok_or(Refusal::NoTopic)?;
        let payload = payload.parse().unwrap_or(Value::Null);
        let config = JoinConfig::read(&payload);
        let session = Session::open(socket, name, config.private, &payload)?;
        if config.postgres_changes {
            return Err(Refusal::PostgresChanges);
        }
        let tracked = Tracked::new(config.key.clone());
        Ok(Self { config, session, tracked, check: None })
    }

    /// Passes a message on as it came. One that the client may not send, or that is none, is dropped.
    fn broadcast(&self, payload: Payload, cx: &Context<Self>) -> Result {
        let is_message = payload.is_object() || payload.is_user_broadcast();
        if !is_message || !self.session.access().write {
            return Reply::none();
        }
        if self.config.to_self {
            cx.broadcast(BROADCAST, payload)?;
        } else {
            cx.broadcast_from(BROADCAST, payload)?;
        }
        cx.socket().project.meters.websocket.inc();
        if self.config.ack { Reply::ok(json!({})) } else { Reply::none() }
    }

    async fn presence(&mut self, payload: &Payload, cx: &Context<Self>) -> Result {
        let Some(change) = Change::read(payload) else {
            return Reply::error(json!({ "reason": "Presence track payload must be a map" }));
        };
        match change {
            Change::Track(_) if !self.session.access().write => {
                return Reply::error(
                    json!({ "reason": "Unauthorized: You do not have permissions to be present" }),
                );
            }
            Change::Track(meta) => {
                self.tracked.track(cx, meta).await?;
                // from now on it is told of the others, so it must know who is there
                if !std::mem::replace(&mut self.config.presence, true) {
                    self.push_presences(cx)?;
                }
            }
            Change::Untrack => self.tracked.untrack(cx),
            Change::Nothing => {}
        }
        Reply::ok(json!({}))
    }

    fn push_presences(&self, cx: &Context<Self>) -> Result<(), PayloadError> {
        cx.push("presence_state", cx.socket().project.presence.list(cx.pubsub_topic()))
    }

    fn check_later(&mut self, cx: &mut Context<Self>) {
        if let Some(timer) = self.check.take() {
            cx.cancel_timer(timer);
        }
        self.check = Some(cx.send_after(self.session.next_check(), Info::CheckToken));
    }

    /// Tells the client why, and ends the channel.
    fn close(&self, refusal: &Refusal, cx: &mut Context<Self>) -> Result<(), PayloadError> {
        cx.socket().project.meters.refused(refusal);
        let (message, channel) = (refusal.to_string(), self.session.channel());
        let system =
            json!({ "extension": "system", "status": "error", "message": message, "channel": channel });
        cx.push("system", system)?;
        cx.stop();
        Ok(())
    }
}
