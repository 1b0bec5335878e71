//! A server for an `App` whose WebSockets own their TCP streams.

#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
mod tls {
    /// Never constructed: without the feature `tls`, no address is encrypted.
    #[derive(Clone)]
    pub(super) enum ServerConfig {}
}

use std::{any::Any, fmt, future::Future, io, marker::PhantomData, net, sync::Arc, time::Duration};

use actix_http::{HttpService, KeepAlive, Request, error::DispatchError};
use actix_server::ServerBuilder;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::{
    body::MessageBody,
    dev::{AppConfig, Extensions, Response},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpStream, sync::watch};

use self::tls::ServerConfig;
use crate::{
    endpoint::Endpoint,
    shutdown::{Doors, Stop},
    tcp::on_connect,
    transport::{HttpStream, PIECE, TakeOver, Transport},
};

/// How long the workers continue after the deadline of a drain, so that only the drain cuts connections off.
const SPARE: Duration = Duration::from_secs(10);

/// No limit on connections (except descriptors) and TLS handshakes. With actix-server's limits, 25,600 and 256 per
/// worker, more clients would wait, neither served nor refused.
/// [`EndpointBuilder::max_connections`](crate::EndpointBuilder::max_connections) refuses them instead.
const UNBOUNDED: usize = usize::MAX;

/// Connections that the system queues until the server accepts them: as many as it allows, because after a deploy all
/// clients reconnect at once.
const BACKLOG: i32 = i32::MAX;

type OnConnect = Arc<dyn Fn(&dyn Any, &mut Extensions) + Send + Sync>;

/// Serves an `App` and the sockets of an [`Endpoint`] in it, until the process is told to stop.
///
/// It replaces `actix_web::HttpServer` and does more for sockets. After the handshake, a WebSocket takes over its TCP
/// connection from HTTP: a joined idle connection then takes less than a quarter of the memory, and every delivery less
/// CPU time. Connections are set up for small messages. On SIGTERM and SIGINT the server drains as the endpoint's
/// [`Drainer`](crate::Drainer) says. actix-web serves requests as usual. Settings apply to all addresses, whatever the
/// order of the calls.
///
/// ```no_run
/// use actix_web::{App, HttpResponse, web};
/// use hinotori::{Endpoint, Server};
///
/// # #[actix_web::main]
/// # async fn main() -> std::io::Result<()> {
/// let endpoint = Endpoint::new();
/// let app = || App::new().route("/", web::get().to(async || HttpResponse::Ok().body("hello")));
/// Server::new(&endpoint, app).workers(2).bind(("127.0.0.1", 4000))?.run().await
/// # }
/// ```
pub struct Server<F, S, B> {
    endpoint: Endpoint,
    app: F,
    workers: Option<usize>,
    http: Http,
    bound: Vec<Bound>,
    _of: PhantomData<fn() -> (S, B)>,
}

/// Where it listens.
struct Bound {
    listener: net::TcpListener,
    address: net::SocketAddr,
    tls: Option<ServerConfig>,
}

/// How HTTP is served.
#[derive(Clone)]
struct Http {
    keep_alive: KeepAlive,
    request_timeout: Duration,
    disconnect_timeout: Duration,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there are no handshakes"))]
    handshake_timeout: Duration,
    on_connect: Option<OnConnect>,
}

impl Default for Http {
    /// The timeouts of actix-web's own server.
    fn default() -> Self {
        Self {
            keep_alive: KeepAlive::default(),
            request_timeout: Duration::from_secs(5),
            disconnect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(3),
            on_connect: None,
        }
    }
}

impl<F, S, B> fmt::Debug for Server<F, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.bound.iter().map(|bound| bound.address);
        f.debug_struct("Server").field("addrs", &addresses.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl<F, I, S, B> Server<F, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    /// A server of the `App`s that `app` makes, one per worker.
    pub fn new(endpoint: &Endpoint, app: F) -> Self {
        let (endpoint, http) = (endpoint.clone(), Http::default());
        Self { endpoint, app, workers: None, http, bound: vec![], _of: PhantomData }
    }

    /// Threads that serve clients, from 1 to 512. One per core by default.
    ///
    /// # Panics
    /// When the server runs, if there are fewer or more.
    #[must_use]
    pub fn workers(self, count: usize) -> Self {
        Self { workers: Some(count), ..self }
    }

    /// How long an HTTP connection may be idle between requests. 5 s by default. For sockets, see
    /// [`SocketOptions::timeout`](crate::SocketOptions::timeout).
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: impl Into<KeepAlive>) -> Self {
        self.http.keep_alive = keep_alive.into();
        self
    }

    /// How long a client may take to send the head of a connection's first request; then it is answered with 408. 5 s
    /// by default; zero for any time.
    #[must_use]
    pub fn client_request_timeout(mut self, timeout: Duration) -> Self {
        self.http.request_timeout = timeout;
        self
    }

    /// How long a client may take to end a connection that HTTP has closed. 1 s by default; zero for any time.
    #[must_use]
    pub fn client_disconnect_timeout(mut self, timeout: Duration) -> Self {
        self.http.disconnect_timeout = timeout;
        self
    }

    /// How long a client may take for the TLS handshake. 3 s by default.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.http.handshake_timeout = timeout;
        self
    }

    /// Calls `on_connect` with each new connection, which is a `tokio::net::TcpStream` or, with TLS, an
    /// `actix_tls::accept::rustls_0_23::TlsStream` of one. `HttpRequest::conn_data` returns what it inserts.
    #[must_use]
    pub fn on_connect(
        mut self,
        on_connect: impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static,
    ) -> Self {
        self.http.on_connect = Some(Arc::new(on_connect));
        self
    }

    /// Listens on an address; port 0 picks a free one. If a name has several addresses, such as `localhost`, listens on
    /// all that the system has.
    ///
    /// # Errors
    /// The system's error, such as that the address is in use, if it cannot listen on any of them.
    pub fn bind(self, addresses: impl net::ToSocketAddrs) -> io::Result<Self> {
        self.listen_on(addresses, None)
    }

    /// Listens with TLS; see [`Certificate::server_config`](crate::Certificate::server_config). HTTP/1.1 is offered
    /// (ALPN).
    ///
    /// # Errors
    /// As [`Server::bind`].
    #[cfg(feature = "tls")]
    pub fn bind_tls(self, addresses: impl net::ToSocketAddrs, mut config: ServerConfig) -> io::Result<Self> {
        config.alpn_protocols.insert(0, b"http/1.1".to_vec());
        self.listen_on(addresses, Some(config))
    }

    fn listen_on(
        mut self,
        addresses: impl net::ToSocketAddrs,
        tls: Option<ServerConfig>,
    ) -> io::Result<Self> {
        let (before, mut failed) = (self.bound.len(), nowhere());
        for address in addresses.to_socket_addrs()? {
            match Bound::new(address, tls.clone()) {
                Ok(bound) => self.bound.push(bound),
                Err(error) => failed = error,
            }
        }
        if self.bound.len() == before { Err(failed) } else { Ok(self) }
    }

    /// Where it listens.
    pub fn addrs(&self) -> Vec<net::SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Serves until SIGTERM or SIGINT (off Unix: Ctrl+C), then drains as [`Endpoint::serve`] describes.
    ///
    /// # Errors
    /// `InvalidInput` if it was not bound to an address; otherwise the system's error if the workers cannot be started
    /// or signals cannot be listened for.
    pub async fn run(self) -> io::Result<()> {
        let endpoint = self.endpoint.clone();
        let doors = self.doors()?;
        endpoint.serve_until(self.start(&doors)?, Stop::by_signal(), Some(doors)).await
    }

    /// Serves until `stop` is ready; signals are left to the application.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let endpoint = self.endpoint.clone();
        let doors = self.doors()?;
        let told = async {
            stop.await;
            Ok("none")
        };
        endpoint.serve_until(self.start(&doors)?, Stop { told, is_signal: false }, Some(doors)).await
    }

    /// Its listening sockets, to close them while its workers continue.
    fn doors(&self) -> io::Result<Doors> {
        let listeners = self.bound.iter().map(|bound| bound.listener.try_clone());
        Ok(Doors { listeners: listeners.collect::<io::Result<_>>()?, closing: watch::Sender::new(false) })
    }

    fn start(self, doors: &Doors) -> io::Result<actix_server::Server> {
        if self.bound.is_empty() {
            return Err(nowhere());
        }
        let deadline = self.endpoint.drainer().shutdown.saturating_add(SPARE);
        let mut builder = ServerBuilder::new()
            .max_concurrent_connections(UNBOUNDED)
            .shutdown_timeout(deadline.as_secs())
            .disable_signals();
        if let Some(workers) = self.workers {
            builder = builder.workers(workers);
        }
        for Bound { listener, address, tls } in self.bound {
            let (app, http, closing) = (self.app.clone(), self.http.clone(), doors.closing.subscribe());
            let name = format!("hinotori-{address}");
            builder = match tls {
                None => builder.listen(name, listener, move || {
                    let (http, closing) = (http.clone(), closing.clone());
                    let service = http.service::<TcpStream, _, _, _>(app(), closing, address, false);
                    // the rest belongs to the connection's task: a callback that panics ends that task, not the worker
                    fn_service(async |stream| Ok(stream)).and_then(TakeOver(service))
                })?,
                #[cfg(feature = "tls")]
                Some(config) => {
                    tls::max_concurrent_tls_connect(UNBOUNDED);
                    builder.listen(name, listener, move || {
                        let (http, closing) = (http.clone(), closing.clone());
                        let handshake = http.acceptor(config.clone());
                        let service =
                            http.service::<tls::TlsStream<TcpStream>, _, _, _>(app(), closing, address, true);
                        handshake.and_then(TakeOver(service).map_err(|_| ()))
                    })?
                }
            };
        }
        Ok(builder.run())
    }
}

impl Http {
    /// HTTP on streams that can be taken over.
    fn service<T, I, S, B>(
        self,
        app: I,
        closing: watch::Receiver<bool>,
        address: net::SocketAddr,
        is_secure: bool,
    ) -> impl ServiceFactory<
        (HttpStream<T>, Option<net::SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
        Future = impl Future + 'static,
    >
    where
        T: Transport,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<actix_web::Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let app = app.into_factory().map_err(|error| error.into().error_response());
        // actix-web has no public way to make one with the server's address; its own test server calls this too
        let config = move |()| AppConfig::__priv_test_new(is_secure, address.to_string(), address);
        let mut http = HttpService::<HttpStream<T>, _, _>::build()
            .graceful_shutdown_signal(move || {
                let mut closing = closing.clone();
                // or the server is gone
                async move { _ = closing.wait_for(|is_closing| *is_closing).await }
            })
            .keep_alive(self.keep_alive)
            .client_request_timeout(self.request_timeout)
            .client_disconnect_timeout(self.disconnect_timeout)
            .h1_write_buffer_size(PIECE)
            .local_addr(address)
            .on_connect_ext(move |stream: &HttpStream<T>, data: &mut Extensions| {
                stream.look(|stream| {
                    on_connect(stream, data);
                    if let Some(on_connect) = &self.on_connect {
                        on_connect(stream, data);
                    }
                });
                data.insert(stream.desk().clone());
            });
        if is_secure {
            http = http.secure();
        }
        http.h1(map_config(app, config))
    }
}

impl Bound {
    fn new(address: net::SocketAddr, tls: Option<ServerConfig>) -> io::Result<Self> {
        let listener = listener(address)?;
        Ok(Self { address: listener.local_addr()?, listener, tls })
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the server has no address to listen on")
}

fn listener(address: net::SocketAddr) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // a restarted server need not wait for the connections of its predecessor; on other systems this would let two
    // servers listen on one port
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
