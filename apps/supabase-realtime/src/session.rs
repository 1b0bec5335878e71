//! The token of a client on one channel: what it allows, and for how long.

use std::time::Duration;

use serde_json::Value;

use crate::{
    access::Access,
    claims::Claims,
    keys::now,
    refusal::Refusal,
    user_socket::{Project, UserSocket},
};

/// A token is looked at again after this time at the latest.
const RECHECK: Duration = Duration::from_secs(5 * 60);

/// The beginning of an API key of Supabase's newer kind, which is no JWT. Clients send it where a token belongs.
const API_KEY: &str = "sb_";

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    channel: String,
    is_private: bool,
    token: String,
    claims: Claims,
    access: Access,
}

impl Session {
    /// Checks the token of a join: the one in its payload, or else the apikey.
    pub(crate) fn open(
        socket: &UserSocket,
        channel: &str,
        is_private: bool,
        payload: &Value,
    ) -> Result<Self, Refusal> {
        let given = ["access_token", "user_token"].into_iter().find_map(|name| token(payload, name));
        let token = given.unwrap_or(&socket.apikey).to_owned();
        let (claims, access) = judge(&socket.project, channel, is_private, &token)?;
        Ok(Self { channel: channel.to_owned(), is_private, token, claims, access })
    }

    /// Takes the token of an event `access_token`, if it is a new one. Returns whether it is.
    pub(crate) fn renew(&mut self, project: &Project, payload: &Value) -> Result<bool, Refusal> {
        let Some(token) = token(payload, "access_token").filter(|token| *token != self.token) else {
            return Ok(false);
        };
        (self.claims, self.access) = judge(project, &self.channel, self.is_private, token)?;
        self.token = token.to_owned();
        Ok(true)
    }

    /// Checks the token again.
    pub(crate) fn check(&self, project: &Project) -> Result<(), Refusal> {
        judge(project, &self.channel, self.is_private, &self.token).map(drop)
    }

    /// When to check it next.
    pub(crate) fn next_check(&self) -> Duration {
        let left = u64::try_from(self.claims.exp.saturating_sub(now())).unwrap_or_default();
        Duration::from_secs(left).min(RECHECK)
    }

    /// What the client may do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }
}

/// A token in a payload. Null and an API key count as none.
fn token<'a>(payload: &'a Value, name: &str) -> Option<&'a str> {
    payload.get(name)?.as_str().filter(|token| !token.starts_with(API_KEY))
}

/// What a token says, and what its client may do on a channel: at least read.
fn judge(
    project: &Project,
    channel: &str,
    is_private: bool,
    token: &str,
) -> Result<(Claims, Access), Refusal> {
    let claims = project.keys.verify(token)?;
    let access = if is_private { Access::to(channel, &claims, project.rule) } else { Access::ALL };
    if access.read {
        Ok((claims, access))
    } else {
        Err(Refusal::Unauthorized { channel: channel.to_owned() })
    }
}
