//! A server's sockets: mounts them on an actix-web `App`, and reaches all of them. `drainer.rs` describes how they end.

#[cfg(target_os = "linux")]
use std::time::Duration;
use std::{any::Any, io, rc::Rc, sync::Arc};

use actix_web::{
    dev::Extensions,
    rt::net::TcpStream,
    web::{self, ServiceConfig},
};
use socket2::SockRef;

use crate::{
    drainer::Drainer,
    ops,
    pubsub::PubSub,
    socket::{RawSocket, Routes, SocketHandler},
    telemetry::Quoted,
    transport::{Mount, Sessions, SocketOptions, answer, resources, upgrade, upgrade_raw},
    wire::{DISCONNECT, IntoPayload, Payload, PayloadError},
};

/// How long a peer may take nothing of what was written to it before the kernel gives it up. Far above any stall of a
/// mobile network that TCP survives in practice.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// The sockets of one server. Make one, clone it into each worker's `App`.
///
/// ```no_run
/// use actix_web::App;
/// use hinotori::{Endpoint, Server, SocketOptions};
/// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
/// # struct UserSocket;
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Ok(Self) }
/// #     fn channels(_: &mut Routes<Self>) {}
/// # }
/// # #[actix_web::main]
/// # async fn main() -> std::io::Result<()> {
/// let endpoint = Endpoint::new();
/// let sockets = endpoint.clone();
/// let app = move || App::new().configure(sockets.socket::<UserSocket>("/socket", SocketOptions::default()));
/// Server::new(&endpoint, app).bind(("127.0.0.1", 4000))?.run().await
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    pubsub: PubSub,
    sessions: Arc<Sessions>,
    drainer: Drainer,
}

impl Endpoint {
    /// An endpoint without sockets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes at most so many sockets at a time, of all its mounts, workers and transports; any number by default. One too
    /// many is answered with HTTP 503 and `Retry-After` before the application is asked, which sends a load balancer
    /// elsewhere; phoenix.js tries again by itself.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new().with_max_connections(10_000);
    /// ```
    #[must_use]
    pub fn with_max_connections(self, max: usize) -> Self {
        self.pubsub.set_max_connections(max);
        self
    }

    /// Sets how clients are disconnected when the server shuts down.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hinotori::{Drainer, Endpoint};
    ///
    /// let drainer = Drainer { batch_size: 500, batch_interval: Duration::from_millis(500), ..Drainer::default() };
    /// let endpoint = Endpoint::new().with_drainer(drainer);
    /// ```
    #[must_use]
    pub fn with_drainer(self, drainer: Drainer) -> Self {
        Self { drainer, ..self }
    }

    pub(crate) fn drainer(&self) -> Drainer {
        self.drainer
    }

    /// Mounts a socket for [`App::configure`](actix_web::App::configure), beside the application's own routes: a client of
    /// phoenix.js connects to `path`. All sockets of an endpoint share their topics.
    pub fn socket<S: SocketHandler>(
        &self,
        path: &str,
        options: SocketOptions,
    ) -> impl FnOnce(&mut ServiceConfig) + use<S> {
        let path = path.trim_end_matches('/').to_owned();
        let Self { pubsub, sessions, .. } = self.clone();
        // a pattern that is none shows here, before any worker starts
        let _ = Routes::<S>::of(pubsub.clone());
        move |config| {
            let has_longpoll = options.longpoll.is_some();
            let mount = Rc::new(Mount::<S>::new(options, pubsub, sessions));
            let websocket = mount.clone();
            let upgrade = move |request, payload: web::Payload| upgrade(request, payload, websocket.clone());
            for resource in resources(&path, "websocket") {
                config.service(resource.to(upgrade.clone()));
            }
            if has_longpoll {
                let answer = move |request, payload: web::Payload| answer(request, payload, mount.clone());
                for resource in resources(&path, "longpoll") {
                    config.service(resource.to(answer.clone()));
                }
            }
        }
    }

    /// Mounts a socket with a protocol of its own: a WebSocket at `path/websocket`.
    pub fn raw_socket<R: RawSocket>(
        &self,
        path: &str,
        options: SocketOptions,
    ) -> impl FnOnce(&mut ServiceConfig) + use<R> {
        let (path, pubsub, options) =
            (path.trim_end_matches('/').to_owned(), self.pubsub.clone(), Rc::new(options));
        move |config| {
            let upgrade = move |request, payload: web::Payload| {
                upgrade_raw::<R>(request, payload, options.clone(), pubsub.clone())
            };
            for resource in resources(&path, "websocket") {
                config.service(resource.to(upgrade.clone()));
            }
        }
    }

    /// Mounts what an operator asks of a server, for [`App::configure`](actix_web::App::configure): `/healthz` answers 200
    /// while the process is alive, `/readyz` 200 while clients are accepted and 503 from the moment a drain begins, and, with
    /// the feature `metrics`, `/metrics` the metrics of this endpoint in Prometheus' text format. On an `App` of its own they
    /// stay reachable while the server of the sockets drains.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// let app = actix_web::App::new().configure(endpoint.ops());
    /// ```
    pub fn ops(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let pubsub = self.pubsub.clone();
        move |config| ops::configure(&pubsub, config)
    }

    /// Where the metrics of this endpoint are, for those of the application beside them. Needs the feature `metrics`.
    ///
    /// ```
    /// use hinotori::prometheus::IntGauge;
    ///
    /// let endpoint = hinotori::Endpoint::new();
    /// let orders = IntGauge::new("shop_orders_open", "Orders that are not paid yet.")?;
    /// endpoint.registry().register(Box::new(orders.clone()))?;
    /// orders.set(3);
    /// # Ok::<_, hinotori::prometheus::Error>(())
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn registry(&self) -> &prometheus::Registry {
        self.pubsub.telemetry().registry()
    }

    /// Publish and subscribe of this server.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.pubsub
    }

    /// Sends an event to all who have joined a topic, from HTTP handlers and background tasks.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// endpoint.broadcast("room:1", "news", serde_json::json!({ "n": 1 }))?;
    /// endpoint.disconnect("users:7");
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// As [`PubSub::broadcast`].
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<(), PayloadError> {
        self.pubsub.broadcast(topic, event, payload)
    }

    /// Closes every socket whose [`id`](SocketHandler::id) this is, with code 1001; phoenix.js connects again and is asked for
    /// its credentials anew: what let it in, such as a token, should not do so again. The same as broadcasting `disconnect`
    /// to the topic `id`.
    pub fn disconnect(&self, id: &str) {
        if let Err(error) = self.pubsub.broadcast(id, DISCONNECT, Payload::empty()) {
            let (id, why) = (Quoted(id), error.to_string());
            log::error!("event=not_sent what=disconnect id={id} why={}", Quoted(&why));
        }
    }
}

/// Sets a client's TCP connection up for sockets. For `actix_web::HttpServer::on_connect`; [`Server`](crate::Server) does it
/// for every connection.
///
/// `TCP_NODELAY`: a small message does not wait until the one before it has been acknowledged. `TCP_USER_TIMEOUT` (Linux):
/// the kernel drops a peer that accepts no data for 20 s. Its socket ends long before, but only this frees the connection.
/// Both also apply to TLS connections of rustls 0.23 (`HttpServer::bind_rustls_0_23`); streams of any other type are left
/// as they are.
pub fn on_connect(connection: &dyn Any, _: &mut Extensions) {
    let stream = connection.downcast_ref::<TcpStream>();
    #[cfg(feature = "tls")]
    let stream = stream.or_else(|| crate::tls::tcp(connection));
    if let Some(stream) = stream {
        let socket = SockRef::from(stream);
        let set = socket.set_tcp_nodelay(true).and_then(|()| set_user_timeout(&socket));
        if let Err(error) = set {
            log::debug!("event=not_set_up why={}", Quoted(&error.to_string()));
        }
    }
}

#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Other systems have no such option; there, a peer that takes nothing is given up when it is gone.
#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
