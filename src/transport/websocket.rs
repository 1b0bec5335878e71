//! Sockets over WebSockets.
//!
//! The handshake is that of actix-ws. Its session is not used: it queues 32 messages and makes the sender wait for a slow
//! peer. The response body drains the connection's outbox instead, and the request body is read frame by frame.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/websocket.ex`, 1.8.12, for the order of the checks.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev,
    error::PayloadError,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use futures_util::Stream;

use super::{
    Mount, SocketOptions,
    admission::{Denial, opened},
    auth_token::{BadOffer, Offer, read_offer},
    connect::connect,
    frames::Frames,
};
use crate::{
    socket::{Connection, Incoming, Line, Params, Peer, SocketActor, SocketHandler},
    telemetry::{Refusal, Transport},
};

/// Opens a WebSocket, or says why not: 400 for what is no upgrade, 403 for who may not, 500 if `connect` panics.
pub(crate) async fn upgrade<S: SocketHandler>(
    request: HttpRequest,
    payload: web::Payload,
    mount: Rc<Mount<S>>,
) -> HttpResponse {
    match open(&request, payload, &mount).await {
        Ok(response) => response,
        Err(denial) => denial.tell(Transport::WebSocket, &request, &mount.options, &mount.pubsub),
    }
}

async fn open<S: SocketHandler>(
    request: &HttpRequest,
    payload: web::Payload,
    mount: &Mount<S>,
) -> Result<HttpResponse, Denial> {
    let (params, Offer { token, protocol }) = admit(request, &mount.options)?;
    let accepted = connect(request, params, token.as_deref(), mount).await?;
    let response = handshake(request, protocol).await?;
    let pubsub = mount.pubsub.clone();
    let connection = Connection::open(accepted, mount.limits(), Transport::WebSocket, pubsub);
    opened(Transport::WebSocket, connection.line(), request, &mount.options);
    Ok(serve(response, payload, connection, &mount.options))
}

/// What a request must have before the application is asked: the method, a query, an origin, a subprotocol.
pub(super) fn admit(request: &HttpRequest, options: &SocketOptions) -> Result<(Params, Offer), Denial> {
    if request.method() != Method::GET {
        return Err(Refusal::Method.into());
    }
    let params = Params::parse(request.query_string()).ok_or(Refusal::Query)?;
    if !options.check_origin.allows(request) {
        return Err(Denial::new(Refusal::Origin, options.check_origin.explain(request)));
    }
    let offer = offer(request, options.auth_token).map_err(|BadOffer| Refusal::Subprotocol)?;
    Ok((params, offer))
}

/// Lets a peer speak on a WebSocket that has been accepted.
pub(super) fn serve(
    response: HttpResponse,
    payload: web::Payload,
    peer: Rc<dyn Peer>,
    options: &SocketOptions,
) -> HttpResponse {
    let frames = Frames::new(options.max_frame_size, options.max_message_size);
    let line = peer.line().clone();
    let messages = Messages { payload: payload.into_inner(), frames, line: line.clone(), heard: false };
    SocketActor::start_reading(peer, options.timeout, messages);
    response.set_body(OutboxBody { line }).map_into_boxed_body()
}

/// What the subprotocols say; they are ignored by a socket without auth token.
fn offer(request: &HttpRequest, auth_token: bool) -> Result<Offer, BadOffer> {
    let lines = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).filter(|_| auth_token);
    let lines: Result<Vec<&str>, _> = lines.map(HeaderValue::to_str).collect();
    read_offer(lines.map_err(|_| BadOffer)?.into_iter())
}

/// The answer that switches protocols; actix-ws is given no body, so the session that it makes ends at once.
pub(super) async fn handshake(
    request: &HttpRequest,
    protocol: Option<&'static str>,
) -> Result<HttpResponse, Denial> {
    check_upgrade(request).map_err(Denial::handshake)?;
    let nothing = web::Payload::from_request(request, &mut dev::Payload::None)
        .await
        .map_err(|error| Denial::handshake(error.to_string()))?;
    let (mut response, _session, _messages) =
        actix_ws::handle(request, nothing).map_err(|error| Denial::handshake(error.to_string()))?;
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// What is missing in a request for an upgrade, in the words of WebSockAdapter.
fn check_upgrade(request: &HttpRequest) -> Result<(), String> {
    let values = |name: &HeaderName| -> Vec<&str> {
        request.headers().get_all(name).filter_map(|value| value.to_str().ok()).collect()
    };
    for (name, token) in [(&header::CONNECTION, "upgrade"), (&header::UPGRADE, "websocket")] {
        let mut items = values(name).into_iter().flat_map(|value| value.split(','));
        if !items.any(|item| item.trim().eq_ignore_ascii_case(token)) {
            return Err(format!("'{name}' header must contain '{token}', got {:?}", values(name)));
        }
    }
    let version = values(&header::SEC_WEBSOCKET_VERSION);
    if version != ["13"] {
        return Err(format!("'sec-websocket-version' header must equal '13', got {version:?}"));
    }
    match values(&header::SEC_WEBSOCKET_KEY).is_empty() {
        true => Err("'sec-websocket-key' header is absent".to_owned()),
        false => Ok(()),
    }
}

/// The response body of a WebSocket: what is in the outbox, for as long as the connection lasts.
struct OutboxBody {
    line: Rc<Line>,
}

impl MessageBody for OutboxBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let chunk = self.line.outbox().poll_chunk(cx);
        self.line.resume();
        if matches!(chunk, Poll::Ready(None)) && self.line.holds(cx) {
            return Poll::Pending;
        }
        chunk
    }
}

impl Drop for OutboxBody {
    fn drop(&mut self) {
        self.line.disconnected();
    }
}

/// What a client says, out of its request body. Not read while too much of it waits for channels.
struct Messages {
    payload: dev::Payload,
    frames: Frames,
    line: Rc<Line>,
    /// Bytes came of which nothing has been passed on yet.
    heard: bool,
}

impl Messages {
    fn next_message(&mut self) -> Option<Incoming> {
        let heard = std::mem::take(&mut self.heard);
        self.frames.next().or(heard.then_some(Incoming::Alive))
    }
}

impl Stream for Messages {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        loop {
            ready!(self.line.poll_readable(cx));
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
