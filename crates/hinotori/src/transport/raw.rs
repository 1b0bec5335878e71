//! Raw sockets over WebSockets.

use std::{rc::Rc, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    SocketOptions,
    admission::{Denial, opened},
    auth_token::Offer,
    connect::ask,
    websocket::{admit, handshake, serve},
};
use crate::{
    node::Node,
    socket::{ConnectInfo, Line, RawConnection, RawSocket},
    telemetry::Transport,
};

/// Like [`upgrade`](super::upgrade), for a socket without Phoenix's protocol.
pub(crate) async fn upgrade_raw<R: RawSocket>(
    request: HttpRequest,
    payload: web::Payload,
    options: Rc<SocketOptions>,
    node: Arc<Node>,
) -> HttpResponse {
    match open::<R>(&request, payload, &options, &node).await {
        Ok(response) => response,
        Err(denial) => denial.tell(Transport::WebSocket, &request, &options, &node),
    }
}

async fn open<R: RawSocket>(
    request: &HttpRequest,
    payload: web::Payload,
    options: &SocketOptions,
    node: &Arc<Node>,
) -> Result<HttpResponse, Denial> {
    let (params, Offer { token, protocol }) = admit(request, options)?;
    let info = ConnectInfo::new(request, token.as_deref(), &options.trusted_proxies);
    let connect = async {
        let socket = R::connect(&params, &info).await?;
        let ids = socket.ids();
        Ok((socket, ids))
    };
    let ((socket, ids), connecting) = ask(node, connect).await?;
    let handshake = handshake(request, protocol, options).await?;
    let line = Line::open(options.limits(), Transport::WebSocket, connecting, node.clone(), ids);
    opened(Transport::WebSocket, &line, request, options);
    Ok(serve(request, handshake, payload, RawConnection::open(socket, line), options))
}
