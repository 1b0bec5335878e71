//! The program's settings: flags, or environment variables.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Command, CommandFactory, Parser, builder::BoolishValueParser};
use hinotori::SocketOptions;
use hinotori_app::{Clients, ClusterName, Drain, Limits, Listen, Secret, StoreEngine, with_defaults};

use crate::store::Address;

/// Rooms that a client may have joined at a time.
const CHANNELS: usize = 500;

/// Defaults of this program for settings that several have. A message is a text of 8,000 characters, which is at most 48,000
/// bytes of JSON; a client of which several tabs reconnect sends many messages at once.
const DEFAULTS: [(&str, &str); 5] = [
    ("port", "4100"),
    ("max_frame_size", "65536"),
    ("max_message_size", "65536"),
    ("max_message_rate", "30"),
    ("max_message_burst", "300"),
];

/// A chat for a team: open http://localhost:4100.
///
/// Every setting is a flag or an environment variable; the flag wins. The log goes to standard error; RUST_LOG sets its
/// level or filter (info by default).
#[derive(Debug, Parser)]
#[command(name = "rooms", version, about, max_term_width = 100, allow_negative_numbers = true)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// The database: sqlite: and the path of a file, which is created if it does not exist; or a PostgreSQL database, such
    /// as postgres://user:password@host/rooms.
    #[arg(long, env = "STORE", hide_env_values = true, default_value = "sqlite:rooms.db", value_parser = Secret::<Address>::new())]
    pub store: Address,
    /// Makes this server a node of several that serve the same team: postgres connects the nodes by the database of --store;
    /// redis://user:password@host:port, or rediss://… for TLS, by a Redis; postgres://… by another address of PostgreSQL, if
    /// that of --store is a pooler's. Needs --store postgres://…, the same for all nodes. By default, the server is alone.
    #[arg(long, env = "CLUSTER", hide_env_values = true, value_parser = Secret::<StoreEngine>::new())]
    pub cluster: Option<StoreEngine>,
    /// Name of the cluster, the same for all its nodes, of 1 to 46 letters, digits, - and _. Clusters that share a Redis
    /// or a database need different names.
    #[arg(long, env = "CLUSTER_NAME", default_value = "rooms")]
    pub cluster_name: ClusterName,
    /// Name of this node in the logs of all. Give each node a different one that stays the same when it is restarted: the
    /// others then notice at once that it was. The host's name and the process's id by default.
    #[arg(long, env = "NODE_NAME", requires = "cluster")]
    pub node_name: Option<String>,
    /// What signs cookies and tokens, at least 32 bytes, the same for all nodes. By default it is generated once and kept
    /// in the database.
    #[arg(long, env = "SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Folder of the built page (`make rooms` writes it).
    #[arg(long, env = "STATIC_DIR", default_value = "apps/rooms/page/dist")]
    pub static_dir: PathBuf,
    /// Pages that may connect and send requests, and proxies that are trusted. Behind a proxy that is not named, all clients
    /// share the limits of one address.
    #[command(flatten)]
    pub clients: Clients,
    /// Limits of each client.
    #[command(flatten)]
    pub limits: Limits,
    /// Address and port for /healthz, /readyz and /metrics, such as 127.0.0.1:9464, instead of those that clients
    /// connect to. Port 0 picks a free one. It answers until the process ends, always without TLS.
    #[arg(long, env = "OPS_LISTEN")]
    pub ops_listen: Option<SocketAddr>,
    /// Makes /readyz 503 while the store cannot write, so that a load balancer sends clients elsewhere. If all servers
    /// share one database, it then has none left: by default, /readyz says so in its body and stays 200.
    #[arg(long, env = "READY_REQUIRES_STORE", value_parser = BoolishValueParser::new())]
    pub ready_requires_store: bool,
    /// How clients are disconnected at shutdown.
    #[command(flatten)]
    pub drain: Drain,
    /// Fills an empty database with a team to look at: ann, ben, cho, dia and eli. Their password is hinotori.
    #[arg(long)]
    pub demo: bool,
    /// Instead of starting a server, request this path, /healthz without one, from the server that runs with the same
    /// settings, and exit with 0 if it answers 200, otherwise with 1.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/healthz",
        value_parser = ["/healthz", "/readyz"])]
    pub health_check: Option<String>,
}

/// The command line.
#[must_use]
pub fn command() -> Command {
    with_defaults(Settings::command(), &DEFAULTS)
}

impl Settings {
    /// The settings of the socket.
    pub(crate) fn socket(&self) -> SocketOptions {
        self.limits.socket(&self.clients).auth_token(true).max_channels(CHANNELS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(flags: &[&str]) -> String {
        command().try_get_matches_from([&["rooms"], flags].concat()).unwrap_err().to_string()
    }

    #[test]
    fn the_flags_are_consistent_and_each_has_a_text() {
        command().debug_assert();
        for arg in command().get_arguments() {
            assert!(arg.get_help().is_some(), "--{} has no text", arg.get_id());
        }
    }

    #[test]
    fn the_readme_has_the_settings_in_their_order_with_their_variables_and_defaults() {
        hinotori_app::assert_readme_has(command(), include_str!("../README.md"));
    }

    #[test]
    fn a_password_is_not_shown_however_wrong_its_address_is() {
        for address in ["Postgres://ann:s3cret@db/x", " postgres://ann:s3cret@db", "host=db password=s3cret"]
        {
            for flag in ["--store", "--cluster"] {
                let error = error(&[flag, address]);
                assert!(error.contains(flag) && !error.contains("s3cret"), "{error}");
            }
        }
    }

    #[test]
    fn only_paths_that_tell_of_health_are_asked_for() {
        assert!(error(&["--health-check", "/metrics"]).contains("/readyz"));
    }
}
