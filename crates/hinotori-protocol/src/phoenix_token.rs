//! Tokens that a Phoenix server has signed, and tokens that it verifies.
//!
//! A token is `SFMyNTY.<content>.<mac>`, both in base64url without padding. The content is the tuple
//! `{data, signed_at_ms, max_age_s}` in Erlang's [external term format](crate::term); Plug.Crypto before 1.2 left the age out.
//! The MAC is HMAC-SHA256 over the two parts before it, under a key that PBKDF2 derives from the secret and the salt.
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

/// Seconds that a token is good for where nobody says how long, and what is written into each token that is signed here:
/// Plug.Crypto's default.
const MAX_AGE: u64 = 86_400;

/// How the key is derived: the options `key_iterations`, `key_length` and `key_digest` of `Phoenix.Token`, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOptions {
    /// Rounds of PBKDF2. 1,000 by default.
    pub iterations: u32,
    /// Bytes of the key. 32 by default.
    pub length: usize,
    /// The hash of PBKDF2. SHA-256 by default. The token itself is signed with SHA-256 in any case.
    pub digest: KeyDigest,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self { iterations: 1_000, length: 32, digest: KeyDigest::Sha256 }
    }
}

/// The hash by which the key is derived.
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

/// Verifies and signs the tokens of one `Phoenix.Token` salt. It has no clock: the caller passes the present time.
#[derive(Clone)]
pub struct PhoenixToken {
    key: Hmac<Sha256>,
}

impl PhoenixToken {
    /// Tokens of `Phoenix.Token.sign(secret_key_base, salt, data)`. Deriving the key takes 1,000 rounds of PBKDF2, about a
    /// millisecond: make one and keep it.
    ///
    /// # Errors
    /// [`WeakSecret`] if the secret has fewer than 32 bytes. `mix phx.gen.secret` makes 64.
    pub fn new(secret_key_base: &str, salt: &str) -> Result<Self, WeakSecret> {
        Self::with_key(secret_key_base, salt, KeyOptions::default())
    }

    /// The same where the Phoenix server passes key options.
    ///
    /// # Errors
    /// As [`new`](Self::new).
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

    /// Signs data together with the time at which that is done and an age of 86,400 s, which counts where the verifier names
    /// none.
    ///
    /// The data is written as its JSON would be: objects as maps with binaries as keys, strings as binaries, arrays and tuples
    /// as lists, `null` as `nil`.
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

    /// The data of a token that was signed under this secret and salt, at most `max_age` before `now`; without a `max_age`, at
    /// most as long ago as the token itself says.
    ///
    /// The data is read as the JSON that [`term`] makes of it: atoms and binaries as strings, tuples and lists as arrays.
    ///
    /// # Errors
    /// As Plug.Crypto: [`TokenError::Missing`] without a token; [`TokenError::Expired`] if it is too old, or `max_age` is zero;
    /// [`TokenError::Invalid`] if it was not signed so, was signed later than `now`, or holds something else than a `T`.
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

/// The age that a token itself has: `:infinity`, or seconds, whole or not.
fn milliseconds(age: &Value) -> Result<Option<i64>, TokenError> {
    match (age.as_str(), age.as_f64()) {
        (Some("infinity"), _) => Ok(None),
        // as `trunc` does
        (_, Some(seconds)) => Ok(Some((seconds * 1_000.0) as i64)),
        _ => Err(TokenError::Invalid),
    }
}

/// `validate_age` of Plug.Crypto, in milliseconds.
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
