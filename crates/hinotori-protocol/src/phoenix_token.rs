//! Verifies tokens signed by a Phoenix server, and signs tokens that it verifies.
//!
//! A token is `SFMyNTY.<content>.<mac>`, both parts in base64url without padding. The content is the tuple `{data,
//! signed_at_ms, max_age_s}` in Erlang's [external term format](crate::term); Plug.Crypto before 1.2 omitted the age.
//! The MAC is HMAC-SHA256 over `SFMyNTY.<content>`, with a key that PBKDF2 derives from the secret and the salt.
//!
//! # Source
//! Phoenix `lib/phoenix/token.ex`, 1.8.12; Plug.Crypto `lib/plug/crypto.ex`, `key_generator.ex`, `message_verifier.ex`, 2.1.1.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use hmac::Hmac;
use pbkdf2::pbkdf2_hmac;
use serde::{Serialize, de::DeserializeOwned, ser::Error as _};
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};

use crate::{
    term,
    token::{MIN_SECRET, TokenError, WeakSecret, keyed, millis, open, seal},
    wire::PayloadError,
};

/// Plug.Crypto's default age in seconds. It applies if neither the verifier nor the token specifies one, and it is
/// written into each token signed here.
const MAX_AGE: u64 = 86_400;

/// How the key is derived: the options `key_iterations`, `key_length` and `key_digest` of `Phoenix.Token`, with the
/// same defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOptions {
    /// Iterations of PBKDF2. 1,000 by default.
    pub iterations: u32,
    /// Length of the key in bytes. 32 by default.
    pub length: usize,
    /// The hash for PBKDF2. SHA-256 by default. The token itself is always signed with SHA-256.
    pub digest: KeyDigest,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self { iterations: 1_000, length: 32, digest: KeyDigest::Sha256 }
    }
}

/// The hash with which the key is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyDigest {
    /// `:sha256`.
    #[default]
    Sha256,
    /// `:sha384`.
    Sha384,
    /// `:sha512`.
    Sha512,
}

/// Verifies and signs tokens for one `Phoenix.Token` salt. It has no clock: the caller passes the current time.
#[derive(Clone)]
pub struct PhoenixToken {
    key: Hmac<Sha256>,
}

impl PhoenixToken {
    /// For tokens of `Phoenix.Token.sign(secret_key_base, salt, data)`. Deriving the key takes 1,000 iterations of
    /// PBKDF2, about a millisecond: create one and reuse it.
    ///
    /// # Errors
    /// [`WeakSecret`] if the secret has fewer than 32 bytes. `mix phx.gen.secret` generates 64.
    pub fn new(secret_key_base: &str, salt: &str) -> Result<Self, WeakSecret> {
        Self::with_key(secret_key_base, salt, KeyOptions::default())
    }

    /// The same, for a Phoenix server that passes key options.
    ///
    /// # Errors
    /// Same as [`new`](Self::new).
    ///
    /// # Panics
    /// If `iterations` or `length` is 0.
    pub fn with_key(secret_key_base: &str, salt: &str, options: KeyOptions) -> Result<Self, WeakSecret> {
        let KeyOptions { iterations, length, digest } = options;
        assert!(iterations > 0 && length > 0, "expected one iteration and one byte or more, got {options:?}");
        if secret_key_base.len() < MIN_SECRET {
            return Err(WeakSecret);
        }
        let derive = match digest {
            KeyDigest::Sha256 => pbkdf2_hmac::<Sha256>,
            KeyDigest::Sha384 => pbkdf2_hmac::<Sha384>,
            KeyDigest::Sha512 => pbkdf2_hmac::<Sha512>,
        };
        let mut key = vec![0; length];
        derive(secret_key_base.as_bytes(), salt.as_bytes(), iterations, &mut key);
        Ok(Self { key: keyed(&key) })
    }

    /// Signs data together with the time of signing and an age of 86,400 s, which applies if the verifier specifies
    /// none.
    ///
    /// The data is converted like its JSON form: objects become maps with binary keys, strings become binaries, arrays
    /// and tuples become lists, and `null` becomes `nil`.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the data does not serialize to JSON, is nested deeper than [`term::MAX_DEPTH`], or takes
    /// more than [`term::MAX_SIZE`] bytes.
    pub fn sign(&self, data: &impl Serialize, now: SystemTime) -> Result<String, PayloadError> {
        let data = serde_json::to_value(data).map_err(PayloadError::Encode)?;
        let content = term::encode_tuple(&[data, millis(now).into(), MAX_AGE.into()]);
        let content = content.map_err(|error| PayloadError::Encode(serde_json::Error::custom(error)))?;
        Ok(seal(&content, &self.key))
    }

    /// Returns the data of a token that was signed with this secret and salt at most `max_age` before `now`. Without a
    /// `max_age`, the token's own age applies.
    ///
    /// The data is read through the JSON that [`term`] produces: atoms and binaries become strings, tuples and lists
    /// become arrays.
    ///
    /// # Errors
    /// As in Plug.Crypto: [`TokenError::Missing`] without a token; [`TokenError::Expired`] if it is too old, or
    /// `max_age` is zero; [`TokenError::Invalid`] if it was not signed with this secret and salt, was signed after
    /// `now`, or does not contain a `T`.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: Option<&str>,
        max_age: impl Into<Option<Duration>>,
        now: SystemTime,
    ) -> Result<T, TokenError> {
        let content = open(token.ok_or(TokenError::Missing)?, std::slice::from_ref(&self.key))?;
        let content = term::decode_tuple(&content).ok_or(TokenError::Invalid)?;
        let (data, signed_at, own_age) = match <[Value; 3]>::try_from(content) {
            Ok([data, signed_at, age]) => (data, signed_at, age),
            Err(shorter) => {
                let [data, signed_at] = shorter.try_into().map_err(|_| TokenError::Invalid)?;
                (data, signed_at, MAX_AGE.into())
            }
        };
        let signed_at = signed_at.as_i64().ok_or(TokenError::Invalid)?;
        let max_age = match max_age.into() {
            Some(age) => Some(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            None => milliseconds(&own_age)?,
        };
        check_age(signed_at, max_age, i64::try_from(millis(now)).unwrap_or(i64::MAX))?;
        serde_json::from_value(data).map_err(|_| TokenError::Invalid)
    }
}

/// The token's own age: `:infinity`, or seconds, which may be fractional.
fn milliseconds(age: &Value) -> Result<Option<i64>, TokenError> {
    match (age.as_str(), age.as_f64()) {
        (Some("infinity"), _) => Ok(None),
        // like Elixir's `trunc`
        (_, Some(seconds)) => Ok(Some((seconds * 1_000.0) as i64)),
        _ => Err(TokenError::Invalid),
    }
}

/// Plug.Crypto's `validate_age`, in milliseconds.
fn check_age(signed_at: i64, max_age: Option<i64>, now: i64) -> Result<(), TokenError> {
    match max_age {
        None => Ok(()),
        Some(age) if age <= 0 => Err(TokenError::Expired),
        Some(_) if signed_at > now => Err(TokenError::Invalid),
        Some(age) if signed_at.saturating_add(age) < now => Err(TokenError::Expired),
        Some(_) => Ok(()),
    }
}

impl fmt::Debug for PhoenixToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoenixToken")
    }
}
