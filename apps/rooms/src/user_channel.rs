//! `user:<id>`: the rooms of a user, and what the user has not read.
//!
//! The channel counts unread messages itself: a post is one broadcast on the room's activity topic, and no query, however many
//! members there are.

mod counters;
mod requests;

use counters::Counters;
use hinotori::{Channel, Context, Join, Payload, Reply, Result};
use serde_json::json;

use crate::{domain::rooms, failure::Failure, fields::Fields, topics, user_socket::UserSocket};

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
        match cx.socket().read(rooms::ids_of_user).await {
            Ok(ids) => ids.iter().for_each(|id| counters.enter(id, cx)),
            Err(failure) => return Join::refuse(failure.logged().reason()),
        }
        match cx.socket().read(rooms::of_user).await {
            Ok(rooms) => {
                for room in &rooms {
                    counters.enter(&room.shared.id, cx);
                    counters.set(&room.shared.id, room.read);
                }
                Join::reply(Self { counters }, json!({ "rooms": rooms }))
            }
            Err(failure) => Join::refuse(failure.logged().reason()),
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let fields = Fields::of(&payload);
        match requests::answer(event, &fields, cx.socket()).await {
            None => cx.unhandled(event),
            Some(Ok(answer)) => Reply::ok(answer),
            Some(Err(failure)) => failure.reply(),
        }
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
