//! Login with a signed token: an HTTP handler issues it, the socket's `connect` verifies it, and logout closes the
//! sockets.
//!
//! Run it with `cargo run --example token_login`; HOST, PORT, WORKERS and SECRET are taken from the environment. Then
//!
//! ```sh
//! curl localhost:4000/login -H 'content-type: application/json' -d '{"name": "ann"}'
//! curl localhost:4000/logout/ann -X POST
//! ```
//!
//! and between the two, in Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { authToken: "<token>" })
//! socket.onClose(({ code }) => console.log("closed with", code))
//! socket.connect()
//! socket.channel("inbox:ann").join().receive("ok", () => console.log("in"))
//! ```
//!
//! Clients without `authToken` (phoenix.js before 1.8) send `params: { token: "<token>" }`. This example does not check
//! who may log in or log out, and has no list of revoked tokens: until a token expires, it connects again.

use std::{env, io, str::FromStr, time::Duration};

use actix_web::{
    App, HttpResponse, Responder,
    error::ErrorInternalServerError,
    web::{self, Data, Json, Path},
};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes, Server,
    SocketHandler, SocketOptions, Token,
};
use serde::Deserialize;
use serde_json::json;

const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(token: Data<Token>, login: Json<Login>) -> actix_web::Result<impl Responder> {
    // an application would check a password here
    let signed = token.sign(&login.name).map_err(ErrorInternalServerError)?;
    Ok(Json(json!({ "token": signed })))
}

async fn logout(endpoint: Data<Endpoint>, name: Path<String>) -> actix_web::Result<impl Responder> {
    endpoint.disconnect(&id_of(&name));
    Ok(HttpResponse::NoContent())
}

fn id_of(name: &str) -> String {
    format!("users:{name}")
}

struct UserSocket {
    name: String,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let signed = info.auth_token().or_else(|| params.get("token"));
        Ok(Self { name: info.data::<Token>()?.verify(signed, MAX_AGE)? })
    }

    fn id(&self) -> Option<String> {
        Some(id_of(&self.name))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Inbox>("inbox:*");
    }
}

/// A channel for one user only.
struct Inbox;

impl Channel for Inbox {
    type Socket = UserSocket;
    type Info = ();

    async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        match topic.strip_prefix("inbox:") {
            Some(name) if name == cx.socket().name => Join::ok(Self),
            _ => Join::refuse(json!({ "reason": "unauthorized" })),
        }
    }

    async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> Result {
        cx.unhandled(event)
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    let token = Token::new("user socket", &[&secret()?]);
    let token = Data::new(token.map_err(|error| io::Error::other(format!("SECRET: {error}")))?);
    let endpoint = Endpoint::new();
    let sockets = Data::new(endpoint.clone());
    let server = Server::new(&endpoint, move || {
        let options = SocketOptions::default().auth_token(true);
        App::new()
            .app_data(token.clone())
            .app_data(sockets.clone())
            .route("/login", web::post().to(login))
            .route("/logout/{name}", web::post().to(logout))
            .configure(sockets.socket::<UserSocket>("/socket", options))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("token_login listening on http://{address}");
    }
    server.run().await
}

/// Without SECRET, a secret that lasts as long as the process: logins do not survive a restart.
fn secret() -> io::Result<Vec<u8>> {
    if let Ok(secret) = env::var("SECRET") {
        return Ok(secret.into_bytes());
    }
    let mut random = vec![0; 32];
    getrandom::fill(&mut random)?;
    Ok(random)
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
