//! The end of a server: its clients are sent away in batches, so that they do not all come to the next one at once.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/pool_drainer.ex`, 1.8.12.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use actix_web::{
    dev::Server,
    rt::time::{sleep, timeout},
};

use crate::{
    endpoint::Endpoint,
    pubsub::{Batch, PubSub},
};

/// How often a drain looks whether all connections are gone.
const POLL: Duration = Duration::from_millis(10);

/// So long before the deadline all who are left are told, whatever their batch: nobody is cut off without a close frame.
const LAST_CALL: Duration = Duration::from_secs(1);

/// As good as for ever, and no sum of times overflows.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long plain HTTP requests have to finish, once the sockets are gone.
const REQUESTS: Duration = Duration::from_secs(4);

/// How the clients of a server that goes down are sent away; see [`Endpoint::with_drainer`].
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
    /// How long all the batches may take. Those who have not been told by one second before are told all at once then, and
    /// what is left at the end is cut off. 30 s by default. Whatever supervises the process must not kill it earlier, and
    /// `HttpServer::shutdown_timeout`, at which workers of actix-web cut connections off, must not be less: it is 30 s by
    /// default too.
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
    /// passed: see [`Drainer`]. Returns how many are left. Who asks for a connection from now on is answered with HTTP 503, as is `/readyz` of [`Endpoint::ops`].
    pub async fn drain(&self) -> usize {
        self.drainer().drain(self.pubsub()).await
    }

    /// Runs a server until it ends or the process is told to (SIGTERM, SIGINT). Then `/readyz` answers 503, no more
    /// connections are accepted, every client is sent away as the [`Drainer`] says, and the server stops when plain HTTP
    /// requests have been answered, for which they have 4 s. The server must have been made with `disable_signals`.
    ///
    /// # Errors
    /// What the server itself ends with.
    pub async fn serve(&self, server: Server) -> io::Result<()> {
        let handle = server.handle();
        let mut server = pin!(server);
        let signal = tokio::select! {
            result = &mut server => return result,
            signal = told_to_stop() => signal?,
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
        let begun = Instant::now();
        self.pubsub().begin_drain();
        log::info!(
            "event=drain step=begin signal={signal} connections={} batch={batch_size} interval={batch_interval:?} \
             deadline={shutdown:?}",
            self.pubsub().connections()
        );
        let down = async {
            // closes the listening sockets now; the workers go on until their connections have ended
            let stopped = handle.stop(true);
            let left = self.drain().await;
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
        let request = test::TestRequest::get().uri("/metrics").to_request();
        let metrics = String::from_utf8(test::call_and_read_body(&app, request).await.to_vec()).unwrap();
        assert!(metrics.contains("hinotori_connections_refused_total{reason=\"drain\"} 2\n"), "{metrics}");
    }

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
