//! Login by a JWT: whoever issues it and the socket share a secret, and the socket's `connect` verifies it.
//!
//! Run it with `cargo run --example jwt_login`; HOST, PORT, WORKERS and SECRET are taken from the environment. Then
//!
//! ```sh
//! curl localhost:4000/login -H 'content-type: application/json' -d '{"name": "ann"}'
//! ```
//!
//! and, in Node 22 (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket", { authToken: "<token>" })
//! socket.connect()
//! socket.channel("inbox:ann").join().receive("ok", () => console.log("in"))
//! ```
//!
//! Here the server issues the tokens itself; with another issuer, leave `/login` out. Where that signs by a private key,
//! `DecodingKey::from_rsa_pem` or `from_ec_pem` takes its public key. Without a token, or with one that is not good,
//! the client gets 401, and the log has the reason.

use std::{
    env, io,
    str::FromStr,
    time::{Duration, SystemTime},
};

use actix_web::{
    App, Responder,
    error::ErrorInternalServerError,
    http::StatusCode,
    web::{self, Data, Json},
};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes, Server,
    SocketHandler, SocketOptions,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Who may read the tokens: those for other servers are not good here.
const AUDIENCE: &str = "inbox";

struct Keys {
    sign: EncodingKey,
    verify: DecodingKey,
    /// The algorithm is ours to choose: what a token says of it must be this.
    rules: Validation,
}

impl Keys {
    fn new(secret: &[u8]) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "aud", "sub"]);
        Self { sign: EncodingKey::from_secret(secret), verify: DecodingKey::from_secret(secret), rules }
    }

    /// Whose token it is.
    fn name_in(&self, token: Option<&str>) -> Result<String> {
        let token = token.ok_or("there is no token")?;
        Ok(decode::<Claims>(token, &self.verify, &self.rules)?.claims.sub)
    }
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    /// Seconds since the Unix epoch.
    exp: u64,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(keys: Data<Keys>, login: Json<Login>) -> actix_web::Result<impl Responder> {
    // here an application asks for a password
    let end = SystemTime::now() + MAX_AGE;
    let exp = end.duration_since(SystemTime::UNIX_EPOCH).map_err(ErrorInternalServerError)?.as_secs();
    let claims = Claims { sub: login.into_inner().name, aud: AUDIENCE.to_owned(), exp };
    let token = encode(&Header::default(), &claims, &keys.sign).map_err(ErrorInternalServerError)?;
    Ok(Json(json!({ "token": token })))
}

struct UserSocket {
    name: String,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let token = info.auth_token().or_else(|| params.get("token"));
        let name = info.data::<Keys>()?.name_in(token);
        let name = name.map_err(|why| Refused::from(why).with_status(StatusCode::UNAUTHORIZED))?;
        Ok(Self { name })
    }

    fn id(&self) -> Option<String> {
        Some(format!("users:{}", self.name))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Inbox>("inbox:*");
    }
}

/// What is for one user alone.
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
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    let keys = Data::new(Keys::new(&secret()?));
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        let options = SocketOptions::default().auth_token(true);
        App::new()
            .app_data(keys.clone())
            .route("/login", web::post().to(login))
            .configure(sockets.socket::<UserSocket>("/socket", options))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("jwt_login listening on http://{address}");
    }
    server.run().await
}

/// Without SECRET, one that lives as long as the process: nobody stays logged in over a restart.
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
