//! Rooms with presence: every client sees who joins and leaves, and receives each message.
//!
//! Run it with `cargo run --example presence`; HOST, PORT and WORKERS are taken from the environment. A client for
//! Node 22 (`npm install phoenix`, `node client.mjs`); run it as two users at once:
//!
//! ```js
//! import { Presence, Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { params: { user: "ann" } })
//! socket.connect()
//! const room = socket.channel("room:lobby", { device: "phone" })
//! const presence = new Presence(room)
//! presence.onSync(() => console.log("here:", presence.list(user => user)))
//! room.on("message", ({ from, text }) => console.log(`${from}: ${text}`))
//! room.join()
//! room.push("message", { text: "hello" })
//! ```

use std::{env, str::FromStr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Presence, Refused, Reply, Result, Routes,
    Server, SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

struct Room;

/// What a client sends about itself when it joins, and what the others see of it.
#[derive(Deserialize, Serialize)]
struct Meta {
    device: String,
}

#[derive(Deserialize)]
struct Say {
    text: String,
}

impl Channel for Room {
    type Socket = UserSocket;
    /// After the join, tracks the client under its user.
    type Info = Meta;

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        // nothing can be pushed before the client knows that it has joined
        cx.send_self(payload.parse()?);
        Join::ok(Self)
    }

    async fn handle_info(&mut self, meta: Meta, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { user, presence } = cx.socket();
        presence.track(cx, user, meta).await?;
        cx.push("presence_state", presence.list(cx.topic()))?;
        Ok(())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "message" => {
                let Say { text } = payload.parse()?;
                cx.broadcast("message", json!({ "from": cx.socket().user, "text": text }))?;
                Reply::none()
            }
            _ => cx.unhandled(event),
        }
    }
}

struct UserSocket {
    user: String,
    presence: Presence,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let user = params.get("user").filter(|user| !user.is_empty()).ok_or("there is no user")?.to_owned();
        let presence = info.data::<Presence>()?.clone();
        Ok(Self { user, presence })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let presence = Presence::new(&endpoint);
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(presence.clone())
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("presence listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
