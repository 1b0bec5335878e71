//! A server with a channel for every rule of the protocol. The recorded conversations in `tests/fixtures` are replayed
//! on it.
//!
//! Run it with `cargo run --example reference`; HOST, PORT, WORKERS, MAX_CONNECTIONS, IDLE_TIMEOUT and DRAIN_GRACE,
//! DRAIN_BATCH, DRAIN_INTERVAL and DRAIN_DEADLINE are taken from the environment. With `HTTP_SERVER=actix` it runs on
//! `actix_web::HttpServer`, with the settings that sockets need. With `CLUSTER=redis://…` or `CLUSTER=postgres://…` it is one
//! of several nodes, whose name is NODE_NAME.

#[path = "reference/more.rs"]
mod more;

use std::{
    env, io,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use hinotori::{
    Channel, CheckOrigin, ConnectInfo, Context, Drainer, Endpoint, EndpointBuilder, Exit, Join, Params,
    Payload, Presence, RawContext, RawMessage, RawSocket, Refused, Reply, Result, Routes, Server,
    SocketHandler, SocketOptions, supervise::log_panics,
};
use hinotori_postgres::Postgres;
use hinotori_redis::Redis;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use more::MoreChannel;

/// What the sockets need of the server.
#[derive(Clone)]
struct Data {
    endpoint: Endpoint,
    presence: Presence,
}

impl Data {
    fn of(info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        info.data::<Self>().cloned()
    }
}

/// Anyone may connect.
struct UserSocket {
    user_id: Option<String>,
    presence: Presence,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let user_id = params.get("user_id").map(str::to_owned);
        Ok(Self { user_id, presence: Data::of(info)?.presence })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes
            .channel::<RefChannel>("ref:*")
            .channel::<PresenceChannel>("presence:*")
            .channel::<MoreChannel>("more:*");
    }
}

/// A channel with one event for each thing that a channel can do.
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
            "panic" => panic!("{}", payload.parse::<Value>()?["why"].as_str().unwrap_or_default()),
            "fail" => return Err(payload.parse::<Value>()?["why"].as_str().unwrap_or_default().into()),
            _ => return cx.unhandled(event),
        }
        Reply::none()
    }

    async fn terminate(&mut self, _exit: &Exit, cx: &mut Context<Self>) {
        match cx.topic() {
            "ref:bad_end" => panic!("terminate told to crash"),
            "ref:slow_end" => {
                actix_web::rt::time::sleep(Duration::from_millis(2_500)).await;
                log::info!("a slow end has come to its end");
            }
            _ => {}
        }
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

/// A user who is present while the channel lives.
struct PresenceChannel {
    key: String,
}

/// The channel's message to itself, with what it will say of itself.
struct AfterJoin {
    meta: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PresenceJoin {
    user_id: Option<String>,
    meta: Value,
}

impl Channel for PresenceChannel {
    type Socket = UserSocket;
    type Info = AfterJoin;

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let PresenceJoin { user_id, meta } = payload.parse().unwrap_or_default();
        let mut meta = meta.as_object().cloned().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        meta.insert("online_at".to_owned(), json!(now.to_string()));
        let key = user_id.or_else(|| cx.socket().user_id.clone()).unwrap_or_else(|| "anon".to_owned());
        cx.send_self(AfterJoin { meta });
        Join::ok(Self { key })
    }

    async fn handle_info(&mut self, AfterJoin { meta }: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
        let presence = &cx.socket().presence;
        presence.track(cx, &self.key, meta).await?;
        cx.push("presence_state", presence.list(cx.topic()))?;
        Ok(())
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let presence = &cx.socket().presence;
        match event {
            "update_meta" => {
                let more: Map<String, Value> = payload.parse()?;
                presence.update(cx, &self.key, |meta| meta.extend(more))?;
                Reply::ok(json!({}))
            }
            "untrack" => {
                presence.untrack(cx, &self.key);
                Reply::ok(json!({}))
            }
            "list" => Reply::ok(presence.list(cx.topic())),
            _ => cx.unhandled(event),
        }
    }
}

/// A socket with everything that its request contained.
struct AuthSocket {
    user_id: Value,
    token: Option<String>,
    params: Map<String, Value>,
    whoami: Value,
    endpoint: Endpoint,
}

impl SocketHandler for AuthSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        match params.get("deny") {
            Some("true" | "reason") => return Err(Refused::because("told to")),
            Some("crash") => panic!("connect told to crash"),
            _ => {}
        }
        let user_id = params.as_map().get("user_id").cloned().unwrap_or_default();
        let token = info.auth_token().map(str::to_owned);
        let whoami = json!({
            "user_id": user_id,
            "token": token,
            "x_headers": info.x_headers(),
            "path": info.path(),
            "user_agent": info.user_agent(),
            "peer": info.peer(),
        });
        let endpoint = Data::of(info)?.endpoint;
        Ok(Self { user_id, token, params: params.as_map().clone(), whoami, endpoint })
    }

    fn id(&self) -> Option<String> {
        self.user_id.as_str().map(user_topic)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<AuthRoom>("room:*");
    }
}

fn user_topic(user_id: &str) -> String {
    format!("users:{user_id}")
}

/// A room in which `shout` is encoded per client.
struct AuthRoom;

#[derive(Deserialize)]
struct Publish {
    topic: String,
    event: String,
    payload: Value,
}

#[derive(Deserialize)]
struct DisconnectUser {
    user_id: String,
}

impl Channel for AuthRoom {
    type Socket = AuthSocket;
    type Info = Payload;
    const INTERCEPT: &'static [&'static str] = &["shout"];

    async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        let AuthSocket { user_id, token, .. } = cx.socket();
        Join::reply(Self, json!({ "user_id": user_id, "token": token }))
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        let socket = cx.socket();
        match event {
            "whoami" => return Reply::ok(&socket.whoami),
            "params" => return Reply::ok(&socket.params),
            "disconnect_user" => {
                let DisconnectUser { user_id } = payload.parse()?;
                socket.endpoint.disconnect(&user_topic(&user_id));
            }
            "publish" => {
                let Publish { topic, event, payload } = payload.parse()?;
                socket.endpoint.broadcast(&topic, &event, payload)?;
            }
            "info" => cx.send_self(payload),
            "sleep" => return sleep(&payload).await,
            "shout" => {
                cx.broadcast("shout", payload)?;
                return Reply::none();
            }
            "shout_from" => cx.broadcast_from("shout", payload)?,
            _ => return cx.unhandled(event),
        }
        Reply::ok(json!({}))
    }

    async fn handle_info(&mut self, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        Ok(cx.push("later", payload)?)
    }

    async fn handle_out(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result<()> {
        let mut payload: Map<String, Value> = payload.parse()?;
        let user_id = &cx.socket().user_id;
        if payload.get("to").is_none_or(|to| to.is_null() || to == user_id) {
            payload.insert("for".to_owned(), user_id.clone());
            cx.push(event, payload)?;
        }
        Ok(())
    }
}

/// Sends everything back, except for two words.
struct Raw;

impl RawSocket for Raw {
    type Info = ();

    async fn connect(_params: &Params, _info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, message: RawMessage, cx: &mut RawContext<Self>) -> Result<()> {
        match &message {
            RawMessage::Text(text) if text == "crash" => panic!("told to crash"),
            RawMessage::Text(text) if text == "close" => cx.close(),
            _ => cx.push(message),
        }
        Ok(())
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// An endpoint, which is a node of several with CLUSTER.
fn node() -> io::Result<EndpointBuilder> {
    let builder = match env::var("NODE_NAME") {
        Ok(name) => Endpoint::builder().node_name(&name),
        Err(_) => Endpoint::builder(),
    };
    match env::var("CLUSTER") {
        Ok(address) if address.starts_with("postgres") => {
            Ok(builder.adapter(Postgres::new(&address).map_err(io::Error::other)?))
        }
        Ok(address) => Ok(builder.adapter(Redis::new(&address).map_err(io::Error::other)?)),
        Err(_) => Ok(builder),
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    env_logger::init();
    log_panics();
    let drainer = Drainer::default()
        .grace(Duration::from_millis(setting("DRAIN_GRACE", 0)))
        .batch_size(setting("DRAIN_BATCH", 10_000))
        .batch_interval(Duration::from_millis(setting("DRAIN_INTERVAL", 2_000)))
        .shutdown(Duration::from_millis(setting("DRAIN_DEADLINE", 30_000)));
    let endpoint = node()?.max_connections(setting("MAX_CONNECTIONS", usize::MAX)).drainer(drainer).build();
    let data = Data { presence: Presence::new(&endpoint), endpoint: endpoint.clone() };
    let sockets = endpoint.clone();
    let app = move || {
        let timeout = Duration::from_millis(setting("IDLE_TIMEOUT", 60_000));
        let options = SocketOptions::default().check_origin(CheckOrigin::Off).timeout(timeout);
        let idle = options.clone().timeout(Duration::from_millis(700)).longpoll(Duration::from_millis(600));
        let small = options.clone().max_frame_size(1_000).longpoll(None);
        let deflate = options.clone().compress(true).longpoll(None);
        let origins = "//localhost,//*.example.com".parse().unwrap_or_default();
        let auth = SocketOptions::default().check_origin(origins).auth_token(true);
        App::new()
            .app_data(data.clone())
            .route("/", web::get().to(async || "ok"))
            .configure(sockets.socket::<UserSocket>("/socket", options))
            .configure(sockets.socket::<AuthSocket>("/auth", auth))
            .configure(sockets.socket::<UserSocket>("/idle", idle))
            .configure(sockets.socket::<UserSocket>("/small", small.clone()))
            .configure(sockets.socket::<UserSocket>("/deflate", deflate))
            .configure(sockets.raw_socket::<Raw>("/raw", small))
            .configure(sockets.ops())
            .default_service(web::to(async || HttpResponse::NotFound().body("Not Found")))
    };
    let (workers, address) =
        (setting("WORKERS", 2), (setting("HOST", "127.0.0.1".to_owned()), setting("PORT", 4000)));
    if setting("HTTP_SERVER", String::new()) == "actix" {
        let server = HttpServer::new(app)
            .workers(workers)
            .client_disconnect_timeout(Duration::ZERO)
            .h1_write_buffer_size(4096)
            .on_connect(hinotori::on_connect)
            .disable_signals()
            .shutdown_timeout(drainer.shutdown.as_secs() + 10)
            .bind(address)?;
        listening(&server.addrs());
        endpoint.serve(server.run()).await
    } else {
        let server = Server::new(&endpoint, app).workers(workers).bind(address)?;
        listening(&server.addrs());
        server.run().await
    }
}

fn listening(addresses: &[SocketAddr]) {
    for address in addresses {
        println!("reference listening on http://{address}");
    }
}
