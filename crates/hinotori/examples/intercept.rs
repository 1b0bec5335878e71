//! A broadcast that differs per client: each client's channel sees it first, and can change it or drop it.
//!
//! Run it with `cargo run --example intercept`; HOST, PORT and WORKERS are taken from the environment. A client for
//! Node 22 (`npm install phoenix`, `node client.mjs`); run it as two users at once:
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { params: { user: "ann" } })
//! socket.connect()
//! const room = socket.channel("room:lobby")
//! room.on("message", ({ from, text, mine }) => console.log(mine ? `I said ${text}` : `${from}: ${text}`))
//! room.join()
//! room.push("message", { text: "hello" })
//! room.push("mute", { user: "bob" }) // and nothing that bob says comes any more
//! ```

use std::{collections::HashSet, env, str::FromStr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Default)]
struct Room {
    muted: HashSet<String>,
}

/// What is broadcast to all; `mine` is set per client.
#[derive(Deserialize, Serialize)]
struct Message {
    from: String,
    text: String,
    mine: bool,
}

#[derive(Deserialize)]
struct Say {
    text: String,
}

#[derive(Deserialize)]
struct Mute {
    user: String,
}

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();
    const INTERCEPT: &'static [&'static str] = &["message"];

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self::default())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "message" => {
                let Say { text } = payload.parse()?;
                let from = cx.socket().user.clone();
                cx.broadcast("message", Message { from, text, mine: false })?;
            }
            "mute" => {
                let Mute { user } = payload.parse()?;
                self.muted.insert(user);
            }
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        let mut message: Message = payload.parse()?;
        if self.muted.contains(&message.from) {
            return Ok(());
        }
        message.mine = message.from == cx.socket().user;
        cx.push(event, message)?;
        Ok(())
    }
}

struct UserSocket {
    user: String,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let user = params.get("user").filter(|user| !user.is_empty()).ok_or("there is no user")?.to_owned();
        Ok(Self { user })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        App::new().configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("intercept listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
