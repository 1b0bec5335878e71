//! The body of a long poll's POST: read within bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

/// Bytes of a body beyond its limit that are read all the same, so that the answer is not lost to a reset.
const MAX_EXCESS: usize = 8_000_000;

/// Bytes of memory that a body costs beside itself while it is read or waits to be handled: empty ones are bounded too.
const COST: usize = 1024;

/// The bodies of one session that are being read or handled: how many bytes of them there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<AtomicUsize>);

/// A whole body, counted among its session's for as long as it lives.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _room: Room,
}

/// What bodies of a session have taken of its limit.
#[derive(Debug)]
struct Room {
    bodies: Bodies,
    taken: usize,
}

impl Room {
    /// Takes more, if the session's bodies have not more than `limit` together.
    fn take(&mut self, more: usize, limit: usize) -> bool {
        let sum = |held: usize| held.checked_add(more).filter(|sum| *sum <= limit);
        let has_room = self.bodies.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok();
        self.taken += if has_room { more } else { 0 };
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The request ended before it did.
    Broken,
    /// It is too long, or the session's bodies together are.
    TooLong,
    /// It did not come in time.
    TooSlow,
}

impl Unread {
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::Broken => HttpResponse::BadRequest().finish(),
            Self::TooLong => HttpResponse::PayloadTooLarge().finish(),
            // there is more to come, which nobody waits for
            Self::TooSlow => HttpResponse::RequestTimeout().force_close().finish(),
        }
    }
}

impl Bodies {
    /// Reads a body of at most `limit` bytes, which is the limit of all bodies of the session together, within a time.
    pub(super) async fn read(
        &self,
        payload: web::Payload,
        limit: usize,
        patience: Duration,
    ) -> Result<Body, Unread> {
        let room = Room { bodies: self.clone(), taken: 0 };
        timeout(patience, read(payload, limit, room)).await.unwrap_or(Err(Unread::TooSlow))
    }
}

/// Reads what nobody wants, so that the answer is not lost to a reset.
pub(super) async fn discard(payload: web::Payload, patience: Duration) {
    // no body is that short, so nothing of it is kept
    let _ = Bodies::default().read(payload, 0, patience).await;
}

async fn read(mut payload: web::Payload, limit: usize, mut room: Room) -> Result<Body, Unread> {
    // one of the greatest length has room, whatever it costs beside
    let limit = limit.saturating_add(COST);
    let mut has_room = room.take(COST, limit);
    let (mut body, mut excess) = (BytesMut::new(), 0);
    while let Some(bytes) = payload.next().await {
        let bytes = bytes.map_err(|_| Unread::Broken)?;
        has_room = has_room && room.take(bytes.len(), limit);
        if has_room {
            body.extend_from_slice(&bytes);
            continue;
        }
        excess += bytes.len();
        body = BytesMut::new();
        room = Room { bodies: room.bodies.clone(), taken: 0 };
        if excess > MAX_EXCESS {
            break;
        }
    }
    if has_room { Ok(Body { bytes: body.freeze(), _room: room }) } else { Err(Unread::TooLong) }
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest, dev, test::TestRequest};

    use super::*;

    async fn empty(bodies: &Bodies, limit: usize) -> Result<Body, Unread> {
        let request = TestRequest::default().to_http_request();
        let payload = web::Payload::from_request(&request, &mut dev::Payload::None).await.unwrap();
        bodies.read(payload, limit, Duration::from_secs(20)).await
    }

    #[actix_web::test]
    async fn only_so_many_bodies_of_a_session_wait_even_if_they_are_empty() {
        let (bodies, limit) = (Bodies::default(), 10 * COST);
        let mut waiting = vec![];
        while let Ok(body) = empty(&bodies, limit).await {
            waiting.push(body);
            assert!(waiting.len() < 100, "any number of them waits");
        }
        assert_eq!(waiting.len(), 11);
        waiting.pop();
        assert!(empty(&bodies, limit).await.is_ok(), "there is room again");
    }
}
