//! Several stores on one database, as nodes that an engine connects which loses, doubles and delays.

use std::{collections::BTreeMap, num::NonZeroU64};

use actix::Addr;
use actix_web::{rt, web::Data};
use futures_util::future::join_all;
use hinotori::{
    Endpoint, Status, Subscription,
    testing::{
        ChannelTest, TestSocket,
        adapter::{Faults, Hub},
    },
};

use super::*;
use crate::chat::{Chat, LOBBY, Like, Load, MessageStore, Post, UserSocket};

const FAULTS: Faults = Faults { loss: 0.1, duplicates: 0.1, delay: Duration::from_millis(20) };

/// A node with its store, and what its clients hear.
struct Node {
    endpoint: Endpoint,
    store: Addr<MessageStore>,
    heard: Subscription,
}

impl Node {
    fn start(hub: &Hub, name: &str, database: &Database) -> Self {
        Self::keeping(hub, name, database, Keep::All)
    }

    fn keeping(hub: &Hub, name: &str, database: &Database, keep: Keep) -> Self {
        let endpoint = Endpoint::builder().adapter(hub.adapter()).node_name(name).build();
        let log = Postgres::new(&Dsn::new(&database.address()), Sharing::Nodes, keep, meters()).unwrap();
        let heard = endpoint.subscribe(LOBBY).limit(usize::MAX);
        let store = MessageStore::start(Box::new(log), LIMIT, &endpoint).unwrap();
        Self { endpoint, store, heard }
    }

    async fn post(&self, content: &str, reply_to: Option<i128>) -> u64 {
        let post = Post { content: content.to_owned(), reply_to, nonce: None };
        self.store.send(post).await.unwrap().unwrap().outcome().await.unwrap().unwrap()
    }

    async fn like(&self, id: i128) -> Option<u64> {
        self.store.send(Like { id }).await.unwrap().unwrap().outcome().await.unwrap()
    }

    async fn history(&self) -> Value {
        self.store.send(Load).await.unwrap().unwrap().parse::<Value>().unwrap()["messages"].take()
    }

    /// What its clients hear next: the position, the event and the payload.
    async fn hears(&mut self) -> (Option<u64>, String, Value) {
        let next = tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("nothing is heard");
        let broadcast = next.unwrap().unwrap();
        let position = broadcast.position().map(NonZeroU64::get);
        (position, broadcast.event().to_owned(), broadcast.payload().parse().unwrap())
    }

    async fn client(&self) -> TestSocket {
        let chat = Data::new(Chat { store: self.store.clone(), message_max: 100 });
        ChannelTest::new(&self.endpoint).app_data(chat).connect::<UserSocket>().await.unwrap()
    }

    /// Waits until it has heard so many messages, and returns their contents and the likes of each.
    async fn hears_all(&mut self, messages: u64, likes: u64) -> (Vec<String>, BTreeMap<u64, u64>) {
        let (mut contents, mut liked) = (vec![], BTreeMap::<u64, u64>::new());
        while contents.len() < messages as usize || liked.values().sum::<u64>() < likes {
            let (position, event, payload) = self.hears().await;
            let message = &payload["message"];
            let (id, count) = (message["id"].as_u64().unwrap(), message["likes"].as_u64().unwrap());
            if event == "new_message" {
                contents.push(message["content"].as_str().unwrap().to_owned());
                assert_eq!((id, position), (contents.len() as u64, Some(id)), "not the next one");
                liked.insert(id, count);
            } else {
                let former = liked.insert(id, count).expect("it is not there yet");
                assert!(former < count, "{former} likes of {id}, then {count}");
            }
        }
        (contents, liked)
    }
}

#[actix_web::test]
async fn clients_of_all_nodes_see_the_same_messages_in_one_order_whatever_the_engine_and_the_database_do() {
    let (hub, database) = (Hub::new(1), Instance::shared().database());
    let mut nodes = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    hub.set_faults(FAULTS);
    let posters = nodes.iter().enumerate().flat_map(|(at, node)| (0..12).map(move |n| (at, n, node)));
    let posting = join_all(posters.map(async |(at, n, node)| {
        let mut ids = vec![];
        for i in 0..25 {
            let content = format!("{at} {n} {i}");
            let id = node.post(&content, Some(1)).await;
            // whoever is answered finds it applied here, unless it is already too old for the history
            let history = node.history().await;
            let history = history.as_array().unwrap();
            assert!(history.last().unwrap()["id"].as_u64().unwrap() >= id);
            assert_eq!(node.like(1).await, Some(1));
            ids.push((id, content));
        }
        ids
    }));
    let cuts = async {
        for _ in 0..3 {
            rt::time::sleep(Duration::from_millis(300)).await;
            database.cut();
        }
    };
    let (posted, ()) = tokio::join!(posting, cuts);
    let posted: BTreeMap<u64, String> = posted.into_iter().flatten().collect();
    let contents: Vec<String> = posted.values().cloned().collect();
    assert_eq!(posted.into_keys().collect::<Vec<_>>(), (1..=600).collect::<Vec<_>>());
    for node in &mut nodes {
        let (seen, liked) = node.hears_all(600, 600).await;
        assert_eq!((seen, liked[&1]), (contents.clone(), 600));
    }
    let [one, other] = [nodes[0].history().await, nodes[1].history().await];
    assert_eq!(one, other);
    assert_eq!((&one[9]["id"], &one[9]["reply_to_content"]), (&json!(600), &json!(contents[0])));
    assert_eq!(stored(&database), (1..=600).collect::<Vec<_>>());
}

#[actix_web::test]
async fn who_leaves_one_node_gets_exactly_what_they_missed_from_another() {
    let (hub, database) = (Hub::new(2), Instance::shared().database());
    let [mut a, mut b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    hub.set_faults(FAULTS);
    let mut client = a.client().await;
    let first = client.subscribe_and_join(LOBBY, json!({ "last_seen_id": 0, "epoch": null })).await.unwrap();
    client.assert_push("load_messages", json!({ "messages": [] })).await;
    a.post("one", None).await;
    a.post("two", None).await;
    assert_eq!(client.broadcast("new_message").await["message"]["id"], 1);
    drop(client);
    b.like(1).await;
    b.post("three", Some(1)).await;
    a.like(1).await;
    a.like(2).await;
    for node in [&mut a, &mut b] {
        node.hears_all(3, 3).await;
    }
    let mut client = b.client().await;
    let cursor = json!({ "last_seen_id": 1, "epoch": first["epoch"] });
    let reply = client.subscribe_and_join(LOBBY, cursor).await.unwrap();
    assert_eq!((&reply["recovered"], &reply["last_id"]), (&json!(true), &json!(3)));
    let missed: Vec<_> = reply["messages"].as_array().unwrap().iter().map(|m| m["content"].clone()).collect();
    assert_eq!(missed, ["two", "three"]);
    assert_eq!(reply["messages"][1]["reply_to_content"], "one");
    assert_eq!(
        (&reply["messages"][0]["likes"], &reply["liked"]),
        (&json!(1), &json!([{"id": 1, "likes": 2}]))
    );
    a.post("four", None).await;
    assert_eq!(client.broadcast("new_message").await["message"]["id"], 4);
    let like = client.push(LOBBY, "like_message", json!({ "message_id": 4 })).unwrap();
    client.assert_reply(like, Status::Ok, json!({})).await;
    let refused = client.push("$chat:log", "phx_join", json!({})).map(drop);
    assert!(refused.is_err() || client.subscribe_and_join("$chat:log", json!({})).await.is_err());
}

#[actix_web::test]
async fn who_has_seen_more_than_the_node_they_come_to_waits_for_it_and_loads_no_history() {
    let (hub, database) = (Hub::new(11), Instance::shared().database());
    let [a, b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    hub.part("a", "b");
    let mut client = a.client().await;
    let first = client.subscribe_and_join(LOBBY, json!({ "last_seen_id": 0, "epoch": null })).await.unwrap();
    for n in 1..=20 {
        // b polls now and then by itself
        assert_eq!(a.post(&n.to_string(), None).await, n);
        let cursor = json!({ "last_seen_id": n, "epoch": first["epoch"] });
        let reply = b.client().await.subscribe_and_join(LOBBY, cursor).await.unwrap();
        assert_eq!((&reply["recovered"], &reply["last_id"]), (&json!(true), &json!(n)));
        assert_eq!(reply["messages"], json!([]));
    }
    // nobody has
    let cursor = json!({ "last_seen_id": 21, "epoch": first["epoch"] });
    let reply = b.client().await.subscribe_and_join(LOBBY, cursor).await.unwrap();
    assert_eq!((&reply["recovered"], &reply["reason"]), (&json!(false), &json!("ahead")));
}

#[actix_web::test]
async fn without_the_engine_what_others_post_comes_by_polling() {
    let (hub, database) = (Hub::new(3), Instance::shared().database());
    let [a, mut b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    hub.cut("b");
    for n in 0..300 {
        a.post(&n.to_string(), None).await;
    }
    a.like(7).await;
    b.post("of b", Some(1)).await;
    let (contents, liked) = b.hears_all(301, 1).await;
    assert_eq!((&*contents[299], &*contents[300], liked[&7]), ("299", "of b", 1));
    hub.restore("b");
    assert_eq!(a.post("again", None).await, 302);
    assert_eq!(b.hears().await.0, Some(302));
}

#[actix_web::test]
async fn a_database_that_is_wiped_gives_all_nodes_and_their_clients_a_new_history() {
    let (hub, database) = (Hub::new(4), Instance::shared().database());
    let [mut a, mut b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    for node in [&a, &b] {
        node.post("old", None).await;
    }
    let epoch = database.sql("SELECT epoch FROM topics");
    for node in [&mut a, &mut b] {
        node.hears_all(2, 0).await;
    }
    database.sql("TRUNCATE topics, messages, writers");
    for node in [&mut a, &mut b] {
        let (_, event, payload) = node.hears().await;
        assert_eq!((&*event, payload), ("load_messages", json!({ "messages": [] })));
    }
    assert_ne!(database.sql("SELECT epoch FROM topics"), epoch);
    assert_eq!((a.post("new", None).await, b.post("newer", Some(1)).await), (1, 2));
    for node in [&mut a, &mut b] {
        node.hears_all(2, 0).await;
        assert_eq!(node.history().await[1]["reply_to_content"], "new");
    }
}

#[actix_web::test]
async fn a_post_into_a_database_that_was_wiped_is_refused_and_the_next_is_not() {
    let (hub, database) = (Hub::new(5), Instance::shared().database());
    let mut node = Node::start(&hub, "a", &database);
    node.post("old", None).await;
    node.hears_all(1, 0).await;
    database.sql("TRUNCATE topics, messages, writers");
    let post = Post { content: "lost".to_owned(), reply_to: None, nonce: None };
    let refused = node.store.send(post).await.unwrap().unwrap().outcome().await;
    // a poll may have seen it first
    let first = if refused.is_err() { 1 } else { 2 };
    assert_eq!(node.post("new", None).await, first);
    assert_eq!(node.hears().await.1, "load_messages");
    assert_eq!(stored(&database).len() as u64, first);
}

/// As after a failover to a standby that lacked the newest messages.
#[actix_web::test]
async fn a_node_that_has_only_listened_notices_that_messages_are_gone_before_it_gives_their_ids_again() {
    let (hub, database) = (Hub::new(8), Instance::shared().database());
    let [mut a, mut b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    for n in 1..=5 {
        a.post(&n.to_string(), None).await;
    }
    for node in [&mut a, &mut b] {
        node.hears_all(5, 0).await;
    }
    let epoch = database.sql("SELECT epoch FROM topics");
    database.sql("DELETE FROM messages WHERE id > 3; UPDATE topics SET last_id = 3");
    let post = Post { content: "refused".to_owned(), reply_to: None, nonce: None };
    let refused = b.store.send(post).await.unwrap().unwrap().outcome().await;
    // a poll may have seen it first
    let mut next = if refused.is_err() { 4 } else { 5 };
    for _ in 0..3 {
        assert_eq!(b.post("goes on", None).await, next);
        next += 1;
    }
    for node in [&mut a, &mut b] {
        while node.hears().await.1 != "load_messages" {}
    }
    assert_eq!(a.post("goes on", None).await, next);
    next += 1;
    // it has come as far again: what tells the other node is the epoch
    assert_ne!(database.sql("SELECT epoch FROM topics"), epoch);
    let history = a.history().await;
    assert_eq!(history.as_array().unwrap().len() as u64, next - 1);
    assert_eq!(
        (&history[2]["content"], &history[next as usize - 2]["content"]),
        (&json!("3"), &json!("goes on"))
    );
    let end = Instant::now() + PATIENCE;
    while b.history().await != history {
        assert!(Instant::now() < end, "{history} and {}", b.history().await);
    }
}

#[actix_web::test]
async fn what_one_node_deletes_all_forget() {
    let (hub, database) = (Hub::new(6), Instance::shared().database());
    let keep = |name| Node::keeping(&hub, name, &database, Keep::Messages(3));
    let [a, mut b] = ["a", "b"].map(keep);
    for n in 0..300 {
        a.post(&n.to_string(), None).await;
    }
    b.hears_all(300, 0).await;
    let until = Instant::now() + PATIENCE;
    while b.history().await.as_array().unwrap().len() > 9 {
        assert!(Instant::now() < until, "nothing was forgotten");
        a.post("more", None).await;
    }
}

#[actix_web::test]
async fn what_one_node_deletes_the_others_forget_even_if_they_are_not_told() {
    let (hub, database) = (Hub::new(9), Instance::shared().database());
    let a = Node::keeping(&hub, "a", &database, Keep::Messages(3));
    let b = Node::start(&hub, "b", &database);
    hub.part("a", "b");
    let until = Instant::now() + PATIENCE;
    a.post("first", None).await;
    // until a step has left fewer than a history has
    while a.post("more", None).await < 20 || stored(&database).len() > 8 {
        assert!(Instant::now() < until, "nothing was deleted");
    }
    let ids = async |node: &Node| {
        let history = node.history().await;
        history.as_array().unwrap().iter().map(|message| message["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    while ids(&b).await != stored(&database) {
        assert!(Instant::now() < until, "nothing was forgotten: {:?}", ids(&b).await);
    }
}

#[actix_web::test]
async fn a_damaged_message_is_passed_over_and_those_after_it_are_not() {
    let (hub, database) = (Hub::new(10), Instance::shared().database());
    let [a, mut b] = ["a", "b"].map(|name| Node::start(&hub, name, &database));
    hub.part("a", "b");
    // until the transaction ends, the other node reads nothing of it
    database.sql(
        "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF NEW.id IN (2, 4) THEN NEW.body := 'oops'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER damage BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION damage()",
    );
    for n in 1..=4 {
        a.post(&n.to_string(), None).await;
    }
    for id in [1, 3] {
        assert_eq!(b.hears().await.0, Some(id));
    }
    assert_eq!((b.post("of b", Some(2)).await, b.hears().await.0), (5, Some(5)));
    assert_eq!(a.post("of a", None).await, 6);
    assert_eq!(b.hears().await.0, Some(6));
    let contents: Vec<Value> =
        b.history().await.as_array().unwrap().iter().map(|message| message["content"].clone()).collect();
    assert_eq!(contents, ["1", "3", "of b", "of a"]);
}

#[actix_web::test]
async fn a_server_that_is_alone_and_nodes_of_a_cluster_do_not_share_a_database() {
    let (hub, [one, other]) = (Hub::new(7), [(); 2].map(|()| Instance::shared().database()));
    let _node = Node::start(&hub, "a", &one);
    assert!(refusal(&one.address()).contains("another server has these messages open"));
    let _alone = open(&other);
    let mut log = Postgres::new(&Dsn::new(&other.address()), Sharing::Nodes, Keep::All, meters()).unwrap();
    let why = log.open(LIMIT, Arc::new(|_| ())).unwrap_err().to_string();
    assert!(why.contains("--cluster"), "{why}");
}
