//! Topics come and go by themselves, and do not wait for each other.

use std::{collections::HashSet, thread};

use actix_web::rt::{System, time::timeout};

use super::*;

#[actix_web::test]
async fn a_topic_is_forgotten_when_all_who_were_present_have_ended_and_that_is_told() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    life.track(owner, "t", "u1", says(1)).unwrap();
    life.tracker.untrack(owner, "t", "u1");
    life.tell();
    assert_eq!(life.tracker.topics(), 1, "the channel may be present again");
    life.end(owner);
    assert_eq!(life.tracker.topics(), 0, "nothing is left to broadcast");
    life.track(owner, "t", "u1", says(2)).unwrap();
    life.end(owner);
    assert_eq!(life.tracker.topics(), 1, "that it left is to be told");
    life.tell();
    assert_eq!(life.tracker.topics(), 0);
}

#[actix_web::test]
async fn asking_for_a_topic_does_not_make_one() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    assert!(life.tracker.list("t").is_empty());
    assert_eq!(life.tracker.get_by_key("t", "u1"), None);
    life.tracker.untrack(owner, "t", "u1");
    life.tracker.update(owner, "t", "u1", |_| ()).unwrap_err();
    assert_eq!(life.tracker.topics(), 0);
}

#[actix_web::test]
async fn what_a_reader_has_does_not_change_and_keeps_nobody_waiting() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    life.track(owner, "t", "u1", says(1)).unwrap();
    let present = life.tracker.present("t");
    life.track(owner, "t", "u2", says(2)).unwrap();
    life.end(owner);
    life.track(SubscriberKey::new(), "u", "u1", says(3)).unwrap();
    life.tell();
    assert_eq!(present.keys().map(|id| &*id.key).collect::<Vec<_>>(), ["u1"]);
}

#[actix_web::test]
async fn a_topic_that_is_busy_keeps_no_other_one_waiting() {
    let (life, owner) = (Life::new(), SubscriberKey::new());
    life.track(owner, "busy", "u1", says(1)).unwrap();
    life.tracker.while_busy("busy", || {
        let client = life.listens("t");
        let owner = SubscriberKey::new();
        life.track(owner, "t", "u1", says(1)).unwrap();
        life.tracker.update(owner, "t", "u1", |_| ()).unwrap();
        assert_eq!(life.tracker.list("t").len(), 1);
        life.tracker.tell("t");
        life.end(owner);
        life.tracker.tell("t");
        assert_eq!(client.heard().len(), 3);
    });
    assert_eq!(life.tracker.topics(), 1);
}

/// Channels of many threads come to topics that are being forgotten.
#[actix_web::test]
async fn topics_that_are_left_and_joined_at_once_lose_nobody() {
    let endpoint = Endpoint::new();
    let presence = Presence::new(&endpoint);
    let clients = ["a", "b"].map(|topic| {
        let client = Rc::new(Client::default());
        endpoint.pubsub().local().subscribe(topic, SubscriberKey::new(), client.clone());
        client
    });
    let comes_and_goes = |topic: &'static str| {
        let tracker = presence.tracker.clone();
        let work = async move || {
            for _ in 0..200 {
                let (told, is_told) = oneshot::channel();
                let tracked = tracker.track(SubscriberKey::new(), topic, "u", Meta::new(), told).unwrap();
                assert!(!tracker.list(topic).is_empty());
                drop(tracked);
                timeout(PATIENCE, is_told).await.expect("it is told").unwrap();
            }
        };
        thread::spawn(move || System::new().block_on(work()))
    };
    let threads: Vec<_> = ["a", "b", "a", "b"].map(comes_and_goes).into();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // the last who left were told of in the diffs that their threads waited for, or right behind
    for topic in ["a", "b"] {
        let (told, is_told) = oneshot::channel();
        let tracked = presence.tracker.track(SubscriberKey::new(), topic, "last", Meta::new(), told).unwrap();
        timeout(PATIENCE, is_told).await.expect("it is told").unwrap();
        drop(tracked);
    }
    let forgotten = async {
        while presence.tracker.topics() > 0 {
            actix_web::rt::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("the topics are forgotten");
    caught_up(&endpoint.pubsub().local()).await;
    for client in clients {
        let (mut there, mut seen) = (HashSet::new(), HashSet::new());
        for diff in client.heard() {
            let refs = |half: &str| -> Vec<String> {
                let half = diff[half].as_object().unwrap();
                half.values().flat_map(metas).map(|meta| meta["phx_ref"].to_string()).collect()
            };
            for joined in refs("joins") {
                assert!(seen.insert(joined.clone()), "{joined} comes once");
                there.insert(joined);
            }
            for left in refs("leaves") {
                assert!(there.remove(&left), "{left} was there");
            }
        }
        assert_eq!((there.len(), seen.len()), (0, 401));
    }
}
