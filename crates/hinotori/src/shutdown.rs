//! The shutdown of a server, from the signal on: it accepts no more clients, disconnects those it has, and stops.

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

use crate::{drainer::Drainer, endpoint::Endpoint, node::Node, signals::told_to_stop, telemetry::Quoted};

/// The accepting thread pauses a moment after it was told to. It would log an error for each listener that is shut down before
/// that.
const HANDED_ON: Duration = Duration::from_millis(20);

/// How long plain HTTP requests have to finish after the sockets are gone.
const REQUESTS: Duration = Duration::from_secs(4);

impl Endpoint {
    /// Closes every connection with code 1012 (service restart), in batches; phoenix.js reconnects by itself. Waits
    /// until the connections are gone, their channels and raw sockets have terminated and the leaves of their presences
    /// have been broadcast, or until the deadline has passed: see [`Drainer`]. Returns how many are left. From now on,
    /// requests for a connection and `/readyz` of [`Endpoint::ops`] are answered with HTTP 503.
    ///
    /// Then the other nodes are told that this one ends, which takes up to 2 s if there is no connection to them.
    pub async fn drain(&self) -> usize {
        let left = self.drainer().drain(self.node()).await;
        if let Some(cluster) = &self.node().cluster {
            cluster.leave().await;
        }
        left
    }

    /// Runs an `actix_web::HttpServer` until it ends or the process gets SIGTERM or SIGINT (off Unix: Ctrl+C). Then `/readyz` answers 503,
    /// no more connections are accepted, every client is disconnected as the [`Drainer`] says, and the server stops
    /// when plain HTTP requests have been answered, which may take 4 s. [`Server::run`](crate::Server::run) does all of
    /// this itself.
    ///
    /// Build the `HttpServer` with `disable_signals`: actix-web's own signal handling cuts open WebSockets.
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
    /// The error that the server itself ends with.
    pub async fn serve(&self, server: Server) -> io::Result<()> {
        self.serve_until(server, Stop::by_signal(), None).await
    }

    /// The same until `stop`. If the server's own listening sockets are known, its workers continue until everything
    /// that they run has ended, including what has no connection, such as the channels of long polls. Otherwise they
    /// end with their last connection.
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
        let Node { connections, tasks, .. } = &**self.node();
        if !grace.is_zero() {
            connections.leave();
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
        connections.begin_drain();
        log::info!(
            "event=drain step=begin signal={signal} connections={} batch={batch_size} interval={batch_interval:?} \
             deadline={shutdown:?}",
            connections.count()
        );
        let down = async {
            // from here on no client is accepted, and everything that has begun continues
            let stopped = match &doors {
                None => Some(handle.stop(true)),
                Some(doors) => {
                    handle.pause().await;
                    sleep(HANDED_ON).await;
                    doors.close();
                    None
                }
            };
            let left = self.drain().await;
            let stopped = stopped.unwrap_or_else(|| handle.stop(true));
            let (connections, channels) = (connections.count(), tasks.channels());
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
            // a server that is dropped stops at once, whatever it still runs
            () = &mut down => Ok(()),
        }
    }
}

/// When a server stops.
pub(crate) struct Stop<F> {
    pub(crate) told: F,
    /// Whether this is a signal, which may come again.
    pub(crate) is_signal: bool,
}

impl Stop<()> {
    pub(crate) fn by_signal() -> Stop<impl Future<Output = io::Result<&'static str>>> {
        Stop { told: told_to_stop(), is_signal: true }
    }
}

/// A second signal ends the process at once.
async fn exit_when_told_again() {
    if let Ok(signal) = told_to_stop().await {
        log::warn!("event=drain step=aborted signal={signal}");
        // the exit code of a process that a signal ends
        std::process::exit(if signal == "SIGINT" { 128 + 2 } else { 128 + 15 });
    }
}

/// The server's entrances for clients.
pub(crate) struct Doors {
    pub(crate) listeners: Vec<TcpListener>,
    /// Whether plain HTTP accepts no more requests on a connection.
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
        let endpoint =
            Endpoint::builder().drainer(Drainer { shutdown: Duration::MAX, ..Drainer::default() }).build();
        let socket = endpoint.socket::<UserSocket>("/socket", SocketOptions::default());
        let app = test::init_service(App::new().configure(socket).configure(endpoint.ops())).await;
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
}
