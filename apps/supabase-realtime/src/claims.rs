//! What a token says.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The claims of a token whose signature is good. Any role may be named; `exp` is checked apart, as it passes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    pub(crate) role: String,
    /// Seconds since 1970.
    pub(crate) exp: i64,
    all: Map<String, Value>,
}

impl Claims {
    /// Reads the claims that must be there.
    pub(crate) fn read(all: Map<String, Value>) -> Result<Self, Refusal> {
        let role = all.get("role").and_then(Value::as_str).map(str::to_owned);
        let exp = all.get("exp").and_then(Value::as_i64);
        let (Some(role), Some(exp)) = (role, exp) else { return Err(Refusal::MissingClaims) };
        Ok(Self { role, exp, all })
    }

    /// The claims, unless the token has expired.
    pub(crate) fn at(self, now: i64) -> Result<Self, Refusal> {
        if self.exp <= now { Err(Refusal::Expired { seconds: now - self.exp }) } else { Ok(self) }
    }

    /// A claim of this name. What an issuer adds to all claims, or, as Supabase Auth does, to `app_metadata`, which users
    /// cannot change.
    pub(crate) fn granted(&self, name: &str) -> Option<&Value> {
        self.all.get(name).or_else(|| self.all.get("app_metadata")?.get(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value) -> Result<Claims, Refusal> {
        Claims::read(claims.as_object().unwrap().clone())
    }

    #[test]
    fn role_and_exp_must_be_there_in_their_types() {
        for claims in [
            json!({}),
            json!({ "role": "anon" }),
            json!({ "exp": 7 }),
            json!({ "role": "anon", "exp": "7" }),
            json!({ "role": "anon", "exp": 7.5 }),
            json!({ "role": 1, "exp": 7 }),
            json!({ "role": "anon", "exp": 1e300 }),
        ] {
            assert_eq!(read(claims.clone()), Err(Refusal::MissingClaims), "{claims}");
        }
    }

    #[test]
    fn a_token_is_good_until_the_second_of_its_exp() {
        let claims = read(json!({ "role": "anon", "exp": 100 })).unwrap();
        assert!(claims.clone().at(99).is_ok());
        assert_eq!(claims.clone().at(100), Err(Refusal::Expired { seconds: 0 }));
        assert_eq!(claims.at(107), Err(Refusal::Expired { seconds: 7 }));
    }

    #[test]
    fn a_grant_is_a_claim_or_in_the_metadata_that_users_cannot_change() {
        let claims = |more: Value| {
            let mut all = json!({ "role": "r", "exp": 1 });
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(all).unwrap()
        };
        assert_eq!(claims(json!({ "realtime": 1 })).granted("realtime"), Some(&json!(1)));
        assert_eq!(claims(json!({ "app_metadata": { "realtime": 1 } })).granted("realtime"), Some(&json!(1)));
        assert_eq!(claims(json!({ "user_metadata": { "realtime": 1 } })).granted("realtime"), None);
        assert_eq!(claims(json!({ "app_metadata": [] })).granted("realtime"), None);
    }
}
