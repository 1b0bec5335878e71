//! The end of a server: its clients are disconnected in batches, so that they do not all connect to the next one at once.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/pool_drainer.ex`, 1.8.12.

use std::{
    future::Future,
    io,
    net::{Shutdown, TcpListener},
    pin::pin,
    time::{Duration, Instant},
};

use actix_web::{
    dev::Server,
    rt::{
        self,
        time::{sleep, timeout},
    },
};
use socket2::SockRef;
use tokio::sync::watch;

use crate::{
    endpoint::Endpoint,
    pubsub::{Batch, PubSub},
    telemetry::Quoted,
};

/// How often a drain looks whether all connections are gone.
const POLL: Duration = Duration::from_millis(10);

/// So long before the deadline all who are left are told, whatever their batch: nobody is cut off without a close frame.
const LAST_CALL: Duration = Duration::from_secs(1);

/// As good as for ever, and no sum of times overflows.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long plain HTTP requests have to finish, once the sockets are gone.
const REQUESTS: Duration = Duration::from_secs(4);

/// How clients are disconnected when the server shuts down; see [`Endpoint::with_drainer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drainer {
    /// How long clients are still taken after `/readyz` has turned to 503: as long as a load balancer needs to see that. None
    /// by default, as in Phoenix: then the listening sockets are closed at once, which says the same.
    pub grace: Duration,
    /// Connections that are closed at a time, of all workers and transports together, at least 1. 10,000 by default; fewer
    /// where the servers that they go to should not get so many at once.
    pub batch_size: usize,
    /// From one batch to the next. 2 s by default. Where there are no more clients than one batch, nobody waits for it.
    pub batch_interval: Duration,
    /// How long all batches together may take. One second before this, all clients that are left are notified at once;
    /// connections that are still open at the end are cut off. 30 s by default. Whatever supervises the process must not
    /// kill it earlier. Under `actix_web::HttpServer`, set its `shutdown_timeout` higher than this: at that time actix-web
    /// cuts connections off by itself, after 30 s by default.
    pub shutdown: Duration,
}

impl Default for Drainer {
    fn default() -> Self {
        let (batch_interval, shutdown) = (Duration::from_secs(2), Duration::from_secs(30));
        Self { grace: Duration::ZERO, batch_size: 10_000, batch_interval, shutdown }
    }
}

impl Drainer {
    /// Sends everybody away. Returns how many connections, channels and untold changes of presence are left at the end.
    async fn drain(self, pubsub: &PubSub) -> usize {
        let (shutdown, interval) = (self.shutdown.min(FOREVER), self.batch_interval.min(FOREVER));
        let begun = Instant::now();
        let (end, last_call) = (begun + shutdown, begun + shutdown.saturating_sub(LAST_CALL));
        let left = || pubsub.connections() + pubsub.telemetry().channels() + pubsub.works();
        pubsub.begin_drain();
        let mut steps = Steps::default();
        let mut next = Some(begun);
        while left() > 0 && Instant::now() < end {
            let now = Instant::now();
            if next.is_some_and(|next| now >= next) {
                let is_last = now >= last_call;
                steps.begin(pubsub, if is_last { usize::MAX } else { self.batch_size.max(1) });
                next = (!is_last).then(|| last_call.min(now + interval));
            }
            sleep(POLL).await;
            steps.log_if_done(pubsub);
        }
        steps.end(pubsub);
        left()
    }
}

/// The batches of a drain, each of which is logged once.
#[derive(Default)]
struct Steps {
    count: usize,
    /// The one whose connections are being told.
    batch: Option<Batch>,
}

impl Steps {
    fn begin(&mut self, pubsub: &PubSub, size: usize) {
        self.end(pubsub);
        self.count += 1;
        self.batch = Some(pubsub.drain(size));
    }

    fn log_if_done(&mut self, pubsub: &PubSub) {
        if self.batch.as_ref().is_some_and(Batch::is_done) {
            self.end(pubsub);
        }
    }

    /// Logs what has come of the batch; of one that found nobody there is nothing to say.
    fn end(&mut self, pubsub: &PubSub) {
        let closed = self.batch.take().map_or(0, |batch| batch.closed());
        if closed > 0 {
            let (count, left) = (self.count, pubsub.connections());
            log::info!("event=drain step=batch batch={count} closed={closed} left={left}");
        }
    }
}

impl Endpoint {
    /// Closes every connection with code 1012 (service restart), on which phoenix.js connects again, in batches, and waits
    /// until they are gone, their channels have terminated and their presences are told to have left, or the deadline has
    /// passed: see [`Drainer`]. Returns how many are left. A request for a connection is answered with HTTP 503 from now on, as
    /// is `/readyz` of [`Endpoint::ops`].
    pub async fn drain(&self) -> usize {
        self.drainer().drain(self.pubsub()).await
    }

    /// Runs an `actix_web::HttpServer` until it ends or the process gets SIGTERM or SIGINT. Then `/readyz` answers 503, no
    /// more connections are accepted, every client is disconnected as the [`Drainer`] says, and the server stops when plain
    /// HTTP requests have been answered, which may take 4 s. [`Server::run`](crate::Server::run) does all of this itself.
    ///
    /// The `HttpServer` must have been built with `disable_signals`: actix-web's own handling cuts open WebSockets.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use actix_web::{App, HttpServer};
    /// use hinotori::Endpoint;
    ///
    /// # #[actix_web::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let endpoint = Endpoint::new();
    /// let server = HttpServer::new(|| App::new())
    ///     .on_connect(hinotori::on_connect)
    ///     .client_disconnect_timeout(Duration::ZERO)
    ///     .h1_write_buffer_size(4096)
    ///     .shutdown_timeout(40)
    ///     .disable_signals()
    ///     .bind(("127.0.0.1", 4000))?
    ///     .run();
    /// endpoint.serve(server).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server itself ends with.
    pub async fn serve(&self, server: Server) -> io::Result<()> {
        self.serve_until(server, Stop::by_signal(), None).await
    }

    /// The same until `stop`. Where the server's own listening sockets are known, its workers go on until everything that
    /// they run has ended, also that which has no connection, such as the channels of long polls; else they end with their
    /// last connection.
    pub(crate) async fn serve_until(
        &self,
        server: Server,
        stop: Stop<impl Future<Output = io::Result<&'static str>>>,
        doors: Option<Doors>,
    ) -> io::Result<()> {
        let handle = server.handle();
        let mut server = pin!(server);
        let signal = tokio::select! {
            result = &mut server => return result,
            signal = stop.told => signal?,
        };
        let Drainer { grace, batch_size, batch_interval, shutdown } = self.drainer();
        if !grace.is_zero() {
            self.pubsub().leave();
            log::info!("event=drain step=grace signal={signal} grace={grace:?}");
            tokio::select! {
                result = &mut server => return result,
                () = sleep(grace) => {}
            }
        }
        if stop.is_signal {
            rt::spawn(exit_when_told_again());
        }
        let begun = Instant::now();
        self.pubsub().begin_drain();
        log::info!(
            "event=drain step=begin signal={signal} connections={} batch={batch_size} interval={batch_interval:?} \
             deadline={shutdown:?}",
            self.pubsub().connections()
        );
        let down = async {
            // nobody is let in from here on, and all that has begun goes on
            let stopped = match &doors {
                None => Some(handle.stop(true)),
                Some(doors) => {
                    handle.pause().await;
                    doors.close();
                    None
                }
            };
            let left = self.drain().await;
            let stopped = stopped.unwrap_or_else(|| handle.stop(true));
            let (connections, channels) = (self.pubsub().connections(), self.pubsub().telemetry().channels());
            let level = if left > 0 { log::Level::Warn } else { log::Level::Info };
            let took = begun.elapsed();
            log::log!(
                level,
                "event=drain step=end connections={connections} channels={channels} took={took:?}"
            );
            if left == 0 {
                let _ = timeout(REQUESTS, stopped).await;
            }
        };
        let mut down = pin!(down);
        tokio::select! {
            result = &mut server => {
                down.await;
                result
            }
            // a server that is dropped stops at once, whatever it still has
            () = &mut down => Ok(()),
        }
    }
}

/// When a server stops.
pub(crate) struct Stop<F> {
    pub(crate) told: F,
    /// Whether the process was told, and may be told again.
    pub(crate) is_signal: bool,
}

impl Stop<()> {
    pub(crate) fn by_signal() -> Stop<impl Future<Output = io::Result<&'static str>>> {
        Stop { told: told_to_stop(), is_signal: true }
    }
}

/// A second signal does not wait for anything.
async fn exit_when_told_again() {
    if let Ok(signal) = told_to_stop().await {
        log::warn!("event=drain step=aborted signal={signal}");
        // as a process that a signal ends
        std::process::exit(if signal == "SIGINT" { 128 + 2 } else { 128 + 15 });
    }
}

/// By which clients come in.
pub(crate) struct Doors {
    pub(crate) listeners: Vec<TcpListener>,
    /// Whether plain HTTP takes no further request on a connection.
    pub(crate) closing: watch::Sender<bool>,
}

impl Doors {
    /// Refuses clients from here on, whoever else has the listening sockets.
    fn close(&self) {
        self.closing.send_replace(true);
        for listener in &self.listeners {
            if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Both) {
                log::debug!("event=not_closed why={}", Quoted(&error.to_string()));
            }
        }
    }
}

/// Waits for SIGTERM or SIGINT and returns its name.
async fn told_to_stop() -> io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(test)]
mod tests {
    use actix_web::{App, test};

    use super::*;
    use crate::{ConnectInfo, Params, Refused, Routes, SocketHandler, SocketOptions};

    struct UserSocket;

    impl SocketHandler for UserSocket {
        async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> {
            Ok(Self)
        }

        fn channels(_: &mut Routes<Self>) {}
    }

    #[actix_web::test]
    async fn who_asks_for_a_connection_of_a_server_that_drains_is_refused_and_counted() {
        let endpoint = Endpoint::new();
        let socket = endpoint.socket::<UserSocket>("/socket", SocketOptions::default());
        let app = test::init_service(App::new().configure(socket).configure(endpoint.ops())).await;
        let endpoint = endpoint.with_drainer(Drainer { shutdown: Duration::MAX, ..Drainer::default() });
        assert_eq!(endpoint.drain().await, 0);
        for path in ["/socket/websocket", "/socket/longpoll"] {
            let request = test::TestRequest::get().uri(path).to_request();
            assert_eq!(test::call_service(&app, request).await.status(), 503, "{path}");
        }
        #[cfg(feature = "metrics")]
        {
            let request = test::TestRequest::get().uri("/metrics").to_request();
            let metrics = String::from_utf8(test::call_and_read_body(&app, request).await.to_vec()).unwrap();
            assert!(
                metrics.contains("hinotori_connections_refused_total{reason=\"drain\"} 2\n"),
                "{metrics}"
            );
        }
    }

    #[cfg(feature = "metrics")]
    #[actix_web::test]
    async fn two_endpoints_of_one_process_count_for_themselves() {
        let (busy, idle) = (Endpoint::new(), Endpoint::new());
        busy.broadcast("t", "e", serde_json::json!({})).unwrap();
        for (endpoint, broadcasts) in [(&busy, 1), (&idle, 0)] {
            let metrics =
                prometheus::TextEncoder::new().encode_to_string(&endpoint.registry().gather()).unwrap();
            assert!(metrics.contains(&format!("hinotori_broadcasts_total {broadcasts}\n")), "{metrics}");
        }
    }
}
