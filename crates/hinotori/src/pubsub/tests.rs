//! Broadcasts within a thread and between threads.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use actix_web::rt::System;
use serde_json::json;

use super::*;
use crate::{
    Payload, UserBroadcast,
    wire::{Serializer, compression::Window},
};

fn pubsub() -> PubSub {
    PubSub::new(Arc::new(Telemetry::new()), None)
}

/// Remembers what it was given.
#[derive(Default)]
struct Ear {
    heard: RefCell<Vec<Arc<Broadcast>>>,
}

impl Subscriber for Ear {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        self.heard.borrow_mut().push(broadcast.clone());
        false
    }
}

impl Ear {
    fn subscribed(pubsub: &PubSub, topic: &str) -> (Rc<Self>, SubscriberKey) {
        let (ear, key) = (Rc::new(Self::default()), SubscriberKey::new());
        pubsub.local().subscribe(topic, key, ear.clone());
        (ear, key)
    }

    fn events(&self) -> Vec<String> {
        self.heard.borrow().iter().map(|broadcast| broadcast.event.clone()).collect()
    }
}

#[actix_web::test]
async fn a_broadcast_reaches_the_topics_own_subscribers_before_it_returns() {
    let pubsub = pubsub();
    let ((a, _), (b, _), (other, _)) =
        (Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "o"));
    pubsub.broadcast("t", "e", json!({})).unwrap();
    assert_eq!((a.events(), b.events()), (vec!["e".into()], vec!["e".into()]));
    assert!(other.events().is_empty());
}

#[actix_web::test]
async fn broadcast_from_spares_its_sender_alone() {
    let pubsub = pubsub();
    let ((a, key), (b, _)) = (Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "t"));
    pubsub.broadcast_from(&key, "t", "e", json!({})).unwrap();
    assert!(a.events().is_empty());
    assert_eq!(b.events(), ["e"]);
}

#[actix_web::test]
async fn who_unsubscribes_hears_nothing_more_and_a_topic_without_subscribers_is_forgotten() {
    let pubsub = pubsub();
    let (ear, key) = Ear::subscribed(&pubsub, "t");
    pubsub.local().unsubscribe("t", key);
    pubsub.local().unsubscribe("t", key);
    pubsub.broadcast("t", "e", json!({})).unwrap();
    assert!(ear.events().is_empty());
    assert_eq!(format!("{:?}", pubsub.local()), "Local { topics: 0, .. }");
}

#[actix_web::test]
async fn two_servers_of_one_process_do_not_hear_each_other() {
    let (one, two) = (pubsub(), pubsub());
    let (ear, _) = Ear::subscribed(&one, "t");
    two.broadcast("t", "e", json!({})).unwrap();
    assert!(ear.events().is_empty());
}

#[actix_web::test]
async fn all_receivers_of_one_version_share_the_same_bytes() {
    let pubsub = pubsub();
    let ((a, _), (b, _)) = (Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "t"));
    pubsub.broadcast("t", "e", json!({ "n": 1 })).unwrap();
    let bytes = |ear: &Ear, serializer| {
        ear.heard.borrow()[0].frame(serializer, None).unwrap().whole().unwrap().clone()
    };
    let (first, second) = (bytes(&a, Serializer::V2), bytes(&b, Serializer::V2));
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_ne!(bytes(&a, Serializer::V1), first);
}

#[actix_web::test]
async fn a_broadcast_is_compressed_once_for_each_version_and_window_and_not_if_it_would_not_shrink() {
    let pubsub = pubsub();
    let ((a, _), (b, _)) = (Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "t"));
    let places = |ear: &Ear, at: usize| {
        let broadcast = ear.heard.borrow()[at].clone();
        let frame =
            |serializer, window| broadcast.frame(serializer, window).unwrap().whole().unwrap().as_ptr();
        let windows = || [None].into_iter().chain(Window::ALL.map(Some));
        let of_version = |serializer| windows().map(move |window| frame(serializer, window));
        [Serializer::V1, Serializer::V2].map(of_version).into_iter().flatten().collect::<Vec<_>>()
    };
    let forms = |places: &[*const u8]| places.iter().collect::<HashSet<_>>().len();
    pubsub.broadcast("t", "e", json!({ "text": "again and ".repeat(100) })).unwrap();
    assert_eq!(places(&a, 0), places(&b, 0));
    assert_eq!(forms(&places(&a, 0)), 8);
    pubsub.broadcast("t", "e", json!({ "text": "once" })).unwrap();
    assert_eq!(forms(&places(&a, 1)), 2);
}

#[actix_web::test]
async fn the_bytes_of_a_user_broadcast_are_for_sockets_that_have_them_and_encoded_once() {
    let pubsub = pubsub();
    let ((a, _), (b, _)) = (Ear::subscribed(&pubsub, "t"), Ear::subscribed(&pubsub, "t"));
    let bytes = UserBroadcast::new("e", Payload::binary(vec![7])).unwrap();
    pubsub.broadcast("t", "broadcast", bytes).unwrap();
    pubsub.broadcast("t", "broadcast", UserBroadcast::new("e", 7).unwrap()).unwrap();
    let frame = |ear: &Ear, at: usize, serializer| {
        let frame = ear.heard.borrow()[at].frame(serializer, None)?.whole().unwrap().clone();
        Some((frame.as_ptr(), frame))
    };
    for serializer in [Serializer::V1, Serializer::V2] {
        assert_eq!(frame(&a, 0, serializer), None, "{serializer:?}");
    }
    let (at, sent) = frame(&a, 0, Serializer::V2User).unwrap();
    assert_eq!(&sent[2..], b"\x04\x01\x01\0\0te\x07");
    assert_eq!(frame(&b, 0, Serializer::V2User).unwrap().0, at);
    let (at, sent) = frame(&a, 1, Serializer::V2User).unwrap();
    let text = br#"[null,null,"t","broadcast",{"type":"broadcast","event":"e","payload":7}]"#;
    assert_eq!(&sent[2..], text);
    assert_eq!(frame(&b, 1, Serializer::V2).unwrap().0, at, "JSON is the same with and without");
}

#[actix_web::test]
async fn a_topic_is_sent_without_its_scope() {
    let pubsub = pubsub();
    let topic = scoped_topic("s", "t");
    let ((ear, _), (other, _)) = (Ear::subscribed(&pubsub, &topic), Ear::subscribed(&pubsub, "t"));
    pubsub.broadcast(&topic, "e", json!({})).unwrap();
    assert!(other.events().is_empty());
    let broadcast = ear.heard.borrow()[0].clone();
    assert_eq!(broadcast.topic(), topic);
    for (serializer, text) in [
        (Serializer::V2, r#"[null,null,"t","e",{}]"#),
        (Serializer::V1, r#"{"topic":"t","event":"e","payload":{},"ref":null}"#),
    ] {
        let frame = broadcast.frame(serializer, None).unwrap().clone();
        assert_eq!(frame.into_message().concat(), text.as_bytes());
    }
}

#[actix_web::test]
async fn only_objects_and_bytes_can_be_broadcast() {
    let pubsub = pubsub();
    assert!(matches!(pubsub.broadcast("t", "e", 1), Err(PayloadError::NotAnObject)));
    assert!(matches!(pubsub.broadcast("t", "e", [1]), Err(PayloadError::NotAnObject)));
    assert!(pubsub.broadcast("t", "e", crate::Payload::binary(vec![1])).is_ok());
}

/// A worker thread with one subscriber, which reports the events it heard once `last` has come.
fn worker(pubsub: &PubSub, last: &'static str, ready: mpsc::Sender<()>) -> thread::JoinHandle<Vec<String>> {
    let pubsub = pubsub.clone();
    thread::spawn(move || {
        System::new().block_on(async {
            let (ear, _) = Ear::subscribed(&pubsub, "t");
            ready.send(()).unwrap();
            while ear.events().last().is_none_or(|event| event != last) {
                actix_web::rt::time::sleep(Duration::from_millis(1)).await;
            }
            ear.events()
        })
    })
}

#[test]
fn every_worker_hears_the_broadcasts_of_one_thread_in_their_order() {
    let pubsub = pubsub();
    let (ready, is_ready) = mpsc::channel();
    let workers: Vec<_> = (0..3).map(|_| worker(&pubsub, "499", ready.clone())).collect();
    for _ in &workers {
        is_ready.recv().unwrap();
    }
    for n in 0..500 {
        pubsub.broadcast("t", &n.to_string(), json!({})).unwrap();
    }
    let sent: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    for worker in workers {
        assert_eq!(worker.join().unwrap(), sent);
    }
}

/// Waits until so many events were heard.
async fn hears(ear: &Ear, count: usize) -> Vec<String> {
    let heard = async {
        while ear.events().len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("something is missing");
    ear.events()
}

#[actix_web::test]
async fn what_is_done_in_order_comes_after_all_that_had_been_sent_and_before_what_comes_later() {
    let pubsub = pubsub();
    let (ear, _) = Ear::subscribed(&pubsub, "t");
    let local = pubsub.local();
    assert!(local.is_caught_up());
    let send = |event: &'static str| {
        let sender = pubsub.clone();
        thread::spawn(move || sender.broadcast("t", event, json!({})).unwrap()).join().unwrap();
    };
    send("far 1");
    assert!(!local.is_caught_up() && ear.events().is_empty(), "the queue is served by a task");
    pubsub.broadcast("t", "near 1", json!({})).unwrap();
    let late = Rc::new(RefCell::new(None));
    let (subscribed, of) = (late.clone(), pubsub.clone());
    local.in_order(move |_| *subscribed.borrow_mut() = Some(Ear::subscribed(&of, "t").0));
    send("far 2");
    pubsub.broadcast("t", "near 2", json!({})).unwrap();
    assert_eq!(hears(&ear, 4).await, ["far 1", "near 1", "far 2", "near 2"]);
    let late = late.take().expect("it was subscribed");
    assert_eq!(late.events(), ["far 2", "near 2"], "nothing that others heard before");
    assert!(local.is_caught_up());
    pubsub.broadcast("t", "near 3", json!({})).unwrap();
    assert_eq!(ear.events().len(), 5, "at once, as nothing waits");
}

#[actix_web::test]
async fn who_stays_hears_a_broadcast_once_whoever_leaves_while_it_is_handed_out_and_what_is_decided_then_is_later()
 {
    const EARS: usize = 1_000;
    for step in [1, 3, 7, 50] {
        let pubsub = pubsub();
        let ears: Vec<_> = (0..EARS).map(|_| Ear::subscribed(&pubsub, "t")).collect();
        let local = pubsub.local();
        let (sender, count) = (pubsub.clone(), Rc::new(Cell::new(0)));
        thread::spawn(move || sender.broadcast("t", "e", json!({})).unwrap()).join().unwrap();
        let heard = || ears.iter().filter(|(ear, _)| !ear.events().is_empty()).count();
        let mut gone = HashSet::new();
        let mut next = 0;
        while !local.is_caught_up() {
            let progress = heard();
            if progress > 0 && progress < EARS / 2 {
                // the first have heard it, the last have not, and some of either leave
                for index in [next, EARS - 1 - next, EARS / 2 + next] {
                    local.unsubscribe("t", ears[index].1);
                    gone.insert(index);
                }
                next += step;
                let (decided, pubsub) = (count.clone(), pubsub.clone());
                local.in_order(move |_| {
                    decided.set(decided.get() + 1);
                    drop(pubsub);
                });
                assert_eq!(count.get(), 0, "the broadcast comes first");
            }
            tokio::task::yield_now().await;
        }
        assert!(next > 0 && count.get() > 0, "nothing happened meanwhile");
        for (index, (ear, _)) in ears.iter().enumerate() {
            let heard = ear.events().len();
            assert!(heard == 1 || heard == 0 && gone.contains(&index), "{index} heard it {heard} times");
        }
    }
}

#[test]
fn a_later_runtime_of_a_thread_hears_other_threads() {
    let pubsub = pubsub();
    for n in 1..4 {
        System::new().block_on(async {
            let (ear, _) = Ear::subscribed(&pubsub, "t");
            let sender = pubsub.clone();
            thread::spawn(move || sender.broadcast("t", "far", json!({})).unwrap()).join().unwrap();
            assert_eq!(hears(&ear, 1).await, ["far"], "runtime {n}");
        });
    }
}
