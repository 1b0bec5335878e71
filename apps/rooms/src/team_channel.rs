//! `team`: who there is, and who is online.

use hinotori::{Channel, Context, Join, Payload, Result};
use serde_json::json;

use crate::{
    answer::{done, reply},
    domain::accounts,
    failure::Failure,
    fields::Fields,
    user_socket::UserSocket,
};

/// A connection of a user, as the team sees it.
#[derive(Debug)]
pub struct TeamChannel {
    device: Device,
}

#[derive(Debug, Clone, Copy)]
enum Device {
    Desktop,
    Phone,
}

impl Device {
    fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
        }
    }
}

/// What the channel sends itself when its client has joined.
#[derive(Debug)]
pub struct AfterJoin;

impl Channel for TeamChannel {
    type Socket = UserSocket;
    type Info = AfterJoin;

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let device = match Fields::of(&payload).text("device").as_deref() {
            Ok("desktop") => Device::Desktop,
            Ok("phone") => Device::Phone,
            _ => return Join::refuse(Failure::Invalid("device").reason()),
        };
        // before they are read: none is missed in between
        cx.hold_broadcasts();
        match cx.socket().read(accounts::all).await {
            Ok(users) => {
                cx.send_self(AfterJoin);
                Join::reply(Self { device }, json!({ "users": users }))
            }
            Err(failure) => Join::refuse(failure.logged().reason()),
        }
    }

    async fn handle_info(&mut self, AfterJoin: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { user_id, team, .. } = cx.socket();
        let meta = json!({ "status": "online", "device": self.device.name() });
        team.presence.track(cx, user_id, meta).await?;
        cx.push("presence_state", team.presence.list(cx.topic()))?;
        Ok(())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let fields = Fields::of(&payload);
        let answer = match event {
            "status" => Some(self.set_status(&fields, cx)?.map(done)),
            "remove_user" => Some(remove_user(&fields, cx.socket()).await.map(done)),
            _ => None,
        };
        reply(answer, event, cx)
    }
}

impl TeamChannel {
    fn set_status(&mut self, fields: &Fields, cx: &Context<Self>) -> Result<Result<(), Failure>> {
        let status = match fields.text("status").as_deref() {
            Ok("online") => "online",
            Ok("away") => "away",
            _ => return Ok(Err(Failure::Invalid("status"))),
        };
        let UserSocket { user_id, team, .. } = cx.socket();
        team.presence.update(cx, user_id, |meta| _ = meta.insert("status".into(), status.into()))?;
        Ok(Ok(()))
    }
}

async fn remove_user(fields: &Fields, socket: &UserSocket) -> Result<(), Failure> {
    let user_id = fields.id("user_id")?;
    socket.write(move |tx, me| accounts::remove(tx, me, &user_id)).await
}
