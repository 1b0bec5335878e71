//! The program's settings: flags, or environment variables.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Command, CommandFactory, Parser};
use hinotori::SocketOptions;
use hinotori_app::{Clients, ClusterName, Drain, Engine, Limits, Listen, Secret, with_defaults};

use crate::{access::Rule, keys::JwtSecret};

/// Broadcast and Presence for the clients of Supabase Realtime: @supabase/supabase-js and others, unchanged.
///
/// Every setting is a flag or an environment variable; the flag wins. The log goes to standard error; RUST_LOG sets its
/// level or filter (info by default).
#[derive(Debug, Parser)]
#[command(name = "supabase-realtime", version, about, max_term_width = 100, allow_negative_numbers = true)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Secret of at least 32 bytes by which keys and access tokens are signed (HS256). Prefer the variable to the flag: the
    /// system shows flags to its other users.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_parser = Secret::<JwtSecret>::new(),
        required_unless_present_any = ["jwt_jwks", "health_check"])]
    pub(crate) jwt_secret: Option<JwtSecret>,
    /// File with a JSON Web Key Set, by whose keys keys and access tokens may be signed too (RS256 and its like, ES256,
    /// EdDSA, HS256). A token names its key by its kid. It is read when the server starts.
    #[arg(long, env = "JWT_JWKS")]
    pub(crate) jwt_jwks: Option<PathBuf>,
    /// Who may use private channels: claims, those whose token grants the channel by its claim realtime; or signed-in,
    /// everyone whose role is not anon. The role service_role may use all of them.
    #[arg(long, env = "PRIVATE_CHANNELS", default_value = "claims")]
    pub(crate) private_channels: Rule,
    #[command(flatten)]
    pub(crate) clients: Clients,
    /// Makes this server a node of several that clients see as one: redis://user:password@host:port, or rediss://… for
    /// TLS, connects the nodes by a Redis, and postgres://user:password@host/name by a PostgreSQL. By default, the server
    /// is alone.
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
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Address and port for /healthz, /readyz and /metrics, such as 127.0.0.1:9464, instead of those that clients
    /// connect to. Port 0 picks a free one. It answers until the process ends, always without TLS.
    #[arg(long, env = "OPS_LISTEN")]
    pub(crate) ops_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) drain: Drain,
    /// Instead of starting a server, request /healthz from the one that runs with the same settings, and exit with 0 if
    /// it is healthy, otherwise with 1.
    #[arg(long)]
    pub(crate) health_check: bool,
}

/// The command line, with the defaults that Supabase's clients expect: pages of any origin, no long polling, frames of 5 MB,
/// and heartbeats every 25 s.
pub(crate) fn command() -> Command {
    with_defaults(
        Settings::command(),
        &[("check_origin", "off"), ("longpoll_window", "0"), ("max_frame_size", "5000000")],
    )
}

impl Settings {
    /// The settings of the socket.
    pub(crate) fn socket(&self) -> SocketOptions {
        self.limits.socket(&self.clients).user_broadcasts(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_secret_is_needed_unless_there_are_other_keys_and_is_not_shown() {
        let parse = |flags: &[&str]| {
            command()
                .try_get_matches_from([&["supabase-realtime"], flags].concat())
                .map_err(|e| e.to_string())
        };
        let error = parse(&["--jwt-secret", "too-short-s3cret"]).unwrap_err();
        assert!(error.contains("--jwt-secret") && error.contains("32 bytes") && !error.contains("s3cret"));
        let error = parse(&["--cluster", "http://ann:s3cret@cache"]).unwrap_err();
        assert!(error.contains("--cluster") && !error.contains("s3cret"), "{error}");
        if std::env::var_os("JWT_SECRET").is_none() {
            assert!(parse(&[]).unwrap_err().contains("--jwt-secret"));
        }
        for flags in [&["--jwt-jwks", "keys.json"][..], &["--health-check"]] {
            assert!(parse(flags).is_ok(), "{flags:?}");
        }
    }
}
