//! What a socket may know of the request that opened it.

use std::net::IpAddr;

use actix_web::HttpRequest;

use super::TrustedProxies;

/// The connect request, for the length of [`SocketHandler::connect`](super::SocketHandler::connect): take out what the
/// socket should keep.
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

    /// The address of the client: what `X-Forwarded-For` says where the peer is one of the
    /// [`trusted_proxies`](crate::SocketOptions::trusted_proxies), else that of the peer. A client cannot choose it.
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

    /// The `User-Agent` header, if it is text.
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a str> {
        self.request.headers().get("user-agent")?.to_str().ok()
    }

    /// All headers that begin with `x-`: lower-case names, duplicates kept, in the order of their names.
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

    /// What the application put into its `App` with `app_data`.
    #[must_use]
    pub fn app_data<T: 'static>(&self) -> Option<&'a T> {
        self.request.app_data::<T>()
    }
}
