//! Every client sees new messages in the order of their ids, whoever posts, on whichever worker.

use std::{
    sync::Barrier,
    thread::{scope, spawn},
};

use serde_json::json;

use crate::{
    client::Client,
    guest::{Guest, LOBBY, ids},
    server::Launch,
};

const POSTERS: u64 = 12;
const EACH: u64 = 50;
const SUBSCRIBERS: usize = 6;

#[test]
fn twelve_posters_at_once_on_two_workers_and_everyone_sees_every_id_in_order() {
    let server = Launch::chat().set("WORKERS", 2).start();
    let enter = || Guest::enter(&server).0;
    let subscribers: Vec<Guest> = (0..SUBSCRIBERS).map(|_| enter()).collect();
    let posters: Vec<Guest> = (0..POSTERS).map(|_| enter()).collect();
    let start = Barrier::new(posters.len());
    let posters: Vec<Guest> = scope(|scope| {
        let post = |(number, mut poster): (usize, Guest)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    poster.push("new_message", &json!({ "message": format!("{number}/{n}") }));
                }
                poster
            })
        };
        let threads: Vec<_> = posters.into_iter().enumerate().map(post).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all: Vec<u64> = (1..=POSTERS * EACH).collect();
    for guest in subscribers.iter().chain(&posters) {
        let heard: Vec<_> = all.iter().map(|_| guest.hears("new_message")).collect();
        assert_eq!(ids(&heard), all);
        // and what one poster said comes in the order in which it was said
        for number in 0..POSTERS {
            let start = format!("{number}/");
            let said = heard.iter().filter_map(|message| message["content"].as_str()?.strip_prefix(&start));
            assert!(said.eq((0..EACH).map(|n| n.to_string())), "poster {number}");
        }
    }
}

#[test]
fn who_joins_while_others_post_misses_nothing_between_the_history_and_what_follows_it() {
    const POSTS: u64 = 300;
    let server = Launch::chat().set("WORKERS", 2).start();
    let (mut poster, _) = Guest::enter(&server);
    let posting = spawn(move || {
        for n in 0..POSTS {
            poster.push("new_message", &json!({ "message": n.to_string() }));
        }
        poster
    });
    let join = || {
        let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
        client.send(&json!(["1", "1", LOBBY, "phx_join", {}]));
        client
    };
    let joined: Vec<Client> = (0..20).map(|_| join()).collect();
    let _poster = posting.join().unwrap();
    for client in joined {
        client.expect(&json!(["1", "1", LOBBY, "phx_reply", {"status": "ok", "response": {}}]));
        // a message may come both ways, but each way in order and none not at all
        let (mut history, mut heard) = (None, Vec::new());
        while history.is_none()
            || heard.last().or(history.as_ref().and_then(|ids: &Vec<u64>| ids.last())) != Some(&POSTS)
        {
            let got = client.message();
            match got[3].as_str() {
                Some("load_messages") => history = Some(ids(got[4]["messages"].as_array().unwrap())),
                _ => heard.push(got[4]["message"]["id"].as_u64().unwrap()),
            }
        }
        let history = history.unwrap();
        let first = heard.first().map_or(POSTS + 1, |&first| first);
        assert!(heard.iter().copied().eq(first..=POSTS), "{heard:?}");
        assert!(history.iter().copied().eq(1..=history.len() as u64), "{history:?}");
        assert!(
            history.len() as u64 + 1 >= first,
            "the history ends with {}, then came {first}",
            history.len()
        );
    }
}
