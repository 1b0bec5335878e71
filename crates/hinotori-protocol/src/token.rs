//! Signed tokens, which a client carries and cannot change.
//!
//! The server that knows the user signs the user's id, and the client presents the token when it connects. The content
//! is signed, not encrypted: anyone can read it.
//!
//! The layout is that of a Phoenix token, `SFMyNTY.<base64url of the content>.<base64url of an HMAC-SHA256>`. But the
//! content is JSON where Phoenix has Erlang terms, and the key is derived with HMAC where Phoenix uses PBKDF2. So
//! neither server reads the other's tokens: if you run both, use `PhoenixToken` (feature `phoenix-token`), or share a JWT.
//!
//! # Source
//! Phoenix `lib/phoenix/token.ex`; Plug.Crypto `lib/plug/crypto/message_verifier.ex`.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::wire::PayloadError;

/// `HS256` in base64: the first part of each token.
const HEADER: &str = "SFMyNTY";

/// The shortest secret, in bytes. A shorter one could be guessed; 32 random bytes are as strong as the signature.
pub(crate) const MIN_SECRET: usize = 32;

/// Signs and verifies the tokens of one purpose. It has no clock: the caller passes the current time.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use hinotori_protocol::token::{Token, TokenError};
///
/// # let secret = [7; 32];
/// let users = Token::new("user socket", &[&secret])?;
/// let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
/// let signed = users.sign(&"user-7", now)?;
/// assert_eq!(users.verify::<String>(Some(&signed), day, now + day)?, "user-7");
/// let expired = users.verify::<String>(Some(&signed), day, now + 2 * day);
/// assert_eq!(expired, Err(TokenError::Expired));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Token {
    /// The first signs, all verify.
    keys: Vec<Hmac<Sha256>>,
}

impl Token {
    /// Tokens of the purpose `salt`. The first secret signs, all of them verify: to rotate, put a new one first, and
    /// remove the old one when its tokens have expired.
    ///
    /// # Errors
    /// [`WeakSecret`] if there is no secret, or one has fewer than 32 bytes.
    pub fn new(salt: &str, secrets: &[&[u8]]) -> Result<Self, WeakSecret> {
        if secrets.is_empty() || secrets.iter().any(|secret| secret.len() < MIN_SECRET) {
            return Err(WeakSecret);
        }
        let keys = secrets.iter().map(|secret| {
            let mut derive = keyed(secret);
            derive.update(salt.as_bytes());
            keyed(&derive.finalize().into_bytes())
        });
        Ok(Self { keys: keys.collect() })
    }

    /// Signs data together with the time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the data does not serialize to JSON.
    pub fn sign(&self, data: &impl Serialize, now: SystemTime) -> Result<String, PayloadError> {
        let content = serde_json::to_vec(&(data, millis(now))).map_err(PayloadError::Encode)?;
        // `new` wants one
        let key = self.keys.first().unwrap_or_else(|| unreachable!("there is a secret"));
        Ok(seal(&content, key))
    }

    /// The data of a token that was signed with one of the secrets, for the same purpose, at most `max_age` before
    /// `now`.
    ///
    /// # Errors
    /// [`TokenError::Missing`] without a token, [`TokenError::Expired`] if it is too old, [`TokenError::Invalid`] if it
    /// was not signed for this purpose with one of the secrets or does not hold a `T`.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: Option<&str>,
        max_age: Duration,
        now: SystemTime,
    ) -> Result<T, TokenError> {
        let content = open(token.ok_or(TokenError::Missing)?, &self.keys)?;
        let (data, signed_at): (T, u64) =
            serde_json::from_slice(&content).map_err(|_| TokenError::Invalid)?;
        if u128::from(millis(now).saturating_sub(signed_at)) > max_age.as_millis() {
            return Err(TokenError::Expired);
        }
        Ok(data)
    }
}

/// A token of this content.
pub(crate) fn seal(content: &[u8], key: &Hmac<Sha256>) -> String {
    let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(content));
    let mac = key.clone().chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// The content of a token that was sealed with one of these keys.
pub(crate) fn open(token: &str, keys: &[Hmac<Sha256>]) -> Result<Vec<u8>, TokenError> {
    let (signed, mac) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| TokenError::Invalid)?;
    // compares in constant time
    let is_ours = keys.iter().any(|key| key.clone().chain_update(signed).verify_slice(&mac).is_ok());
    let content = signed.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('.')).filter(|_| is_ours);
    URL_SAFE_NO_PAD.decode(content.ok_or(TokenError::Invalid)?).map_err(|_| TokenError::Invalid)
}

pub(crate) fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 §2), so this cannot fail
    Hmac::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

/// Milliseconds since the Unix epoch; 0 before it.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} secrets)", self.keys.len())
    }
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no token.
    Missing,
    /// It was not signed by one of the secrets for this purpose, or was changed.
    Invalid,
    /// It is older than allowed.
    Expired,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no token",
            Self::Invalid => "the token is invalid",
            Self::Expired => "the token has expired",
        })
    }
}

impl std::error::Error for TokenError {}

/// There is no secret, or one of fewer than 32 bytes, which could be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeakSecret;

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one secret or more, each of {MIN_SECRET} bytes or more")
    }
}

impl std::error::Error for WeakSecret {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const NOW: SystemTime = UNIX_EPOCH;

    fn token(secrets: &[u8]) -> Token {
        let secrets: Vec<[u8; 32]> = secrets.iter().map(|byte| [*byte; 32]).collect();
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| &secret[..]).collect();
        Token::new("purpose", &secrets).unwrap()
    }

    #[test]
    fn a_token_is_valid_until_the_end_of_its_age_and_expired_after() {
        let token = token(&[1]);
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let signed = token.sign(&7, at(1_000)).unwrap();
        assert_eq!(token.verify(Some(&signed), MINUTE, at(61_000)), Ok(7));
        assert_eq!(token.verify::<u8>(Some(&signed), MINUTE, at(61_001)), Err(TokenError::Expired));
        assert_eq!(token.verify(Some(&signed), MINUTE, at(0)), Ok(7), "a clock that was set back");
    }

    #[test]
    fn any_secret_of_the_list_verifies_and_the_first_signs() {
        let old = token(&[1]).sign(&"x", NOW).unwrap();
        let rotated = token(&[2, 1]);
        assert_eq!(rotated.verify::<String>(Some(&old), MINUTE, NOW).as_deref(), Ok("x"));
        let new = rotated.sign(&"y", NOW).unwrap();
        assert_eq!(token(&[1]).verify::<String>(Some(&new), MINUTE, NOW), Err(TokenError::Invalid));
        assert_eq!(token(&[2]).verify::<String>(Some(&new), MINUTE, NOW).as_deref(), Ok("y"));
    }

    #[test]
    fn secrets_that_could_be_guessed_are_refused() {
        assert_eq!(Token::new("p", &[]).unwrap_err(), WeakSecret);
        assert_eq!(Token::new("p", &[&[1; 32], &[1; 31]]).unwrap_err(), WeakSecret);
    }

    #[test]
    fn content_of_another_type_is_invalid_and_not_a_panic() {
        let token = token(&[1]);
        let signed = token.sign(&"text", NOW).unwrap();
        assert_eq!(token.verify::<u8>(Some(&signed), MINUTE, NOW), Err(TokenError::Invalid));
    }

    proptest! {
        #[test]
        fn any_change_makes_a_token_invalid(at in any::<proptest::sample::Index>(), byte in 33u8..127) {
            let token = token(&[1]);
            let signed = token.sign(&"user-7", NOW).unwrap();
            let mut changed = signed.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            // the last character of base64 has bits that stand for nothing: those are refused too
            if changed != signed {
                prop_assert_eq!(token.verify::<String>(Some(&changed), MINUTE, NOW), Err(TokenError::Invalid));
            }
        }

        #[test]
        fn any_text_is_invalid_and_never_panics(text in any::<String>()) {
            prop_assert_eq!(token(&[1]).verify::<u8>(Some(&text), MINUTE, NOW), Err(TokenError::Invalid));
        }
    }
}
