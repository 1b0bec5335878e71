//! Who may use which private channel. Supabase asks the policies of a database; this server asks the token.
//!
//! This is the place for a rule of your own: [`Access::to`] gets the claims of the token and the name of the channel.

use std::str::FromStr;

use hinotori::Pattern;
use serde_json::Value;

use crate::claims::Claims;

/// The role of servers.
const SERVICE: &str = "service_role";
/// The role of clients that nobody has signed in.
const ANONYMOUS: &str = "anon";
/// The claim that grants channels.
const CLAIM: &str = "realtime";

/// The value of `--private-channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What the claim `realtime` grants: `{"read": ["room:*"], "write": ["room:7"]}`, or `["room:*"]` for both. A pattern is the
    /// name of a channel, or a beginning and `*`.
    Claims,
    /// Everything, to everyone who is not `anon`.
    SignedIn,
}

impl FromStr for Rule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "claims" => Ok(Self::Claims),
            "signed-in" => Ok(Self::SignedIn),
            _ => Err("expected claims or signed-in"),
        }
    }
}

/// What a client may do on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// Join it, and hear broadcasts and presences.
    pub(crate) read: bool,
    /// Send broadcasts, and be present.
    pub(crate) write: bool,
}

impl Access {
    /// To a public channel.
    pub(crate) const ALL: Self = Self { read: true, write: true };

    /// To a private channel.
    pub(crate) fn to(channel: &str, claims: &Claims, rule: Rule) -> Self {
        match rule {
            _ if claims.role == SERVICE => Self::ALL,
            Rule::SignedIn => {
                let is_in = claims.role != ANONYMOUS;
                Self { read: is_in, write: is_in }
            }
            Rule::Claims => {
                let granted = claims.granted(CLAIM);
                let may = |what| {
                    let patterns =
                        granted.filter(|granted| granted.is_array()).or_else(|| granted?.get(what));
                    patterns.is_some_and(|patterns| matches(patterns, channel))
                };
                Self { read: may("read"), write: may("write") }
            }
        }
    }
}

/// Whether one of the patterns is that of a channel. What is no pattern grants nothing.
fn matches(patterns: &Value, channel: &str) -> bool {
    let patterns = patterns.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut patterns = patterns.filter_map(|pattern| Pattern::parse(pattern).ok());
    patterns.any(|pattern| pattern.matches(channel))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn access(role: &str, granted: Value, rule: Rule) -> (bool, bool) {
        let claims = json!({ "role": role, "exp": 1, "realtime": granted });
        let claims = Claims::read(claims.as_object().unwrap().clone()).unwrap();
        let Access { read, write } = Access::to("room:7", &claims, rule);
        (read, write)
    }

    #[test]
    fn the_claim_grants_channels_by_their_name_or_its_beginning() {
        for (granted, expected) in [
            (json!(["room:7"]), (true, true)),
            (json!(["lobby", "room:*"]), (true, true)),
            (json!(["*"]), (true, true)),
            (json!(["room:8", "room", "oom:*"]), (false, false)),
            (json!({ "read": ["room:*"] }), (true, false)),
            (json!({ "read": ["room:*"], "write": ["room:7"] }), (true, true)),
            (json!({ "write": ["room:*"] }), (false, true)),
            (json!({ "read": "room:7" }), (false, false)),
            (json!("room:7"), (false, false)),
            (json!(["", "r*m:7", 7, null, ["room:7"]]), (false, false)),
            (json!(null), (false, false)),
            (json!(true), (false, false)),
        ] {
            assert_eq!(access("authenticated", granted.clone(), Rule::Claims), expected, "{granted}");
        }
    }

    #[test]
    fn servers_may_do_everything_and_who_is_not_signed_in_nothing() {
        for rule in [Rule::Claims, Rule::SignedIn] {
            assert_eq!(access("service_role", json!(null), rule), (true, true));
            assert_eq!(access("anon", json!(null), rule), (false, false));
        }
        assert_eq!(access("authenticated", json!(null), Rule::SignedIn), (true, true));
        assert_eq!(access("authenticated", json!(null), Rule::Claims), (false, false));
    }
}
