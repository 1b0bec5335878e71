//! Signed tokens, by the system clock.
//!
//! The server that knows the user signs the user's id, the client presents the token when it connects, and
//! [`connect`](crate::SocketHandler::connect) verifies it. The content is signed, not encrypted: anyone can read it.

use std::time::{Duration, SystemTime};

use hinotori_protocol::token;
pub use hinotori_protocol::token::{TokenError, WeakSecret};
use serde::{Serialize, de::DeserializeOwned};

use crate::wire::PayloadError;

/// Signs and verifies the tokens of one purpose.
///
/// The layout is that of a Phoenix token, but the content is JSON and the key derivation differs: neither server reads
/// the other's tokens. For those of a Phoenix server there is `PhoenixToken`, with the feature `phoenix-token`.
///
/// ```
/// use std::time::Duration;
/// use hinotori::{Token, TokenError};
///
/// # let (secret, old_secret) = ([7; 32], [8; 32]);
/// let users = Token::new("user socket", &[&secret])?;
/// let signed = users.sign(&"user-7")?;
/// let day = Duration::from_secs(86_400);
/// assert_eq!(users.verify::<String>(Some(&signed), day)?, "user-7");
/// assert_eq!(users.verify::<String>(None, day), Err(TokenError::Missing));
///
/// // another purpose is another key; an old secret still verifies while its tokens live
/// assert!(Token::new("other", &[&secret])?.verify::<String>(Some(&signed), day).is_err());
/// assert!(Token::new("user socket", &[&old_secret, &secret])?.verify::<String>(Some(&signed), day).is_ok());
/// # Ok::<_, hinotori::BoxError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Token(token::Token);

impl Token {
    /// Tokens of the purpose `salt`. The first secret signs, all of them verify: to rotate, put a new one first, and
    /// remove the old one when its tokens have expired.
    ///
    /// # Errors
    /// [`WeakSecret`] if there is no secret, or one has fewer than 32 bytes.
    pub fn new(salt: &str, secrets: &[&[u8]]) -> Result<Self, WeakSecret> {
        token::Token::new(salt, secrets).map(Self)
    }

    /// Signs data together with the current time.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the data does not serialize to JSON.
    pub fn sign(&self, data: &impl Serialize) -> Result<String, PayloadError> {
        self.0.sign(data, SystemTime::now())
    }

    /// The data of a token that was signed with one of the secrets, for the same purpose, at most `max_age` ago.
    ///
    /// # Errors
    /// [`TokenError::Missing`] without a token, [`TokenError::Expired`] if it is too old, [`TokenError::Invalid`] if it
    /// was not signed for this purpose with one of the secrets or does not hold a `T`.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: Option<&str>,
        max_age: Duration,
    ) -> Result<T, TokenError> {
        self.0.verify(token, max_age, SystemTime::now())
    }
}
