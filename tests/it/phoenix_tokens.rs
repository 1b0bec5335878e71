//! Tokens of Phoenix, made by Plug.Crypto: `fixtures/phoenix_token.exs` says how.

use std::{
    error::Error as _,
    fs,
    time::{Duration, SystemTime},
};

use hinotori_protocol::{
    phoenix_token::{KeyDigest, KeyOptions, PhoenixToken},
    token::{TokenError, WeakSecret},
};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MILLISECOND: Duration = Duration::from_millis(1);

struct Fixture {
    json: Value,
    /// When all of its tokens were signed.
    now: SystemTime,
}

impl Fixture {
    fn read() -> Self {
        let text =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/phoenix_token.json"));
        let json: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let now = SystemTime::UNIX_EPOCH + SECOND * json["signed_at"].as_u64().unwrap() as u32;
        Self { json, now }
    }

    fn list(&self, name: &str) -> &[Value] {
        let list = self.json[name].as_array().unwrap();
        assert!(!list.is_empty(), "{name}");
        list
    }

    fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap()
    }

    fn tokens(&self, options: KeyOptions) -> PhoenixToken {
        PhoenixToken::with_key(self.text("secret_key_base"), self.text("salt"), options).unwrap()
    }

    /// What is in a token, by default options.
    fn read_at(
        &self,
        token: &str,
        max_age: impl Into<Option<Duration>>,
        now: SystemTime,
    ) -> Result<Value, TokenError> {
        self.tokens(KeyOptions::default()).verify(Some(token), max_age, now)
    }

    fn token_with(&self, options: &Value) -> &str {
        let good = self.list("good").iter().find(|good| good["options"] == *options);
        good.unwrap_or_else(|| panic!("none with {options}"))["token"].as_str().unwrap()
    }
}

#[test]
fn what_phoenix_signs_is_read_whatever_simple_term_it_is_and_however_its_key_was_derived() {
    let fixture = Fixture::read();
    for good in fixture.list("good") {
        let (given, mut options) = (&good["options"], KeyOptions::default());
        if let Some(iterations) = given["key_iterations"].as_u64() {
            options.iterations = iterations as u32;
        }
        if let Some(length) = given["key_length"].as_u64() {
            options.length = length as usize;
        }
        options.digest = match given["key_digest"].as_str() {
            None => KeyDigest::Sha256,
            Some("sha384") => KeyDigest::Sha384,
            Some("sha512") => KeyDigest::Sha512,
            Some(other) => panic!("{other}"),
        };
        let tokens = fixture.tokens(options);
        let read = tokens.verify::<Value>(good["token"].as_str(), DAY, fixture.now);
        assert_eq!(read.as_ref(), Ok(&good["data"]), "{good}");
    }
    let legacy = fixture.text("without_age");
    assert_eq!(fixture.read_at(legacy, None, fixture.now + DAY), Ok(json!("x")));
    assert_eq!(fixture.read_at(legacy, None, fixture.now + DAY + MILLISECOND), Err(TokenError::Expired));
}

#[test]
fn what_is_no_simple_term_or_was_signed_otherwise_is_invalid() {
    let fixture = Fixture::read();
    for bad in fixture.list("bad") {
        let read = fixture.read_at(bad["token"].as_str().unwrap(), None, fixture.now);
        assert_eq!(read, Err(TokenError::Invalid), "{bad}");
    }
    let good = fixture.token_with(&json!({}));
    for cut in 0..good.len() {
        assert_eq!(fixture.read_at(&good[..cut], DAY, fixture.now), Err(TokenError::Invalid));
    }
    let tokens = fixture.tokens(KeyOptions::default());
    assert_eq!(tokens.verify::<Value>(None, DAY, fixture.now), Err(TokenError::Missing));
    assert_eq!(tokens.verify::<String>(Some(good), DAY, fixture.now), Err(TokenError::Invalid), "a number");
}

#[test]
fn a_token_is_good_for_the_age_that_is_asked_for_or_else_for_its_own() {
    let fixture = Fixture::read();
    let at = |token: &str, max_age: Option<Duration>, later: Duration| {
        fixture.read_at(token, max_age, fixture.now + later).map(|_| ())
    };
    let minute = fixture.token_with(&json!({ "max_age": 60 }));
    assert_eq!(at(minute, None, 60 * SECOND), Ok(()));
    assert_eq!(at(minute, None, 60 * SECOND + MILLISECOND), Err(TokenError::Expired));
    assert_eq!(at(minute, Some(DAY), DAY), Ok(()));
    assert_eq!(at(minute, Some(SECOND), SECOND + MILLISECOND), Err(TokenError::Expired));
    assert_eq!(at(minute, Some(Duration::ZERO), Duration::ZERO), Err(TokenError::Expired));
    let half = fixture.token_with(&json!({ "max_age": 0.5 }));
    assert_eq!(at(half, None, 500 * MILLISECOND), Ok(()));
    assert_eq!(at(half, None, 501 * MILLISECOND), Err(TokenError::Expired));
    let forever = fixture.token_with(&json!({ "max_age": "infinity" }));
    assert_eq!(at(forever, None, 100_000 * DAY), Ok(()));
    let early = fixture.read_at(minute, DAY, fixture.now - MILLISECOND);
    assert_eq!(early, Err(TokenError::Invalid), "signed in the future");
}

#[test]
fn what_is_signed_here_is_to_the_byte_what_phoenix_signs() {
    let fixture = Fixture::read();
    for same in fixture.list("same") {
        let signed = fixture.tokens(KeyOptions::default()).sign(&same["data"], fixture.now).unwrap();
        assert_eq!(Some(&*signed), same["token"].as_str(), "{same}");
    }
}

#[test]
fn a_secret_that_could_be_guessed_and_data_that_nobody_could_read_are_errors() {
    assert_eq!(PhoenixToken::new(&"x".repeat(31), "salt").unwrap_err(), WeakSecret);
    let tokens = PhoenixToken::new(&"x".repeat(32), "salt").unwrap();
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    for data in [json!("x".repeat(65_536)), deep] {
        let error = tokens.sign(&data, SystemTime::now()).unwrap_err();
        let why = error.source().unwrap().to_string();
        assert!(why.contains("term too"), "{why}");
    }
}
