//! What every transport asks before it opens a socket: the version, and the application.

use std::{panic::AssertUnwindSafe, rc::Rc};

use actix_web::{HttpRequest, HttpResponse, http::header};
use futures_util::FutureExt;

use super::Mount;
use crate::{
    pubsub::{Count, PubSub},
    socket::{Accepted, ConnectInfo, Connected, Params, Refused, SocketHandler},
    supervise::panic_message,
    wire::Serializer,
};

/// Seconds until a client that found no place may ask again: what phoenix.js waits for at most between attempts.
const RETRY_AFTER: u32 = 5;

/// Why a socket is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request makes no sense.
    BadRequest,
    /// A page, a version or a client that is not wanted.
    Forbidden,
    /// The server has as many connections as it takes.
    Full,
    /// The application's `connect` panicked.
    Crashed,
}

impl Refusal {
    /// The answer that says so over HTTP.
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::BadRequest => HttpResponse::BadRequest().body("Bad Request"),
            Self::Forbidden => HttpResponse::Forbidden().finish(),
            Self::Full => HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, RETRY_AFTER))
                .body("Service Unavailable"),
            Self::Crashed => HttpResponse::InternalServerError().body("Internal Server Error"),
        }
    }
}

/// Chooses the version and asks the application.
pub(super) async fn connect<S: SocketHandler>(
    request: &HttpRequest,
    mut params: Params,
    auth_token: Option<&str>,
    mount: &Mount<S>,
) -> Result<Accepted, Refusal> {
    let vsn = params.remove("vsn");
    let serializer = match &vsn {
        None => Serializer::negotiate(None),
        Some(vsn) => vsn.as_str().and_then(|vsn| Serializer::negotiate(Some(vsn))),
    };
    let Some(serializer) = serializer else {
        log::info!("refused a client that asked for version {vsn:?}: expected 1.0.x or 2.0.x");
        return Err(Refusal::Forbidden);
    };
    let info = ConnectInfo::new(request, auth_token, &mount.options.trusted_proxies);
    let connect = async {
        let socket = S::connect(&params, &info).await?;
        let id = socket.id();
        Ok((socket, id))
    };
    let ((socket, id), seat) = ask(request, &mount.pubsub, connect).await?;
    let router = Box::new(Connected { socket: Rc::new(socket), routes: mount.routes.clone() });
    Ok(Accepted { serializer, id, router, seat })
}

/// What the application says, whatever it does. It is asked only when there is a place for the client, which is its own
/// from then on.
pub(super) async fn ask<T>(
    request: &HttpRequest,
    pubsub: &PubSub,
    connect: impl Future<Output = Result<T, Refused>>,
) -> Result<(T, Count), Refusal> {
    let Some(seat) = pubsub.seat() else {
        log::info!("refused a client of {}: the server has as many connections as it takes", request.path());
        return Err(Refusal::Full);
    };
    match AssertUnwindSafe(connect).catch_unwind().await {
        Ok(Ok(connected)) => Ok((connected, seat)),
        Ok(Err(Refused)) => {
            log::info!("refused a client of {}: the application does not want it", request.path());
            Err(Refusal::Forbidden)
        }
        Err(panic) => {
            log::error!("connect of {} crashed: {}", request.path(), panic_message(&*panic));
            Err(Refusal::Crashed)
        }
    }
}
