//! What a socket can learn about the request that opened it.

use std::net::IpAddr;

use actix_web::{HttpRequest, http::header::HeaderMap, web::Data};

use super::{Refused, TrustedProxies};

/// The connect request. It is available only during [`SocketHandler::connect`](super::SocketHandler::connect): copy
/// what the socket should keep.
#[derive(Debug, Clone, Copy)]
pub struct ConnectInfo<'a> {
    request: &'a HttpRequest,
    auth_token: Option<&'a str>,
    remote_ip: Option<IpAddr>,
}

impl<'a> ConnectInfo<'a> {
    pub(crate) fn new(
        request: &'a HttpRequest,
        auth_token: Option<&'a str>,
        trusted_proxies: &TrustedProxies,
    ) -> Self {
        Self { request, auth_token, remote_ip: trusted_proxies.client(request) }
    }

    /// The token of `new Socket(url, {authToken})`, if the socket was mounted with
    /// [`auth_token`](crate::SocketOptions::auth_token); it has not been verified.
    #[must_use]
    pub fn auth_token(&self) -> Option<&'a str> {
        self.auth_token
    }

    /// The client's address. If the peer is one of the [`trusted_proxies`](crate::SocketOptions::trusted_proxies), it
    /// is taken from `X-Forwarded-For`; otherwise it is the peer's address. A client cannot forge it.
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        self.remote_ip
    }

    /// The address at the other end of the connection: the client's, or that of the proxy in front of the server.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.request.peer_addr().map(|address| address.ip())
    }

    /// The path of the request, without its query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.request.path()
    }

    /// All headers of the request.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.request.headers()
    }

    /// A header by name, ignoring case, if it is present and visible ASCII. If it occurs several times, the first one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The `User-Agent` header, if it is text.
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a str> {
        self.header("user-agent")
    }

    /// A cookie of the request, parsed by actix-web. Browsers send it with requests from pages of any origin, so admit
    /// clients by a cookie only together with [`check_origin`](crate::SocketOptions::check_origin), and never by a
    /// cookie that anyone could have made up.
    ///
    /// ```
    /// use hinotori::{ConnectInfo, Refused, Token};
    /// # use std::time::Duration;
    ///
    /// fn user_id(info: &ConnectInfo<'_>) -> Result<String, Refused> {
    ///     let login = info.cookie("login").ok_or("there is no login cookie")?;
    ///     Ok(info.data::<Token>()?.verify(Some(login.value()), Duration::from_secs(86_400))?)
    /// }
    /// ```
    #[cfg(feature = "cookies")]
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<actix_web::cookie::Cookie<'static>> {
        self.request.cookie(name)
    }

    /// The client's certificate (DER) if the TLS handshake asked for one, verified as configured in the server's
    /// [`ServerConfig`](rustls::ServerConfig). `None` if the server did not ask or the client sent none. See
    /// [`Certificate::server_config_verifying`](crate::Certificate::server_config_verifying).
    ///
    /// Available under [`Server`](crate::Server), and under `HttpServer` with [`on_connect`](crate::on_connect()).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&'a rustls::pki_types::CertificateDer<'static>> {
        self.peer_certificates().first()
    }

    /// The client's certificate followed by the certificates that it sent to vouch for it. Empty if there is none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn peer_certificates(&self) -> &'a [rustls::pki_types::CertificateDer<'static>] {
        self.request.conn_data::<crate::tls::PeerCertificates>().map_or(&[], |peer| &peer.0)
    }

    /// All headers that begin with `x-`: lower-case names, duplicates kept, sorted by name.
    #[must_use]
    pub fn x_headers(&self) -> Vec<(String, String)> {
        let headers = self.request.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-"));
        let mut headers: Vec<_> = headers
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        headers.sort();
        headers
    }

    /// What the application put into its `App` with `app_data`, as `T` or as `web::Data<T>`. If it is missing, the
    /// refusal answers the request with 500 and writes the name of `T` to the log as a crash of `connect`.
    ///
    /// ```
    /// use hinotori::{ConnectInfo, Endpoint, Refused};
    ///
    /// fn endpoint(info: &ConnectInfo<'_>) -> Result<Endpoint, Refused> {
    ///     Ok(info.data::<Endpoint>()?.clone())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Refused`] with status 500 if the data is missing.
    pub fn data<T: 'static>(&self) -> Result<&'a T, Refused> {
        let shared = || self.app_data::<Data<T>>().map(|data| &***data);
        self.app_data::<T>().or_else(shared).ok_or_else(Refused::missing::<T>)
    }

    /// What the application put into its `App` with `app_data`, if it did; [`data`](Self::data) turns a missing value
    /// into an error.
    #[must_use]
    pub fn app_data<T: 'static>(&self) -> Option<&'a T> {
        self.request.app_data::<T>()
    }
}
