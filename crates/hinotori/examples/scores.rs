//! Recovery: a client that was away for a moment gets the scores that it missed with its next join, in order and once.
//!
//! Run it with `cargo run --example scores`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! let last = 0, epoch = null // they describe what is shown
//! const scores = socket.channel("scores", () => ({ last_seen_id: last, epoch }))
//! const show = ({ id, home, away }) => console.log(`${id}: ${home} to ${away}`)
//! const seen = score => {
//!   if (score.id <= last) return
//!   if (score.id > last + 1) return scores.push("history", {}) // a loss is never skipped
//!   last = score.id
//!   show(score)
//! }
//! scores.on("score", seen)
//! scores.on("history", history => {
//!   history.messages.forEach(show)
//!   last = history.last_id
//!   epoch = history.epoch
//! })
//! scores.join().receive("ok", reply => reply.messages?.forEach(seen))
//! ```
//!
//! Publish a score, also while the client's network is down:
//!
//! ```sh
//! curl localhost:4000/scores -H 'content-type: application/json' -d '{"home": 1, "away": 0}'
//! ```

use std::{env, str::FromStr, sync::Arc};

use actix_web::{
    App, HttpResponse, Responder,
    error::ErrorInternalServerError,
    web::{self, Data, Json},
};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions, recovery::Backlog,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Score {
    home: u32,
    away: u32,
}

async fn publish(scores: Data<Backlog>, score: Json<Score>) -> actix_web::Result<impl Responder> {
    let Score { home, away } = *score;
    let published = scores.publish(|id| json!({ "id": id, "home": home, "away": away }));
    published.map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Accepted())
}

struct Scores;

impl Channel for Scores {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        match cx.recover(&payload)? {
            Some(cursor) => Join::recovered(Self, cx.socket().scores.since(cursor, "history")),
            None => Join::ok(Self),
        }
    }

    async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "history" => cx.push("history", cx.socket().scores.history())?,
            _ => return cx.unhandled(event),
        }
        Reply::none()
    }
}

struct UserSocket {
    scores: Arc<Backlog>,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let scores = info.app_data::<Data<Backlog>>().ok_or("the App has no scores")?;
        Ok(Self { scores: scores.clone().into_inner() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Scores>("scores");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let scores = Data::new(Backlog::new(endpoint.pubsub(), "scores", "score"));
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(scores.clone())
            .route("/scores", web::post().to(publish))
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("scores listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
