//! The address of a server: `redis://user:password@host:port`, or `rediss://…` for TLS.

use std::{fmt, path::Path, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use rustls::{ClientConfig, pki_types::ServerName};

use crate::tls;

/// A server to connect to.
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    /// The user, the password and the version of the protocol.
    pub(crate) login: RedisConnectionInfo,
}

/// How the server proves who it is.
pub(crate) struct Tls {
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// What is wrong with an address. Its text has no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(pub(crate) String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

fn wrong(why: impl fmt::Display) -> AddressError {
    AddressError(why.to_string())
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let is_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong("expected redis://user:password@host:port or rediss://…")),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        // either might be a part of the password, and is not shown
        let cacert = match options.split_once('=') {
            None if options.is_empty() => None,
            Some(("cacert", path)) if is_tls && !path.contains(['&', '@']) => Some(Path::new(path)),
            _ => {
                return Err(wrong(
                    "the only option is cacert=/path/to/ca.pem, with rediss://; write a ? in the password as %3F",
                ));
            }
        };
        if rest.contains('#') {
            return Err(wrong("nothing may follow the database; write a # in the password as %23"));
        }
        let info = format!("redis://{rest}").into_connection_info().map_err(wrong)?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err(wrong("it has no host"));
        };
        let tls = is_tls.then(|| Tls::new(&host, cacert)).transpose()?;
        let login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { host, port, tls, login: login.set_lib_name("hinotori", env!("CARGO_PKG_VERSION")) })
    }
}

impl Tls {
    fn new(host: &str, cacert: Option<&Path>) -> Result<Self, AddressError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| wrong(format_args!("no certificate can be for the host {host:?}")))?;
        Ok(Self { name, config: tls::verifying(cacert)? })
    }
}

/// `host:port`, without the user and the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match Address::parse(text) {
            Ok(_) => panic!("{text} is taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn it_has_a_host_a_port_and_a_login_and_shows_neither_user_nor_password() {
        for (text, shown, login) in [
            ("redis://db", "db:6379", (None, None)),
            ("redis://:secret@db:7000/3", "db:7000", (None, Some("secret"))),
            ("redis://ann:s%3F%23%2Fe@db", "db:6379", (Some("ann"), Some("s?#/e"))),
            ("rediss://ann:secret@db.example", "db.example:6379", (Some("ann"), Some("secret"))),
            ("rediss://:secret@10.0.0.1:1", "10.0.0.1:1", (None, Some("secret"))),
            ("redis://[::1]:7000", "::1:7000", (None, None)),
        ] {
            let address = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(address.to_string(), shown);
            assert_eq!((address.login.username(), address.login.password()), login);
            assert_eq!(address.tls.is_some(), text.starts_with("rediss"));
        }
        let redis = crate::Redis::new("redis://ann:secret@db").expect("it is right");
        let shown = format!("{redis:?}");
        assert!(shown.contains("db:6379") && !shown.contains("secret") && !shown.contains("ann"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, part) in [
            ("localhost:6379", "expected redis://"),
            ("redis+unix:///run/redis.sock?pass=secret", "expected redis://"),
            ("redis://:secret@", "Redis URL"),
            ("redis://:secret@db:port", "Redis URL"),
            ("redis://:secret@db/lobby", "database"),
            ("redis://:?secret@db", "%3F"),
            ("rediss://:?cacert=secret@db", "%3F"),
            ("redis://:#secret@db", "%23"),
            ("redis://db?cacert=/ca.pem", "rediss://"),
            ("rediss://db?colour=red", "cacert"),
            ("rediss://db?cacert=/no/such.pem", "/no/such.pem"),
        ] {
            let why = refusal(text);
            assert!(why.contains(part) && !why.contains("secret"), "{text}: {why}");
        }
    }
}
