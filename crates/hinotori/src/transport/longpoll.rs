//! Sockets over long polling, for clients whose WebSockets are blocked.
//!
//! The status of an answer is in its body. The HTTP status is nearly always 200, as the JavaScript of old browsers
//! expected. A request that reaches another node than its session's is passed on to it (`poll_passing.rs`). Binary messages of the server cannot be put into the answer's JSON: they are dropped and logged.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/long_poll.ex`, 1.8.12.

use std::{rc::Rc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::{Method, StatusCode, header},
    web,
};
use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Mount, SocketOptions,
    admission::{Denial, opened},
    body::{Body, Unread, discard},
    connect::connect,
    poll_body::{PollBody, text},
    poll_passing::{pass_poll, pass_publish},
    poll_session::{Live, Place, Poll, Polled, Publish, Published, Sessions},
};
use crate::{
    reason::Refusal,
    socket::{Connection, Params, Peer, SocketHandler},
    telemetry::Transport,
    wire::Frame,
};

/// The header in which newer clients send the session's token; older clients have it in the query.
const TOKEN_HEADER: &str = "x-phoenix-longpoll-token";

/// The header of `new Socket(url, {authToken})`.
const AUTH_TOKEN_HEADER: &str = "x-phoenix-authtoken";

/// Answers one request to a socket's long poll.
pub(crate) async fn answer<S: SocketHandler>(
    request: HttpRequest,
    payload: web::Payload,
    mount: Rc<Mount<S>>,
) -> HttpResponse {
    let Some(params) = Params::parse(request.query_string()) else {
        return refuse(Refusal::Query.into(), &request, &mount);
    };
    let check_origin = &mount.options.check_origin;
    if !check_origin.allows(&request) {
        return refuse(Denial::new(Refusal::Origin, check_origin.explain(&request)), &request, &mount);
    }
    let token = token(&request, &params);
    match *request.method() {
        Method::OPTIONS => preflight(&request),
        Method::GET => {
            let token = token.unwrap_or_default();
            let answered = match mount.sessions.find(Some(&token)) {
                Place::Here(session, has) => {
                    let window = window(&mount);
                    Some(respond_to_poll(poll(&mount.sessions, &session, has, window).await, &token))
                }
                Place::Node(node) => pass_poll(node, &token, &mount).await,
                Place::Nowhere => None,
            };
            match answered {
                Some(response) => response,
                None => open(&request, params, &mount).await,
            }
        }
        Method::POST => match mount.sessions.find(token.as_deref()) {
            Place::Here(session, _) => publish(&request, payload, &session, &mount.options).await,
            Place::Node(node) => {
                pass_publish(node, &token.unwrap_or_default(), &request, payload, &mount).await
            }
            Place::Nowhere => {
                discard(payload, mount.options.timeout).await;
                status(StatusCode::GONE)
            }
        },
        _ => {
            refuse(Refusal::Method.into(), &request, &mount);
            HttpResponse::BadRequest().finish()
        }
    }
}

/// Counts and logs the refusal. The client gets a 403 in the body, like every other status.
fn refuse<S>(denial: Denial, request: &HttpRequest, mount: &Mount<S>) -> HttpResponse {
    let response = denial.tell(Transport::LongPoll, request, &mount.options, &mount.node);
    if response.status() == StatusCode::FORBIDDEN { status(StatusCode::FORBIDDEN) } else { response }
}

/// The token of the request. If the header is there it counts, even with a bad token.
fn token(request: &HttpRequest, params: &Params) -> Option<String> {
    match request.headers().get(TOKEN_HEADER) {
        Some(header) => header.to_str().ok().map(str::to_owned),
        None => params.get("token").map(str::to_owned),
    }
}

fn preflight(request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "get, post, options"));
    response.insert_header((header::ACCESS_CONTROL_MAX_AGE, "3600"));
    if let Some(headers) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone()));
    }
    response.finish()
}

/// Opens a session for a client that has none.
async fn open<S: SocketHandler>(request: &HttpRequest, params: Params, mount: &Mount<S>) -> HttpResponse {
    let auth_token = request.headers().get(AUTH_TOKEN_HEADER).filter(|_| mount.options.auth_token);
    let auth_token = auth_token.and_then(|header| header.to_str().ok());
    match connect(request, params, auth_token, mount).await {
        Ok(accepted) => {
            let node = mount.node.clone();
            let connection = Connection::open(accepted, mount.limits(), Transport::LongPoll, node);
            opened(Transport::LongPoll, connection.line(), request, &mount.options);
            let max_body = mount.options.max_message_size;
            let token = mount.sessions.open(connection, window(mount), max_body);
            messages(StatusCode::GONE, &token, vec![])
        }
        Err(denial) => refuse(denial, request, mount),
    }
}

pub(super) fn window<S>(mount: &Mount<S>) -> Duration {
    mount.options.longpoll.unwrap_or_default()
}

/// The answer to a poll, before it is written.
pub(super) enum Answered {
    /// Messages, and the next token if it is another.
    Frames(Vec<Frame>, Option<String>),
    Nothing,
    /// The session has just ended.
    Gone,
}

/// Waits for what is queued for the client that has the batches up to a number, now or within the window.
pub(super) async fn poll(sessions: &Sessions, session: &Live, has: u64, window: Duration) -> Answered {
    let end = Instant::now() + window;
    let Ok(polled) = session.address.send(Poll(has)).await else { return Answered::Gone };
    match wait(polled, end).await {
        Some(Polled::Frames(frames, batch)) => {
            Answered::Frames(frames, sessions.next_token(session.id, batch))
        }
        Some(Polled::Superseded) => {
            sleep_until(end).await;
            Answered::Nothing
        }
        Some(Polled::Ended) | None => Answered::Nothing,
    }
}

fn respond_to_poll(answered: Answered, token: &str) -> HttpResponse {
    match answered {
        Answered::Frames(frames, next) => messages(StatusCode::OK, next.as_deref().unwrap_or(token), frames),
        Answered::Nothing => messages(StatusCode::NO_CONTENT, token, vec![]),
        Answered::Gone => status(StatusCode::GONE),
    }
}

/// The result of a poll, or nothing at the end of its time. A result that arrives just then is not lost.
async fn wait(mut polled: oneshot::Receiver<Polled>, end: Instant) -> Option<Polled> {
    match timeout_at(end, &mut polled).await {
        Ok(polled) => polled.ok(),
        Err(_) => {
            polled.close();
            polled.try_recv().ok()
        }
    }
}

async fn publish(
    request: &HttpRequest,
    payload: web::Payload,
    session: &Live,
    options: &SocketOptions,
) -> HttpResponse {
    let body = match session.bodies.read(payload, options.max_message_size, options.timeout).await {
        Ok(body) => body,
        Err(why) => return why.respond(),
    };
    respond_to_post(handle(session, body, is_ndjson(request)).await)
}

pub(super) fn is_ndjson(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-ndjson")
}

/// Has the session handle a body.
pub(super) async fn handle(session: &Live, body: Body, is_ndjson: bool) -> Published {
    session.address.send(Publish { body, is_ndjson }).await.unwrap_or(Published::Ended)
}

pub(super) fn respond_to_post(published: Published) -> HttpResponse {
    match published {
        Published::Ok => status(StatusCode::OK),
        Published::Died => status(StatusCode::REQUEST_TIMEOUT),
        Published::NotBase64 => HttpResponse::BadRequest().body("Bad Request"),
        Published::TooLong => Unread::TooLong.respond(),
        Published::Ended => status(StatusCode::GONE),
    }
}

pub(super) fn messages(status: StatusCode, token: &str, frames: Vec<Frame>) -> HttpResponse {
    // frames that could not be carried leave no messages, but the window is not over: the client polls again
    texts(status, token, frames.into_iter().filter_map(text))
}

/// The same with messages that are text.
pub(super) fn texts(
    status: StatusCode,
    token: &str,
    texts: impl IntoIterator<Item = Vec<Bytes>>,
) -> HttpResponse {
    respond(PollBody::new(status, token, texts))
}

pub(super) fn status(status: StatusCode) -> HttpResponse {
    respond(json!({ "status": status.as_u16() }).to_string())
}

fn respond(body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"))
        .body(body)
}
