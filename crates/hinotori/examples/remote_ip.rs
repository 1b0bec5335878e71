//! A client's address behind a proxy: a channel that sends each client its address, and the address of the other end of
//! its connection.
//!
//! Run it with `cargo run --example remote_ip`, join `address` at `ws://localhost:4000/socket`, and look at the reply.
//! With `TRUSTED_PROXIES=127.0.0.1` and a proxy on this machine in front of it, `remote_ip` is the address that the
//! proxy adds to `X-Forwarded-For`.

use std::{env, net::IpAddr};

use actix_web::App;
use hinotori::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes, Server,
    SocketHandler, SocketOptions, TrustedProxies,
};
use serde_json::json;

struct UserSocket {
    remote_ip: Option<IpAddr>,
    peer: Option<IpAddr>,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        Ok(Self { remote_ip: info.remote_ip(), peer: info.peer() })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Address>("address");
    }
}

struct Address;

impl Channel for Address {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let UserSocket { remote_ip, peer } = cx.socket();
        Join::reply(Self, json!({ "remote_ip": remote_ip, "peer": peer }))
    }

    async fn handle_in(&mut self, event: &str, _payload: Payload, cx: &mut Context<Self>) -> Result {
        cx.unhandled(event)
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4000);
    let proxies = env::var("TRUSTED_PROXIES").unwrap_or_default();
    let proxies: TrustedProxies = proxies.parse().map_err(std::io::Error::other)?;
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        let options = SocketOptions::default().trusted_proxies(proxies.clone());
        App::new().configure(sockets.socket::<UserSocket>("/socket", options))
    })
    .bind((host, port))?;
    for address in server.addrs() {
        println!("remote_ip listening on http://{address}");
    }
    server.run().await
}
