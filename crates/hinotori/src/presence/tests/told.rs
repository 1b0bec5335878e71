//! Which changes are told in which diffs, and what of them lists show.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use super::*;

#[actix_web::test]
async fn a_presence_is_told_once_track_returns_and_the_list_shows_the_same() {
    let life = Life::new();
    let client = life.listens("t");
    let mut is_told = life.track(SubscriberKey::new(), "t", "u1", says(1)).unwrap();
    is_told.try_recv().expect_err("changes are gathered first");
    assert!(client.heard().is_empty());
    let listed = life.tracker.list("t");
    life.tell();
    is_told.try_recv().unwrap();
    assert_eq!(client.heard(), [json!({ "joins": listed, "leaves": {} })]);
    assert_eq!(listed["u1"]["metas"][0]["n"], 1);
}

#[actix_web::test]
async fn an_update_is_a_leave_of_the_old_meta_and_a_join_that_names_it() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    let client = life.listens("t");
    life.track(owner, "t", "u1", json!({ "n": 1, "device": "phone" })).unwrap();
    let mut metas_so_far = metas(&life.tracker.list("t")["u1"]);
    for n in 2..4 {
        life.tell();
        client.heard();
        let change = |meta: &mut Meta| {
            assert_eq!(meta.keys().collect::<Vec<_>>(), ["device", "n"], "only what it said itself");
            meta.insert("n".into(), json!(n));
        };
        life.tracker.update(owner, "t", "u1", change).unwrap();
        let [new] = &metas(&life.tracker.list("t")["u1"])[..] else { panic!("one presence") };
        let old = metas_so_far.last().unwrap();
        assert_eq!(
            (&new["n"], &new["device"], &new["phx_ref_prev"]),
            (&json!(n), &json!("phone"), &old["phx_ref"])
        );
        life.tell();
        let (joins, leaves) = (json!({ "u1": { "metas": [new] } }), json!({ "u1": { "metas": [old] } }));
        assert_eq!(client.heard(), [json!({ "joins": joins, "leaves": leaves })]);
        metas_so_far.push(new.clone());
    }
    for (owner, topic, key) in
        [(owner, "t", "other"), (owner, "other", "u1"), (SubscriberKey::new(), "t", "u1")]
    {
        let error = life.tracker.update(owner, topic, key, |_| panic!("nothing to change")).unwrap_err();
        assert!(matches!(error, PresenceError::NotTracked));
    }
}

#[actix_web::test]
async fn an_update_that_takes_its_own_presence_away_changes_nothing() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    life.track(owner, "t", "u1", says(1)).unwrap();
    let untrack = |_: &mut Meta| life.tracker.untrack(owner, "t", "u1");
    assert!(matches!(life.tracker.update(owner, "t", "u1", untrack), Err(PresenceError::NotTracked)));
    assert!(life.tracker.list("t").is_empty());
}

#[actix_web::test]
async fn a_channel_is_tracked_once_under_a_key_and_all_of_it_goes_when_it_ends() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    let client = life.listens("t");
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        life.track(owner, "t", key, json!({ "n": n })).unwrap();
    }
    assert!(matches!(life.track(owner, "t", "a", says(9)), Err(PresenceError::AlreadyTracked)));
    life.tracker.untrack(owner, "t", "b");
    life.track(SubscriberKey::new(), "t", "a", says(3)).unwrap();
    life.tell();
    client.heard();
    life.end(owner);
    life.tell();
    assert_eq!(joins_and_leaves(&client.heard()), [[vec![], vec!["a: 0".to_owned(), "c: 2".to_owned()]]]);
    assert_eq!(said(&life.tracker.list("t").into()), ["a: 3"]);
}

#[actix_web::test]
async fn whoever_was_listed_and_leaves_in_the_same_batch_is_told_to_have_left() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    let client = life.listens("t");
    let mut is_told = life.track(owner, "t", "u1", says(1)).unwrap();
    client.presence.borrow_mut().on_state(&life.tracker.list("t"));
    life.end(owner);
    life.tell();
    assert!(client.presence.borrow().state.is_empty());
    let one = vec!["u1: 1".to_owned()];
    assert_eq!(joins_and_leaves(&client.heard()), [[one.clone(), vec![]], [vec![], one]]);
    is_told.try_recv().unwrap();
}

#[actix_web::test]
async fn a_meta_that_was_listed_between_two_updates_of_a_batch_is_told_to_have_left() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    let client = life.listens("t");
    life.track(owner, "t", "u1", says(1)).unwrap();
    life.tell();
    for n in 2..5 {
        life.tracker.update(owner, "t", "u1", |meta| _ = meta.insert("n".into(), json!(n))).unwrap();
        client.presence.borrow_mut().on_state(&life.tracker.list("t"));
    }
    life.tell();
    assert_eq!(said(&client.presence.borrow().state.clone().into()), ["u1: 4"]);
}

#[actix_web::test]
async fn whoever_leaves_and_comes_back_in_one_batch_is_never_gone() {
    let (life, owners) = (Life::new(), [SubscriberKey::new(), SubscriberKey::new()]);
    let client = life.listens("t");
    client.presence.borrow_mut().on_state(&Presences::new());
    life.track(owners[0], "t", "u1", says(1)).unwrap();
    life.tell();
    client.heard();
    life.end(owners[0]);
    life.track(owners[1], "t", "u1", says(2)).unwrap();
    life.tell();
    assert_eq!(joins_and_leaves(&client.heard()), [[vec!["u1: 2".to_owned()], vec!["u1: 1".to_owned()]]]);
    assert_eq!(said(&client.presence.borrow().state.clone().into()), ["u1: 2"]);
}

#[actix_web::test]
async fn keys_are_any_text() {
    let life = Life::new();
    let client = life.listens("t");
    client.presence.borrow_mut().on_state(&Presences::new());
    for key in ["__proto__", "constructor", "", "\u{0}", "a.b[c]", "鳥", "\u{10ffff}"] {
        life.track(SubscriberKey::new(), "t", key, says(1)).unwrap();
        assert_eq!(metas(&life.tracker.get_by_key("t", key).unwrap()).len(), 1);
    }
    life.tell();
    assert_eq!(client.presence.borrow().state, life.tracker.list("t"));
    assert_eq!(life.tracker.get_by_key("t", "a"), None);
}

#[actix_web::test]
async fn fetch_adds_to_lists_and_to_both_halves_of_diffs() {
    let life = Life::with(Some(Fetch::new(|topic, mut presences| {
        for (key, presence) in &mut presences {
            presence["name"] = json!(format!("{key} of {topic}"));
        }
        presences
    })));
    let (client, owner) = (life.listens("t"), SubscriberKey::new());
    life.track(owner, "t", "u1", says(1)).unwrap();
    life.tell();
    assert_eq!(life.tracker.list("t")["u1"]["name"], "u1 of t");
    assert_eq!(life.tracker.get_by_key("t", "u1").unwrap()["name"], "u1 of t");
    assert_eq!(life.tracker.get_by_key("t", "u2"), None);
    life.end(owner);
    life.tell();
    let diffs = client.heard();
    assert_eq!(diffs[0]["joins"]["u1"]["name"], "u1 of t");
    assert_eq!(diffs[1]["leaves"]["u1"]["name"], "u1 of t");
}

#[actix_web::test]
async fn a_fetch_that_panics_or_does_not_end_costs_what_it_would_add() {
    let (is_bad, hangs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (bad, hang) = (is_bad.clone(), hangs.clone());
    let life = Life::with(Some(Fetch::new(move |_, mut presences| {
        while hang.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        assert!(!bad.load(Ordering::SeqCst), "told to panic");
        presences.values_mut().for_each(|presence| presence["name"] = json!("known"));
        presences
    })));
    let client = life.listens("t");
    client.presence.borrow_mut().on_state(&Presences::new());
    let comes = |key: &str| {
        let mut is_told = life.track(SubscriberKey::new(), "t", key, says(1)).unwrap();
        life.tell();
        is_told.try_recv().unwrap();
        client.presence.borrow().state[key].get("name").cloned()
    };
    assert_eq!(comes("panics"), None);
    assert_eq!(life.tracker.list("t"), client.presence.borrow().state, "neither has a list more");
    is_bad.store(false, Ordering::SeqCst);
    assert_eq!(comes("after a panic"), Some(json!("known")));
    hangs.store(true, Ordering::SeqCst);
    assert_eq!([comes("hangs"), comes("still hangs")], [None, None]);
    hangs.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    for n in 0.. {
        if comes(&format!("after {n} more")).is_some() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it has ended, and is asked again");
    }
    let known = life.tracker.list("t");
    assert!(known.values().all(|presence| presence["name"] == "known"));
}
