use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A term of these bytes behind the version.
fn term(bytes: &[u8]) -> Result<Value, TermError> {
    decode(&[&[VERSION], bytes].concat())
}

#[test]
fn each_kind_of_simple_term_is_its_json() {
    for (bytes, value) in [
        (&[97, 255][..], json!(255)),
        (&[98, 255, 255, 255, 255], json!(-1)),
        (&[110, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255], json!(u64::MAX)),
        (&[110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128], json!(i64::MIN)),
        // leading zeros
        (&[110, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], json!(1)),
        (&[70, 63, 248, 0, 0, 0, 0, 0, 0], json!(1.5)),
        (b"\x64\x00\x02\xe9a", json!("éa")),
        (b"\x73\x01\xe9", json!("é")),
        ("\u{76}\0\u{3}鳥".as_bytes(), json!("鳥")),
        (b"\x77\x03nil", json!(null)),
        (b"\x77\x04true", json!(true)),
        (b"\x64\x00\x05false", json!(false)),
        (b"\x6d\x00\x00\x00\x04true", json!("true")),
        (b"\x6b\x00\x02hi", json!([104, 105])),
        (b"\x6a", json!([])),
        (b"\x6c\x00\x00\x00\x01\x61\x01\x6a", json!([1])),
        (b"\x68\x02\x61\x01\x61\x02", json!([1, 2])),
        (b"\x69\x00\x00\x00\x01\x61\x01", json!([1])),
        (b"\x74\x00\x00\x00\x02\x77\x01a\x61\x01\x61\x07\x6a", json!({ "a": 1, "7": [] })),
    ] {
        assert_eq!(term(bytes).as_ref(), Ok(&value), "{bytes:?}");
    }
}

#[test]
fn what_is_no_simple_term_is_an_error_that_says_so() {
    let key_twice = b"\x74\x00\x00\x00\x02\x77\x01a\x61\x01\x6d\x00\x00\x00\x01a\x61\x02";
    for (bytes, error) in [
        (&[80, 0, 0, 0, 1][..], TermError::Tag(COMPRESSED)),
        // a pid, a reference, a port, two functions, a bit string, a large integer
        (&[88], TermError::Tag(88)),
        (&[90], TermError::Tag(90)),
        (&[89], TermError::Tag(89)),
        (&[112], TermError::Tag(112)),
        (&[113], TermError::Tag(113)),
        (&[77], TermError::Tag(77)),
        (&[111, 0, 0, 0, 1, 0, 1], TermError::Tag(111)),
        (&[110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], TermError::Integer),
        (&[110, 8, 1, 1, 0, 0, 0, 0, 0, 0, 128], TermError::Integer),
        (&[70, 127, 240, 0, 0, 0, 0, 0, 0], TermError::Float),
        (b"\x6d\x00\x00\x00\x01\xff", TermError::NotUtf8),
        (b"\x6c\x00\x00\x00\x01\x61\x01\x61\x02", TermError::Improper),
        (b"\x74\x00\x00\x00\x01\x6a\x6a", TermError::Key),
        (key_twice, TermError::DuplicateKey),
        (&[97, 1, 2, 3], TermError::Trailing(2)),
        (&[], TermError::Truncated),
        // as many as could be, of which none is there
        (&[108, 255, 255, 255, 255], TermError::Truncated),
        (&[109, 255, 255, 255, 255], TermError::Truncated),
        (&[116, 255, 255, 255, 255], TermError::Truncated),
    ] {
        assert_eq!(term(bytes), Err(error), "{bytes:?}");
    }
    assert_eq!(decode(&[]), Err(TermError::Version(None)));
    assert_eq!(decode(&[130, 106]), Err(TermError::Version(Some(130))));
    assert_eq!(decode(&[VERSION; MAX_SIZE + 1]), Err(TermError::TooBig(MAX_SIZE + 1)));
}

#[test]
fn depth_is_bounded_in_both_directions() {
    let nested = |depth| (0..depth).fold(json!([]), |inner, _| json!([inner]));
    let deepest = encode(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(decode(&deepest), Ok(nested(MAX_DEPTH)));
    assert_eq!(encode(&nested(MAX_DEPTH + 1)), Err(TermError::TooDeep));
    let deeper = [&[VERSION, SMALL_TUPLE, 1][..], &deepest[1..]].concat();
    assert_eq!(decode(&deeper), Err(TermError::TooDeep));
    assert_eq!(encode(&json!("x".repeat(MAX_SIZE))), Err(TermError::TooBig(MAX_SIZE + 6)));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_as_it_was_written_and_cut_anywhere_it_is_an_error(
        value in json_value(),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(value));
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_a_term_or_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = term(&bytes);
    }
}
