//! Makes a message of a request one of its channel.

use hinotori::{Endpoint, IntoPayload, Payload, UserBroadcast, scoped_topic};
use serde_json::Value;

use super::problem::Problem;
use crate::{
    access::Access,
    claims::Claims,
    realtime_channel::{BROADCAST, PRIVATE, TOPIC},
    user_socket::Project,
};

/// Bytes that a topic may have in a message with bytes.
const MAX_TOPIC: usize = 255;

/// A message that is fit to be sent.
pub(super) struct Outgoing {
    channel: String,
    is_private: bool,
    payload: Payload,
}

impl Outgoing {
    /// Checks a message.
    pub(super) fn new(channel: String, is_private: bool, message: UserBroadcast) -> Result<Self, Problem> {
        let invalid = |why: &str| Err(Problem::Invalid(why.to_owned()));
        if channel.is_empty() {
            return invalid("topic: can't be blank");
        }
        if message.event.is_empty() {
            return invalid("event: can't be blank");
        }
        let payload = message.into_payload().map_err(|error| Problem::Invalid(error.to_string()))?;
        if payload.is_user_broadcast() && TOPIC.len() + channel.len() > MAX_TOPIC {
            return invalid("topic: too long for a message with bytes");
        }
        // what is sent on as text must be readable to every client, as what clients send is
        if payload.is_json() && payload.parse::<Value>().is_err() {
            return invalid("payload: not JSON that every client can read");
        }
        Ok(Self { channel, is_private, payload })
    }

    /// Sends it, unless its channel is private and not granted: such a message is skipped.
    pub(super) fn publish(
        self,
        claims: &Claims,
        project: &Project,
        endpoint: &Endpoint,
    ) -> Result<(), Problem> {
        let Self { channel, is_private, payload } = self;
        if is_private && !Access::to(&channel, claims, project.rule).write {
            project.meters.skipped.inc();
            return Ok(());
        }
        let topic = format!("{TOPIC}{channel}");
        let topic = if is_private { scoped_topic(PRIVATE, &topic) } else { topic };
        endpoint
            .broadcast(&topic, BROADCAST, payload)
            .map_err(|error| Problem::Invalid(error.to_string()))?;
        project.meters.http.inc();
        Ok(())
    }
}
