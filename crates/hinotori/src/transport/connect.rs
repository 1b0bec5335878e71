//! What every transport asks before it opens a socket: the version, and the application.

use std::{panic::AssertUnwindSafe, rc::Rc};

use actix_web::HttpRequest;
use futures_util::FutureExt;

use super::{Mount, admission::Denial};
use crate::{
    pubsub::{PubSub, Seat},
    socket::{Accepted, ConnectInfo, Connected, Params, Refused, SocketHandler},
    supervise::panic_message,
    telemetry::{Crash, Quoted, Refusal},
    wire::Serializer,
};

/// Chooses the version and asks the application.
pub(super) async fn connect<S: SocketHandler>(
    request: &HttpRequest,
    mut params: Params,
    auth_token: Option<&str>,
    mount: &Mount<S>,
) -> Result<Accepted, Denial> {
    let vsn = params.remove("vsn");
    let serializer = match &vsn {
        None => Serializer::negotiate(None),
        Some(vsn) => vsn.as_str().and_then(|vsn| Serializer::negotiate(Some(vsn))),
    };
    let Some(serializer) = serializer else {
        let vsn =
            vsn.map(|vsn| vsn.as_str().map_or_else(|| vsn.to_string(), str::to_owned)).unwrap_or_default();
        let details = format!("vsn={} expected=\"1.0.x or 2.0.x\"", Quoted(&vsn));
        return Err(Denial::new(Refusal::Version, details));
    };
    let info = ConnectInfo::new(request, auth_token, &mount.options.trusted_proxies);
    let connect = async {
        let socket = S::connect(&params, &info).await?;
        let id = socket.id();
        Ok((socket, id))
    };
    let ((socket, id), seat) = ask(&mount.pubsub, connect).await?;
    let router = Box::new(Connected { socket: Rc::new(socket), routes: mount.routes.clone() });
    Ok(Accepted { serializer, id, router, seat })
}

/// What the application says, whatever it does. It is asked only when there is a place for the client, which is its own
/// from then on.
pub(super) async fn ask<T>(
    pubsub: &PubSub,
    connect: impl Future<Output = Result<T, Refused>>,
) -> Result<(T, Seat), Denial> {
    if pubsub.is_draining() {
        return Err(Refusal::Drain.into());
    }
    let seat = pubsub.seat().ok_or(Refusal::Full)?;
    match AssertUnwindSafe(connect).catch_unwind().await {
        Ok(Ok(connected)) => Ok((connected, seat)),
        Ok(Err(Refused)) => Err(Refusal::Application.into()),
        Err(panic) => {
            let why = panic_message(&*panic);
            log::error!("event=crashed of={} why={}", Crash::Connect, Quoted(&why));
            pubsub.telemetry().crashed(Crash::Connect);
            Err(Refusal::Crash.into())
        }
    }
}
