//! The smallest channel: each message of a client is answered with the same message.
//!
//! Run it with `cargo run --example echo`; HOST, PORT and WORKERS are taken from the environment. A client for
//! Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const room = socket.channel("echo:room")
//! room.join()
//! room.push("echo", { text: "hello" }).receive("ok", reply => console.log(reply.text))
//! ```

use std::{env, str::FromStr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions,
};

struct Echo;

impl Channel for Echo {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self)
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "echo" => Reply::ok(payload),
            _ => cx.unhandled(event),
        }
    }
}

/// Anyone may connect.
struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Echo>("echo:*");
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
        println!("echo listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
