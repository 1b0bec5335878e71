//! One `App` under [`Server`] and under actix-web's own, plain and with TLS: real connections, on ports of their own.

mod app;
mod client;
mod connect;
mod disconnect;
mod ends;
mod handover;
mod http;
mod readers;

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    App, HttpServer,
    rt::{
        self,
        task::JoinHandle,
        time::{sleep, timeout},
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    net::TcpSocket,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_rustls::TlsConnector;

use self::client::Client;
use super::*;

/// How long to wait for anything that must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that the system keeps on either side of a narrow connection. With fewer it sends some bytes each fifth of a second.
const NARROW: usize = 16 * 1024;

/// What serves the `App`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Server,
    ServerTls,
    HttpServer,
    HttpServerTls,
}

const SERVER: [Way; 2] = [Way::Server, Way::ServerTls];
const ALL: [Way; 4] = [Way::Server, Way::ServerTls, Way::HttpServer, Way::HttpServerTls];

/// What a test chooses.
#[derive(Debug, Clone)]
struct Settings {
    endpoint: Endpoint,
    keep_alive: Duration,
    request_timeout: Duration,
    handshake_timeout: Duration,
    /// The system keeps little of what a client does not read.
    is_narrow: bool,
    /// Of TLS, if it is not that of [`identity`].
    tls: Option<ServerConfig>,
}

impl Default for Settings {
    /// No time that a busy machine could exceed.
    fn default() -> Self {
        let [keep_alive, request_timeout, handshake_timeout] = [PATIENCE; 3];
        Self {
            endpoint: Endpoint::new(),
            keep_alive,
            request_timeout,
            handshake_timeout,
            is_narrow: false,
            tls: None,
        }
    }
}

/// A server that runs, on one worker, until the test is over.
struct Running {
    way: Way,
    is_narrow: bool,
    address: SocketAddr,
    tls: TlsConnector,
    /// Sockets that wait are let in by its permits.
    gate: Arc<Semaphore>,
    /// The clients of those connections whose data has been dropped.
    gone: mpsc::UnboundedReceiver<SocketAddr>,
    endpoint: Endpoint,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<io::Result<()>>,
}

impl Way {
    fn is_tls(self) -> bool {
        matches!(self, Self::ServerTls | Self::HttpServerTls)
    }

    fn start(self, settings: Settings) -> Running {
        let gate = Arc::new(Semaphore::new(0));
        let (stop, stopped) = oneshot::channel();
        let (config, tls) = identity();
        let Settings { endpoint, keep_alive, request_timeout, handshake_timeout, is_narrow, tls: own } =
            settings;
        let config = own.unwrap_or(config);
        let (sockets, waiting) = (endpoint.clone(), gate.clone());
        let app = move || {
            let (sockets, gate) = (sockets.clone(), waiting.clone());
            App::new().wrap_fn(app::mark).configure(move |config| app::configure(config, &sockets, gate))
        };
        let (of_connection, gone) = mpsc::unbounded_channel();
        let set_up = app::on_connect(of_connection, is_narrow);
        let here = ("127.0.0.1", 0);
        let (address, ended) = match self {
            Self::Server | Self::ServerTls => {
                let server = Server::new(&endpoint, app)
                    .workers(1)
                    .keep_alive(keep_alive)
                    .client_request_timeout(request_timeout)
                    .tls_handshake_timeout(handshake_timeout)
                    .on_connect(set_up);
                let server = if self.is_tls() { server.bind_tls(here, config) } else { server.bind(here) };
                let server = server.unwrap();
                let until = async { _ = stopped.await };
                (server.addrs()[0], rt::spawn(server.run_until(until)))
            }
            Self::HttpServer | Self::HttpServerTls => {
                let server = HttpServer::new(app)
                    .workers(1)
                    .keep_alive(keep_alive)
                    .client_request_timeout(request_timeout)
                    .client_disconnect_timeout(Duration::ZERO)
                    .tls_handshake_timeout(handshake_timeout)
                    .max_connection_rate(10_000)
                    .disable_signals()
                    .on_connect(move |stream, data| {
                        on_connect(stream, data);
                        set_up(stream, data);
                    });
                let server =
                    if self.is_tls() { server.bind_rustls_0_23(here, config) } else { server.bind(here) };
                let server = server.unwrap();
                let (address, endpoint) = (server.addrs()[0], endpoint.clone());
                let until = async {
                    _ = stopped.await;
                    Ok("none")
                };
                (
                    address,
                    rt::spawn(async move {
                        let stop = Stop { told: until, is_signal: false };
                        endpoint.serve_until(server.run(), stop, None).await
                    }),
                )
            }
        };
        Running { way: self, is_narrow, address, tls, gate, gone, endpoint, stop, ended }
    }
}

impl Running {
    async fn connect(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        if self.is_narrow {
            socket.set_recv_buffer_size(NARROW as u32).unwrap();
        }
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().unwrap();
        if !self.way.is_tls() {
            return Client::new(stream, local);
        }
        let name = ServerName::try_from("localhost").unwrap();
        Client::new(self.tls.connect(name, stream).await.unwrap(), local)
    }

    /// Stops the server and waits for its end.
    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.ended).await.expect("the server ends").unwrap().unwrap();
    }
}

/// Waits for something that must become true, and says nothing to anybody.
async fn until(is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it becomes true");
}

/// A certificate for `localhost`, and a client that trusts it.
fn identity() -> (ServerConfig, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, TlsConnector::from(Arc::new(client)))
}
