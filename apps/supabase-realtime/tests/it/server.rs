//! A server process on a free port, and tokens that it takes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::client::{Client, Item};

pub(crate) const SECRET: &str = "a secret of the tests, with more than 32 bytes";

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_supabase-realtime"))
            .env_clear()
            .envs([("PORT", "0"), ("JWT_SECRET", SECRET), ("WORKERS", "2"), ("RUST_LOG", "warn")])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("it does not listen: {line:?}")) }
    }

    /// A client of version 2 with this key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::open(self.port, &format!("/realtime/v1/websocket?vsn=2.0.0&apikey={key}"))
    }

    /// One that has joined a channel with this config. The state of presences has come.
    pub(crate) fn joined(&self, key: &str, channel: &str, config: &Value) -> Client {
        let mut client = self.client(key);
        let topic = format!("realtime:{channel}");
        client.send(&json!(["1", "1", topic, "phx_join", { "config": config }]));
        let reply = json!({ "status": "ok", "response": { "postgres_changes": [] } });
        client.expect(&json!(["1", "1", topic, "phx_reply", reply]));
        assert_eq!(client.message()[3], "presence_state");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn signed(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

pub(crate) fn anon() -> String {
    signed(&json!({ "role": "anon", "exp": now() + 600 }))
}

/// A token that grants channels by the claim `realtime`.
pub(crate) fn granting(realtime: &Value) -> String {
    signed(&json!({ "role": "authenticated", "exp": now() + 600, "realtime": realtime }))
}

/// The next message is this one.
pub(crate) fn hears(client: &Client, event: &str, payload: &Value) {
    match client.next() {
        Item::Text(message) => assert_eq!((&message[3], &message[4]), (&json!(event), payload), "{message}"),
        other => panic!("expected {event}, got {other:?}"),
    }
}
