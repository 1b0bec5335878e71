//! A socket without Phoenix's protocol: it sends everything back, text as text and bytes as bytes.
//!
//! Run it with `cargo run --example echo_socket`, then connect to `ws://localhost:4000/echo/websocket`, or to
//! `/deflate/websocket`, which compresses messages.

use std::env;

use actix_web::App;
use hinotori::{
    CheckOrigin, ConnectInfo, Endpoint, Params, RawContext, RawMessage, RawSocket, Refused, Result, Server,
    SocketOptions,
};

struct Echo;

impl RawSocket for Echo {
    type Info = ();

    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, message: RawMessage, cx: &mut RawContext<Self>) -> Result<()> {
        cx.push(message);
        Ok(())
    }
}

/// Large enough for any case of a conformance suite.
const LIMIT: usize = 16 * 1024 * 1024;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4000);
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = Server::new(&endpoint, move || {
        let options = SocketOptions::default()
            .check_origin(CheckOrigin::Off)
            .max_frame_size(LIMIT)
            .max_message_size(LIMIT)
            .outbox_limit(LIMIT);
        let deflate = options.clone().compress(true);
        App::new()
            .configure(sockets.raw_socket::<Echo>("/echo", options))
            .configure(sockets.raw_socket::<Echo>("/deflate", deflate))
    })
    .bind((host, port))?;
    for address in server.addrs() {
        println!("echo_socket listening on http://{address}");
    }
    server.run().await
}
