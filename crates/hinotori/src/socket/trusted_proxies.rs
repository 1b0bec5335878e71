//! Which proxies are trusted for a client's address.
//!
//! A proxy forwards a client's request over its own connection, and appends the address that it saw to the header
//! `X-Forwarded-For`. Anyone can write that header, so only the part that our proxies wrote is trusted: from the right
//! end up to the first address that does not belong to a proxy.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::{self, FromStr},
    sync::Arc,
};

use actix_web::{HttpRequest, http::header::HeaderValue};
use ipnet::{IpNet, Ipv4Net};

const HEADER: &str = "x-forwarded-for";

/// The addresses of the proxies in front of a server, whose `X-Forwarded-For` is trusted. None by default.
///
/// Parsed from comma-separated addresses and networks (CIDR). Never list a network that contains clients: each of them
/// could claim any address.
///
/// ```
/// use hinotori::TrustedProxies;
/// let proxies: TrustedProxies = "127.0.0.1, ::1, 10.0.0.0/8".parse()?;
/// assert!("10.0.0.0/33".parse::<TrustedProxies>().is_err());
/// # Ok::<_, hinotori::InvalidProxy>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidProxy(String);

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid proxy {:?}: expected IP addresses and networks with commas between them, such as \
             127.0.0.1,10.0.0.0/8,fd00::/8",
            self.0
        )
    }
}

impl std::error::Error for InvalidProxy {}

impl FromStr for TrustedProxies {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|item| network(item.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// One address or network. IPv4 written as IPv6 counts as IPv4, because addresses are compared that way.
fn network(text: &str) -> Result<IpNet, InvalidProxy> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse()).map_err(|_| InvalidProxy(text.to_owned()))?;
    let mapped = match network {
        IpNet::V6(net) if net.prefix_len() >= 96 => net.addr().to_ipv4_mapped(),
        _ => None,
    };
    let as_v4 = mapped.and_then(|address| Ipv4Net::new(address, network.prefix_len() - 96).ok());
    Ok(as_v4.map_or(network, IpNet::V4))
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&list.join(","))
    }
}

impl TrustedProxies {
    /// The address of the client that made a request, according to the trusted proxies: what
    /// [`ConnectInfo::remote_ip`](crate::ConnectInfo::remote_ip) is for a socket. `None` if the request did not come over TCP.
    ///
    /// ```
    /// use actix_web::test::TestRequest;
    /// use hinotori::TrustedProxies;
    ///
    /// let request = TestRequest::post()
    ///     .peer_addr("10.0.0.1:4000".parse()?)
    ///     .insert_header(("x-forwarded-for", "192.0.2.7"))
    ///     .to_http_request();
    /// let address = |trusted: &str| Ok::<_, hinotori::InvalidProxy>(trusted.parse::<TrustedProxies>()?.client(&request));
    /// assert_eq!(address("10.0.0.0/8")?, Some("192.0.2.7".parse()?));
    /// assert_eq!(address("")?, Some("10.0.0.1".parse()?));
    /// # Ok::<_, hinotori::BoxError>(())
    /// ```
    #[must_use]
    pub fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        Some(self.walk(peer, request.headers().get_all(HEADER).map(HeaderValue::as_bytes)))
    }

    /// Walks from the peer back along the addresses of `lines`, past the trusted proxies. An invalid address ends the
    /// walk at the proxy that wrote it, because anything to the left of it is unverified.
    fn walk<'a>(&self, peer: IpAddr, lines: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer.to_canonical();
        let hops = lines.rev().flat_map(|line| line.rsplit(|&byte| byte == b','));
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = address(hop) else { break };
            client = address;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: alone or with a port. IPv6 with a port is in brackets.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(trusted: &str, peer: &str, lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        trusted.parse::<TrustedProxies>().unwrap().walk(ip(peer), lines).to_string()
    }

    #[test]
    fn the_header_counts_only_if_the_peer_is_trusted() {
        assert_eq!(client("", "10.0.0.1", &["1.1.1.1"]), "10.0.0.1");
        assert_eq!(client("10.0.0.2", "10.0.0.1", &["1.1.1.1"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_walk_ends_at_the_first_address_from_the_right_that_is_no_proxy() {
        let trusted = "10.0.0.0/8,fd00::/8";
        for (lines, wanted) in [
            (&["6.6.6.6, 1.1.1.1"][..], "1.1.1.1"),
            (&["6.6.6.6, 1.1.1.1, 10.9.9.9"], "1.1.1.1"),
            (&["6.6.6.6", "1.1.1.1,fd00::1", "10.9.9.9"], "1.1.1.1"),
            (&["10.7.7.7, 10.8.8.8"], "10.7.7.7"),
            (&["2001:db8::7"], "2001:db8::7"),
        ] {
            assert_eq!(client(trusted, "10.0.0.1", lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk_at_the_proxy_that_wrote_it() {
        for junk in ["", " ", "unknown", "_hidden", "1.1.1", "1.1.1.1.1", "999.1.1.1", "[::1", "a:80"] {
            let line = format!("6.6.6.6, {junk}, 10.0.0.2");
            assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&line]), "10.0.0.2", "{junk:?}");
        }
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        for hop in ["1.1.1.1:443", "1.1.1.1", " 1.1.1.1\t", "::ffff:1.1.1.1", "[::ffff:1.1.1.1]:80"] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[hop]), "1.1.1.1");
        }
        for hop in ["[2001:db8::7]:443", "[2001:db8::7]", "2001:db8::7"] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[hop]), "2001:db8::7");
        }
    }

    #[test]
    fn ipv4_is_the_same_however_it_is_written() {
        for trusted in ["10.0.0.1", "10.0.0.0/24", "::ffff:10.0.0.1", "::ffff:10.0.0.0/120"] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
                assert_eq!(client(trusted, peer, &["1.1.1.1"]), "1.1.1.1", "{trusted} {peer}");
            }
        }
        assert_eq!(client("::/0", "10.0.0.1", &["1.1.1.1"]), "10.0.0.1");
    }

    #[test]
    fn a_setting_that_is_no_network_is_refused_and_one_that_is_shows_again() {
        for bad in
            ["localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1,", ",", "::1/129", "10.0.0.1/", "10.0.0.1:80"]
        {
            let error = bad.parse::<TrustedProxies>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
        for good in ["", "127.0.0.1/32,10.0.0.0/8,fd00::/8"] {
            assert_eq!(good.parse::<TrustedProxies>().unwrap().to_string(), good);
        }
    }

    proptest! {
        /// The proxy appends the client's address to whatever the client sent.
        #[test]
        fn a_client_behind_a_trusted_proxy_cannot_choose_its_address(
            own in any::<u32>(),
            forged in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    any::<IpAddr>().prop_map(|address| address.to_string().into_bytes()),
                    Just(b"10.0.0.1, 10.0.0.2".to_vec()),
                ],
                0..4,
            ),
            joined in any::<bool>(),
        ) {
            let own = IpAddr::from(own.to_be_bytes());
            let trusted: TrustedProxies = "10.0.0.0/8".parse().unwrap();
            prop_assume!(!trusted.trusts(own));
            // in the last of the client's lines, or in a line of its own
            let mut lines = forged;
            match lines.last_mut().filter(|_| joined) {
                Some(last) => last.extend_from_slice(format!(", {own}").as_bytes()),
                None => lines.push(own.to_string().into_bytes()),
            }
            prop_assert_eq!(trusted.walk(ip("10.0.0.1"), lines.iter().map(Vec::as_slice)), own);
            // and whoever reaches the server itself is who it is
            prop_assert_eq!(trusted.walk(own, lines.iter().map(Vec::as_slice)), own);
        }

        #[test]
        fn no_header_and_no_setting_panics(line in any::<Vec<u8>>(), setting in ".*") {
            let all: TrustedProxies = "0.0.0.0/0,::/0".parse().unwrap();
            all.walk(ip("10.0.0.1"), [&*line].into_iter());
            let _ = setting.parse::<TrustedProxies>();
        }
    }
}
