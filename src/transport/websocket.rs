//! Sockets over WebSockets.
//!
//! The handshake is that of actix-ws. Its session is not used: it queues 32 messages and makes the sender wait for a slow
//! peer. The response body drains the connection's outbox instead, and the request body is read frame by frame.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/websocket.ex`, 1.8.12, for the order of the checks.

use std::{
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix::Addr;
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev,
    error::PayloadError,
    http::Method,
    web,
};
use bytes::Bytes;
use futures_util::{FutureExt, Stream};

use super::{Mount, frames::Frames};
use crate::{
    socket::{
        ConnectInfo, Connected, Connection, Disconnected, Incoming, Params, Refused, SocketActor,
        SocketHandler,
    },
    supervise::panic_message,
    wire::Serializer,
};

/// Opens a WebSocket, or says why not: 400 for what is no upgrade, 403 for who may not, 500 if `connect` panics.
pub(crate) async fn upgrade<S: SocketHandler>(
    request: HttpRequest,
    payload: web::Payload,
    mount: Rc<Mount<S>>,
) -> HttpResponse {
    if request.method() != Method::GET {
        return HttpResponse::BadRequest().finish();
    }
    let Some(mut params) = Params::parse(request.query_string()) else {
        return HttpResponse::BadRequest().body("Bad Request");
    };
    if !mount.options.check_origin.allows(&request) {
        return HttpResponse::Forbidden().finish();
    }
    let vsn = params.remove("vsn");
    let serializer = match &vsn {
        None => Serializer::negotiate(None),
        Some(vsn) => vsn.as_str().and_then(|vsn| Serializer::negotiate(Some(vsn))),
    };
    let Some(serializer) = serializer else {
        log::info!("refused a client that asked for version {vsn:?}: expected 1.0.x or 2.0.x");
        return HttpResponse::Forbidden().finish();
    };
    let socket = match connect::<S>(&params, &request).await {
        Ok(socket) => socket,
        Err(refusal) => return refusal,
    };
    let response = match handshake(&request).await {
        Ok(response) => response,
        Err(error) => return error.error_response(),
    };
    let router = Box::new(Connected { socket: Rc::new(socket), routes: mount.routes.clone() });
    let connection = Connection::open(serializer, mount.limits(), mount.pubsub.clone(), router);
    let messages = Messages::new(payload.into_inner(), connection.clone(), &mount);
    let reader = SocketActor::start_reading(connection.clone(), mount.options.timeout, messages);
    response.set_body(OutboxBody { connection, reader }).map_into_boxed_body()
}

/// Asks the application.
async fn connect<S: SocketHandler>(params: &Params, request: &HttpRequest) -> Result<S, HttpResponse> {
    let info = ConnectInfo::new(request);
    let connect = async { S::connect(params, &info).await };
    match AssertUnwindSafe(connect).catch_unwind().await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(Refused)) => Err(HttpResponse::Forbidden().finish()),
        Err(panic) => {
            log::error!("connect of {} crashed: {}", request.path(), panic_message(&*panic));
            Err(HttpResponse::InternalServerError().body("Internal Server Error"))
        }
    }
}

/// The answer that switches protocols; actix-ws is given no body, so the session that it makes ends at once.
async fn handshake(request: &HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    let nothing = web::Payload::from_request(request, &mut dev::Payload::None).await?;
    actix_ws::handle(request, nothing).map(|(response, _session, _messages)| response)
}

/// The response body of a WebSocket: what is in the outbox, for as long as the connection lasts.
struct OutboxBody {
    connection: Rc<Connection>,
    reader: Addr<SocketActor>,
}

impl MessageBody for OutboxBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.connection.outbox().poll_chunk(cx)
    }
}

impl Drop for OutboxBody {
    fn drop(&mut self) {
        self.connection.outbox().cut();
        self.reader.do_send(Disconnected);
    }
}

/// What a client says, out of its request body. Not read while too much of it waits for channels.
struct Messages {
    payload: dev::Payload,
    frames: Frames,
    connection: Rc<Connection>,
    /// Bytes came of which nothing has been passed on yet.
    heard: bool,
}

impl Messages {
    fn new<S>(payload: dev::Payload, connection: Rc<Connection>, mount: &Mount<S>) -> Self {
        let frames = Frames::new(mount.options.max_frame_size, mount.options.max_message_size);
        Self { payload, frames, connection, heard: false }
    }

    fn next_message(&mut self) -> Option<Incoming> {
        let heard = std::mem::take(&mut self.heard);
        self.frames.next().or(heard.then_some(Incoming::Alive))
    }
}

impl Stream for Messages {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        loop {
            ready!(self.connection.poll_readable(cx));
            if let Some(incoming) = self.next_message() {
                return Poll::Ready(Some(incoming));
            }
            let bytes: Option<Result<Bytes, PayloadError>> =
                ready!(Pin::new(&mut self.payload).poll_next(cx));
            match bytes {
                Some(Ok(bytes)) => {
                    self.heard = true;
                    self.frames.feed(bytes);
                }
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}
