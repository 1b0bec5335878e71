//! Reads the body of a long poll's POST, within limits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, http::header::RETRY_AFTER, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::admission::RETRY_AFTER as RETRY;

/// Bytes beyond the limit of a body that are read anyway, so that the answer is not lost to a reset.
const MAX_EXCESS: usize = 8_000_000;

/// Bytes that a body counts in addition to its length while it is read or waits to be handled, so that empty bodies are
/// limited too.
const COST: usize = 1024;

/// Bodies of up to so many bytes, as nearly all are, find room that longer ones do not take.
const SHORT: usize = 64 * 1024;

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
    /// All bodies together are too long.
    Busy,
    /// It was not complete in time.
    TooSlow,
}

impl Unread {
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::Broken => HttpResponse::BadRequest().finish(),
            Self::TooLong => HttpResponse::PayloadTooLarge().finish(),
            // as of a server that is full
            Self::Busy => HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, RETRY)).finish(),
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
        let body = self.read_one(payload, limit, [limit; 2], patience).await;
        body.map_err(|why| if why == Unread::Busy { Unread::TooLong } else { why })
    }

    /// The same, but `limit` is for one body, and `all` for all bodies together: what long ones may take of it, and what
    /// short ones may.
    pub(super) async fn read_one(
        &self,
        payload: web::Payload,
        limit: usize,
        all: [usize; 2],
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

async fn read(
    mut payload: web::Payload,
    limit: usize,
    all: [usize; 2],
    mut room: Room,
) -> Result<Body, Unread> {
    // a body of the maximum length must fit, whatever its extra cost
    let all = all.map(|all| all.saturating_add(COST));
    let mut whole = if room.take(COST, all[1]) { Ok(BytesMut::new()) } else { Err(Unread::Busy) };
    let mut excess = 0;
    while let Some(bytes) = payload.next().await {
        let bytes = bytes.map_err(|_| Unread::Broken)?;
        if let Ok(body) = &mut whole {
            let length = body.len() + bytes.len();
            let all = all[usize::from(length <= SHORT)];
            if length <= limit && room.take(bytes.len(), all) {
                body.extend_from_slice(&bytes);
                continue;
            }
            whole = Err(if length > limit { Unread::TooLong } else { Unread::Busy });
            room = Room { bodies: room.bodies.clone(), taken: 0 };
        }
        excess += bytes.len();
        if excess > MAX_EXCESS {
            break;
        }
    }
    whole.map(|body| Body { bytes: body.freeze(), _room: room })
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

    async fn one_of_many(bodies: &Bodies, length: usize, all: [usize; 2]) -> Result<Body, Unread> {
        let request = TestRequest::default().set_payload(vec![0; length]);
        let (request, mut payload) = request.to_http_parts();
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        bodies.read_one(payload, 10 * SHORT, all, Duration::from_secs(20)).await
    }

    #[actix_web::test]
    async fn long_bodies_leave_room_for_short_ones_and_who_finds_none_is_told_to_try_again() {
        let (bodies, all) = (Bodies::default(), [20 * SHORT, 22 * SHORT]);
        let read = |length| one_of_many(&bodies, length, all);
        let _long = [read(10 * SHORT).await.unwrap(), read(9 * SHORT).await.unwrap()];
        assert_eq!(read(SHORT + 1).await.unwrap_err(), Unread::Busy);
        assert_eq!(read(10 * SHORT + 1).await.unwrap_err(), Unread::TooLong);
        let short = [read(SHORT).await.unwrap(), read(SHORT).await.unwrap()];
        assert_eq!(read(SHORT).await.unwrap_err(), Unread::Busy);
        drop(short);
        assert!(read(SHORT).await.is_ok());
        assert_eq!(Unread::Busy.respond().status(), 503);
    }
}
