//! `room:<id>`: the messages of a room.

mod requests;

use std::time::Duration;

use hinotori::{Channel, Context, Join, Payload, Reply, Result};
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer,
    domain::{change, permissions},
    failure::Failure,
    fields::Fields,
    ids, topics,
    user_socket::UserSocket,
};

/// How often a channel asks whether its user is still a member: the broadcast that says so may be lost between nodes.
const CHECK: Duration = Duration::from_secs(60);

/// A user in a room.
#[derive(Debug)]
pub struct RoomChannel {
    room_id: String,
}

/// It is time to ask whether the user is still a member.
#[derive(Debug, Clone)]
pub struct Check;

/// The user is no member of a room any more.
#[derive(Debug, Deserialize)]
struct Left {
    room_id: String,
}

impl Channel for RoomChannel {
    type Socket = UserSocket;
    type Info = Check;

    async fn join(topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Some(room_id) = topic.strip_prefix("room:").filter(|id| ids::is_valid(id)).map(str::to_owned)
        else {
            return Join::refuse(Failure::NotFound.reason());
        };
        // from now on nothing is missed: broadcasts wait for the answer, and so does the end of the membership
        let cursor = match cx.recover(&payload) {
            Ok(Some(cursor)) => cursor,
            Err(invalid) if invalid.field() == Some("epoch") => {
                return Join::refuse(Failure::Invalid("epoch").reason());
            }
            _ => return Join::refuse(Failure::Invalid("last_seen_id").reason()),
        };
        cx.subscribe(&topics::control(&cx.socket().user_id));
        let id = room_id.clone();
        match cx.socket().read(move |tx, me| change::recover(tx, me, &id, cursor)).await {
            Ok(recovery) => {
                cx.send_every(CHECK, Check);
                Join::recovered(Self { room_id }, recovery)
            }
            Err(failure) => Join::refuse(failure.logged().reason()),
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        if event == "typing" {
            let me = &cx.socket().user_id;
            cx.broadcast_latest_from(me, "typing", json!({ "user_id": me }))?;
            return Reply::none();
        }
        let answer = requests::answer(event, &self.room_id, &Fields::of(&payload), cx.socket()).await;
        answer::reply(answer, event, cx)
    }

    async fn handle_broadcast(
        &mut self,
        _topic: &str,
        event: &str,
        payload: Payload,
        cx: &mut Context<Self>,
    ) -> Result<()> {
        if event == "left" && payload.parse::<Left>()?.room_id == self.room_id {
            cx.stop();
        }
        Ok(())
    }

    async fn handle_info(&mut self, Check: Check, cx: &mut Context<Self>) -> Result<()> {
        let id = self.room_id.clone();
        let is_member = cx.socket().read(move |tx, me| permissions::member(tx, me, &id).map(drop)).await;
        if let Err(Failure::NotFound | Failure::Forbidden) = is_member {
            cx.stop();
        }
        Ok(())
    }
}
