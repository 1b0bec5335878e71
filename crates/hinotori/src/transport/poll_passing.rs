//! Long polling over several nodes: a request that reaches another node than its session's is passed on to that.
//!
//! The session's token begins with its node. Both nodes treat a request as one that reached the right node at once, but
//! for what can happen in between:
//!
//! | what | the client gets |
//! |---|---|
//! | the session's node is gone | what it gets without a session |
//! | a poll, or its answer, is lost | 204 and the token it has, so it polls again and gets what was lost |
//! | a POST, or its answer, is lost | 410: nobody knows whether it was handled, and it is not repeated |
//! | too much waits | 503 |

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use hinotori_protocol::cluster::{Answer, Asked, Passed};

use super::{
    Mount, Sessions,
    body::{Unread, discard},
    longpoll::{Answered, handle, is_ndjson, messages, poll, respond_to_post, status, texts, window},
    poll_body::text,
    poll_session::{Place, Published},
};
use crate::cluster::{BoxFuture, NodeId, Outcome, Serve};

/// Bytes of bodies that are being passed on together, and so read before anybody knows whether there is a session.
const BODIES: usize = 32 * 1024 * 1024;

/// Bytes beside these that only short ones take: a few clients that send long ones slowly do not stop the others.
const SHORT_BODIES: usize = 16 * 1024 * 1024;

/// The answer to a poll for another node. `None` if the session is gone.
pub(super) async fn pass_poll<S>(node: NodeId, token: &str, mount: &Mount<S>) -> Option<HttpResponse> {
    let cluster = mount.node.cluster.as_ref()?;
    let passed = Passed { asked: Asked::Poll, token: token.into(), body: Bytes::new() };
    // less than its session waits for the next poll
    let patience = window(mount) + window(mount) / 4;
    let answer = match cluster.pass(node, &passed, patience).await {
        Outcome::Answered(answer) => answer,
        Outcome::Unanswered => Answer::status(StatusCode::NO_CONTENT.as_u16()),
        Outcome::Gone => return None,
        Outcome::Busy => return Some(Unread::Busy.respond()),
    };
    match StatusCode::from_u16(answer.status) {
        Ok(StatusCode::OK) => {
            let pieces = answer.messages.into_iter().map(|message| vec![message]);
            Some(texts(StatusCode::OK, &answer.token, pieces))
        }
        Ok(StatusCode::NO_CONTENT) => Some(messages(StatusCode::NO_CONTENT, token, vec![])),
        _ => None,
    }
}

/// The answer to a POST for another node.
pub(super) async fn pass_publish<S>(
    node: NodeId,
    token: &str,
    request: &HttpRequest,
    payload: web::Payload,
    mount: &Mount<S>,
) -> HttpResponse {
    let Some(cluster) = &mount.node.cluster else {
        discard(payload, mount.options.timeout).await;
        return status(StatusCode::GONE);
    };
    let (longest, patience) = (mount.options.max_message_size, mount.options.timeout);
    // as for a session of this node, one of the longest must fit
    let long = BODIES.max(longest);
    let all = [long, long.saturating_add(SHORT_BODIES)];
    let body = match mount.sessions.passed.read_one(payload, longest, all, patience).await {
        Ok(body) => body,
        Err(why) => return why.respond(),
    };
    let asked = if is_ndjson(request) { Asked::Lines } else { Asked::Message };
    let passed = Passed { asked, token: token.into(), body: body.bytes.clone() };
    match cluster.pass(node, &passed, patience).await {
        Outcome::Answered(answer) => respond_to_post(published(answer.status)),
        Outcome::Gone | Outcome::Unanswered => status(StatusCode::GONE),
        Outcome::Busy => Unread::Busy.respond(),
    }
}

impl Serve for Sessions {
    fn serve(self: Arc<Self>, passed: Passed) -> BoxFuture<'static, Answer> {
        Box::pin(async move {
            let Place::Here(session, has) = self.find(Some(&passed.token)) else {
                return Answer::status(StatusCode::GONE.as_u16());
            };
            if passed.asked == Asked::Poll {
                return answer(poll(&self, &session, has, session.window).await);
            }
            let published = match session.bodies.take(passed.body, session.max_body) {
                Ok(body) => handle(&session, body, passed.asked == Asked::Lines).await,
                Err(_) => Published::TooLong,
            };
            Answer::status(code(published).as_u16())
        })
    }
}

fn answer(answered: Answered) -> Answer {
    match answered {
        Answered::Frames(frames, next) => {
            let messages = frames.into_iter().filter_map(text).map(whole).collect();
            // a node of a cluster gives one with each answer
            Answer { status: StatusCode::OK.as_u16(), token: next.unwrap_or_default().into(), messages }
        }
        Answered::Nothing => Answer::status(StatusCode::NO_CONTENT.as_u16()),
        Answered::Gone => Answer::status(StatusCode::GONE.as_u16()),
    }
}

fn whole(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() }
}

/// The result of a POST, as nodes tell it.
fn code(published: Published) -> StatusCode {
    match published {
        Published::Ok => StatusCode::OK,
        Published::Died => StatusCode::REQUEST_TIMEOUT,
        Published::NotBase64 => StatusCode::BAD_REQUEST,
        Published::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Published::Ended => StatusCode::GONE,
    }
}

fn published(status: u16) -> Published {
    let all = [Published::Ok, Published::Died, Published::NotBase64, Published::TooLong];
    all.into_iter().find(|published| code(*published).as_u16() == status).unwrap_or(Published::Ended)
}

#[cfg(test)]
mod tests;
