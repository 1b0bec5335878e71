//! Presence that some clients do not see: each channel intercepts `presence_diff` and leaves out who is invisible. Explained in
//! `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example invisible`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix`, `node client.mjs`); run it as two users at once:
//!
//! ```js
//! import { Presence, Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { params: { user: "ann" } })
//! socket.connect()
//! const room = socket.channel("room:lobby", { invisible: false, staff: false })
//! const presence = new Presence(room)
//! presence.onSync(() => console.log("here:", presence.list(user => user)))
//! room.join()
//! ```

use std::{env, str::FromStr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Presence, Presences, Refused, Result,
    Routes, Server, SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
struct Joining {
    invisible: bool,
    /// Sees everybody. A real server asks its database.
    staff: bool,
}

struct Room {
    staff: bool,
}

struct AfterJoin {
    invisible: bool,
}

#[derive(Deserialize, Serialize)]
struct Diff {
    joins: Presences,
    leaves: Presences,
}

/// Leaves out metas that are invisible, and keys of which no meta is left.
fn hide(presences: &mut Presences) {
    presences.retain(|_, presence| {
        let Some(metas) = presence["metas"].as_array_mut() else { return false };
        metas.retain(|meta| meta["invisible"] != true);
        !metas.is_empty()
    });
}

impl Channel for Room {
    type Socket = UserSocket;
    type Info = AfterJoin;
    const INTERCEPT: &'static [&'static str] = &["presence_diff"];

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Joining { invisible, staff } = payload.parse()?;
        cx.send_self(AfterJoin { invisible });
        Join::ok(Self { staff })
    }

    async fn handle_info(&mut self, info: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { user, presence } = cx.socket();
        presence.track(cx, user, json!({ "invisible": info.invisible })).await?;
        let mut state = presence.list(cx.topic());
        if !self.staff {
            hide(&mut state);
        }
        Ok(cx.push("presence_state", state)?)
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        if self.staff {
            return Ok(cx.push(event, payload)?);
        }
        let mut diff: Diff = payload.parse()?;
        hide(&mut diff.joins);
        hide(&mut diff.leaves);
        if !diff.joins.is_empty() || !diff.leaves.is_empty() {
            cx.push(event, diff)?;
        }
        Ok(())
    }
}

struct UserSocket {
    user: String,
    presence: Presence,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let user = params.get("user").ok_or("there is no user")?.to_owned();
        Ok(Self { user, presence: info.data::<Presence>()?.clone() })
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
        println!("invisible listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
