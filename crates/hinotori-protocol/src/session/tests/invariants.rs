//! Any sequence of what a client sends and what its channels do keeps what must always hold.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

/// Topics that one more than have a channel would be too many.
const MAX_CHANNELS: usize = 3;

const TOPICS: [&str; 6] = ["room:a", "room:b", "room:c", "room:d", "nobody", "phoenix"];

/// One step of any client and any channels.
#[derive(Debug, Clone)]
enum Step {
    /// With no join_ref, the present one of the topic, or an earlier one.
    Send {
        join_ref: u8,
        topic: usize,
        event: &'static str,
    },
    Joined {
        which: usize,
        how: u8,
    },
    Ended {
        which: usize,
        crashed: bool,
    },
    /// In its time, or not.
    Over {
        which: usize,
        in_time: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let events =
        prop_oneof![3 => Just(PHX_JOIN), 2 => Just(PHX_LEAVE), 2 => Just("echo"), 1 => Just(HEARTBEAT)];
    // few topics, so that much comes for one that is joining or leaving
    let topics = prop_oneof![8 => 0usize..2, 2 => 2usize..TOPICS.len()];
    let step = prop_oneof![
        6 => (0u8..3, topics, events).prop_map(|(join_ref, topic, event)| Step::Send { join_ref, topic, event }),
        3 => (any::<usize>(), 0u8..4).prop_map(|(which, how)| Step::Joined { which, how }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, crashed)| Step::Ended { which, crashed }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, in_time)| Step::Over { which, in_time }),
    ];
    proptest::collection::vec(step, 0..150)
}

#[derive(Debug, Clone, PartialEq)]
enum Life {
    Joining,
    Joined,
    Leaving(Ref),
    /// No longer the client's, and not over.
    Ending,
    Overdue,
}

/// A channel that was started and is not over.
#[derive(Debug)]
struct Live {
    topic: String,
    join_ref: Ref,
    life: Life,
    /// The number of the last message that it was given.
    heard: usize,
}

/// A client whose refs are the numbers of its messages, and its channels: what each has been told.
struct World {
    session: Session,
    sent: usize,
    live: BTreeMap<u64, Live>,
    /// The join_ref of each topic's latest join.
    latest: BTreeMap<&'static str, Ref>,
    joins: HashSet<String>,
    leaves: HashSet<String>,
    answered: HashSet<String>,
    /// join_refs of joins that were accepted, and of channels whose end was told.
    accepted: HashSet<String>,
    ended: HashSet<String>,
}

type Checked = Result<(), TestCaseError>;

fn known(reference: &Ref) -> Option<String> {
    (*reference != Ref::Null).then(|| reference.as_text().to_owned())
}

impl World {
    fn new() -> Self {
        Self {
            session: Session::new(MAX_CHANNELS),
            sent: 0,
            live: BTreeMap::new(),
            latest: BTreeMap::new(),
            joins: HashSet::new(),
            leaves: HashSet::new(),
            answered: HashSet::new(),
            accepted: HashSet::new(),
            ended: HashSet::new(),
        }
    }

    fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Send { join_ref, topic, event } => self.send(join_ref, TOPICS[topic], event),
            Step::Joined { which, how } => {
                let joining = self.alive(|life| *life == Life::Joining);
                let Some(channel) = joining.get(which % joining.len().max(1)) else { return Ok(()) };
                self.finish(*channel, how)
            }
            Step::Ended { which, crashed } => {
                let running = self.alive(|life| matches!(life, Life::Joined | Life::Leaving(_)));
                let Some(channel) = running.get(which % running.len().max(1)) else { return Ok(()) };
                self.end(*channel, if crashed { Ended::Crashed } else { Ended::Closed })
            }
            Step::Over { which, in_time } => {
                let ending = self.alive(|life| *life == Life::Ending || in_time && *life == Life::Overdue);
                let Some(channel) = ending.get(which % ending.len().max(1)) else { return Ok(()) };
                self.over(*channel, in_time)
            }
        }
    }

    fn alive(&self, is: impl Fn(&Life) -> bool) -> Vec<u64> {
        self.live.iter().filter(|(_, live)| is(&live.life)).map(|(channel, _)| *channel).collect()
    }

    fn send(&mut self, join_ref: u8, topic: &'static str, event: &'static str) -> Checked {
        self.sent += 1;
        let reference = self.sent.to_string();
        let latest = self.latest.get(topic).map_or("", Ref::as_text);
        let join_ref = match (join_ref, event) {
            (0, _) => String::new(),
            // a join names itself, as that of phoenix.js does
            (_, PHX_JOIN) => reference.clone(),
            (1, _) => latest.to_owned(),
            _ => (self.sent / 2).to_string(),
        };
        match event {
            PHX_JOIN => {
                self.latest.insert(topic, text(&join_ref));
                self.joins.insert(reference.clone());
            }
            PHX_LEAVE => _ = self.leaves.insert(reference.clone()),
            _ => {}
        }
        let effects = self.session.receive(message(&join_ref, &reference, topic, event), 0, is_routed);
        self.carry_out(effects)
    }

    fn finish(&mut self, channel: u64, how: u8) -> Checked {
        let how = match how {
            0 => Joined::Refused(reason("no")),
            1 => Joined::Crashed,
            _ => Joined::Ok(Payload::empty()),
        };
        match how {
            Joined::Ok(_) => {
                let live = self.live.get_mut(&channel).expect("it is alive");
                live.life = Life::Joined;
                self.accepted.extend(known(&live.join_ref));
            }
            _ => _ = self.live.remove(&channel),
        }
        let effects = self.session.joined(ChannelId(channel), how, is_routed);
        self.carry_out(effects)
    }

    fn end(&mut self, channel: u64, how: Ended) -> Checked {
        let live = self.live.get_mut(&channel).expect("it is alive");
        if let Life::Leaving(reference) = std::mem::replace(&mut live.life, Life::Ending) {
            // by the channel, before it ends
            prop_assert!(self.answered.insert(reference.as_text().to_owned()), "answered twice");
        }
        let effect = self.session.ended(ChannelId(channel), how);
        prop_assert!(effect.is_some(), "its end is told");
        self.carry_out(effect)
    }

    fn over(&mut self, channel: u64, in_time: bool) -> Checked {
        let effects = if in_time {
            self.live.remove(&channel);
            self.session.over(ChannelId(channel), is_routed)
        } else {
            self.live.get_mut(&channel).expect("it is alive").life = Life::Overdue;
            self.session.overdue(ChannelId(channel), is_routed)
        };
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect>) -> Checked {
        for effect in effects {
            self.check(effect)?;
        }
        prop_assert_eq!(self.session.entries.len(), self.live.len());
        if self.alive(|life| matches!(life, Life::Joining | Life::Ending)).is_empty() {
            prop_assert_eq!(self.session.waiting(), 0);
        }
        Ok(())
    }

    fn check(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Reply { join_ref, reference, .. } => {
                let reference = reference.as_text().to_owned();
                let is_leave = self.leaves.contains(&reference);
                prop_assert!(self.answered.insert(reference.clone()), "{} answered twice", reference);
                // a leave of what is not joined says the join_ref that was sent, whatever it is
                let is_over = known(&join_ref).is_some_and(|join_ref| self.ended.contains(&join_ref));
                prop_assert!(is_leave || !is_over, "{} answered after the end of its channel", reference);
            }
            Effect::Ended { join_ref, .. } => {
                if let Some(join_ref) = known(&join_ref) {
                    prop_assert!(self.accepted.contains(&join_ref), "an end of what never began");
                    prop_assert!(self.ended.insert(join_ref), "ended twice");
                }
            }
            Effect::Start { channel, topic, .. } => {
                prop_assert!(
                    self.live.values().all(|live| topic != live.topic || live.life == Life::Overdue),
                    "two channels for {}",
                    topic
                );
                prop_assert!(is_routed(&topic) && self.live.len() < MAX_CHANNELS);
                let entry = self.session.entries.iter().find(|entry| entry.channel == channel);
                let join_ref = entry.expect("the session knows it").join_ref.clone();
                let live = Live { topic: topic.to_string(), join_ref, life: Life::Joining, heard: 0 };
                prop_assert!(self.live.insert(channel.0, live).is_none(), "an id twice");
            }
            Effect::Deliver { channel, message } => {
                let live = self.live.get_mut(&channel.0);
                let live =
                    live.ok_or_else(|| TestCaseError::fail("a message for a channel that has ended"))?;
                prop_assert_eq!(&live.life, &Life::Joined);
                prop_assert!(message.topic == live.topic);
                prop_assert!(message.join_ref == Ref::Null || message.join_ref == live.join_ref);
                let number: usize = message.reference.as_text().parse().expect("refs are numbers");
                prop_assert!(live.heard < number, "out of order");
                live.heard = number;
            }
            Effect::Leave { channel, reference } => {
                let live = self.live.get_mut(&channel.0);
                let live = live.ok_or_else(|| TestCaseError::fail("a leave of a channel that has ended"))?;
                prop_assert_eq!(std::mem::replace(&mut live.life, Life::Leaving(reference)), Life::Joined);
            }
            Effect::Replace { channel, .. } => {
                let live = self.live.get_mut(&channel.0);
                let live = live.ok_or_else(|| TestCaseError::fail("a replacement of what is not there"))?;
                let life = std::mem::replace(&mut live.life, Life::Ending);
                prop_assert!(matches!(life, Life::Joined | Life::Leaving(_)), "{:?} replaced", life);
            }
            Effect::Hurry { channel } => {
                prop_assert!(self.live.get(&channel.0).is_some_and(|live| live.life == Life::Joining));
            }
        }
        Ok(())
    }

    /// Every join ends, then every channel, until nothing is left; each that began has then been told of.
    fn run_out(mut self) -> Checked {
        while let Some(channel) = self.live.keys().next().copied() {
            match self.live[&channel].life {
                Life::Joining => self.finish(channel, 2)?,
                Life::Ending | Life::Overdue => self.over(channel, true)?,
                _ => self.end(channel, Ended::Closed)?,
            }
        }
        prop_assert!(self.session.entries.is_empty());
        prop_assert!(self.joins.is_subset(&self.answered), "a join without an answer");
        prop_assert_eq!(self.accepted, self.ended);
        Ok(())
    }
}

proptest! {
    /// Never two channels of a topic at a time but for those that are overdue, each ref answered at most once and each join once, nothing to or of a channel
    /// that has ended, and each end told once.
    #[test]
    fn any_sequence_of_inputs_keeps_the_invariants(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        world.run_out()?;
    }
}
