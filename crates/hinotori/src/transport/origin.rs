//! Which pages may connect. A browser sends its user's cookies with a WebSocket from *any* page, so a server must check
//! where the page came from.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/transport.ex` (`check_origin/5`), 1.8.12. Here hosts are compared case-insensitively.

use std::{fmt, str::FromStr};

use actix_web::{
    HttpRequest,
    http::{Uri, header},
};

use crate::telemetry::Quoted;

/// Which values of the `Origin` header are allowed. Requests without the header are always allowed; browsers do not
/// send them across origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOrigin {
    /// The origin's host must be that of the request's `Host` header (or `:authority`), on any port.
    #[default]
    SameHost,
    /// The origin must be one of these.
    Allow(Vec<AllowedOrigin>),
    /// Any origin.
    Off,
}

/// `//host`, `//*.host`, `scheme://host` or `scheme://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    scheme: Option<String>,
    host: String,
    /// Whether every name below the host is allowed too.
    with_subdomains: bool,
    port: Option<u16>,
}

/// A text that is not a setting of [`CheckOrigin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrigin(String);

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid origin {:?}: expected same-host, off, or a list of //host, //*.host, scheme://host or \
             scheme://host:port",
            self.0
        )
    }
}

impl std::error::Error for InvalidOrigin {}

/// Parses `same-host`, `off`, or a comma-separated list of allowed origins.
///
/// ```
/// use hinotori::CheckOrigin;
/// assert_eq!("same-host".parse(), Ok(CheckOrigin::SameHost));
/// assert!(matches!("//example.com,//*.example.com".parse(), Ok(CheckOrigin::Allow(list)) if list.len() == 2));
/// assert!("example.com".parse::<CheckOrigin>().is_err());
/// ```
impl FromStr for CheckOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        match text.trim() {
            "same-host" => Ok(Self::SameHost),
            "off" => Ok(Self::Off),
            list => {
                list.split(',').map(|origin| origin.trim().parse()).collect::<Result<_, _>>().map(Self::Allow)
            }
        }
    }
}

impl fmt::Display for CheckOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str("same-host"),
            Self::Off => f.write_str("off"),
            Self::Allow(list) => {
                let list: Vec<String> = list.iter().map(ToString::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, host) = text.split_once("//").ok_or_else(invalid)?;
        let scheme = match scheme.strip_suffix(':') {
            Some(scheme) if !scheme.is_empty() => Some(scheme.to_ascii_lowercase()),
            None if scheme.is_empty() => None,
            _ => return Err(invalid()),
        };
        let (with_subdomains, host) = match host.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, host),
        };
        let uri: Uri = host.parse().map_err(|_| invalid())?;
        let authority = uri.authority().filter(|authority| authority.as_str() == host).ok_or_else(invalid)?;
        if host.contains(['*', '@']) || authority.host().is_empty() {
            return Err(invalid());
        }
        let host = authority.host().to_ascii_lowercase();
        Ok(Self { scheme, host, with_subdomains, port: authority.port_u16() })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}:")?;
        }
        write!(f, "//{}{}", if self.with_subdomains { "*." } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl AllowedOrigin {
    fn allows(&self, origin: &Origin) -> bool {
        let host_fits = if self.with_subdomains {
            // as in Phoenix: "*.example.com" allows the name itself too
            origin.host == self.host
                || origin.host.strip_suffix(&self.host).is_some_and(|rest| rest.ends_with('.'))
        } else {
            origin.host == self.host
        };
        host_fits
            && self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme)
            && self.port.is_none_or(|port| Some(port) == origin.port)
    }
}

/// The parts of an `Origin` header.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// `None` if it has no host: `null`, `file://`.
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        Some(Self { scheme, host, port: uri.port_u16().or(default) })
    }
}

impl CheckOrigin {
    /// Whether a request's `Origin` is allowed. A request without one is: browsers send it with each request of a page that
    /// changes something, and with each WebSocket. Use it for HTTP requests that a login cookie authorizes.
    ///
    /// ```
    /// use actix_web::test::TestRequest;
    /// use hinotori::CheckOrigin;
    ///
    /// let from = |origin: &'static str| {
    ///     let request = TestRequest::post().insert_header(("host", "chat.test")).insert_header(("origin", origin));
    ///     CheckOrigin::SameHost.allows(&request.to_http_request())
    /// };
    /// assert!(from("https://chat.test"));
    /// assert!(!from("https://evil.test"));
    /// ```
    #[must_use]
    pub fn allows(&self, request: &HttpRequest) -> bool {
        let Some(value) = request.headers().get(header::ORIGIN) else { return true };
        let origin = Origin::parse(value.to_str().unwrap_or_default());
        match self {
            Self::Off => true,
            Self::SameHost => origin.is_some_and(|origin| is_own_host(request, &origin.host)),
            Self::Allow(list) => {
                origin.is_some_and(|origin| list.iter().any(|allowed| allowed.allows(&origin)))
            }
        }
    }

    /// The log's details about an origin that is not allowed: the setting, and one that would allow it.
    pub(crate) fn explain(&self, request: &HttpRequest) -> String {
        let value =
            request.headers().get(header::ORIGIN).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let text = value.as_deref().unwrap_or_default();
        let example =
            Origin::parse(text).map_or("//example.com".to_owned(), |origin| format!("//{}", origin.host));
        format!(
            "origin={} check_origin={} allow_with={}",
            Quoted(text),
            Quoted(&self.to_string()),
            Quoted(&format!("--check-origin {example}"))
        )
    }
}

/// Whether a request was made to this host.
fn is_own_host(request: &HttpRequest, host: &str) -> bool {
    let own = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let own: Option<Uri> = own.and_then(|own| own.parse().ok());
    own.and_then(|own| own.host().map(|own| own.eq_ignore_ascii_case(host))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn allows(setting: &str, origin: &str) -> bool {
        let check: CheckOrigin = setting.parse().unwrap();
        let request = TestRequest::default()
            .insert_header(("host", "chat.test:4000"))
            .insert_header(("origin", origin));
        check.allows(&request.to_http_request())
    }

    #[test]
    fn same_host_compares_hosts_without_case_and_on_any_port() {
        assert!(allows("same-host", "http://chat.test:4000"));
        assert!(allows("same-host", "https://CHAT.test"));
        assert!(!allows("same-host", "http://evil.test"));
        assert!(!allows("same-host", "http://chat.test.evil.test"));
        assert!(!allows("same-host", "http://sub.chat.test"));
    }

    #[test]
    fn origins_without_a_host_are_refused_unless_the_check_is_off() {
        for origin in ["null", "file://", "", "localhost", "chat.test"] {
            assert!(!allows("same-host", origin), "{origin}");
            assert!(!allows("//localhost,//chat.test", origin), "{origin}");
            assert!(allows("off", origin), "{origin}");
        }
    }

    #[test]
    fn a_list_allows_by_host_subdomain_scheme_and_port() {
        assert!(allows("//a.test", "https://a.test:99"));
        assert!(!allows("//a.test", "http://b.a.test"));
        assert!(
            allows("//*.example.com", "http://a.example.com")
                && allows("//*.example.com", "http://example.com")
        );
        assert!(!allows("//*.example.com", "http://evilexample.com"));
        assert!(
            allows("https://a.test", "https://a.test:8443") && !allows("https://a.test", "http://a.test")
        );
        assert!(
            allows("http://a.test:8080", "http://a.test:8080")
                && !allows("http://a.test:8080", "http://a.test")
        );
        assert!(allows("http://a.test:80", "http://a.test"), "the scheme's own port");
        assert!(allows("//x.test, //a.test", "http://user@a.test"));
    }

    #[test]
    fn a_request_without_origin_is_allowed() {
        let request = TestRequest::default().to_http_request();
        assert!(CheckOrigin::Allow(vec![]).allows(&request));
    }

    #[test]
    fn a_setting_shows_as_it_was_given() {
        for setting in ["same-host", "off", "//a.test,//*.b.test,http://c.test:8080"] {
            assert_eq!(setting.parse::<CheckOrigin>().unwrap().to_string(), setting);
        }
        for setting in ["", "a.test", "http://", "//", "//a.test/path", "://a", "//*", "//a.*"] {
            assert!(setting.parse::<CheckOrigin>().is_err(), "{setting}");
        }
    }
}
