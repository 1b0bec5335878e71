//! What every transport checks before it opens a socket: the version, and the application.

use std::{rc::Rc, task::Poll};

use actix_web::HttpRequest;

use super::{Mount, admission::Denial};
use crate::{
    callback::{self, Outcome},
    node::Node,
    reason::Refusal,
    socket::{Accepted, ConnectInfo, Connected, Connecting, Params, Refused, SocketHandler},
    telemetry::{Crash, Quoted, Span},
    wire::Serializer,
};

/// Negotiates the version and calls `connect`.
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
    let serializer =
        if mount.options.user_broadcasts { serializer.with_user_broadcasts() } else { serializer };
    let info = ConnectInfo::new(request, auth_token, &mount.options.trusted_proxies);
    let connect = async {
        let socket = S::connect(&params, &info).await?;
        let ids = socket.ids();
        Ok((socket, ids))
    };
    let ((socket, ids), connecting) = ask(&mount.node, connect).await?;
    let router = Box::new(Connected { socket: Rc::new(socket), routes: mount.routes.clone() });
    Ok(Accepted { serializer, ids, router, connecting })
}

/// Calls the application, and catches its panic. It is called only if there is a seat for the client, which the client
/// then keeps.
pub(super) async fn ask<T>(
    node: &Node,
    connect: impl Future<Output = Result<T, Refused>>,
) -> Result<(T, Connecting), Denial> {
    if node.connections.is_draining() {
        return Err(Refusal::Drain.into());
    }
    let connecting = Connecting::begin(node).ok_or(Refusal::Full)?;
    // it is dropped with the request if the client is gone
    let span = Span { callback: "connect", conn: None, topic: None, event: None };
    match callback::run(span.around(connect), |_| Poll::Pending).await {
        Outcome::Returned(Ok(connected)) => Ok((connected, connecting)),
        Outcome::Returned(Err(refused)) if refused.is_fault() => Err(crashed(node, &refused.to_string())),
        Outcome::Returned(Err(refused)) => Err(Denial::application(&refused)),
        Outcome::Panicked(why) => Err(crashed(node, &why)),
        Outcome::Cut => Err(Refusal::Application.into()),
    }
}

/// Counts and logs that `connect` crashed.
fn crashed(node: &Node, why: &str) -> Denial {
    log::error!("event=crashed of={} why={}", Crash::Connect, Quoted(why));
    node.telemetry.crashed(Crash::Connect);
    Refusal::Crash.into()
}
