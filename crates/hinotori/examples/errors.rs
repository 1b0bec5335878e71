//! Errors of an application: one type says which of them the client is told and which crash the channel. Explained in
//! `docs/RECIPES.md`.
//!
//! Run it with `cargo run --example errors`; HOST, PORT and WORKERS are taken from the environment. A client for Node 22
//! (`npm install phoenix`, `node client.mjs`):
//!
//! ```js
//! import { Socket } from "phoenix"
//! const socket = new Socket("ws://localhost:4000/socket")
//! socket.connect()
//! const account = socket.channel("account")
//! account.join()
//! account.push("withdraw", { amount: 30 }).receive("ok", ({ balance }) => console.log(balance))
//! account.push("withdraw", { amount: 90 }).receive("error", ({ reason }) => console.log(reason))
//! account.push("export", { path: "/no/such/file" }) // the channel crashes, and phoenix.js joins again
//! ```

use std::{env, fs, str::FromStr};

use actix_web::{App, web};
use anyhow::Context as _;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, InvalidPayload, Join, Params, Payload, Refused, Reply, Result,
    Routes, Server, SocketHandler, SocketOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Why an event is not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("only {balance} left")]
    Overdrawn { balance: u64 },
    #[error(transparent)]
    InvalidPayload(#[from] InvalidPayload),
    #[error("no such event: {0}")]
    UnknownEvent(String),
    /// A fault of the server: the client is not told what it is.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

struct Account {
    balance: u64,
}

#[derive(Deserialize)]
struct Withdraw {
    amount: u64,
}

#[derive(Deserialize)]
struct Export {
    path: String,
}

impl Account {
    async fn handle(&mut self, event: &str, payload: &Payload) -> Result<Value, Failure> {
        match event {
            "withdraw" => {
                let Withdraw { amount } = payload.parse()?;
                let balance = self.balance;
                self.balance = balance.checked_sub(amount).ok_or(Failure::Overdrawn { balance })?;
                Ok(json!({ "balance": self.balance }))
            }
            "export" => {
                let Export { path } = payload.parse()?;
                export(path, self.balance).await?;
                Ok(json!({}))
            }
            _ => Err(Failure::UnknownEvent(event.to_owned())),
        }
    }
}

/// Functions below the channel return `anyhow::Result` and say with `context` what they were doing.
async fn export(path: String, balance: u64) -> anyhow::Result<()> {
    let text = balance.to_string();
    let written = web::block(move || fs::write(path, text)).await.context("no thread for the export")?;
    written.context("writing the export")
}

impl Channel for Account {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        Join::ok(Self { balance: 100 })
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, _cx: &mut Context<Self>) -> Result {
        match self.handle(event, &payload).await {
            Ok(response) => Reply::ok(response),
            Err(error @ Failure::Overdrawn { .. }) => Reply::error(json!({ "reason": error.to_string() })),
            // an invalid payload is answered by the library; whatever else crashes the channel
            Err(error) => Err(error.into()),
        }
    }
}

struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Account>("account");
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
        println!("errors listening on http://{address}");
    }
    server.run().await
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
