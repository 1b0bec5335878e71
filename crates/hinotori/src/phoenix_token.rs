//! Tokens of a Phoenix server, by the system's clock.

use std::time::{Duration, SystemTime};

use hinotori_protocol::phoenix_token;
pub use hinotori_protocol::phoenix_token::{KeyDigest, KeyOptions};
use serde::{Serialize, de::DeserializeOwned};

use crate::{PayloadError, TokenError, WeakSecret};

/// Verifies tokens from a Phoenix server's `Phoenix.Token.sign`, and signs tokens that it verifies, so both servers can
/// share a login. Needs the feature `phoenix-token`. If no Phoenix server is involved, use [`Token`](crate::Token).
///
/// ```
/// use std::time::Duration;
/// use hinotori::{PhoenixToken, TokenError};
/// use serde::Deserialize;
///
/// /// What was signed as `%{id: 7, role: :admin}`.
/// #[derive(Debug, Deserialize, PartialEq)]
/// struct User {
///     id: u64,
///     role: String,
/// }
///
/// // secret_key_base of the Phoenix server's config, and the salt of its calls of Phoenix.Token
/// # let secret_key_base = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// let users = PhoenixToken::new(&secret_key_base, "user socket")?;
/// # let token = users.sign(&serde_json::json!({ "id": 7, "role": "admin" }))?;
/// let user: User = users.verify(Some(&token), Duration::from_secs(86_400))?;
/// assert_eq!(user, User { id: 7, role: "admin".to_owned() });
///
/// // without an age, that which the token itself has
/// assert!(users.verify::<User>(Some(&token), None).is_ok());
/// assert_eq!(users.verify::<User>(Some("SFMyNTY.g2EB.x"), None), Err(TokenError::Invalid));
/// # Ok::<_, hinotori::BoxError>(())
/// ```
///
/// | in Elixir | in Rust |
/// |---|---|
/// | `nil` | `None`, `()` |
/// | `true`, `false`, integers from −2⁶³ to 2⁶⁴ − 1, floats | `bool`, integers, floats |
/// | other atoms, UTF-8 binaries | `String`, unit variants of an enum |
/// | lists, tuples | `Vec`, tuples |
/// | maps with atoms, binaries or integers as keys | structs, maps |
///
/// When signed here, strings and keys become binaries, and tuples become lists. A token that contains any other term,
/// such as a pid, a function, bytes that are not UTF-8 or a struct's compressed form, is invalid, and so is one of more
/// than 64 KiB or 64 levels. A token is signed, not encrypted: anyone can read it.
#[derive(Debug, Clone)]
pub struct PhoenixToken(phoenix_token::PhoenixToken);

impl PhoenixToken {
    /// For tokens of `Phoenix.Token.sign(secret_key_base, salt, data)`, or of an endpoint or a conn with that
    /// `secret_key_base`. Deriving the key takes 1,000 iterations of PBKDF2, about a millisecond: create one and keep
    /// it in the `App`'s data.
    ///
    /// # Errors
    /// [`WeakSecret`] if the secret has fewer than 32 bytes. `mix phx.gen.secret` generates 64.
    pub fn new(secret_key_base: &str, salt: &str) -> Result<Self, WeakSecret> {
        phoenix_token::PhoenixToken::new(secret_key_base, salt).map(Self)
    }

    /// The same, for a Phoenix server that passes `key_iterations`, `key_length` or `key_digest`.
    ///
    /// ```
    /// use hinotori::{KeyDigest, KeyOptions, PhoenixToken};
    ///
    /// # let secret_key_base = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// let options = KeyOptions { digest: KeyDigest::Sha512, ..KeyOptions::default() };
    /// let users = PhoenixToken::with_key(&secret_key_base, "user socket", options)?;
    /// # Ok::<_, hinotori::WeakSecret>(())
    /// ```
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    ///
    /// # Panics
    /// If `iterations` or `length` is 0.
    pub fn with_key(secret_key_base: &str, salt: &str, options: KeyOptions) -> Result<Self, WeakSecret> {
        phoenix_token::PhoenixToken::with_key(secret_key_base, salt, options).map(Self)
    }

    /// Signs data together with the current time and an age of one day, which applies if the verifier specifies none.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the data does not serialize to JSON, is nested deeper than 64 levels, or takes more than
    /// 64 KiB.
    pub fn sign(&self, data: &impl Serialize) -> Result<String, PayloadError> {
        self.0.sign(data, SystemTime::now())
    }

    /// Returns the data of a token that was signed with this secret and salt at most `max_age` ago. With `None`, the
    /// token's own age applies, one day by default.
    ///
    /// # Errors
    /// As in Plug.Crypto: [`TokenError::Missing`] without a token; [`TokenError::Expired`] if it is too old, or
    /// `max_age` is zero; [`TokenError::Invalid`] if it was not signed with this secret and salt, was signed in the
    /// future, or does not contain a `T`.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: Option<&str>,
        max_age: impl Into<Option<Duration>>,
    ) -> Result<T, TokenError> {
        self.0.verify(token, max_age, SystemTime::now())
    }
}
