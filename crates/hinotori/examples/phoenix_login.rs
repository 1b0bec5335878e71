//! Login by the token of a Phoenix server: who is logged in there is logged in here, while an application moves.
//!
//! Run it with `cargo run --example phoenix_login --features phoenix-token`; HOST, PORT, WORKERS and SECRET_KEY_BASE are
//! taken from the environment. SECRET_KEY_BASE is that of the Phoenix server, which signs
//!
//! ```elixir
//! Phoenix.Token.sign(MyAppWeb.Endpoint, "user socket", %{id: user.id, role: user.role})
//! ```
//!
//! and whose page connects to both servers with `new Socket(url, {authToken: token})`.

use std::{env, io, str::FromStr, time::Duration};

use actix_web::{App, web::Data};
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, PhoenixToken, Refused, Result, Routes,
    Server, SocketHandler, SocketOptions,
};
use serde::{Deserialize, Serialize};

/// The salt of the Phoenix server's calls of `Phoenix.Token`.
const SALT: &str = "user socket";

/// Two weeks, as Phoenix's guide has it.
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What the Phoenix server signs.
#[derive(Deserialize, Serialize)]
struct User {
    id: u64,
    /// An atom there.
    role: Role,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Admin,
    Guest,
}

impl SocketHandler for User {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(info.data::<PhoenixToken>()?.verify(info.auth_token(), MAX_AGE)?)
    }

    fn id(&self) -> Option<String> {
        Some(format!("users:{}", self.id))
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Me>("me");
    }
}

/// Says who its client is.
struct Me;

impl Channel for Me {
    type Socket = User;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::reply(Self, cx.socket())
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    let tokens = PhoenixToken::new(&secret()?, SALT);
    let tokens = Data::new(tokens.map_err(|error| io::Error::other(format!("SECRET_KEY_BASE: {error}")))?);
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        let options = SocketOptions::default().auth_token(true);
        App::new().app_data(tokens.clone()).configure(sockets.socket::<User>("/socket", options))
    })
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("phoenix_login listening on http://{address}");
    }
    server.run().await
}

/// Without SECRET_KEY_BASE, one that nobody knows: nobody gets in.
fn secret() -> io::Result<String> {
    if let Ok(secret) = env::var("SECRET_KEY_BASE") {
        return Ok(secret);
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
