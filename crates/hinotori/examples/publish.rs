//! Broadcasts from outside channels: from an ordinary HTTP handler, and from a background task.
//!
//! Run it with `cargo run --example publish`; HOST, PORT and WORKERS are taken from the environment. A listener for
//! Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const [room, clock] = [socket.channel("room:news"), socket.channel("clock")]
//! room.on("message", message => console.log("news:", message))
//! clock.on("tick", ({ n }) => console.log("tick", n))
//! room.join()
//! clock.join()
//! ```
//!
//! Publish to its room:
//!
//! ```sh
//! curl localhost:4000/rooms/news -H 'content-type: application/json' -d '{"text": "hello"}'
//! ```

use std::{env, str::FromStr, time::Duration};

use actix_web::{
    App, HttpResponse, Responder,
    error::ErrorInternalServerError,
    rt::{self, time::interval},
    web::{self, Data, Json, Path},
};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, PayloadError, Refused, Result, Routes,
    Server, SocketHandler, SocketOptions,
};
use serde_json::{Map, Value, json};

async fn publish(
    endpoint: Data<Endpoint>,
    room: Path<String>,
    message: Json<Map<String, Value>>,
) -> actix_web::Result<impl Responder> {
    endpoint.broadcast(&format!("room:{room}"), "message", message).map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Accepted())
}

async fn tick(endpoint: Endpoint) -> std::result::Result<(), PayloadError> {
    let mut seconds = interval(Duration::from_secs(1));
    for n in 1_u64.. {
        seconds.tick().await;
        endpoint.broadcast("clock", "tick", json!({ "n": n }))?;
    }
    Ok(())
}

/// Does nothing itself: broadcasts reach its client without passing through it.
struct Listener;

impl Channel for Listener {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> Result {
        cx.unhandled(event)
    }
}

/// Anyone may connect.
struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Listener>("room:*").channel::<Listener>("clock");
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    rt::spawn(tick(endpoint.clone()));
    let sockets = Data::new(endpoint.clone());
    let server = Server::new(&endpoint, move || {
        App::new()
            .app_data(sockets.clone())
            .route("/rooms/{room}", web::post().to(publish))
            .configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("publish listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
