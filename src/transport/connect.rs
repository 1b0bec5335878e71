//! What every transport asks before it opens a socket: the version, and the application.

use std::{panic::AssertUnwindSafe, rc::Rc};

use actix_web::{HttpRequest, HttpResponse};
use futures_util::FutureExt;

use super::Mount;
use crate::{
    socket::{Accepted, ConnectInfo, Connected, Params, Refused, SocketHandler},
    supervise::panic_message,
    wire::Serializer,
};

/// Why a socket is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request makes no sense.
    BadRequest,
    /// A page, a version or a client that is not wanted.
    Forbidden,
    /// The application's `connect` panicked.
    Crashed,
}

impl Refusal {
    /// The answer that says so over HTTP.
    pub(super) fn respond(self) -> HttpResponse {
        match self {
            Self::BadRequest => HttpResponse::BadRequest().body("Bad Request"),
            Self::Forbidden => HttpResponse::Forbidden().finish(),
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
    let (socket, id) = ask(request, async {
        let socket = S::connect(&params, &info).await?;
        let id = socket.id();
        Ok((socket, id))
    })
    .await?;
    let router = Box::new(Connected { socket: Rc::new(socket), routes: mount.routes.clone() });
    Ok(Accepted { serializer, id, router })
}

/// What the application says, whatever it does.
pub(super) async fn ask<T>(
    request: &HttpRequest,
    connect: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refusal> {
    match AssertUnwindSafe(connect).catch_unwind().await {
        Ok(Ok(connected)) => Ok(connected),
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
