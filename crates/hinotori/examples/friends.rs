//! Presence beyond the own topic: each client sees which of its friends are online, wherever they are. Explained in
//! `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example friends`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix`, `node client.mjs`); run it as two users at once:
//!
//! ```js
//! import { Presence, Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { params: { user: "ann" } })
//! socket.connect()
//! const friends = socket.channel("friends", { friends: ["bob", "carol"] })
//! const presence = new Presence(friends)
//! presence.onSync(() => console.log("online:", presence.list(user => user)))
//! friends.join()
//! friends.push("status", { status: "busy" })
//! ```

use std::{env, str::FromStr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Presence, Presences, Refused, Reply,
    Result, Routes, Server, SocketHandler, SocketOptions,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Joining {
    friends: Vec<String>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

struct AfterJoin;

struct Friends {
    friends: Vec<String>,
}

/// The topic of one user's presence. No client can join it: no channel serves it.
fn online(user: &str) -> String {
    format!("online:{user}")
}

impl Channel for Friends {
    type Socket = UserSocket;
    type Info = AfterJoin;

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let Joining { mut friends } = payload.parse()?;
        friends.sort();
        friends.dedup();
        for friend in &friends {
            cx.subscribe(&online(friend));
        }
        cx.send_self(AfterJoin);
        Join::ok(Self { friends })
    }

    async fn handle_info(&mut self, AfterJoin: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let UserSocket { user, presence } = cx.socket();
        presence.track_on(cx, &online(user), user, json!({ "status": "free" })).await?;
        let mut state = Presences::new();
        for friend in &self.friends {
            state.extend(presence.list(&online(friend)));
        }
        Ok(cx.push("presence_state", state)?)
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let UserSocket { user, presence } = cx.socket();
        match event {
            "status" => {
                let Status { status } = payload.parse()?;
                presence.update_on(cx, &online(user), user, |meta| {
                    _ = meta.insert("status".into(), status.into())
                })?;
                Reply::none()
            }
            _ => cx.unhandled(event),
        }
    }

    // `handle_broadcast` pushes each friend's `presence_diff` to the client, on this channel's topic: that is its default
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
        routes.channel::<Friends>("friends");
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
        println!("friends listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
