//! The recorded conversations of `tests/fixtures`, all of them, played against our servers: what Phoenix answered, we
//! answer.

use crate::{
    folder::Folder,
    instance::Instance,
    replay::{Conversation, play_all},
    server::{Launch, Server},
};

fn reference(workers: usize) -> impl Fn() -> Server + Sync {
    move || Launch::reference().set("WORKERS", workers).start()
}

fn on_http_server() -> Server {
    Launch::reference_on_http_server().start()
}

#[test]
fn protocol_goes_as_recorded_on_one_worker() {
    play_all(&Conversation::read("protocol.json"), reference(1));
}

#[test]
fn protocol_goes_as_recorded_on_three_workers() {
    play_all(&Conversation::read("protocol.json"), reference(3));
}

#[test]
fn connecting_tokens_limits_and_long_poll_go_as_recorded() {
    play_all(&Conversation::read("auth.json"), reference(2));
}

#[test]
fn further_topics_presences_on_any_topic_and_timers_go_as_recorded_on_one_worker() {
    play_all(&Conversation::read("more.json"), reference(1));
}

#[test]
fn further_topics_presences_on_any_topic_and_timers_go_as_recorded_on_three_workers() {
    play_all(&Conversation::read("more.json"), reference(3));
}

#[test]
fn further_topics_presences_on_any_topic_and_timers_go_as_recorded_on_actix_webs_own_server() {
    play_all(&Conversation::read("more.json"), on_http_server);
}

#[test]
fn protocol_goes_as_recorded_on_actix_webs_own_server() {
    play_all(&Conversation::read("protocol.json"), on_http_server);
}

#[test]
fn connecting_tokens_limits_and_long_poll_go_as_recorded_on_actix_webs_own_server() {
    play_all(&Conversation::read("auth.json"), on_http_server);
}

#[test]
fn the_chat_goes_as_recorded_from_its_start_to_its_third_conversation_with_each_store() {
    let folder = Folder::new();
    let database = format!("sqlite:{}", folder.path().join("chat.db").display());
    let postgres = Instance::shared().database().address();
    for store in ["memory", &database, &postgres] {
        // one server for all three: each goes on where the one before it ended
        let server = Launch::chat().set("STORE", store).start();
        for conversation in Conversation::read("chat.json") {
            if let Err(why) = conversation.play(server.port) {
                panic!("DIFFERS on {store}: {}\n{why}", conversation.name);
            }
        }
    }
}
