//! What is served: a socket, beside the routes, the middleware and the WebSocket of an application.

use std::{any::Any, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{Extensions, Service, ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    rt,
    web::{self, Query, ServiceConfig},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
};

use super::{NARROW, connect, disconnect};
use crate::{
    Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, PayloadList, RawContext, RawMessage,
    RawSocket, Refused, Result, Routes, SocketHandler, SocketOptions,
};

/// Answers everything with itself.
struct Echo;

impl RawSocket for Echo {
    type Info = ();

    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        if params.get("deny").is_some() {
            return Err(Refused::because("told to"));
        }
        if params.get("wait").is_some() {
            info.data::<Arc<Semaphore>>()?.acquire().await?.forget();
        }
        Ok(Self)
    }

    async fn handle_in(&mut self, message: RawMessage, cx: &mut RawContext<Self>) -> Result<()> {
        cx.push(message);
        Ok(())
    }
}

/// Elements of 1,000 bytes that a room's history has.
pub(super) const HISTORY: usize = 2_000;

/// Pushes a history to whoever joins `room:history`, and nothing to others.
struct Room;

impl Channel for Room {
    type Socket = UserSocket;
    type Info = ();

    async fn join(topic: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        if topic == "room:history" {
            cx.send_self(());
        }
        Join::ok(Self)
    }

    async fn handle_info(&mut self, (): (), cx: &mut Context<Self>) -> Result<()> {
        let mut history = PayloadList::new();
        for _ in 0..HISTORY {
            history.push("x".repeat(998))?;
        }
        for _ in 0..2 {
            cx.push("history", history.payload("all"))?;
        }
        Ok(())
    }
}

struct UserSocket;

impl SocketHandler for UserSocket {
    async fn connect(_: &Params, _: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> {
        Ok(Self)
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<Room>("room:*");
    }
}

pub(super) fn configure(config: &mut ServiceConfig, endpoint: &Endpoint, gate: Arc<Semaphore>) {
    config
        .app_data(gate)
        .app_data("of the application")
        .configure(endpoint.socket::<UserSocket>("/socket", SocketOptions::default()))
        .configure(endpoint.raw_socket::<Echo>("/echo", SocketOptions::default()))
        .configure(|config| connect::configure(config, endpoint))
        .configure(|config| disconnect::configure(config, endpoint))
        .service(web::resource("/facts").name("facts").to(facts))
        .route("/own", web::get().to(own))
        .route("/stream", web::get().to(stream_of))
        .route("/length", web::post().to(length));
}

/// A middleware that sees every request and marks its answer.
pub(super) fn mark<S, B>(
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = std::result::Result<ServiceResponse<B>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let seen = HeaderValue::from_str(request.path()).unwrap();
    let answer = service.call(request);
    async move {
        let mut answer = answer.await?;
        answer.headers_mut().insert(HeaderName::from_static("x-seen"), seen);
        Ok(answer)
    }
}

/// What a connection has of its own. Its end is told to the test.
pub(super) struct OfConnection {
    peer: SocketAddr,
    /// `TCP_NODELAY` and `TCP_USER_TIMEOUT`.
    set_up: (bool, Option<Duration>),
    ended: mpsc::UnboundedSender<SocketAddr>,
}

impl Drop for OfConnection {
    fn drop(&mut self) {
        let _ = self.ended.send(self.peer);
    }
}

/// Gives each connection something of its own.
pub(super) fn on_connect(
    ended: mpsc::UnboundedSender<SocketAddr>,
    is_narrow: bool,
) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static {
    move |stream, data| {
        let encrypted = stream.downcast_ref().map(|stream: &TlsStream<TcpStream>| stream.get_ref().0);
        let tcp: &TcpStream = encrypted.or(stream.downcast_ref()).unwrap();
        if is_narrow {
            SockRef::from(tcp).set_send_buffer_size(NARROW).unwrap();
        }
        let (socket, peer) = (SockRef::from(tcp), tcp.peer_addr().unwrap());
        let set_up = (socket.tcp_nodelay().unwrap(), user_timeout(&socket));
        data.insert(OfConnection { peer, set_up, ended: ended.clone() });
    }
}

#[cfg(target_os = "linux")]
fn user_timeout(socket: &SockRef<'_>) -> Option<Duration> {
    socket.tcp_user_timeout().unwrap()
}

/// Other systems have none.
#[cfg(not(target_os = "linux"))]
fn user_timeout(_: &SockRef<'_>) -> Option<Duration> {
    Some(Duration::from_secs(20))
}

/// What a handler sees of its server and its connection.
async fn facts(request: HttpRequest) -> HttpResponse {
    let config = request.app_config();
    HttpResponse::Ok().json(json!({
        "secure": config.secure(),
        "host": config.host(),
        "local": config.local_addr(),
        "url": request.url_for_static("facts").unwrap().as_str(),
        "peer": request.peer_addr(),
        "of_connection": request.conn_data::<OfConnection>().map(|data| (data.peer, data.set_up)),
        "of_application": request.app_data::<&str>(),
    }))
}

/// A WebSocket that the library knows nothing of.
async fn own(request: HttpRequest, payload: web::Payload) -> std::result::Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, payload)?;
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let actix_ws::Message::Text(text) = message {
                session.text(format!("own: {text}")).await.unwrap();
            }
        }
    });
    Ok(response)
}

#[derive(Deserialize)]
struct Size {
    chunks: usize,
}

/// Chunks of 64 KiB.
async fn stream_of(Query(Size { chunks }): Query<Size>) -> HttpResponse {
    let chunk = Bytes::from(vec![b'.'; 64 * 1024]);
    HttpResponse::Ok().streaming(stream::iter((0..chunks).map(move |_| Ok::<_, Error>(chunk.clone()))))
}

async fn length(mut payload: web::Payload) -> std::result::Result<String, Error> {
    let mut length = 0;
    while let Some(bytes) = payload.next().await {
        length += bytes?.len();
    }
    Ok(length.to_string())
}
