//! The program's settings: flags, or environment variables.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, builder::BoolishValueParser};
use hinotori_app::{Clients, ClusterName, Drain, Limits, Listen, Secret, StoreEngine, positive};

use crate::chat::{Keep, Kind, Limit};

/// A real-time chat over Phoenix Channels: open http://localhost:4000 in two tabs.
///
/// Every setting is a flag or an environment variable; the flag wins. The log goes to standard error; RUST_LOG sets its
/// level or filter (info by default).
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, allow_negative_numbers = true)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Folder of the built page (`make build` writes it).
    #[arg(long, env = "STATIC_DIR", default_value = "priv/static")]
    pub(crate) static_dir: PathBuf,
    #[command(flatten)]
    pub(crate) clients: Clients,
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
    #[arg(long, env = "CLUSTER", hide_env_values = true, value_parser = Secret::<StoreEngine>::new())]
    pub(crate) cluster: Option<StoreEngine>,
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
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// Address and port for /healthz, /readyz and /metrics, such as 127.0.0.1:9464, instead of those that clients
    /// connect to. Port 0 picks a free one. It answers until the process ends, always without TLS.
    #[arg(long, env = "OPS_LISTEN")]
    pub(crate) ops_listen: Option<SocketAddr>,
    /// Makes /readyz 503 while the store cannot write, so that a load balancer sends clients elsewhere. If all servers
    /// share one database, it then has none left: by default, /readyz says so in its body and stays 200.
    #[arg(long, env = "READY_REQUIRES_STORE", value_parser = BoolishValueParser::new())]
    pub(crate) ready_requires_store: bool,
    #[command(flatten)]
    pub(crate) drain: Drain,
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
    /// How much of the chat is kept.
    pub(crate) fn history(&self) -> Limit {
        Limit { messages: self.history_limit, bytes: self.history_bytes }
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
