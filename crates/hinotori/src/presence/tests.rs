//! What clients are told, against what they make of it.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::pubsub::{Broadcast, Subscriber, SubscriberKey};

/// The `Presence` class of phoenix.js (`assets/js/phoenix/presence.js`, 1.8): `syncState` and `syncDiff`.
#[derive(Default)]
struct PhoenixJs {
    state: Presences,
}

fn metas(presence: &Value) -> Vec<Value> {
    presence["metas"].as_array().unwrap().clone()
}

impl PhoenixJs {
    fn sync_diff(&mut self, diff: &Value) {
        for (key, joined) in diff["joins"].as_object().unwrap() {
            let joined = metas(joined);
            let refs: Vec<&Value> = joined.iter().map(|meta| &meta["phx_ref"]).collect();
            let current = self.state.get(key).map(metas).unwrap_or_default();
            let mut kept: Vec<Value> =
                current.into_iter().filter(|meta| !refs.contains(&&meta["phx_ref"])).collect();
            kept.extend(joined.clone());
            self.state.insert(key.clone(), json!({ "metas": kept }));
        }
        for (key, left) in diff["leaves"].as_object().unwrap() {
            let Some(current) = self.state.get(key) else { continue };
            let refs: Vec<Value> = metas(left).into_iter().map(|meta| meta["phx_ref"].clone()).collect();
            let kept: Vec<Value> =
                metas(current).into_iter().filter(|meta| !refs.contains(&meta["phx_ref"])).collect();
            if kept.is_empty() {
                self.state.remove(key);
            } else {
                self.state.insert(key.clone(), json!({ "metas": kept }));
            }
        }
    }
}

/// A client that hears the diffs of a topic.
#[derive(Default)]
struct Client {
    presence: RefCell<PhoenixJs>,
    diffs: RefCell<Vec<Value>>,
}

impl Subscriber for Client {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        assert_eq!(broadcast.event, "presence_diff");
        let diff: Value = broadcast.payload.parse().unwrap();
        self.presence.borrow_mut().sync_diff(&diff);
        self.diffs.borrow_mut().push(diff);
        false
    }
}

struct Topic {
    tracker: Arc<Tracker>,
    client: Rc<Client>,
}

impl Topic {
    fn new() -> Self {
        let (pubsub, client) = (PubSub::new(), Rc::new(Client::default()));
        pubsub.local().subscribe("t", SubscriberKey::new(), client.clone());
        Self { tracker: Arc::new(Tracker::new(pubsub, None)), client }
    }

    fn track(&self, owner: SubscriberKey, key: &str, meta: Value) -> oneshot::Receiver<()> {
        let (told, is_told) = oneshot::channel();
        let Value::Object(meta) = meta else { panic!("{meta}") };
        self.tracker.track(owner, "t", key, meta, told).unwrap();
        is_told
    }

    /// Waits until all changes have been told.
    async fn settle(&self) {
        self.track(SubscriberKey::new(), "settled", json!({})).await.unwrap();
    }
}

#[actix_web::test]
async fn who_tracks_hears_the_diff_before_track_returns() {
    let topic = Topic::new();
    let is_told = topic.track(SubscriberKey::new(), "u1", json!({ "m": 1 }));
    assert!(topic.client.diffs.borrow().is_empty(), "changes are gathered first");
    is_told.await.unwrap();
    let diffs = topic.client.diffs.borrow();
    let phx_ref = &topic.tracker.list("t")["u1"]["metas"][0]["phx_ref"];
    assert_eq!(
        diffs[..],
        [json!({ "joins": { "u1": { "metas": [{ "m": 1, "phx_ref": phx_ref }] } }, "leaves": {} })]
    );
}

#[actix_web::test]
async fn an_update_is_a_leave_of_the_old_meta_and_a_join_that_names_it() {
    let (topic, owner) = (Topic::new(), SubscriberKey::new());
    topic.track(owner, "u1", json!({ "m": 1 })).await.unwrap();
    let old = topic.tracker.list("t")["u1"]["metas"][0].clone();
    topic.tracker.update(owner, "t", "u1", |meta| _ = meta.insert("away".into(), json!(true))).unwrap();
    topic.settle().await;
    let new = topic.tracker.list("t")["u1"]["metas"][0].clone();
    assert_eq!((&new["m"], &new["away"], &new["phx_ref_prev"]), (&json!(1), &json!(true), &old["phx_ref"]));
    let diff = topic.client.diffs.borrow()[1].clone();
    assert_eq!(diff["leaves"]["u1"]["metas"], json!([old]));
    assert_eq!(diff["joins"]["u1"]["metas"], json!([new]));
    let error = topic.tracker.update(owner, "t", "other", |_| ()).unwrap_err();
    assert!(matches!(error, PresenceError::NotTracked));
}

#[actix_web::test]
async fn a_channel_is_tracked_once_under_a_key_and_all_of_it_goes_when_it_ends() {
    let (topic, owner) = (Topic::new(), SubscriberKey::new());
    for key in ["a", "b"] {
        topic.track(owner, key, json!({})).await.unwrap();
    }
    let (told, _) = oneshot::channel();
    let again = topic.tracker.track(owner, "t", "a", Map::new(), told);
    assert!(matches!(again, Err(PresenceError::AlreadyTracked)));
    topic.tracker.untrack_all(owner);
    topic.tracker.untrack_all(owner);
    assert!(topic.tracker.list("t").is_empty());
    topic.settle().await;
    assert_eq!(topic.client.presence.borrow().state.keys().collect::<Vec<_>>(), ["settled"]);
}

#[actix_web::test]
async fn who_comes_and_goes_between_two_diffs_is_not_told() {
    let (topic, owner) = (Topic::new(), SubscriberKey::new());
    let is_told = topic.track(owner, "u1", json!({}));
    topic.tracker.untrack(owner, "t", "u1");
    is_told.await.unwrap();
    assert!(topic.client.diffs.borrow().is_empty());
}

#[actix_web::test]
async fn fetch_adds_to_lists_and_to_both_halves_of_diffs() {
    let (pubsub, client) = (PubSub::new(), Rc::new(Client::default()));
    pubsub.local().subscribe("t", SubscriberKey::new(), client.clone());
    let presence = Presence::with_fetch(&pubsub, |topic, mut presences| {
        for (key, presence) in &mut presences {
            presence["name"] = json!(format!("{key} of {topic}"));
        }
        presences
    });
    let topic = Topic { tracker: presence.tracker.clone(), client };
    let owner = SubscriberKey::new();
    topic.track(owner, "u1", json!({})).await.unwrap();
    assert_eq!(presence.list("t")["u1"]["name"], "u1 of t");
    assert_eq!(presence.get_by_key("t", "u1").unwrap()["name"], "u1 of t");
    assert_eq!(presence.get_by_key("t", "u2"), None);
    topic.tracker.untrack_all(owner);
    topic.settle().await;
    let diffs = topic.client.diffs.borrow();
    assert_eq!(diffs[0]["joins"]["u1"]["name"], "u1 of t");
    assert_eq!(diffs[1]["leaves"]["u1"]["name"], "u1 of t");
}

#[actix_web::test]
async fn keys_are_any_text() {
    let topic = Topic::new();
    for key in ["__proto__", "constructor", "", "\u{0}", "a.b[c]", "鳥"] {
        topic.track(SubscriberKey::new(), key, json!({})).await.unwrap();
        assert_eq!(topic.tracker.get_by_key("t", key).unwrap()["metas"].as_array().unwrap().len(), 1);
    }
    assert_eq!(topic.client.presence.borrow().state, topic.tracker.list("t"));
}

mod ghosts {
    //! A join that tracks and is then refused or crashes.

    use super::*;
    use crate::{
        Channel, ConnectInfo, Context, Endpoint, Join, Params, Payload, Refused, Result, Routes,
        SocketHandler, testing::ChannelTest,
    };

    struct Socket(Presence);

    impl SocketHandler for Socket {
        async fn connect(_: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
            info.app_data::<Presence>().cloned().map(Self).ok_or(Refused)
        }

        fn channels(routes: &mut Routes<Self>) {
            routes.channel::<Hasty>("room:*");
        }
    }

    struct Hasty;

    impl Channel for Hasty {
        type Socket = Socket;
        type Info = ();

        async fn join(topic: &str, _: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
            let Socket(presence) = cx.socket();
            presence.track(cx, "u1", json!({})).await?;
            assert!(topic != "room:crash", "told to crash");
            if topic == "room:refused" { Join::refuse(json!({})) } else { Join::ok(Self) }
        }
    }

    #[actix_web::test]
    async fn whoever_does_not_get_in_is_not_present() {
        let endpoint = Endpoint::new();
        let presence = Presence::new(endpoint.pubsub());
        let client = ChannelTest::new(&endpoint).app_data(presence.clone()).connect::<Socket>();
        let mut client = client.await.unwrap();
        for topic in ["room:refused", "room:crash"] {
            client.subscribe_and_join(topic, json!({})).await.unwrap_err();
            assert!(presence.list(topic).is_empty(), "{topic}");
        }
        client.subscribe_and_join("room:in", json!({})).await.unwrap();
        assert_eq!(presence.list("room:in").len(), 1);
        client.close();
        assert!(presence.list("room:in").is_empty());
    }
}

/// What a few channels do.
#[derive(Debug, Clone)]
enum Step {
    Track(usize, u8),
    Update(usize, u8),
    Untrack(usize, u8),
    End(usize),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..4, 0u8..3).prop_map(|(channel, key)| Step::Track(channel, key)),
        2 => (0usize..4, 0u8..3).prop_map(|(channel, key)| Step::Update(channel, key)),
        2 => (0usize..4, 0u8..3).prop_map(|(channel, key)| Step::Untrack(channel, key)),
        1 => (0usize..4).prop_map(Step::End),
        1 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 0..40)
}

/// The order of metas under a key is not the same: phoenix.js puts an updated one last.
fn sorted(presences: &Presences) -> Value {
    let sorted = presences.iter().map(|(key, presence)| {
        let mut metas = metas(presence);
        metas.sort_by_key(|meta| meta["phx_ref"].to_string());
        (key.clone(), Value::Array(metas))
    });
    Value::Object(sorted.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn phoenix_js_agrees_with_the_server_after_any_sequence(steps in steps()) {
        actix_web::rt::System::new().block_on(async {
            let topic = Topic::new();
            let owners: Vec<SubscriberKey> = (0..4).map(|_| SubscriberKey::new()).collect();
            for step in steps {
                match step {
                    Step::Track(channel, key) => {
                        let (told, _) = oneshot::channel();
                        let _ = topic.tracker.track(owners[channel], "t", &key.to_string(), Map::new(), told);
                    }
                    Step::Update(channel, key) => {
                        let change = |meta: &mut Map<String, Value>| _ = meta.insert("n".into(), json!(key));
                        let _ = topic.tracker.update(owners[channel], "t", &key.to_string(), change);
                    }
                    Step::Untrack(channel, key) => topic.tracker.untrack(owners[channel], "t", &key.to_string()),
                    Step::End(channel) => topic.tracker.untrack_all(owners[channel]),
                    Step::Settle => topic.settle().await,
                }
            }
            topic.settle().await;
            assert_eq!(sorted(&topic.client.presence.borrow().state), sorted(&topic.tracker.list("t")));
        });
    }
}
