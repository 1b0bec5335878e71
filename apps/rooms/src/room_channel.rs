//! `room:<id>`: the messages of a room.

use std::time::Duration;

use hinotori::{Channel, Context, Join, Payload, Reply, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        change,
        messages::{self, Draft},
        permissions, reactions,
    },
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
        let Ok(Some(cursor)) = cx.recover(&payload) else {
            return Join::refuse(Failure::Invalid("last_seen_id").reason());
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
        match self.answer(event, &Fields::of(&payload), cx.socket()).await {
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

impl RoomChannel {
    /// The answer to a message; none if there is no such event.
    async fn answer(
        &self,
        event: &str,
        fields: &Fields,
        socket: &UserSocket,
    ) -> Option<Result<Value, Failure>> {
        let id = self.room_id.clone();
        Some(match event {
            "post" => post(id, fields, socket).await,
            "edit" => edit(id, fields, socket).await,
            "delete" => delete(id, fields, socket).await,
            "react" => react(id, fields, socket).await,
            "before" => before(id, fields, socket).await,
            "around" => around(id, fields, socket).await,
            "changes" => changes(id, fields, socket).await,
            _ => return None,
        })
    }
}

async fn post(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let draft = Draft {
        text: fields.text("text")?,
        nonce: fields.text("nonce")?,
        reply_to: fields.optional_number("reply_to")?,
        picture_id: fields.optional_id("picture_id")?,
    };
    let id = socket.write(move |tx, me| messages::post(tx, me, &room_id, &draft)).await?;
    Ok(json!({ "id": id }))
}

async fn edit(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (id, text) = (fields.number("id")?, fields.text("text")?);
    socket.write(move |tx, me| messages::edit(tx, me, &room_id, id, &text)).await?;
    Ok(json!({}))
}

async fn delete(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let id = fields.number("id")?;
    socket.write(move |tx, me| messages::delete(tx, me, &room_id, id)).await?;
    Ok(json!({}))
}

async fn react(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (id, emoji, on) = (fields.number("id")?, fields.text("emoji")?, fields.flag("on")?);
    socket.write(move |tx, me| reactions::react(tx, me, &room_id, id, &emoji, on)).await?;
    Ok(json!({}))
}

async fn before(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let id = fields.number("id")?;
    Ok(json!(socket.read(move |tx, me| messages::before(tx, me, &room_id, id)).await?))
}

async fn around(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let id = fields.number("id")?;
    Ok(json!(socket.read(move |tx, me| messages::around(tx, me, &room_id, id)).await?))
}

async fn changes(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let position = fields.number("last_seen_id")?;
    let changes = socket.read(move |tx, me| change::missed(tx, me, &room_id, position)).await?;
    Ok(json!({ "changes": changes }))
}
