//! Who may connect, and who they are.

use clap::Args;
use hinotori::{CheckOrigin, TrustedProxies};

/// See the module.
#[derive(Debug, Args)]
pub struct Clients {
    /// Pages that may connect: same-host, off, or a comma-separated list of //host, //*.host, scheme://host or
    /// scheme://host:port.
    #[arg(long, env = "CHECK_ORIGIN", default_value = "same-host")]
    pub check_origin: CheckOrigin,
    /// Proxies in front of the server, whose X-Forwarded-For is trusted for the client's address: comma-separated IP
    /// addresses and networks, such as 127.0.0.1,10.0.0.0/8. None by default; the header is then ignored.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    pub trusted_proxies: TrustedProxies,
}
