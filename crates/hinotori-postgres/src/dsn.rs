//! The address of a database: `postgres://user:password@host:port/database?options`.

use std::{fmt, path::PathBuf, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{failure, tls};

/// How long connecting to one address may take, unless the address says it (`connect_timeout`, in seconds).
const CONNECT: Duration = Duration::from_secs(2);

/// How long what was sent may stay without the other side's acknowledgment.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How long a connection is quiet before TCP asks whether the other side is still there, and from one try to the next.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(2));

/// What `sslmode` may be.
const MODES: &str = "disable, prefer, require or verify-full";

/// An address as it was set, with its password, which is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn(String);

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dsn(…)")
    }
}

/// A database to connect to.
#[derive(Clone)]
#[non_exhaustive]
pub struct Target {
    /// What [`Config::connect`] needs, with time limits for the connection.
    pub config: Config,
    /// TLS as the address says it, for the same.
    pub tls: MakeRustlsConnect,
    /// Its hosts and its name, for logs and errors.
    pub name: String,
    /// How long connecting may take in all.
    pub patience: Duration,
}

/// Without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is wrong with an address. Its text has no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsnError(pub(crate) String);

impl fmt::Display for DsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DsnError {}

impl Dsn {
    /// An address, right or wrong. What is wrong with it is said when it is [parsed](Self::target), as the parser of the
    /// settings would show the whole of it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What it says, with the name that the database shows for its connections (`application_name`) unless the address has
    /// one.
    ///
    /// # Errors
    /// [`DsnError`] if the address is wrong, or the certificates of the authorities cannot be read.
    pub fn target(&self, application: &str) -> Result<Target, DsnError> {
        let (address, options) = self.0.split_once('?').unwrap_or((&self.0, ""));
        if !["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme)) {
            return Err(wrong("expected postgres://user:password@host:port/database"));
        }
        // what comes behind the first one would be taken for the host, and shown
        if self.0.matches('@').count() > 1 {
            return Err(wrong("write an @ in the user's name, the password or an option as %40"));
        }
        let (ours, theirs): (Vec<&str>, Vec<&str>) = options
            .split('&')
            .filter(|option| !option.is_empty())
            .partition(|option| option.starts_with("sslmode=") || option.starts_with("sslrootcert="));
        let option =
            |name: &str| ours.iter().rev().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        let mut config: Config = format!("{address}?{}", theirs.join("&"))
            .parse()
            .map_err(|error| wrong(&failure::text(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("it has no host"));
        }
        let (mode, roots) = (option("sslmode").unwrap_or("prefer"), option("sslrootcert").map(PathBuf::from));
        let (mode, is_verified) = match mode {
            "disable" => (SslMode::Disable, false),
            "prefer" => (SslMode::Prefer, false),
            "require" => (SslMode::Require, false),
            "verify-full" => (SslMode::Require, true),
            // which may have been meant otherwise: it is not shown
            _ => return Err(wrong(&format!("sslmode must be {MODES}"))),
        };
        if roots.is_some() && !is_verified {
            return Err(wrong("sslrootcert needs sslmode=verify-full"));
        }
        let tls = if is_verified { tls::verifying(roots)? } else { tls::trusting()? };
        let patience = set_up(&mut config, mode, application);
        Ok(Target { name: name(&config), config, tls, patience })
    }
}

fn wrong(why: &(impl fmt::Display + ?Sized)) -> DsnError {
    DsnError(why.to_string())
}

/// Sets what the address does not say, and gives how long connecting may take.
fn set_up(config: &mut Config, mode: SslMode, application: &str) -> Duration {
    let connect = config.get_connect_timeout().copied().unwrap_or(CONNECT);
    config
        .ssl_mode(mode)
        .connect_timeout(connect)
        .keepalives_idle(KEEPALIVE.0)
        .keepalives_interval(KEEPALIVE.1);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_application_name().is_none() {
        config.application_name(application);
    }
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    // beside the connections there are the handshakes
    connect * (u32::try_from(hosts).unwrap_or(1) + 1)
}

/// `host:port/database`, without the user and the password.
fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        })
        .collect();
    let hosts = if hosts.is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect()
    } else {
        hosts
    };
    let hosts: Vec<String> =
        hosts.iter().enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match Dsn::new(text).target("test") {
            Ok(_) => panic!("{text} is taken"),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn its_name_has_hosts_ports_and_database_and_neither_user_nor_password() {
        for (text, name) in [
            ("postgres://ann:secret@db.example/chat", "db.example:5432/chat"),
            ("postgresql://ann:secret@db:6000/chat?sslmode=disable", "db:6000/chat"),
            ("postgres://ann:secret@one:1,two:2/chat?target_session_attrs=read-write", "one:1,two:2/chat"),
            ("postgres://ann:secret@/chat?host=/run/postgresql", "/run/postgresql:5432/chat"),
        ] {
            assert_eq!(
                Dsn::new(text).target("test").unwrap_or_else(|why| panic!("{text}: {why}")).name,
                name
            );
        }
        assert_eq!(format!("{:?}", Dsn::new("postgres://ann:secret@db/chat")), "Dsn(…)");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, part) in [
            ("postgres:ann:secret@db/chat", "expected postgres://"),
            ("postgres://ann:secret@secret@db/chat", "%40"),
            ("postgres://ann:secret@/chat", "no host"),
            ("postgres://ann:secret@db:port/chat", "port"),
            ("postgres://ann:secret@db/chat?sslmode=on", "must be disable, prefer, require or verify-full"),
            ("postgres://ann:secret@db/chat?sslmode=verify-ca", "verify-full"),
            ("postgres://ann:secret@db/chat?sslrootcert=/ca.pem", "sslmode=verify-full"),
            ("postgres://ann:secret@db/chat?sslmode=verify-full&sslrootcert=/no/such.pem", "/no/such.pem"),
            ("postgres://ann:secret@db/chat?colour=red", "colour"),
        ] {
            let why = refusal(text);
            assert!(why.contains(part) && !why.contains("secret"), "{text}: {why}");
        }
    }
}
