//! Why a join, a token or a request is refused, in the words that clients get.

use std::fmt;

use serde_json::{Value, json};

/// See the module. The text begins with a code of Supabase Realtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The topic is `realtime:` alone.
    NoTopic,
    /// There is no token where one must be.
    NoToken,
    /// A token that is no JWT.
    Malformed,
    /// A JWT that is signed by none of the keys, or whose header says so.
    NoKey,
    /// A JWT whose signature is wrong.
    Signature,
    /// A JWT without `role` or `exp`.
    MissingClaims,
    /// A JWT that has expired so many seconds ago.
    Expired { seconds: i64 },
    /// A private channel that the token does not grant.
    Unauthorized { channel: String },
    /// The client wants changes of a database, which this server does not have.
    PostgresChanges,
}

impl Refusal {
    /// The code: the word that clients and operators look for.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoTopic => "TopicNameRequired",
            Self::Malformed => "MalformedJWT",
            Self::NoKey => "JwtSignerError",
            Self::Signature => "JwtSignatureError",
            Self::MissingClaims | Self::Expired { .. } => "InvalidJWTToken",
            Self::NoToken | Self::Unauthorized { .. } => "Unauthorized",
            Self::PostgresChanges => "PostgresChangesNotSupported",
        }
    }

    /// The response of a refused join.
    pub(crate) fn response(&self) -> Value {
        json!({ "reason": format!("{}: {self}", self.code()) })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTopic => f.write_str("You must provide a topic name"),
            Self::NoToken => f.write_str("An apikey or an access token is required"),
            Self::Malformed => f.write_str("The token provided is not a valid JWT"),
            Self::NoKey => f.write_str(
                "Failed to generate JWT signer, check your JWT secret or JWKS configuration: no key of this server \
                 is that of the token",
            ),
            Self::Signature => f.write_str("Failed to validate JWT signature"),
            Self::MissingClaims => f.write_str("Fields `role` and `exp` are required in JWT"),
            Self::Expired { seconds } => write!(f, "Token has expired {seconds} seconds ago"),
            Self::Unauthorized { channel } => {
                write!(f, "You do not have permissions to read from this Channel topic: {channel}")
            }
            Self::PostgresChanges => f.write_str(
                "This server has Broadcast and Presence, and no postgres_changes: remove .on('postgres_changes', …) \
                 from this channel",
            ),
        }
    }
}

impl std::error::Error for Refusal {}
