//! Admits and refuses clients: counts it, logs it, and answers over HTTP.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};

use super::SocketOptions;
use crate::{
    node::Node,
    reason::Refusal,
    socket::{Line, Refused},
    telemetry::{Address, Quoted, Transport},
};

/// Seconds after which a client may try a full server again: the longest that phoenix.js waits between attempts.
pub(super) const RETRY_AFTER: u32 = 5;

/// Why a socket is not opened, with details for the log.
#[derive(Debug)]
pub(super) struct Denial {
    why: Refusal,
    details: String,
    /// The body of the answer, if it is more than the status.
    body: Option<String>,
    /// What the application chose.
    status: StatusCode,
}

impl From<Refusal> for Denial {
    fn from(why: Refusal) -> Self {
        Self::new(why, String::new())
    }
}

impl Denial {
    /// With more `key=value` pairs for the log, in which the client's text is [`Quoted`].
    pub(super) fn new(why: Refusal, details: String) -> Self {
        Self { why, details, body: None, status: StatusCode::FORBIDDEN }
    }

    /// The application's own, with its reason.
    pub(super) fn application(refused: &Refused) -> Self {
        let (status, why) = (refused.status(), refused.to_string());
        let details = format!("status={} why={}", status.as_u16(), Quoted(&why));
        Self { status, ..Self::new(Refusal::Application, details) }
    }

    /// A request that is not an upgrade, with what is missing.
    pub(super) fn handshake(missing: String) -> Self {
        let details = format!("missing={}", Quoted(&missing));
        Self { body: Some(missing), ..Self::new(Refusal::Handshake, details) }
    }

    /// Counts and logs the refusal, and returns the answer.
    pub(super) fn tell(
        self,
        transport: Transport,
        request: &HttpRequest,
        options: &SocketOptions,
        node: &Node,
    ) -> HttpResponse {
        let Self { why, details, body, status } = self;
        node.telemetry.refused(why);
        let space = if details.is_empty() { "" } else { " " };
        log::log!(
            level(why),
            "event=refused transport={transport} reason={why} peer={} path={}{space}{details}",
            Address(options.trusted_proxies.client(request)),
            Quoted(request.path()),
        );
        match why {
            Refusal::Method | Refusal::Query | Refusal::Handshake => {
                HttpResponse::BadRequest().body(body.unwrap_or_else(|| "Bad Request".to_owned()))
            }
            Refusal::Origin | Refusal::Subprotocol | Refusal::Version | Refusal::Application => {
                HttpResponse::build(status).finish()
            }
            Refusal::Full | Refusal::Drain => HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, RETRY_AFTER))
                .body("Service Unavailable"),
            Refusal::Crash => HttpResponse::InternalServerError().body("Internal Server Error"),
        }
    }
}

/// Logs a connection that has opened, at debug, because a busy server has many.
pub(super) fn opened(transport: Transport, line: &Line, request: &HttpRequest, options: &SocketOptions) {
    log::debug!(
        "event=connected conn={} transport={transport} peer={} path={}",
        line.conn(),
        Address(options.trusted_proxies.client(request)),
        Quoted(request.path()),
    );
}

/// A refused origin is a warning: whoever sets up a server has to see it.
fn level(why: Refusal) -> log::Level {
    match why {
        Refusal::Origin => log::Level::Warn,
        _ => log::Level::Info,
    }
}
