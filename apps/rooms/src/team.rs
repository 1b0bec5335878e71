//! What the sockets and the HTTP handlers share: the team.

use std::{sync::Arc, time::Duration};

use hinotori::{CheckOrigin, Endpoint, Presence, Token, TrustedProxies};

use crate::{
    domain::{epoch, secret},
    limits::Limits,
    passwords::Passwords,
    store::Store,
};

/// How long the socket's token is valid.
pub const TOKEN_AGE: Duration = Duration::from_secs(600);

/// How often a socket asks whether its session goes on.
const SESSION_CHECK: Duration = Duration::from_secs(60);

/// What the sockets and the HTTP handlers share. The program puts it into its `App` with `app_data`.
#[derive(Debug)]
pub struct Team {
    /// The database.
    pub store: Store,
    /// Who is online.
    pub presence: Presence,
    /// The socket's tokens.
    pub tokens: Token,
    /// The values of cookies.
    pub cookies: Token,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// How often somebody may do something.
    pub limits: Limits,
    /// How often each socket asks whether its session goes on.
    pub session_check: Duration,
    /// Pages that may send requests.
    pub check_origin: CheckOrigin,
    /// Proxies in front of the server.
    pub trusted_proxies: TrustedProxies,
}

impl Team {
    /// The team of a store. Without a secret, it is the one that is kept in the store.
    ///
    /// # Errors
    /// If the database failed, or the secret is too short.
    pub async fn new(endpoint: &Endpoint, store: Store, secret: Option<String>) -> Result<Arc<Self>, String> {
        let kept = store.write(|tx| {
            epoch::get_or_make(tx)?;
            secret::get(tx)
        });
        let kept = kept.await.map_err(|failure| failure.to_string())?;
        let secret = secret.unwrap_or(kept);
        let token = |salt| Token::new(salt, &[secret.as_bytes()]).map_err(|error| error.to_string());
        Ok(Arc::new(Self {
            store,
            presence: Presence::new(endpoint),
            tokens: token("socket")?,
            cookies: token("session")?,
            passwords: Passwords::new()?,
            limits: Limits::default(),
            session_check: SESSION_CHECK,
            check_origin: CheckOrigin::SameHost,
            trusted_proxies: TrustedProxies::default(),
        }))
    }
}
