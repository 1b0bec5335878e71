//! What a client that recovers gets.

mod held;
mod random;

use std::thread;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Endpoint, wire::PayloadList};

fn messages(count: usize) -> Vec<Payload> {
    (1..=count).map(|id| json!({ "id": id }).into_payload().unwrap()).collect()
}

fn reply(recovery: Recovery) -> Value {
    recovery.into_reply().0.parse().unwrap()
}

#[test]
fn a_cursor_is_read_from_an_object_that_has_last_seen_id_and_an_invalid_one_names_its_field() {
    let read = |value: Value| Cursor::read(&value.into_payload().unwrap());
    for nothing in [
        json!({}),
        json!({ "epoch": "x" }),
        json!({ "last_seen_id": null, "epoch": -1 }),
        json!([1, 2]),
        json!(1),
    ] {
        assert_eq!(read(nothing.clone()), Ok(None), "{nothing}");
    }
    assert_eq!(Cursor::read(&Payload::binary(vec![1])), Ok(None));
    assert_eq!(read(json!({ "last_seen_id": 0, "epoch": null })), Ok(Some(Cursor::new(0, None))));
    assert_eq!(read(json!({ "last_seen_id": 7, "epoch": 8, "a": [] })), Ok(Some(Cursor::new(7, Some(8)))));
    for (value, why) in [
        (json!({ "last_seen_id": -1 }), "last_seen_id: invalid value: integer `-1`, expected u64"),
        (json!({ "last_seen_id": "7" }), "last_seen_id: invalid type: string \"7\", expected u64"),
        (json!({ "last_seen_id": 1.5 }), "last_seen_id: invalid type: floating point `1.5`, expected u64"),
        (json!({ "last_seen_id": 7, "epoch": [] }), "epoch: invalid type: sequence, expected u64"),
    ] {
        assert_eq!(read(value).unwrap_err().to_string(), format!("invalid payload: {why}"));
    }
}

#[test]
fn the_reply_has_what_is_missing_or_why_not_in_the_order_of_the_contract() {
    let all = messages(9);
    let since = |cursor: Cursor| {
        let last = usize::try_from(cursor.last_seen_id()).unwrap();
        let recovery = Recovery::new(cursor, 42, 9, all.iter().skip(last)).unwrap();
        let (payload, follows) = recovery.changed("liked", &all[..1]).unwrap().into_reply();
        assert_eq!(follows.last_id, 9);
        String::from_utf8(payload.as_json().unwrap().into_owned()).unwrap()
    };
    assert_eq!(
        since(Cursor::new(7, Some(42))),
        r#"{"recovered":true,"epoch":42,"last_id":9,"messages":[{"id":8},{"id":9}],"liked":[{"id":1}]}"#
    );
    assert_eq!(
        since(Cursor::new(9, Some(42))),
        r#"{"recovered":true,"epoch":42,"last_id":9,"messages":[],"liked":[{"id":1}]}"#
    );
    for (cursor, reason) in [
        (Cursor::new(10, Some(42)), "ahead"),
        (Cursor::new(u64::MAX >> 1, Some(42)), "ahead"),
        (Cursor::new(9, Some(41)), "epoch"),
        (Cursor::new(10, Some(41)), "epoch"),
        (Cursor::new(0, None), "epoch"),
    ] {
        let expected = format!(r#"{{"recovered":false,"reason":"{reason}","epoch":42,"last_id":9}}"#);
        assert_eq!(since(cursor), expected);
    }
}

#[test]
fn there_is_never_a_part_of_what_is_missing() {
    let why_not = |missing: u64, messages: &[Payload]| {
        Recovery::new(Cursor::new(5, Some(1)), 1, 5 + missing, messages).unwrap().why_not()
    };
    let all = messages(MAX_MESSAGES + 1);
    assert_eq!(why_not(1_000, &all[..1_000]), None);
    assert_eq!(why_not(1_001, &all), Some(Missed::TooOld), "more than a reply may have");
    assert_eq!(why_not(u64::MAX - 5, &all), Some(Missed::TooOld));
    assert_eq!(why_not(3, &all[..2]), Some(Missed::TooOld), "one is no longer kept");
    assert_eq!(why_not(3, &all[..4]), Some(Missed::TooOld), "there is one that cannot be");
    let long = |length: usize| json!("x".repeat(length - 2)).into_payload().unwrap();
    assert_eq!(why_not(2, &[long(MAX_BYTES / 2), long(MAX_BYTES / 2)]), None);
    assert_eq!(why_not(2, &[long(MAX_BYTES / 2), long(MAX_BYTES / 2 + 1)]), Some(Missed::TooOld));
    assert!(matches!(
        Recovery::new(Cursor::new(0, Some(1)), 1, 1, [Payload::binary(vec![1])]),
        Err(PayloadError::NotJson)
    ));
}

#[test]
fn changed_messages_count_toward_the_limits() {
    let changed = |missing: usize, changed: &[Payload]| {
        let all = messages(missing);
        let recovery = Recovery::new(Cursor::new(5, Some(1)), 1, 5 + missing as u64, &all).unwrap();
        recovery.changed("liked", changed).unwrap().why_not()
    };
    assert_eq!(changed(400, &messages(600)), None);
    assert_eq!(changed(400, &messages(601)), Some(Missed::TooOld));
    let long = json!("x".repeat(MAX_BYTES - 200)).into_payload().unwrap();
    assert_eq!(changed(1, std::slice::from_ref(&long)), None);
    assert_eq!(changed(40, &[long]), Some(Missed::TooOld));
    let missed = Recovery::missed(Missed::Ahead, 1, 1).changed("liked", messages(2_000)).unwrap();
    assert_eq!(missed.why_not(), Some(Missed::Ahead));
}

#[test]
fn the_history_is_pushed_to_a_client_that_missed_too_much_and_to_no_other() {
    let push =
        |recovery: Recovery| recovery.or_push("history", json!({ "n": 1 })).unwrap().into_reply().1.push;
    let missed = push(Recovery::missed(Missed::TooOld, 1, 1)).unwrap();
    assert_eq!((missed.0.as_str(), missed.1.parse::<Value>().unwrap()), ("history", json!({ "n": 1 })));
    let recovered = Recovery::new(Cursor::new(1, Some(1)), 1, 1, [] as [Payload; 0]).unwrap();
    assert!(push(recovered.clone()).is_none());
    assert!(matches!(recovered.or_push("history", [1]), Err(PayloadError::NotAnObject)));
}

#[test]
fn a_backlog_keeps_the_newest_within_its_limits_and_gives_what_is_missing() {
    let endpoint = Endpoint::new();
    let backlog = Backlog::new(endpoint.pubsub(), "t", "e").limit(3, 1_000);
    let since = |last: u64| reply(backlog.since(Cursor::new(last, Some(backlog.epoch())), "history"));
    assert_eq!(
        since(0),
        json!({ "recovered": true, "epoch": backlog.epoch(), "last_id": 0, "messages": [] })
    );
    for id in 1..=5 {
        assert_eq!(backlog.publish(|id| json!({ "id": id })).unwrap(), id);
    }
    assert_eq!(since(2)["messages"], json!([{ "id": 3 }, { "id": 4 }, { "id": 5 }]));
    assert_eq!(since(5)["messages"], json!([]));
    assert_eq!((&since(1)["reason"], &since(6)["reason"]), (&json!("too_old"), &json!("ahead")));
    let history: Value = backlog.history().parse().unwrap();
    let all = json!([{ "id": 3 }, { "id": 4 }, { "id": 5 }]);
    assert_eq!(history, json!({ "epoch": backlog.epoch(), "last_id": 5, "messages": all }));
    // one that is longer than all that may be kept
    backlog.publish(|id| json!({ "id": id, "text": "x".repeat(1_000) })).unwrap();
    assert_eq!((&since(6)["messages"], &since(5)["reason"]), (&json!([]), &json!("too_old")));
    backlog.publish(|id| json!({ "id": id })).unwrap();
    assert_eq!((&since(6)["messages"], &since(5)["reason"]), (&json!([{ "id": 7 }]), &json!("too_old")));
}

#[test]
fn what_cannot_be_published_takes_no_position() {
    let endpoint = Endpoint::new();
    let (backlog, mut heard) = (Backlog::new(endpoint.pubsub(), "t", "e"), endpoint.subscribe("t"));
    assert!(matches!(backlog.publish(|id| id), Err(PayloadError::NotAnObject)));
    assert!(matches!(backlog.publish(|_| Payload::binary(vec![1])), Err(PayloadError::NotJson)));
    assert!(thread::scope(|s| s.spawn(|| backlog.publish(|_| -> Value { panic!("made") })).join()).is_err());
    assert_eq!(backlog.publish(|id| json!({ "id": id })).unwrap(), 1);
    let first = futures_util::FutureExt::now_or_never(heard.recv()).unwrap().unwrap().unwrap();
    assert_eq!((first.event(), first.position().map(u64::from)), ("e", Some(1)));
    assert_eq!(first.payload().parse::<Value>().unwrap(), json!({ "id": 1 }));
}

#[test]
fn epochs_are_read_exactly_by_javascript_and_differ() {
    let endpoint = Endpoint::new();
    let epochs = [(); 50].map(|()| Backlog::new(endpoint.pubsub(), "t", "e").epoch());
    assert!(epochs.iter().all(|epoch| (1..1 << 53).contains(epoch)));
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn publishers_on_several_threads_are_heard_in_the_order_of_positions() {
    let endpoint = Endpoint::new();
    let (backlog, mut heard) =
        (Backlog::new(endpoint.pubsub(), "t", "e"), endpoint.subscribe("t").limit(usize::MAX));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..250).for_each(|_| _ = backlog.publish(|id| json!({ "id": id })).unwrap()));
        }
    });
    for id in 1..=1_000 {
        let broadcast = futures_util::FutureExt::now_or_never(heard.recv()).unwrap().unwrap().unwrap();
        assert_eq!(broadcast.position().map(u64::from), Some(id));
        assert_eq!(broadcast.payload().parse::<Value>().unwrap(), json!({ "id": id }));
    }
    assert_eq!(
        reply(backlog.since(Cursor::new(0, Some(backlog.epoch())), "h"))["messages"]
            .as_array()
            .unwrap()
            .len(),
        1_000
    );
}

proptest! {
    /// Elements of a list and payloads of their own are the same messages.
    #[test]
    fn any_json_comes_back_equal(texts in proptest::collection::vec(any::<String>(), 0..20)) {
        let mut list = PayloadList::new();
        texts.iter().try_for_each(|text| list.push(json!({ "text": text }))).unwrap();
        let elements = (0..list.len()).filter_map(|index| list.element(index));
        let cursor = Cursor::new(0, Some(1));
        let recovered = reply(Recovery::new(cursor, 1, texts.len() as u64, elements).unwrap());
        let expected: Vec<_> = texts.iter().map(|text| json!({ "text": text })).collect();
        prop_assert_eq!(&recovered["messages"], &json!(expected));
    }
}
