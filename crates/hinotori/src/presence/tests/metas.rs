//! What the server itself is told of those who come and go.

use std::sync::{Mutex, mpsc};

use super::*;

#[actix_web::test]
async fn the_hook_is_told_of_each_diff_as_clients_are_once_they_have_it() {
    let (said, says_so) = mpsc::channel();
    let add = |_: &str, mut presences: Presences| {
        presences.values_mut().for_each(|presence| presence["name"] = json!("Ann"));
        presences
    };
    let life = Life::hooked(
        Some(Fetch::new(add)),
        Some(Metas::new(move |presence, topic, diff| {
            let listed = presence.list(topic).len();
            said.send((topic.to_owned(), serde_json::to_value(diff).unwrap(), listed)).unwrap();
        })),
    );
    let (client, owner) = (life.listens("t"), SubscriberKey::new());
    let mut is_told = life.track(owner, "t", "u1", says(1)).unwrap();
    life.tell();
    life.tracker.update(owner, "t", "u1", |meta| *meta = object(says(2)).unwrap()).unwrap();
    life.tell();
    life.track(SubscriberKey::new(), "other", "u2", says(3)).unwrap();
    // a join and a leave in one batch are two diffs
    life.end(owner);
    life.tell();
    is_told.try_recv().unwrap();
    let hooked: Vec<(String, Value, usize)> = says_so.try_iter().collect();
    let topics: Vec<(&str, usize)> =
        hooked.iter().map(|(topic, _, listed)| (topic.as_str(), *listed)).collect();
    assert_eq!(topics, [("t", 1), ("t", 1), ("other", 1), ("t", 0)]);
    let of_topic: Vec<Value> =
        hooked.into_iter().filter(|hooked| hooked.0 == "t").map(|hooked| hooked.1).collect();
    assert_eq!(of_topic, client.heard());
    assert_eq!(of_topic[0]["joins"]["u1"]["name"], "Ann");
}

#[actix_web::test]
async fn a_hook_that_panics_keeps_nothing_back_and_is_told_of_the_next_diff() {
    let calls = Arc::new(Mutex::new(vec![]));
    let called = calls.clone();
    let life = Life::hooked(
        None,
        Some(Metas::new(move |_, _, diff| {
            let joins = said(&diff.joins.clone().into());
            called.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(joins.clone());
            assert!(joins != ["u1: 1"], "told to panic");
        })),
    );
    let client = life.listens("t");
    for n in 1..=3 {
        let mut is_told = life.track(SubscriberKey::new(), "t", &format!("u{n}"), says(n)).unwrap();
        life.tell();
        is_told.try_recv().unwrap();
    }
    assert_eq!(client.heard().len(), 3);
    assert_eq!(*calls.lock().unwrap(), ["u1: 1", "u2: 2", "u3: 3"]);
}
