//! Phoenix tokens, and the Erlang terms in them.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use hinotori_protocol::{
    phoenix_token::PhoenixToken,
    term::{self, MAX_DEPTH, MAX_SIZE},
    token::TokenError,
};
use serde_json::Value;

static TOKEN: LazyLock<PhoenixToken> = LazyLock::new(|| {
    PhoenixToken::new("0123456789abcdef0123456789abcdef", "fuzz").expect("the secret is long enough")
});

/// This key signs nothing here; see `signed.rs`.
static STRANGER: LazyLock<PhoenixToken> = LazyLock::new(|| {
    PhoenixToken::new("fedcba9876543210fedcba9876543210", "fuzz").expect("the secret is long enough")
});

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const DAY: Duration = Duration::from_secs(86_400);

/// Checks that bytes are either a term or an error, that what was read survives being written and read again and a
/// round trip through a token, and that nothing verifies that was not signed.
pub fn phoenix_token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_eq!(STRANGER.verify::<Value>(Some(&text), DAY, NOW), Err(TokenError::Invalid), "forged");

    let Ok(value) = term::decode(data) else { return };
    assert!(depth(&value) <= MAX_DEPTH + 1, "too deep");
    match term::encode(&value) {
        Ok(bytes) => assert_eq!(term::decode(&bytes).as_ref(), Ok(&value), "read otherwise than written"),
        // Erlang's short form of a list of bytes takes one byte per element, the written form two
        Err(error) => assert!(data.len() > MAX_SIZE / 8, "{error}"),
    }
    if let Ok(token) = TOKEN.sign(&value, NOW) {
        assert_eq!(TOKEN.verify(Some(&token), None, NOW), Ok(value));
    }
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or_default()
}
