//! The program's settings: flags, or environment variables.

use std::{
    ffi::OsStr,
    fmt,
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{
    Arg, Command, Parser,
    builder::{RangedU64ValueParser, TypedValueParser},
    error::ErrorKind,
};
use hinotori::{CheckOrigin, Drainer, TrustedProxies};

use crate::{engine::Engine, store::Address};

/// A chat for a team: open http://localhost:4100.
///
/// Every setting is a flag or an environment variable; the flag wins. The log goes to standard error; RUST_LOG sets its
/// level or filter (info by default).
#[derive(Debug, Clone, Parser)]
#[command(name = "rooms", version, about, max_term_width = 100)]
pub struct Settings {
    /// Address to listen on. 0.0.0.0 accepts connections from other machines.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// TCP port to listen on; 0 picks a free one.
    #[arg(long, env = "PORT", default_value_t = 4100)]
    pub port: u16,
    /// The database: sqlite: and the path of a file, which is created if it does not exist; or a PostgreSQL database, such
    /// as postgres://user:password@host/rooms.
    #[arg(long, env = "STORE", hide_env_values = true, default_value = "sqlite:rooms.db", value_parser = Secret::<Address>::new())]
    pub store: Address,
    /// Makes this server a node of several that serve the same team: postgres connects the nodes by the database of --store;
    /// redis://user:password@host:port, or rediss://… for TLS, by a Redis; postgres://… by another address of PostgreSQL, if
    /// that of --store is a pooler's. Needs --store postgres://…, the same for all nodes. By default, the server is alone.
    #[arg(long, env = "CLUSTER", hide_env_values = true, value_parser = Secret::<Engine>::new())]
    pub cluster: Option<Engine>,
    /// Name of this node in the logs of all, which stays the same when it is restarted. The host's name and the process's
    /// id by default.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// What signs cookies and tokens, at least 32 bytes, the same for all nodes. By default it is generated once and kept
    /// in the database.
    #[arg(long, env = "SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Folder of the built page (`make rooms` writes it).
    #[arg(long, env = "STATIC_DIR", default_value = "apps/rooms/page/dist")]
    pub static_dir: PathBuf,
    /// Pages that may connect and send requests: same-host, off, or a comma-separated list of //host, //*.host,
    /// scheme://host or scheme://host:port.
    #[arg(long, env = "CHECK_ORIGIN", default_value = "same-host")]
    pub check_origin: CheckOrigin,
    /// Proxies in front of the server, whose X-Forwarded-For is trusted for the client's address: comma-separated IP
    /// addresses and networks, such as 127.0.0.1,10.0.0.0/8. Behind a proxy that is not named, all clients share the
    /// limits of one address.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    pub trusted_proxies: TrustedProxies,
    /// Worker threads that serve clients, at least 1. One per core by default.
    #[arg(long, env = "WORKERS", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub workers: Option<usize>,
    /// Address and port for /healthz, /readyz and /metrics, such as 127.0.0.1:9464, instead of those that clients
    /// connect to. Port 0 picks a free one.
    #[arg(long, env = "OPS_LISTEN")]
    pub ops_listen: Option<SocketAddr>,
    /// Milliseconds that clients are still accepted after /readyz has turned to 503: the time that a load balancer
    /// needs to see it.
    #[arg(long, env = "DRAIN_GRACE", default_value_t = 0)]
    pub drain_grace: u64,
    /// Milliseconds that closing all clients may take at shutdown.
    #[arg(long, env = "DRAIN_DEADLINE", default_value_t = 30_000)]
    pub drain_deadline: u64,
    /// Fills an empty database with a team to look at: ann, ben, cho, dia and eli. Their password is hinotori.
    #[arg(long)]
    pub demo: bool,
    /// Instead of starting a server, request /healthz from the one that runs with the same settings, and exit with 0 if
    /// it is healthy, otherwise with 1.
    #[arg(long)]
    pub health_check: bool,
}

impl Settings {
    /// How clients are disconnected at shutdown.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        Drainer::default()
            .grace(Duration::from_millis(self.drain_grace))
            .shutdown(Duration::from_millis(self.drain_deadline))
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
        for address in ["Postgres://ann:s3cret@db/x", " postgres://ann:s3cret@db", "host=db password=s3cret"]
        {
            for flag in ["--store", "--cluster"] {
                let error = Settings::try_parse_from(["rooms", flag, address]).unwrap_err().to_string();
                assert!(error.contains(flag) && !error.contains("s3cret"), "{error}");
            }
        }
    }
}
