use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const SECRET: &str = "a secret of the tests, with more than 32 bytes";
/// A key of nobody but these tests.
const RSA: &[u8] = include_bytes!("../../tests/rsa.der");

/// What stands before the 32 bytes of an Ed25519 key (RFC 8410 §7).
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

fn secret() -> JwtSecret {
    SECRET.parse().unwrap()
}

fn keys_of(secret: Option<&JwtSecret>, set: &Value) -> Keys {
    let secret = secret.map(|JwtSecret(secret)| DecodingKey::from_secret(secret.as_bytes()));
    Keys { secret, set: key_set(&set.to_string()).unwrap() }
}

fn only_secret() -> Keys {
    Keys::new(Some(&secret()), None).unwrap()
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &json!({ "role": "anon", "exp": now() + 60, "aud": "authenticated" }), key).unwrap()
}

/// A private key by each algorithm, and its public part as the set of this `kid`.
fn pair(algorithm: Algorithm, kid: &str) -> (EncodingKey, Value) {
    let generated = |kind| rcgen::KeyPair::generate_for(kind).unwrap().serialize_der();
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(&generated(&rcgen::PKCS_ECDSA_P256_SHA256)),
        Algorithm::EdDSA => {
            EncodingKey::from_ed_der(&[ED25519, kid.repeat(32).as_bytes()[..32].as_ref()].concat())
        }
        _ => EncodingKey::from_rsa_der(RSA),
    };
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    (key, jwk)
}

#[test]
fn a_token_is_good_if_a_key_of_the_set_that_it_names_signed_it() {
    for algorithm in [Algorithm::RS256, Algorithm::RS512, Algorithm::ES256, Algorithm::EdDSA] {
        let ((key, one), (_, mut other)) = (pair(algorithm, "one"), pair(algorithm, "other"));
        if algorithm == Algorithm::RS256 || algorithm == Algorithm::RS512 {
            // there is only one key of this kind: let the other be a different one
            other = pair(Algorithm::ES256, "other").1;
        }
        let keys = keys_of(Some(&secret()), &json!({ "keys": [one, other] }));
        assert_eq!(keys.verify(&signed(algorithm, Some("one"), &key)).unwrap().role, "anon", "{algorithm:?}");
        let refused = keys.verify(&signed(algorithm, Some("other"), &key)).unwrap_err();
        assert!(matches!(refused, Refusal::Signature | Refusal::NoKey), "{algorithm:?}: {refused:?}");
        for kid in [None, Some("third")] {
            assert_eq!(
                keys.verify(&signed(algorithm, kid, &key)),
                Err(Refusal::NoKey),
                "{algorithm:?} {kid:?}"
            );
        }
    }
}

#[test]
fn the_secret_is_for_hs256_and_for_nothing_else() {
    let keys = only_secret();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    assert!(keys.verify(&signed(Algorithm::HS256, None, &key)).is_ok());
    // as Supabase's own keys have it
    assert!(keys.verify(&signed(Algorithm::HS256, Some("unknown"), &key)).is_ok());
    assert_eq!(keys.verify(&signed(Algorithm::HS512, None, &key)), Err(Refusal::NoKey));
    let other = EncodingKey::from_secret(b"another secret of the tests, as long as it is");
    assert_eq!(keys.verify(&signed(Algorithm::HS256, None, &other)), Err(Refusal::Signature));
    let (rsa, set) = pair(Algorithm::RS256, "one");
    assert_eq!(keys.verify(&signed(Algorithm::RS256, Some("one"), &rsa)), Err(Refusal::NoKey));
    let without = keys_of(None, &json!({ "keys": [set] }));
    assert_eq!(without.verify(&signed(Algorithm::HS256, None, &key)), Err(Refusal::NoKey));
}

#[test]
fn a_public_key_is_not_taken_for_a_secret() {
    let (_, set) = pair(Algorithm::RS256, "one");
    let keys = keys_of(None, &json!({ "keys": [set] }));
    let public = URL_SAFE_NO_PAD.decode(set["n"].as_str().unwrap()).unwrap();
    for secret in [set.to_string().as_bytes(), &public, RSA] {
        let forged = signed(Algorithm::HS256, Some("one"), &EncodingKey::from_secret(secret));
        assert_eq!(keys.verify(&forged), Err(Refusal::NoKey));
    }
}

#[test]
fn a_key_of_the_set_without_alg_is_still_only_for_algorithms_of_its_kind() {
    let (key, mut set) = pair(Algorithm::ES256, "one");
    set.as_object_mut().unwrap().remove("alg");
    let keys = keys_of(Some(&secret()), &json!({ "keys": [set] }));
    assert!(keys.verify(&signed(Algorithm::ES256, Some("one"), &key)).is_ok());
    let forged = signed(Algorithm::HS256, Some("one"), &EncodingKey::from_secret(SECRET.as_bytes()));
    assert_eq!(keys.verify(&forged), Err(Refusal::NoKey));
}

#[test]
fn what_is_no_token_is_malformed_and_one_without_signature_has_no_key() {
    let keys = only_secret();
    let good = signed(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET.as_bytes()));
    let [header, claims, signature] = <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    for text in ["", ".", "..", "a.b.c", "sb_publishable_x", header, &format!("{header}.{claims}")] {
        assert!(matches!(keys.verify(text), Err(Refusal::Malformed | Refusal::NoKey)), "{text}");
    }
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    assert_eq!(keys.verify(&format!("{none}.{claims}.")), Err(Refusal::NoKey));
    let changed = URL_SAFE_NO_PAD.encode(r#"{"role":"service_role","exp":99999999999}"#);
    assert_eq!(keys.verify(&format!("{header}.{changed}.{signature}")), Err(Refusal::Signature));
    assert_eq!(keys.verify(&format!("{header}.{claims}.")), Err(Refusal::Signature));
}

#[test]
fn a_set_that_cannot_be_used_is_refused_by_the_key_that_is_at_fault() {
    let good = pair(Algorithm::ES256, "one").1;
    let mut unnamed = good.clone();
    unnamed.as_object_mut().unwrap().remove("kid");
    for (set, why) in [
        (json!([]), "not a JSON Web Key Set"),
        (json!({}), "not a JSON Web Key Set"),
        (json!({ "keys": [] }), "it has no keys"),
        (json!({ "keys": [good, unnamed] }), "key 1: it has no kid"),
        (json!({ "keys": [{ "kty": "RSA", "kid": "a", "n": "!", "e": "AQAB" }] }), "key 0: "),
        (
            json!({ "keys": [{ "kty": "RSA", "kid": "a", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" }] }),
            "key 0: ",
        ),
    ] {
        let error = key_set(&set.to_string()).err().unwrap_or_else(|| panic!("{set} is taken"));
        assert!(error.contains(why), "{set}: {error}");
    }
    let error = Keys::new(None, Some(Path::new("no/such/file"))).unwrap_err();
    assert!(error.contains("no/such/file") && error.contains("--jwt-jwks"), "{error}");
}

#[test]
fn a_secret_is_long_and_is_never_shown() {
    assert!("x".repeat(31).parse::<JwtSecret>().unwrap_err().contains("at least 32 bytes, got 31"));
    assert_eq!(format!("{:?}", secret()), "JwtSecret(…)");
    assert!(!format!("{:?}", only_secret()).contains("secret of"));
}
