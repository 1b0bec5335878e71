//! A server's sockets: mounts them on an actix-web `App`, and reaches all of them. `shutdown.rs` describes how they
//! end.
//!
//! An endpoint is built once and then frozen: its settings come from its [`EndpointBuilder`] and apply to every clone.

use std::{fmt, num::NonZeroU64, rc::Rc, sync::Arc};

use actix_web::web::{self, ServiceConfig};

use crate::{
    cluster::{Adapter, NodeId},
    drainer::Drainer,
    node::{Link, Node},
    ops::{self, Check},
    pubsub::{PubSub, Spared, Subscription},
    socket::{RawSocket, Routes, SocketHandler},
    telemetry::Quoted,
    transport::{Mount, Sessions, SocketOptions, answer, resources, upgrade, upgrade_raw},
    wire::{DISCONNECT, IntoPayload, Payload, PayloadError},
};

/// The sockets of one server. Create one and clone it into each worker's `App`.
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
///
/// Settings are made before it is built: see [`Endpoint::builder`]. All clones are the same endpoint.
#[derive(Clone)]
pub struct Endpoint {
    frozen: Arc<Frozen>,
}

/// What all clones of an endpoint share. It never changes after the build.
struct Frozen {
    node: Arc<Node>,
    /// The server's long-poll sessions.
    sessions: Arc<Sessions>,
    drainer: Drainer,
    checks: Arc<[Check]>,
}

/// The settings of an [`Endpoint`] that is to be built.
///
/// ```
/// use std::time::Duration;
/// use hinotori::{Drainer, Endpoint};
///
/// let drainer = Drainer::default().batch_size(500).batch_interval(Duration::from_millis(500));
/// let endpoint = Endpoint::builder().max_connections(10_000).drainer(drainer).build();
/// ```
#[derive(Clone)]
#[must_use = "an endpoint is there when it is built"]
pub struct EndpointBuilder {
    max_connections: usize,
    drainer: Drainer,
    adapter: Option<Arc<dyn Adapter>>,
    node_name: Option<Arc<str>>,
    checks: Vec<Check>,
    /// See [`Link`].
    speed: u32,
}

impl EndpointBuilder {
    /// Limits how many sockets may be connected at a time, across all mounts, workers and transports. Unlimited by
    /// default. Connections above the limit are answered with HTTP 503 and `Retry-After` before the application is
    /// asked, so a load balancer can try another server. phoenix.js retries by itself.
    pub fn max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
    }

    /// Sets how clients are disconnected when the server shuts down.
    pub fn drainer(self, drainer: Drainer) -> Self {
        Self { drainer, ..self }
    }

    /// Makes this endpoint a node of a server of several: see [`cluster`](crate::cluster). None by default. An adapter is
    /// for one endpoint.
    pub fn adapter(self, adapter: impl Adapter) -> Self {
        Self { adapter: Some(Arc::new(adapter)), ..self }
    }

    /// Sets the name by which the log and the metrics of all nodes call this one. By default, the host's name and the
    /// process's id. Set a name that stays the same when the node is started again, and differs from those of other
    /// nodes: a node that was killed is then replaced at once when it is back, and its presences need not wait until they
    /// are missed.
    pub fn node_name(self, name: &str) -> Self {
        Self { node_name: Some(name.into()), ..self }
    }

    /// Adds what `/readyz` of [`Endpoint::ops`] also tells. None by default.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    #[cfg(test)]
    pub(crate) fn speed(self, speed: u32) -> Self {
        Self { speed, ..self }
    }

    /// An endpoint with no sockets mounted yet.
    ///
    /// # Panics
    /// If the system cannot supply random bytes, or a thread for the [`adapter`](Self::adapter).
    #[must_use]
    pub fn build(self) -> Endpoint {
        let Self { max_connections, drainer, adapter, node_name, checks, speed } = self;
        let name = || node_name.unwrap_or_else(default_name);
        let link = adapter.map(|adapter| Link { adapter, name: name(), speed });
        let node = Node::new(max_connections, link);
        let sessions = Arc::new(Sessions::new(node.cluster.as_ref().map(|cluster| cluster.id())));
        if let Some(cluster) = &node.cluster {
            cluster.serve(sessions.clone());
        }
        Endpoint { frozen: Arc::new(Frozen { node, sessions, drainer, checks: checks.into() }) }
    }
}

impl fmt::Debug for EndpointBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointBuilder")
            .field("max_connections", &self.max_connections)
            .field("drainer", &self.drainer)
            .field("has_adapter", &self.adapter.is_some())
            .field("node_name", &self.node_name)
            .field("checks", &self.checks)
            .finish()
    }
}

/// The host's name and the process's id, which no other process of the host has.
fn default_name() -> Arc<str> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "node" } else { host.trim() };
    format!("{host}:{}", std::process::id()).into()
}

impl Endpoint {
    /// An endpoint with the defaults of [`EndpointBuilder`].
    ///
    /// # Panics
    /// Same as [`EndpointBuilder::build`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings for an endpoint, initially all at their defaults.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder {
            max_connections: usize::MAX,
            drainer: Drainer::default(),
            adapter: None,
            node_name: None,
            checks: Vec::new(),
            speed: 1,
        }
    }

    /// This start of this node, if it has an [adapter](EndpointBuilder::adapter): the same number that its log lines and
    /// those of other nodes have.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.node().cluster.as_ref().map(|cluster| cluster.id())
    }

    /// Whether this node is connected to the others by its [adapter](EndpointBuilder::adapter), as far as it knows: a lost
    /// connection is known at once, a dead one after 3 s. Always true without an adapter. Use it to look more often for
    /// what other nodes would otherwise tell.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.node().cluster.as_ref().is_none_or(|cluster| cluster.is_up())
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.frozen.node
    }

    pub(crate) fn drainer(&self) -> Drainer {
        self.frozen.drainer
    }

    /// Mounts a socket, for [`App::configure`](actix_web::App::configure), alongside the application's own routes.
    /// phoenix.js clients connect to `path`. All sockets of an endpoint share their topics.
    pub fn socket<S: SocketHandler>(
        &self,
        path: &str,
        options: SocketOptions,
    ) -> impl FnOnce(&mut ServiceConfig) + use<S> {
        let path = path.trim_end_matches('/').to_owned();
        let (node, sessions) = (self.node().clone(), self.frozen.sessions.clone());
        // an invalid pattern is reported here, before any worker starts
        let _ = Routes::<S>::of(node.telemetry.clone());
        move |config| {
            let has_longpoll = options.longpoll.is_some();
            let mount = Rc::new(Mount::<S>::new(options, node, sessions));
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

    /// Mounts a socket with a custom protocol: a WebSocket at `path/websocket`.
    pub fn raw_socket<R: RawSocket>(
        &self,
        path: &str,
        options: SocketOptions,
    ) -> impl FnOnce(&mut ServiceConfig) + use<R> {
        let (path, node, options) =
            (path.trim_end_matches('/').to_owned(), self.node().clone(), Rc::new(options));
        move |config| {
            let upgrade = move |request, payload: web::Payload| {
                upgrade_raw::<R>(request, payload, options.clone(), node.clone())
            };
            for resource in resources(&path, "websocket") {
                config.service(resource.to(upgrade.clone()));
            }
        }
    }

    /// Mounts the routes for operators, for [`App::configure`](actix_web::App::configure). `/healthz` answers 200 while
    /// the process is alive. `/readyz` answers 200 while clients are accepted, and 503 from the moment a drain begins.
    /// With an [adapter](EndpointBuilder::adapter), its second line is the state of the cluster, which does not change the
    /// status. Then come the lines of the [checks](EndpointBuilder::check).
    /// With the feature `metrics`, `/metrics` serves this endpoint's metrics in the Prometheus text format. Mounted on
    /// a separate `App`, they stay reachable while the sockets' server drains.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// let app = actix_web::App::new().configure(endpoint.ops());
    /// ```
    pub fn ops(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let (node, checks) = (self.node().clone(), self.frozen.checks.clone());
        move |config| ops::configure(&node, &checks, config)
    }

    /// The registry of this endpoint's metrics, to which the application can add its own. Needs the feature `metrics`.
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
        self.node().telemetry.registry()
    }

    /// The server's topics, for code that only broadcasts.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.node().pubsub
    }

    /// Sends an event to everyone who has joined or subscribed to a topic. Use it in HTTP handlers and background
    /// tasks.
    ///
    /// ```
    /// let endpoint = hinotori::Endpoint::new();
    /// endpoint.broadcast("room:1", "news", serde_json::json!({ "n": 1 }))?;
    /// endpoint.disconnect("users:7");
    /// # Ok::<_, hinotori::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast(&self, topic: &str, event: &str, payload: impl IntoPayload) -> Result<(), PayloadError> {
        self.pubsub().broadcast(topic, event, payload)
    }

    /// Sends an event to everyone who has joined or subscribed to a topic on this node alone: see
    /// [`PubSub::local_broadcast`].
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn local_broadcast(
        &self,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.pubsub().local_broadcast(topic, event, payload)
    }

    /// Sends an event to everyone who has joined or subscribed to a topic, except one. Use it in a task or an actor
    /// that broadcasts a channel's change, which that channel already knows. A channel that broadcasts to another topic
    /// passes its [`Context`](crate::Context) as `from`; for its own topic there is
    /// [`Context::broadcast_from`](crate::Context::broadcast_from).
    ///
    /// All of `from`'s subscriptions to the topic are skipped, including those made by
    /// [`Context::subscribe`](crate::Context::subscribe). Other channels of the same client get the broadcast.
    ///
    /// ```
    /// use hinotori::{Endpoint, Handle};
    /// use serde_json::json;
    ///
    /// /// A room's actor handles a move: the channel that sent it added its `cx.handle()`.
    /// fn moved(endpoint: &Endpoint, player: &Handle<()>, to: [i32; 2]) -> Result<(), hinotori::PayloadError> {
    ///     endpoint.broadcast_from(player, "game:1", "moved", json!({ "to": to }))
    /// }
    /// ```
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_from(
        &self,
        from: &impl Spared,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.pubsub().broadcast_from(from, topic, event, payload)
    }

    /// Sends a message that has a position among those of its topic: see [`PubSub::broadcast_at`].
    ///
    /// # Errors
    /// Same as [`PubSub::broadcast`].
    pub fn broadcast_at(
        &self,
        position: NonZeroU64,
        topic: &str,
        event: &str,
        payload: impl IntoPayload,
    ) -> Result<(), PayloadError> {
        self.pubsub().broadcast_at(position, topic, event, payload)
    }

    /// Subscribes a task or an actor on any thread to a topic, until the [`Subscription`] is dropped. A channel uses
    /// [`Context::subscribe`](crate::Context::subscribe) instead.
    pub fn subscribe(&self, topic: &str) -> Subscription {
        self.pubsub().subscribe(topic)
    }

    /// Closes every socket with this [`id`](SocketHandler::id), or with this one among its
    /// [`ids`](SocketHandler::ids), with code 1001. phoenix.js then reconnects and must
    /// present its credentials again, so first revoke whatever admitted it, such as a token. Broadcasting `disconnect`
    /// to the topic `id` does the same. A socket that is just being connected is closed as soon as it opens.
    pub fn disconnect(&self, id: &str) {
        if let Err(error) = self.pubsub().broadcast(id, DISCONNECT, Payload::empty()) {
            let (id, why) = (Quoted(id), error.to_string());
            log::error!("event=not_sent what=disconnect id={id} why={}", Quoted(&why));
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("max_connections", &self.node().connections.max())
            .field("drainer", &self.drainer())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
