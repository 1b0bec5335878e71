//! Sockets over WebSockets.
//!
//! A [`Conversation`] uses the TCP stream itself if the server hands it over (`takeover.rs`), and otherwise HTTP's
//! payload and body (`piped.rs`). actix-ws is not used: its session queues 32 messages and makes the sender wait for a
//! slow peer.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/websocket.ex`, 1.8.12, for the order of the checks.

use std::{future::poll_fn, rc::Rc};

use actix_http::ws::hash_key;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    rt, web,
};
use bytes::Bytes;
use hinotori_protocol::frames::Frames;

use super::{
    Mount, SocketOptions,
    admission::{Denial, opened},
    auth_token::{BadOffer, Offer, read_offer},
    connect::connect,
    conversation::Conversation,
    piped::pipe,
    takeover::{Desk, Handover},
};
use crate::{
    reason::Refusal,
    socket::{Connection, Params, Peer, SocketHandler, Stream},
    telemetry::Transport,
    wire::compression::Agreement,
};

/// Opens a WebSocket, or refuses it: 400 for a request that is not an upgrade, 403 for a client that may not connect,
/// 503 if the server is full or draining, 500 if `connect` panics.
pub(crate) async fn upgrade<S: SocketHandler>(
    request: HttpRequest,
    payload: web::Payload,
    mount: Rc<Mount<S>>,
) -> HttpResponse {
    match open(&request, payload, &mount).await {
        Ok(response) => response,
        Err(denial) => denial.tell(Transport::WebSocket, &request, &mount.options, &mount.node),
    }
}

async fn open<S: SocketHandler>(
    request: &HttpRequest,
    payload: web::Payload,
    mount: &Mount<S>,
) -> Result<HttpResponse, Denial> {
    let (params, Offer { token, protocol }) = admit(request, &mount.options)?;
    let accepted = connect(request, params, token.as_deref(), mount).await?;
    let handshake = handshake(request, protocol, &mount.options).await?;
    let node = mount.node.clone();
    let connection = Connection::open(accepted, mount.limits(), Transport::WebSocket, node);
    opened(Transport::WebSocket, connection.line(), request, &mount.options);
    Ok(serve(request, handshake, payload, connection, &mount.options))
}

/// Checks a request before the application is asked: the method, the query, the origin, the subprotocol.
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

/// Starts the conversation of an accepted WebSocket.
pub(super) fn serve(
    request: &HttpRequest,
    handshake: Handshake,
    payload: web::Payload,
    peer: Rc<dyn Peer>,
    options: &SocketOptions,
) -> HttpResponse {
    let Handshake { response, compression } = handshake;
    let mut frames = Frames::new(options.max_frame_size, options.max_message_size);
    if let Some(agreement) = compression {
        frames = frames.with_inflate(agreement.inflate());
        peer.line().compress_within(agreement.window());
    }
    let mut conversation = Conversation::new(peer, frames, options.timeout);
    if let Some(desk) = request.conn_data::<Rc<Desk>>() {
        let body = Handover::new(desk.clone(), payload.into_inner(), conversation);
        return response.set_body(body).map_into_boxed_body();
    }
    let (stream, body) = pipe(payload.into_inner());
    conversation.begin(Stream::Other(Box::new(stream)), Bytes::new());
    rt::spawn(async move { poll_fn(|cx| conversation.poll(cx)).await });
    response.set_body(body).map_into_boxed_body()
}

/// Reads the subprotocols; a socket without auth tokens ignores them.
fn offer(request: &HttpRequest, auth_token: bool) -> Result<Offer, BadOffer> {
    let lines = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).filter(|_| auth_token);
    let lines: Result<Vec<&str>, _> = lines.map(HeaderValue::to_str).collect();
    read_offer(lines.map_err(|_| BadOffer)?.into_iter())
}

/// The answer that switches protocols, and what was agreed on.
pub(super) struct Handshake {
    response: HttpResponse,
    compression: Option<Agreement>,
}

/// The answer that switches protocols.
pub(super) async fn handshake(
    request: &HttpRequest,
    protocol: Option<&'static str>,
    options: &SocketOptions,
) -> Result<Handshake, Denial> {
    check_upgrade(request).map_err(Denial::handshake)?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = HeaderValue::from_bytes(&hash_key(key.unwrap_or_default()));
    let accept = accept.map_err(|error| Denial::handshake(error.to_string()))?;
    let mut response = HttpResponse::SwitchingProtocols();
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, accept));
    let mut response = response.finish();
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    let compression = if options.compress { agree(request) } else { None };
    if let Some(agreement) = &compression {
        let answer = HeaderValue::from_str(&agreement.to_string());
        let answer = answer.map_err(|error| Denial::handshake(error.to_string()))?;
        response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
    }
    Ok(Handshake { response, compression })
}

/// Negotiates the extensions that the client offers.
fn agree(request: &HttpRequest) -> Option<Agreement> {
    Agreement::negotiate(
        request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS).map(HeaderValue::as_bytes),
    )
}

/// Checks what an upgrade request must have. The errors are worded as WebSockAdapter's.
fn check_upgrade(request: &HttpRequest) -> Result<(), String> {
    let values = |name: &HeaderName| request.headers().get_all(name).filter_map(|value| value.to_str().ok());
    let got = |name| values(name).collect::<Vec<_>>();
    for (name, token) in [(&header::CONNECTION, "upgrade"), (&header::UPGRADE, "websocket")] {
        let mut items = values(name).flat_map(|value| value.split(','));
        if !items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token)) {
            return Err(format!("'{name}' header must contain '{token}', got {:?}", got(name)));
        }
    }
    if !values(&header::SEC_WEBSOCKET_VERSION).eq(["13"]) {
        let got = got(&header::SEC_WEBSOCKET_VERSION);
        return Err(format!("'sec-websocket-version' header must equal '13', got {got:?}"));
    }
    match values(&header::SEC_WEBSOCKET_KEY).next() {
        None | Some("") => Err("'sec-websocket-key' header is absent".to_owned()),
        Some(_) => Ok(()),
    }
}
