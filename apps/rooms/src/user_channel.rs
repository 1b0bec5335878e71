//! `user:<id>`: the rooms of a user, and what the user has not read.
//!
//! The channel counts unread messages itself: a post is one broadcast on the room's activity topic, and no query, however many
//! members there are.

mod counters;
mod requests;

use counters::Counters;
use hinotori::{Channel, Context, Join, Payload, Result};
use serde_json::json;

use crate::{answer, failure::Failure, fields::Fields, topics, user_socket::UserSocket};

/// A user on one device.
#[derive(Debug)]
pub struct UserChannel {
    counters: Counters,
}

impl Channel for UserChannel {
    type Socket = UserSocket;
    type Info = ();

    async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let me = cx.socket().user_id.clone();
        if topic.strip_prefix("user:") != Some(&me) {
            return Join::refuse(Failure::NotFound.reason());
        }
        // before the rooms are read: nothing is missed in between
        cx.subscribe(&topics::control(&me));
        let mut counters = Counters::of(me);
        match counters.load_all(cx).await {
            Ok(rooms) => Join::reply(Self { counters }, json!({ "rooms": rooms })),
            Err(failure) => Join::refuse(failure.logged().reason()),
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        if event == "rooms" {
            let rooms = self.counters.load_all(cx).await;
            return answer::reply(Some(rooms.map(|rooms| json!({ "rooms": rooms }))), event, cx);
        }
        let answer = requests::answer(event, &Fields::of(&payload), cx.socket()).await;
        answer::reply(answer, event, cx)
    }

    async fn handle_broadcast(
        &mut self,
        _topic: &str,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> Result<()> {
        self.counters.handle(event, &payload, cx).await
    }
}
