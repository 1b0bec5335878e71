//! The keys by which tokens may be signed.

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, KeyAlgorithm},
};
use serde_json::{Map, Value};

use crate::{claims::Claims, refusal::Refusal};

/// Bytes that a secret must have: as many as HMAC-SHA256 makes use of (RFC 7518 §3.2).
const SECRET: usize = 32;

/// The secret of a project. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct JwtSecret(String);

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret(…)")
    }
}

impl FromStr for JwtSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.len() {
            SECRET.. => Ok(Self(text.to_owned())),
            length => Err(format!("expected a secret of at least {SECRET} bytes, got {length}")),
        }
    }
}

/// A key of a set.
struct Key {
    key: DecodingKey,
    /// The only algorithm that it is for, if the set says so.
    algorithm: Option<Algorithm>,
}

/// See the module.
pub(crate) struct Keys {
    /// For tokens signed by HS256 that name no key of the set.
    secret: Option<DecodingKey>,
    /// By `kid`.
    set: HashMap<String, Key>,
}

impl Keys {
    /// A secret, the keys of a file, or both.
    ///
    /// # Errors
    /// If the file cannot be read, is no JSON Web Key Set, or has a key that cannot be used.
    pub(crate) fn new(secret: Option<&JwtSecret>, jwks: Option<&Path>) -> Result<Self, String> {
        let secret = secret.map(|JwtSecret(secret)| DecodingKey::from_secret(secret.as_bytes()));
        let failed = |path: &Path, why: String| format!("cannot use {} (--jwt-jwks): {why}", path.display());
        let set = jwks.map(|path| {
            let text = fs::read_to_string(path).map_err(|error| failed(path, error.to_string()))?;
            key_set(&text).map_err(|why| failed(path, why))
        });
        Ok(Self { secret, set: set.transpose()?.unwrap_or_default() })
    }

    /// The claims of a token that is signed by one of the keys and has not expired.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            // an algorithm that does not exist, such as `none`
            ErrorKind::Json(_) if has_three_parts(token) => Refusal::NoKey,
            _ => Refusal::Malformed,
        })?;
        let named = header.kid.as_ref().and_then(|kid| self.set.get(kid));
        let key = match named {
            Some(Key { key, algorithm }) if algorithm.is_none_or(|only| only == header.alg) => Some(key),
            Some(_) => None,
            None => self.secret.as_ref().filter(|_| header.alg == Algorithm::HS256),
        };
        // a key is never used as one of another kind, such as a public key as a secret
        let key = key.filter(|key| key.family() == header.alg.family()).ok_or(Refusal::NoKey)?;
        let claims = decode::<Map<String, Value>>(token, key, &signature_only(header.alg));
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => Refusal::Signature,
            _ => Refusal::Malformed,
        })?;
        Claims::read(claims.claims)?.at(now())
    }
}

/// Without the key itself.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<&String> = self.set.keys().collect();
        f.debug_struct("Keys").field("has_secret", &self.secret.is_some()).field("set", &kids).finish()
    }
}

/// Checks the signature and nothing else: the claims are read afterwards.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_aud) = (false, false);
    rules
}

fn has_three_parts(token: &str) -> bool {
    token.split('.').count() == 3
}

/// The time in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The keys of a JSON Web Key Set by their `kid`.
fn key_set(text: &str) -> Result<HashMap<String, Key>, String> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    if set.keys.is_empty() {
        return Err("it has no keys".to_owned());
    }
    set.keys
        .iter()
        .enumerate()
        .map(|(index, jwk)| key_of(jwk).map_err(|why| format!("key {index}: {why}")))
        .collect()
}

fn key_of(jwk: &Jwk) -> Result<(String, Key), String> {
    let kid = jwk.common.key_id.clone().ok_or("it has no kid, by which tokens could name it")?;
    let algorithm = jwk.common.key_algorithm.map(algorithm_of).transpose()?;
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    Ok((kid, Key { key, algorithm }))
}

fn algorithm_of(algorithm: KeyAlgorithm) -> Result<Algorithm, String> {
    let name = algorithm.to_string();
    name.parse().map_err(|_| format!("{name} is no algorithm of signatures"))
}

#[cfg(test)]
mod tests;
