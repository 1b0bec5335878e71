//! The recorded conversations of `tests/fixtures`, played against our servers: what Phoenix answered, we answer.

use crate::{
    replay::{Conversation, play_all},
    server::{Launch, Server},
};

enum LeftOut {
    /// Conversations with this in their name.
    Named(&'static str),
    /// Conversations in which a client asks for a path that begins so.
    On(&'static str),
}

/// What is not played yet, and why. A line taken out is a part of the protocol covered.
const LEFT_OUT: [(LeftOut, &str); 5] = [
    (LeftOut::On("/socket/longpoll"), "long poll is not there yet"),
    (LeftOut::On("/idle/longpoll"), "long poll is not there yet"),
    (LeftOut::On("/auth/longpoll"), "long poll is not there yet"),
    (
        LeftOut::On("/auth/websocket"),
        "tokens, connect parameters, socket ids and handle_out are not there yet",
    ),
    (LeftOut::Named("presence"), "presence is not there yet"),
];

impl LeftOut {
    fn takes(&self, conversation: &Conversation) -> bool {
        match self {
            Self::Named(part) => conversation.name.contains(part),
            Self::On(start) => conversation.paths().any(|path| path.starts_with(start)),
        }
    }
}

/// The conversations of a file that are covered.
fn covered(file: &str) -> Vec<Conversation> {
    let mut conversations = Conversation::read(file);
    let all = conversations.len();
    conversations.retain(|conversation| LEFT_OUT.iter().all(|(left_out, _)| !left_out.takes(conversation)));
    println!("{file}: {} of {all} conversations are covered", conversations.len());
    conversations
}

fn reference(workers: usize) -> impl Fn() -> Server + Sync {
    move || Launch::reference().set("WORKERS", workers).start()
}

#[test]
fn protocol_goes_as_recorded_on_one_worker() {
    play_all(&covered("protocol.json"), reference(1));
}

#[test]
fn protocol_goes_as_recorded_on_three_workers() {
    play_all(&covered("protocol.json"), reference(3));
}

#[test]
fn connecting_limits_and_timeouts_go_as_recorded() {
    play_all(&covered("auth.json"), reference(2));
}

#[test]
fn the_chat_goes_as_recorded_from_its_start_to_its_third_conversation() {
    // one server for all three: each goes on where the one before it ended
    let server = Launch::chat().start();
    for conversation in covered("chat.json") {
        if let Err(why) = conversation.play(server.port) {
            panic!("DIFFERS {}\n{why}", conversation.name);
        }
    }
}

#[test]
fn every_reason_to_leave_something_out_still_leaves_something_out() {
    let all = ["chat.json", "protocol.json", "auth.json"].map(Conversation::read).into_iter().flatten();
    let all: Vec<Conversation> = all.collect();
    for (left_out, reason) in &LEFT_OUT {
        assert!(
            all.iter().any(|conversation| left_out.takes(conversation)),
            "nothing is left out by: {reason}"
        );
    }
}
