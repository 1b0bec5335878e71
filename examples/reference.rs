//! A server with a channel for every rule of the protocol: what the recorded conversations in `tests/fixtures` talk to.
//!
//! Run it with `cargo run --example reference`; HOST, PORT and WORKERS are taken from the environment.

use std::{env, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, web};
use hinotori::{
    Channel, CheckOrigin, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Reply, Result,
    Routes, SocketHandler, SocketOptions,
};
use serde_json::{Value, json};

/// Anyone may connect.
struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<RefChannel>("ref:*");
    }
}

/// One event for each thing that a channel can do.
struct RefChannel;

impl Channel for RefChannel {
    type Socket = UserSocket;
    type Info = ();

    async fn join(_topic: &str, payload: Payload, _cx: &mut Context<Self>) -> Result<Join<Self>> {
        let value: Value = payload.parse()?;
        if value["deny"] == true {
            return Join::refuse(json!({ "reason": "denied" }));
        }
        assert!(value["crash"] != true, "join told to crash");
        Join::reply(Self, json!({ "echo": value }))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        match event {
            "echo" | "bin" => return Reply::ok(payload),
            "echo_error" => return Reply::error(payload),
            "reply_ok" => return Reply::ok(json!({})),
            "reply_error" => return Reply::error(json!({})),
            "noreply" => {}
            "bcast" | "bin_bcast" => cx.broadcast(event, payload)?,
            "bcast_from" => cx.broadcast_from(event, payload)?,
            "push" => cx.push("pushed", payload)?,
            "bin_push" => cx.push("bin_pushed", payload)?,
            "async_echo" => reply_from_another_thread(payload, cx),
            "sleep" => return sleep(&payload).await,
            "stop" => cx.stop(),
            "stop_reply" => {
                cx.stop();
                return Reply::ok(payload);
            }
            "crash" => panic!("told to crash"),
            _ => return cx.unhandled(event),
        }
        Reply::none()
    }
}

fn reply_from_another_thread(payload: Payload, cx: &Context<RefChannel>) {
    let reply_ref = cx.reply_ref();
    std::thread::spawn(move || {
        if let (Some(reply_ref), Ok(reply)) = (reply_ref, Reply::ok(payload)) {
            reply_ref.reply(reply);
        }
    });
}

/// Keeps the channel busy, and nothing else.
async fn sleep(payload: &Payload) -> Result {
    let value: Value = payload.parse()?;
    let pause = Duration::from_millis(value["ms"].as_u64().unwrap_or_default());
    actix_web::rt::time::sleep(pause).await;
    Reply::ok(json!({}))
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let endpoint = Endpoint::new();
    let sockets = endpoint.clone();
    let server = HttpServer::new(move || {
        let options = SocketOptions { check_origin: CheckOrigin::Off, ..SocketOptions::default() };
        let idle = SocketOptions { timeout: Duration::from_millis(700), ..options.clone() };
        let small = SocketOptions { max_frame_size: 1_000, ..options.clone() };
        App::new()
            .route("/", web::get().to(async || "ok"))
            .configure(sockets.socket::<UserSocket>("/socket", options))
            .configure(sockets.socket::<UserSocket>("/idle", idle))
            .configure(sockets.socket::<UserSocket>("/small", small))
            .default_service(web::to(async || HttpResponse::NotFound().body("Not Found")))
    })
    .client_disconnect_timeout(Duration::ZERO)
    .tcp_nodelay(true)
    .shutdown_timeout(1)
    .disable_signals()
    .workers(setting("WORKERS", 2))
    .bind((setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)))?;
    for address in server.addrs() {
        println!("reference listening on http://{address}");
    }
    endpoint.serve(server.run()).await
}
