//! Raw sockets over WebSockets.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    SocketOptions,
    auth_token::Offer,
    connect::ask,
    websocket::{admit, handshake, serve},
};
use crate::{
    pubsub::PubSub,
    socket::{ConnectInfo, Line, RawConnection, RawSocket},
};

/// As [`upgrade`](super::upgrade), for a socket without Phoenix's protocol.
pub(crate) async fn upgrade_raw<R: RawSocket>(
    request: HttpRequest,
    payload: web::Payload,
    options: Rc<SocketOptions>,
    pubsub: PubSub,
) -> HttpResponse {
    let (params, Offer { token, protocol }) = match admit(&request, &options) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.respond(),
    };
    let info = ConnectInfo::new(&request, token.as_deref(), &options.trusted_proxies);
    let connect = async {
        let socket = R::connect(&params, &info).await?;
        let id = socket.id();
        Ok((socket, id))
    };
    let ((socket, id), seat) = match ask(&request, &pubsub, connect).await {
        Ok(connected) => connected,
        Err(refusal) => return refusal.respond(),
    };
    match handshake(&request, protocol).await {
        Ok(response) => {
            let line = Line::open(options.limits(), seat, pubsub, id);
            serve(response, payload, RawConnection::open(socket, line), &options)
        }
        Err(why) => HttpResponse::BadRequest().body(why),
    }
}
