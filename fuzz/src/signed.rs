//! Signed tokens.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use hinotori_protocol::token::{Token, TokenError};

static TOKEN: LazyLock<Token> =
    LazyLock::new(|| Token::new("fuzz", &[&[7; 32], &[8; 32]]).expect("the secrets are long enough"));

/// This key signs nothing here: a fuzzer that reads comparisons would find what [`TOKEN`] has signed and submit it as
/// its own.
static STRANGER: LazyLock<Token> =
    LazyLock::new(|| Token::new("fuzz", &[&[9; 32]]).expect("the secret is long enough"));

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const DAY: Duration = Duration::from_secs(86_400);

/// Checks that nothing verifies that was not signed, and that what was signed verifies unchanged and fails if one of its
/// bytes is changed. The first three bytes select that byte and its change; the rest is a token and the data to sign.
pub fn token(data: &[u8]) {
    let Some((&[high, low, change], text)) = data.split_first_chunk::<3>() else { return };
    let text = String::from_utf8_lossy(text);
    assert_eq!(
        STRANGER.verify::<serde_json::Value>(Some(&text), DAY, NOW),
        Err(TokenError::Invalid),
        "forged"
    );
    let _ = TOKEN.verify::<serde_json::Value>(Some(&text), DAY, NOW);

    let signed = TOKEN.sign(&text, NOW).expect("text is JSON");
    assert_eq!(TOKEN.verify::<String>(Some(&signed), DAY, NOW).as_deref(), Ok(&*text));
    let mut changed = signed.clone().into_bytes();
    let at = usize::from(u16::from_be_bytes([high, low])) % changed.len();
    changed[at] ^= change & 0x7f;
    let changed = String::from_utf8(changed).expect("ASCII stays ASCII without its highest bit");
    let verified = TOKEN.verify::<String>(Some(&changed), DAY, NOW);
    assert_eq!(verified.is_ok(), changed == signed, "{signed} as {changed}");
}
