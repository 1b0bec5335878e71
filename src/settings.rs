//! The program's settings: flags, or environment variables.

use std::{
    ffi::OsStr,
    fmt,
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use clap::{
    Arg, Command, Parser,
    builder::{BoolishValueParser, RangedU64ValueParser, TypedValueParser},
    error::ErrorKind,
};
use hinotori::{Certificate, CertificateError, CheckOrigin, Drainer, SocketOptions, TrustedProxies};

use crate::{
    chat::{Keep, Kind, Limit},
    engine::{ClusterName, Engine},
};

/// A real-time chat over Phoenix Channels: open http://localhost:4000 in two tabs.
///
/// Every setting is a flag or an environment variable; the flag wins. The log goes to standard error; RUST_LOG sets its
/// level or filter (info by default).
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, allow_negative_numbers = true)]
pub(crate) struct Settings {
    /// Address to listen on. 0.0.0.0 accepts connections from other machines.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// TCP port to listen on; 0 picks a free one.
    #[arg(long, env = "PORT", default_value_t = 4000)]
    pub(crate) port: u16,
    /// PEM file with the server's certificate, followed by its chain. Turns TLS on (https, wss). SIGHUP reloads it.
    /// Without it, connections are plain.
    #[arg(long, env = "TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, without a passphrase.
    #[arg(long, env = "TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Worker threads that serve clients, at least 1. One per core by default.
    #[arg(long, env = "WORKERS", value_parser = positive())]
    pub(crate) workers: Option<usize>,
    /// Folder of the built page (`make build` writes it).
    #[arg(long, env = "STATIC_DIR", default_value = "priv/static")]
    pub(crate) static_dir: PathBuf,
    /// Pages that may connect: same-host, off, or a comma-separated list of //host, //*.host, scheme://host or
    /// scheme://host:port.
    #[arg(long, env = "CHECK_ORIGIN", default_value = "same-host")]
    check_origin: CheckOrigin,
    /// Proxies in front of the server, whose X-Forwarded-For is trusted for the client's address: comma-separated IP
    /// addresses and networks, such as 127.0.0.1,10.0.0.0/8. None by default; the header is then ignored.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    trusted_proxies: TrustedProxies,
    /// Where messages are stored: memory; sqlite: and the path of a database file, such as sqlite:chat.db, which is
    /// created if it does not exist; or a PostgreSQL database, such as postgres://user:password@host/chat. In memory, they
    /// are lost when the process ends.
    #[arg(long, env = "STORE", hide_env_values = true, default_value = "memory", value_parser = Secret::<Kind>::new())]
    pub(crate) store: Kind,
    /// Which messages a database keeps: all, a number of messages such as 100000, or an age in days or hours such as 30d
    /// or 12h. Older messages are deleted.
    #[arg(long, env = "KEEP", default_value = "all")]
    pub(crate) keep: Keep,
    /// Makes this server a node of several that serve the same chat: postgres connects the nodes by the database of
    /// --store; redis://user:password@host:port, or rediss://… for TLS, by a Redis; postgres://… by another address of
    /// PostgreSQL, if that of --store is a pooler's. Needs --store postgres://…, the same for all nodes. By default, the
    /// server is alone.
    #[arg(long, env = "CLUSTER", hide_env_values = true, value_parser = Secret::<Engine>::new())]
    pub(crate) cluster: Option<Engine>,
    /// Name of the cluster, the same for all its nodes, of 1 to 46 letters, digits, - and _. Clusters that share a Redis
    /// or a database need different names.
    #[arg(long, env = "CLUSTER_NAME", default_value = "hinotori")]
    pub(crate) cluster_name: ClusterName,
    /// Name of this node in the logs of all. Give each node a different one that stays the same when it is restarted: the
    /// others then notice at once that it was. The host's name and the process's id by default.
    #[arg(long, env = "NODE_NAME", requires = "cluster")]
    pub(crate) node_name: Option<String>,
    /// Messages kept in memory, at least 1. The oldest are dropped first.
    #[arg(long, env = "HISTORY_LIMIT", default_value = "10000", value_parser = positive())]
    history_limit: usize,
    /// Size of the messages kept in memory, in bytes, at least 1. The oldest are dropped first. Each client is sent all
    /// of it when it joins.
    #[arg(long, env = "HISTORY_BYTES", default_value = "16777216", value_parser = positive())]
    history_bytes: usize,
    /// Longest chat message, in characters, at least 1.
    #[arg(long, env = "MESSAGE_MAX", default_value = "4000", value_parser = positive())]
    pub(crate) message_max: usize,
    /// Milliseconds of silence after which a client's connection is closed. phoenix.js sends a heartbeat every 30,000.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "60000", value_parser = positive())]
    idle_timeout: usize,
    /// Milliseconds that a long poll waits for messages; 0 turns long polling off.
    #[arg(long, env = "LONGPOLL_WINDOW", default_value_t = 10_000)]
    longpoll_window: u64,
    /// Largest WebSocket frame, in bytes.
    #[arg(long, env = "MAX_FRAME_SIZE", default_value = "1048576", value_parser = positive())]
    max_frame_size: usize,
    /// Largest message in any number of frames, in bytes.
    #[arg(long, env = "MAX_MESSAGE_SIZE", default_value = "8000000", value_parser = positive())]
    max_message_size: usize,
    /// Compress messages (permessage-deflate) for clients that offer it, as browsers do.
    #[arg(long, env = "COMPRESS", value_parser = BoolishValueParser::new())]
    compress: bool,
    /// Bytes that may wait for a client that does not read before it is cut off; one message of any size fits beyond
    /// it.
    #[arg(long, env = "OUTBOX_LIMIT", default_value = "1048576", value_parser = positive())]
    outbox_limit: usize,
    /// Connections at a time, WebSockets and long polling together; further ones are refused with HTTP 503. Any number
    /// by default.
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = positive())]
    pub(crate) max_connections: Option<usize>,
    /// Messages per second that a client may send on average; 0 for any number. Messages above the rate get an error
    /// reply. A client that sends more than twice the rate is closed with 1008.
    #[arg(long, env = "MAX_MESSAGE_RATE", default_value_t = 0)]
    max_message_rate: u32,
    /// Messages that a client may send at once before its rate counts, at least 1.
    #[arg(long, env = "MAX_MESSAGE_BURST", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    max_message_burst: u32,
    /// Address and port for /healthz, /readyz and /metrics, such as 127.0.0.1:9464, instead of those that clients
    /// connect to. Port 0 picks a free one. It answers until the process ends, always without TLS.
    #[arg(long, env = "OPS_LISTEN")]
    pub(crate) ops_listen: Option<SocketAddr>,
    /// Makes /readyz 503 while the store cannot write, so that a load balancer sends clients elsewhere. If all servers
    /// share one database, it then has none left: by default, /readyz says so in its body and stays 200.
    #[arg(long, env = "READY_REQUIRES_STORE", value_parser = BoolishValueParser::new())]
    pub(crate) ready_requires_store: bool,
    /// Milliseconds that clients are still accepted after /readyz has turned to 503: the time that a load balancer
    /// needs to see it.
    #[arg(long, env = "DRAIN_GRACE", default_value_t = 0)]
    drain_grace: u64,
    /// Connections that are closed at a time at shutdown, at least 1.
    #[arg(long, env = "DRAIN_BATCH", default_value = "10000", value_parser = positive())]
    drain_batch: usize,
    /// Milliseconds from one batch to the next.
    #[arg(long, env = "DRAIN_INTERVAL", default_value_t = 2_000)]
    drain_interval: u64,
    /// Milliseconds that closing all of them may take, at least 1. One second before, all clients that have not been
    /// notified are notified at once.
    #[arg(long, env = "DRAIN_DEADLINE", default_value = "30000", value_parser = positive())]
    drain_deadline: usize,
    /// Instead of starting a server, write all messages of the store to this file, each a line of JSON, and exit; - is
    /// standard output. The server may run meanwhile.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["import", "health_check"])]
    pub(crate) export: Option<PathBuf>,
    /// Instead of starting a server, read what --export wrote into the store, which must be empty, and exit; - is
    /// standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "health_check")]
    pub(crate) import: Option<PathBuf>,
    /// Instead of starting a server, request this path, /healthz without one, from the server that runs with the same
    /// settings, and exit with 0 if it answers 200, otherwise with 1.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/healthz",
        value_parser = ["/healthz", "/readyz"])]
    pub(crate) health_check: Option<String>,
}

impl Settings {
    /// Whether clients are served over TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// The certificate, if TLS is on.
    pub(crate) fn certificate(&self) -> Result<Option<Arc<Certificate>>, CertificateError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files.map(|(chain, key)| Certificate::load(chain, key)).transpose()
    }

    /// How much of the chat is kept.
    pub(crate) fn history(&self) -> Limit {
        Limit { messages: self.history_limit, bytes: self.history_bytes }
    }

    /// How clients are disconnected at shutdown.
    pub(crate) fn drainer(&self) -> Drainer {
        Drainer::default()
            .grace(Duration::from_millis(self.drain_grace))
            .batch_size(self.drain_batch)
            .batch_interval(Duration::from_millis(self.drain_interval))
            .shutdown(Duration::from_millis(self.drain_deadline as u64))
    }

    /// The settings of the chat's socket.
    pub(crate) fn socket(&self) -> SocketOptions {
        SocketOptions::default()
            .timeout(Duration::from_millis(self.idle_timeout as u64))
            .check_origin(self.check_origin.clone())
            .trusted_proxies(self.trusted_proxies.clone())
            .longpoll((self.longpoll_window > 0).then(|| Duration::from_millis(self.longpoll_window)))
            .max_frame_size(self.max_frame_size)
            .max_message_size(self.max_message_size)
            .compress(self.compress)
            .outbox_limit(self.outbox_limit)
            .max_message_rate(self.max_message_rate)
            .max_message_burst(self.max_message_burst)
    }
}

/// Parses a value that may have a password in it, and does not show one that is wrong.
#[derive(Debug)]
struct Secret<T>(PhantomData<fn() -> T>);

impl<T> Secret<T> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> TypedValueParser for Secret<T>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let why = match value.to_str().map(str::parse::<T>) {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => error.to_string(),
            None => "it is not UTF-8".to_owned(),
        };
        let of = arg.map(|arg| format!(" for '{arg}'")).unwrap_or_default();
        Err(clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value{of}: {why}\n"))
            .with_cmd(command))
    }
}

fn positive() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent_and_each_has_a_text() {
        Settings::command().debug_assert();
        for arg in Settings::command().get_arguments() {
            assert!(arg.get_help().is_some(), "--{} has no text", arg.get_id());
        }
    }

    #[test]
    fn a_password_is_not_shown_however_wrong_its_address_is() {
        for address in [
            "Postgres://ann:s3cret@db/chat",
            " postgres://ann:s3cret@db/chat",
            "\"postgres://ann:s3cret@db/chat\"",
            "jdbc:postgresql://db/chat?password=s3cret",
            "host=db password=s3cret",
            "Redis://ann:s3cret@cache",
        ] {
            for flag in ["--store", "--cluster"] {
                let error = Settings::try_parse_from(["realtime-chat", flag, address]).unwrap_err();
                for shown in [error.to_string(), format!("{error:?}")] {
                    assert!(shown.contains(flag) && !shown.contains("s3cret"), "{shown}");
                }
            }
        }
    }

    #[test]
    fn a_name_of_a_node_needs_a_cluster() {
        let error = Settings::try_parse_from(["realtime-chat", "--node-name", "web-1"]).unwrap_err();
        assert!(error.to_string().contains("--cluster"), "{error}");
        let both = ["realtime-chat", "--node-name", "web-1", "--cluster", "postgres"];
        assert!(Settings::try_parse_from(both).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_by_the_name_of_its_flag() {
        for (flag, value) in [
            ("--port", "99999"),
            ("--history-limit", "0"),
            ("--workers", "0"),
            ("--message-max", "-1"),
            ("--check-origin", "example.com"),
            ("--host", "localhost:1"),
            ("--ops-listen", "9464"),
            ("--cluster-name", ""),
            ("--cluster-name", "a b"),
            ("--drain-batch", "0"),
            ("--drain-deadline", "0"),
        ] {
            let error = Settings::try_parse_from(["realtime-chat", flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag), "{error}");
        }
    }
}
