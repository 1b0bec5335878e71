//! Reads the body of a long poll's POST, within limits.

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

/// Bytes beyond the limit of a body that are read anyway, so that the answer is not lost to a reset.
const MAX_EXCESS: usize = 8_000_000;

/// Bytes that a body counts in addition to its length while it is read or waits to be handled, so that empty bodies are
/// limited too.
const COST: usize = 1024;

/// The total bytes of one session's bodies that are being read or handled.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<AtomicUsize>);

/// A whole body, which counts toward its session's limit until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _room: Room,
}

/// What a body has taken of its session's limit.
#[derive(Debug)]
struct Room {
    bodies: Bodies,
    taken: usize,
}

impl Room {
    /// Takes more, unless the session's bodies would then exceed `limit` together.
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

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The request ended before the body was complete.
    Broken,
    /// It is too long, or the session's bodies are together.
    TooLong,
    /// It was not complete in time.
    TooSlow,
}

impl Unread {
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::Broken => HttpResponse::BadRequest().finish(),
            Self::TooLong => HttpResponse::PayloadTooLarge().finish(),
            // the rest of the body may still come, and is not read
            Self::TooSlow => HttpResponse::RequestTimeout().force_close().finish(),
        }
    }
}

impl Bodies {
    /// Reads a body of at most `limit` bytes, within a time. `limit` is for all bodies of the session together.
    pub(super) async fn read(
        &self,
        payload: web::Payload,
        limit: usize,
        patience: Duration,
    ) -> Result<Body, Unread> {
        self.read_one(payload, limit, limit, patience).await
    }

    /// The same, but `limit` is for one body and `all` for all bodies together.
    pub(super) async fn read_one(
        &self,
        payload: web::Payload,
        limit: usize,
        all: usize,
        patience: Duration,
    ) -> Result<Body, Unread> {
        let room = Room { bodies: self.clone(), taken: 0 };
        timeout(patience, read(payload, limit, all, room)).await.unwrap_or(Err(Unread::TooSlow))
    }

    /// Takes a body that was read elsewhere.
    pub(super) fn take(&self, bytes: Bytes, limit: usize) -> Result<Body, Unread> {
        let mut room = Room { bodies: self.clone(), taken: 0 };
        let fits = room.take(COST.saturating_add(bytes.len()), limit.saturating_add(COST));
        if fits { Ok(Body { bytes, _room: room }) } else { Err(Unread::TooLong) }
    }
}

/// Reads and discards a body, so that the answer is not lost to a reset.
pub(super) async fn discard(payload: web::Payload, patience: Duration) {
    // a limit of 0, so nothing is kept
    let _ = Bodies::default().read(payload, 0, patience).await;
}

async fn read(mut payload: web::Payload, limit: usize, all: usize, mut room: Room) -> Result<Body, Unread> {
    // a body of the maximum length must fit, whatever its extra cost
    let all = all.saturating_add(COST);
    let mut has_room = room.take(COST, all);
    let (mut body, mut excess) = (BytesMut::new(), 0);
    while let Some(bytes) = payload.next().await {
        let bytes = bytes.map_err(|_| Unread::Broken)?;
        has_room = has_room && body.len() + bytes.len() <= limit && room.take(bytes.len(), all);
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
