//! One test a rule; and what holds for any sequence of inputs.

#[path = "tests/invariants.rs"]
mod invariants;

use super::*;

/// A session whose client sees what is sent, and whose channels do as the test says.
struct Player {
    session: Session,
    now: u64,
}

fn is_routed(topic: &str) -> bool {
    topic.starts_with("room:")
}

fn text(text: &str) -> Ref {
    if text.is_empty() { Ref::Null } else { Ref::Text(text.into()) }
}

fn message(join_ref: &str, reference: &str, topic: &str, event: &str) -> Message {
    Message {
        join_ref: text(join_ref),
        reference: text(reference),
        topic: topic.into(),
        event: event.into(),
        payload: Payload::empty(),
        weight: 0,
    }
}

/// A reply as the client sees it: join_ref, ref, topic, ok or the reason of an error.
fn replied(join_ref: &str, reference: &str, topic: &str, error: Option<&str>) -> Effect {
    Effect::Reply {
        join_ref: text(join_ref),
        reference: text(reference),
        topic: topic.into(),
        status: if error.is_some() { Status::Error } else { Status::Ok },
        payload: error.map_or_else(Payload::empty, reason),
    }
}

fn phx_close(join_ref: &str, topic: &str) -> Effect {
    closed(text(join_ref), topic.into())
}

impl Player {
    fn new() -> Self {
        Self { session: Session::new(100), now: 0 }
    }

    fn send(&mut self, join_ref: &str, reference: &str, topic: &str, event: &str) -> Vec<Effect> {
        self.session.receive(message(join_ref, reference, topic, event), self.now, is_routed)
    }

    /// Begins a join and returns its channel.
    fn begin(&mut self, join_ref: &str, topic: &str) -> ChannelId {
        let effects = self.send(join_ref, join_ref, topic, PHX_JOIN);
        match effects.last() {
            Some(Effect::Start { channel, .. }) => *channel,
            _ => panic!("expected a start, got {effects:?}"),
        }
    }

    fn finish(&mut self, channel: ChannelId, how: Joined) -> Vec<Effect> {
        self.session.joined(channel, how, is_routed)
    }

    fn over(&mut self, channel: ChannelId) -> Vec<Effect> {
        self.session.over(channel, is_routed)
    }

    /// Ends the channel that is replaced, and returns the one that takes its place.
    fn succeed(&mut self, old: ChannelId) -> ChannelId {
        let effects = self.over(old);
        match effects[..] {
            [Effect::Start { channel, .. }] => channel,
            _ => panic!("expected a start, got {effects:?}"),
        }
    }

    fn join(&mut self, join_ref: &str, topic: &str) -> ChannelId {
        let channel = self.begin(join_ref, topic);
        self.finish(channel, Joined::Ok(Payload::empty()));
        channel
    }
}

#[test]
fn a_heartbeat_is_answered_without_a_join_ref() {
    let mut player = Player::new();
    assert_eq!(player.send("9", "1", "phoenix", "heartbeat"), [replied("", "1", "phoenix", None)]);
}

#[test]
fn any_other_event_of_the_phoenix_topic_is_unmatched() {
    let mut player = Player::new();
    for event in ["phx_join", "other"] {
        let unmatched = replied("", "1", "phoenix", Some("unmatched topic"));
        assert_eq!(player.send("1", "1", "phoenix", event), [unmatched]);
    }
    assert_eq!(player.send("1", "2", "phoenix", "phx_leave"), [replied("1", "2", "phoenix", None)]);
}

#[test]
fn a_join_starts_a_channel_and_its_answer_carries_the_channels_payload() {
    let mut player = Player::new();
    let channel = player.begin("3", "room:a");
    let payload = reason("welcome");
    let effects = player.finish(channel, Joined::Ok(payload.clone()));
    assert_eq!(
        effects,
        [Effect::Reply {
            join_ref: text("3"),
            reference: text("3"),
            topic: "room:a".into(),
            status: Status::Ok,
            payload
        }]
    );
    let effects = player.send("3", "4", "room:a", "echo");
    assert_eq!(effects, [Effect::Deliver { channel, message: message("3", "4", "room:a", "echo") }]);
}

#[test]
fn a_channel_joined_without_a_join_ref_speaks_by_the_ref_of_its_join() {
    let mut player = Player::new();
    let effects = player.send("", "7", "room:a", PHX_JOIN);
    let [Effect::Start { channel, join_ref, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*join_ref, text("7"));
    let channel = *channel;
    assert_eq!(player.finish(channel, Joined::Ok(Payload::empty())), [replied("", "7", "room:a", None)]);
    assert_eq!(player.session.ended(channel, Ended::Closed), Some(phx_close("", "room:a")));
}

#[test]
fn a_refused_join_is_an_error_and_the_topic_stays_unjoined() {
    let mut player = Player::new();
    let channel = player.begin("3", "room:a");
    assert_eq!(
        player.finish(channel, Joined::Refused(reason("denied"))),
        [replied("3", "3", "room:a", Some("denied"))]
    );
    assert_eq!(
        player.send("3", "4", "room:a", "echo"),
        [replied("", "4", "room:a", Some("unmatched topic"))]
    );
}

#[test]
fn a_crashed_join_is_an_error_that_says_so() {
    let mut player = Player::new();
    let channel = player.begin("3", "room:a");
    assert_eq!(player.finish(channel, Joined::Crashed), [replied("3", "3", "room:a", Some("join crashed"))]);
}

#[test]
fn a_join_of_a_topic_without_a_channel_is_unmatched_without_a_join_ref() {
    let mut player = Player::new();
    let unmatched = replied("", "3", "nobody:1", Some("unmatched topic"));
    assert_eq!(player.send("3", "3", "nobody:1", PHX_JOIN), [unmatched]);
}

#[test]
fn a_second_join_ends_the_first_channel_and_its_answer_goes_before_the_close() {
    let mut player = Player::new();
    let old = player.join("3", "room:a");
    assert_eq!(player.send("5", "5", "room:a", PHX_JOIN), [Effect::Replace { channel: old, since: 0 }]);
    assert_eq!(player.session.ended(old, Ended::Closed), None, "the old channel's own end is no news");
    let new = player.succeed(old);
    assert_eq!(
        player.finish(new, Joined::Ok(Payload::empty())),
        [replied("5", "5", "room:a", None), phx_close("3", "room:a")]
    );
}

#[test]
fn a_join_waits_until_the_former_channel_is_over_and_what_comes_behind_it_follows() {
    let mut player = Player::new();
    let old = player.join("3", "room:a");
    player.send("5", "5", "room:a", PHX_JOIN);
    assert_eq!(player.send("5", "6", "room:a", "echo"), [], "it waits behind the join");
    assert_eq!(player.send("", "7", "phoenix", "heartbeat"), [replied("", "7", "phoenix", None)]);
    player.join("8", "room:b");
    let new = player.succeed(old);
    assert_eq!(
        player.finish(new, Joined::Ok(Payload::empty())),
        [
            replied("5", "5", "room:a", None),
            phx_close("3", "room:a"),
            Effect::Deliver { channel: new, message: message("5", "6", "room:a", "echo") },
        ]
    );
    assert_eq!(player.session.waiting(), 0);
}

#[test]
fn a_join_starts_beside_a_channel_that_is_overdue_which_keeps_its_place() {
    let mut player = Player::new();
    player.session.max_channels = 2;
    let old = player.join("3", "room:a");
    player.send("5", "5", "room:a", PHX_JOIN);
    let effects = player.session.overdue(old, is_routed);
    let [Effect::Start { channel: new, .. }] = effects[..] else { panic!("{effects:?}") };
    player.finish(new, Joined::Ok(Payload::empty()));
    let too_many = replied("9", "9", "room:b", Some("too many channels joined"));
    assert_eq!(player.send("9", "9", "room:b", PHX_JOIN), [too_many]);
    assert_eq!(player.over(old), []);
    player.begin("10", "room:b");
    assert_eq!(player.send("5", "11", "room:a", "echo").len(), 1, "the new one lives on");
}

#[test]
fn a_channel_that_has_left_is_not_joined_and_keeps_its_place_until_it_is_over() {
    let mut player = Player::new();
    player.session.max_channels = 1;
    let channel = player.join("3", "room:a");
    player.send("3", "4", "room:a", PHX_LEAVE);
    player.session.ended(channel, Ended::Closed);
    assert_eq!(
        player.send("3", "5", "room:a", "echo"),
        [replied("", "5", "room:a", Some("unmatched topic"))]
    );
    let too_many = replied("6", "6", "room:b", Some("too many channels joined"));
    assert_eq!(player.send("6", "6", "room:b", PHX_JOIN), [too_many]);
    assert_eq!(player.send("7", "7", "room:a", PHX_JOIN), [], "it waits");
    player.succeed(channel);
}

#[test]
fn a_second_join_that_is_refused_has_ended_the_first_channel_all_the_same() {
    let mut player = Player::new();
    let old = player.join("3", "room:a");
    player.send("5", "5", "room:a", PHX_JOIN);
    let new = player.succeed(old);
    assert_eq!(
        player.finish(new, Joined::Refused(reason("denied"))),
        [replied("5", "5", "room:a", Some("denied")), phx_close("3", "room:a")]
    );
}

#[test]
fn a_leave_is_handed_to_the_channel_and_its_end_closes() {
    let mut player = Player::new();
    let channel = player.join("3", "room:a");
    assert_eq!(player.send("3", "4", "room:a", PHX_LEAVE), [Effect::Leave { channel, reference: text("4") }]);
    assert_eq!(player.send("3", "5", "room:a", "echo"), [], "nothing reaches a channel that is leaving");
    assert_eq!(player.send("3", "6", "room:a", PHX_LEAVE), []);
    assert_eq!(player.session.ended(channel, Ended::Closed), Some(phx_close("3", "room:a")));
    assert_eq!(
        player.send("3", "7", "room:a", "echo"),
        [replied("", "7", "room:a", Some("unmatched topic"))]
    );
}

#[test]
fn a_join_right_behind_a_leave_leaves_no_ref_unanswered() {
    let mut player = Player::new();
    let old = player.join("3", "room:a");
    player.send("3", "4", "room:a", PHX_LEAVE);
    assert_eq!(
        player.send("5", "5", "room:a", PHX_JOIN),
        [Effect::Replace { channel: old, since: 0 }, replied("3", "4", "room:a", None)]
    );
    let new = player.succeed(old);
    assert_eq!(
        player.finish(new, Joined::Ok(Payload::empty())),
        [replied("5", "5", "room:a", None), phx_close("3", "room:a")]
    );
}

#[test]
fn a_leave_of_a_topic_that_is_not_joined_is_ok() {
    let mut player = Player::new();
    assert_eq!(player.send("1", "2", "room:a", PHX_LEAVE), [replied("1", "2", "room:a", None)]);
}

#[test]
fn a_message_with_a_stale_join_ref_is_dropped_and_one_with_none_is_taken() {
    let mut player = Player::new();
    let channel = player.join("5", "room:a");
    assert_eq!(player.send("3", "6", "room:a", "echo"), []);
    assert_eq!(player.send("3", "7", "room:a", PHX_LEAVE), []);
    let effects = player.send("", "8", "room:a", "echo");
    assert_eq!(effects, [Effect::Deliver { channel, message: message("", "8", "room:a", "echo") }]);
    assert_eq!(player.send("", "9", "room:a", PHX_LEAVE), [Effect::Leave { channel, reference: text("9") }]);
}

#[test]
fn a_message_for_a_topic_that_is_not_joined_is_unmatched() {
    let mut player = Player::new();
    let unmatched = replied("", "2", "room:a", Some("unmatched topic"));
    assert_eq!(player.send("1", "2", "room:a", "echo"), [unmatched]);
}

#[test]
fn a_topic_too_many_is_refused_until_one_is_left() {
    let mut player = Player::new();
    player.session.max_channels = 2;
    let first = player.join("1", "room:a");
    player.begin("2", "room:b");
    let too_many = replied("3", "3", "room:c", Some("too many channels joined"));
    assert_eq!(player.send("3", "3", "room:c", PHX_JOIN), [too_many]);
    player.send("4", "4", "room:a", PHX_JOIN);
    let replaced = player.succeed(first);
    player.finish(replaced, Joined::Ok(Payload::empty()));
    player.session.ended(replaced, Ended::Closed);
    player.over(replaced);
    player.begin("5", "room:c");
}

#[test]
fn a_channel_that_stops_closes_with_its_join_ref_in_both_places() {
    let mut player = Player::new();
    let channel = player.join("3", "room:a");
    assert_eq!(
        player.session.ended(channel, Ended::Closed),
        Some(Effect::Ended {
            join_ref: text("3"),
            topic: "room:a".into(),
            event: "phx_close",
            payload: Payload::empty()
        })
    );
}

#[test]
fn a_channel_that_crashes_is_an_error_and_can_be_joined_again() {
    let mut player = Player::new();
    let channel = player.join("3", "room:a");
    assert_eq!(
        player.session.ended(channel, Ended::Crashed),
        Some(Effect::Ended {
            join_ref: text("3"),
            topic: "room:a".into(),
            event: "phx_error",
            payload: reason("channel_crash")
        })
    );
    player.over(channel);
    assert_ne!(player.join("6", "room:a"), channel);
}

#[test]
fn what_comes_while_a_join_runs_is_judged_after_it_in_order() {
    let mut player = Player::new();
    let channel = player.begin("3", "room:a");
    assert_eq!(player.send("3", "4", "room:a", "echo"), []);
    assert_eq!(player.send("3", "5", "room:a", PHX_LEAVE), [Effect::Hurry { channel }]);
    assert!(player.session.waiting() > 0);
    assert_eq!(
        player.send("", "6", "phoenix", "heartbeat"),
        [replied("", "6", "phoenix", None)],
        "a heartbeat does not wait"
    );
    assert_eq!(
        player.finish(channel, Joined::Ok(Payload::empty())),
        [
            replied("3", "3", "room:a", None),
            Effect::Deliver { channel, message: message("3", "4", "room:a", "echo") },
            Effect::Leave { channel, reference: text("5") },
        ]
    );
    assert_eq!(player.session.waiting(), 0);
}

#[test]
fn what_comes_while_a_join_runs_is_unmatched_if_it_is_refused() {
    let mut player = Player::new();
    let channel = player.begin("3", "room:a");
    player.send("3", "4", "room:a", "echo");
    player.send("3", "5", "room:a", PHX_LEAVE);
    assert_eq!(
        player.finish(channel, Joined::Refused(reason("denied"))),
        [
            replied("3", "3", "room:a", Some("denied")),
            replied("", "4", "room:a", Some("unmatched topic")),
            replied("3", "5", "room:a", None),
        ]
    );
}

#[test]
fn a_channel_that_was_replaced_before_it_began_has_its_time_since_then() {
    let mut player = Player::new();
    let mut channel = player.begin("0", "room:a");
    player.finish(channel, Joined::Ok(Payload::empty()));
    for n in ["1", "2", "3"] {
        player.now += 10;
        let effects = player.send(n, n, "room:a", PHX_JOIN);
        let replaced = Effect::Replace { channel, since: 10 };
        assert_eq!(effects, if n == "1" { vec![replaced] } else { vec![] });
    }
    for (n, since) in [("1", Some(20)), ("2", Some(30)), ("3", None)] {
        player.now += 1_000;
        channel = player.succeed(channel);
        let effects = player.finish(channel, Joined::Ok(Payload::empty()));
        assert_eq!(effects[0], replied(n, n, "room:a", None));
        assert_eq!(effects.get(2), since.map(|since| Effect::Replace { channel, since }).as_ref());
    }
}

#[test]
fn a_second_join_while_the_first_runs_follows_it() {
    let mut player = Player::new();
    let first = player.begin("3", "room:a");
    assert_eq!(player.send("5", "5", "room:a", PHX_JOIN), [Effect::Hurry { channel: first }]);
    assert_eq!(player.send("5", "6", "room:a", "echo"), []);
    assert_eq!(
        player.finish(first, Joined::Ok(Payload::empty())),
        [replied("3", "3", "room:a", None), Effect::Replace { channel: first, since: 0 }]
    );
    let second = player.succeed(first);
    assert_eq!(
        player.finish(second, Joined::Ok(Payload::empty())),
        [
            replied("5", "5", "room:a", None),
            phx_close("3", "room:a"),
            Effect::Deliver { channel: second, message: message("5", "6", "room:a", "echo") },
        ]
    );
}
