//! Which nodes are there: judged by heartbeats, of the others and one's own.
//!
//! A node that has not been heard for [`SILENCE`] is gone. But if this node's own heartbeats do not come back to it, its
//! connection is dead and it judges nobody: the others are frozen, for [`FREEZE`] at most.
//!
//! Heartbeats wait behind whatever else is sent. So on a connection that is too slow for it all, other frames tell that a
//! node is there, and that the connection is.
//!
//! Time that the process did not run does not count, so a node that was stopped for a minute neither takes all others
//! for gone nor its own connection for dead.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// How long a node may be silent: six heartbeats.
const SILENCE: Duration = Duration::from_secs(6);

/// How long a heartbeat may take to come back to its sender.
const RETURN: Duration = Duration::from_secs(3);

/// How long the others are kept without a connection.
const FREEZE: Duration = Duration::from_secs(30);

/// Time that passes between two calls beyond this was not the process's own: it is called more often than that.
const STEP: Duration = Duration::from_secs(1);

/// Nodes that are gone, of which late frames are recognized.
const GONE: usize = 1_024;

/// The other nodes: see the module.
#[derive(Debug)]
pub struct Nodes {
    /// Time that passes only while the process runs.
    now: Duration,
    /// The caller's time at the last call.
    called: Duration,
    others: HashMap<u64, Other>,
    gone: HashMap<u64, Gone>,
    /// Those that are gone, the oldest first.
    order: VecDeque<u64>,
    own: Own,
}

#[derive(Debug)]
struct Other {
    name: String,
    heard: Duration,
    /// The number of its latest heartbeat.
    beat: u64,
}

#[derive(Debug)]
struct Gone {
    at: Duration,
    beat: u64,
    leaving: Leaving,
}

/// This node's own connection.
#[derive(Debug)]
struct Own {
    /// Since when nothing comes back. `None` while heartbeats do.
    deaf_since: Option<Duration>,
    /// When the first heartbeat was sent since which nothing has come back.
    waiting_since: Option<Duration>,
    has_thawed: bool,
}

/// Why a node is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It has said so.
    Bye,
    /// It was not heard for 6 s.
    Silent,
    /// Another start of the node of this name was heard.
    Replaced,
    /// This node has heard nobody for 30 s.
    Deaf,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A node is there that was not. It has not heard of this one either.
    Joined(u64),
    /// A node is gone, with everything that belongs to it.
    Left(u64, Leaving),
    /// This node's own heartbeats come back again.
    Hearing,
    /// They do not come back any more.
    Deaf,
    /// The connection looks alive and is dead: it must be made again.
    Reconnect,
}

impl Nodes {
    /// Nobody else, and nothing heard so far. Times are counted from any moment on.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            now: Duration::ZERO,
            called: now,
            others: HashMap::new(),
            gone: HashMap::new(),
            order: VecDeque::new(),
            own: Own { deaf_since: Some(Duration::ZERO), waiting_since: None, has_thawed: true },
        }
    }

    /// Whether a node is there, so that what it sends counts.
    #[must_use]
    pub fn knows(&self, incarnation: u64) -> bool {
        self.others.contains_key(&incarnation)
    }

    /// The name of a node that is there.
    #[must_use]
    pub fn name(&self, incarnation: u64) -> Option<&str> {
        self.others.get(&incarnation).map(|other| &*other.name)
    }

    /// The other nodes with their names.
    pub fn others(&self) -> impl Iterator<Item = (u64, &str)> {
        self.others.iter().map(|(incarnation, other)| (*incarnation, &*other.name))
    }

    /// Whether this node's own frames come back to it.
    #[must_use]
    pub fn is_hearing(&self) -> bool {
        self.own.deaf_since.is_none()
    }

    /// A heartbeat of another node, with its number.
    pub fn heard(&mut self, now: Duration, incarnation: u64, beat: u64, name: &str) -> Vec<Event> {
        self.pass(now);
        if let Some(other) = self.others.get_mut(&incarnation) {
            if beat > other.beat {
                (other.heard, other.beat) = (self.now, beat);
            }
            return vec![];
        }
        let mut events = vec![];
        match self.gone.get(&incarnation) {
            Some(gone) if !gone.may_come_back(self.now, beat) => return vec![],
            // it was wrongly taken for gone
            Some(_) => _ = self.gone.remove(&incarnation),
            None => {
                let former: Vec<u64> =
                    self.others().filter(|(_, of)| *of == name).map(|(id, _)| id).collect();
                events.extend(former.into_iter().filter_map(|id| self.leave(id, Leaving::Replaced)));
            }
        }
        self.others.insert(incarnation, Other { name: name.to_owned(), heard: self.now, beat });
        events.push(Event::Joined(incarnation));
        events
    }

    /// Another frame of a node: one that is there still is, however late its heartbeats are.
    pub fn sends(&mut self, now: Duration, incarnation: u64) {
        self.pass(now);
        if let Some(other) = self.others.get_mut(&incarnation) {
            other.heard = self.now;
        }
    }

    /// A node has said that it ends.
    pub fn bye(&mut self, now: Duration, incarnation: u64) -> Option<Event> {
        self.pass(now);
        let event = self.leave(incarnation, Leaving::Bye);
        if event.is_none() {
            self.bury(incarnation, 0, Leaving::Bye);
        }
        event
    }

    /// This node has sent a heartbeat.
    pub fn sent(&mut self, now: Duration) {
        self.pass(now);
        self.own.waiting_since.get_or_insert(self.now);
    }

    /// A frame of this node has come back. If it is no heartbeat, and one is still on its way, the connection is slow.
    pub fn came_back(&mut self, now: Duration) -> Option<Event> {
        self.pass(now);
        self.own.waiting_since = None;
        let was_deaf = self.own.deaf_since.take().is_some();
        if was_deaf {
            // from now on, not from before the outage, the others have their time to be heard
            self.others.values_mut().for_each(|other| other.heard = self.now);
        }
        was_deaf.then_some(Event::Hearing)
    }

    /// The connection is gone.
    pub fn down(&mut self, now: Duration) -> Option<Event> {
        self.pass(now);
        self.own.waiting_since = None;
        self.become_deaf()
    }

    /// Judges. To be called several times a second.
    pub fn tick(&mut self, now: Duration) -> Vec<Event> {
        self.pass(now);
        let mut events = vec![];
        if self.own.waiting_since.is_some_and(|since| self.now - since >= RETURN) {
            self.own.waiting_since = None;
            events.push(Event::Reconnect);
            events.extend(self.become_deaf());
        }
        let leaving = match self.own.deaf_since {
            None => Some((Leaving::Silent, self.now)),
            Some(since) if self.now - since >= FREEZE && !self.own.has_thawed => {
                self.own.has_thawed = true;
                Some((Leaving::Deaf, Duration::MAX))
            }
            Some(_) => None,
        };
        if let Some((leaving, now)) = leaving {
            let is_over = |other: &Other| now - other.heard >= SILENCE;
            let over: Vec<u64> = self.others.iter().filter(|(_, o)| is_over(o)).map(|(id, _)| *id).collect();
            events.extend(over.into_iter().filter_map(|incarnation| self.leave(incarnation, leaving)));
        }
        events
    }

    fn become_deaf(&mut self) -> Option<Event> {
        let is_new = self.own.deaf_since.is_none();
        if is_new {
            self.own.deaf_since = Some(self.now);
            self.own.has_thawed = false;
        }
        is_new.then_some(Event::Deaf)
    }

    fn pass(&mut self, now: Duration) {
        self.now += now.saturating_sub(self.called).min(STEP);
        self.called = self.called.max(now);
    }

    fn leave(&mut self, incarnation: u64, leaving: Leaving) -> Option<Event> {
        let other = self.others.remove(&incarnation)?;
        self.bury(incarnation, other.beat, leaving);
        Some(Event::Left(incarnation, leaving))
    }

    fn bury(&mut self, incarnation: u64, beat: u64, leaving: Leaving) {
        if self.gone.insert(incarnation, Gone { at: self.now, beat, leaving }).is_none() {
            self.order.push_back(incarnation);
        }
        if self.order.len() > GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }
}

impl Gone {
    /// Whether a heartbeat shows that the node is there again. One that was replaced may still be under way for a
    /// while; if it beats on after that, two living nodes have the same name.
    fn may_come_back(&self, now: Duration, beat: u64) -> bool {
        beat > self.beat
            && match self.leaving {
                Leaving::Bye => false,
                Leaving::Replaced => now - self.at >= SILENCE,
                Leaving::Silent | Leaving::Deaf => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One node's view, with a clock.
    struct View {
        nodes: Nodes,
        now: Duration,
        beats: u64,
    }

    impl View {
        /// One that hears itself.
        fn new() -> Self {
            let mut view = Self { nodes: Nodes::new(Duration::ZERO), now: Duration::ZERO, beats: 0 };
            view.nodes.sent(view.now);
            assert_eq!(view.nodes.came_back(view.now), Some(Event::Hearing));
            view
        }

        fn hears(&mut self, incarnation: u64, name: &str) -> Vec<Event> {
            self.beats += 1;
            self.nodes.heard(self.now, incarnation, self.beats, name)
        }

        /// So many seconds pass, in each of which one's own heartbeat comes back or not, and these are heard.
        fn pass(&mut self, seconds: u64, comes_back: bool, heard: &[u64]) -> Vec<Event> {
            let mut events = vec![];
            for _ in 0..seconds {
                for _ in 0..4 {
                    self.now += Duration::from_millis(250);
                    events.extend(self.nodes.tick(self.now));
                }
                self.nodes.sent(self.now);
                if comes_back {
                    events.extend(self.nodes.came_back(self.now));
                }
                for incarnation in heard {
                    events.extend(self.hears(*incarnation, &format!("node {incarnation}")));
                }
            }
            events
        }
    }

    #[test]
    fn one_that_falls_silent_is_gone_after_six_seconds_and_comes_back_with_a_newer_heartbeat() {
        let mut view = View::new();
        assert_eq!(view.pass(10, true, &[1, 2]), [Event::Joined(1), Event::Joined(2)]);
        assert_eq!(view.pass(5, true, &[1]), []);
        assert_eq!(view.pass(1, true, &[1]), [Event::Left(2, Leaving::Silent)]);
        assert_eq!(view.nodes.heard(view.now, 2, 1, "node 2"), [], "an old one that was under way");
        assert_eq!(view.hears(2, "node 2"), [Event::Joined(2)]);
    }

    #[test]
    fn a_new_start_replaces_the_old_at_once_and_late_heartbeats_of_the_old_change_nothing() {
        let mut view = View::new();
        view.hears(1, "a");
        view.hears(2, "b");
        assert_eq!(view.hears(3, "a"), [Event::Left(1, Leaving::Replaced), Event::Joined(3)]);
        assert_eq!(view.hears(1, "a"), []);
        assert!(!view.nodes.knows(1) && view.nodes.knows(2) && view.nodes.knows(3));
    }

    #[test]
    fn two_living_nodes_of_one_name_are_both_there_in_the_end() {
        let mut view = View::new();
        view.hears(1, "a");
        view.hears(2, "a");
        for _ in 0..8 {
            view.pass(1, true, &[]);
            view.hears(1, "a");
            view.hears(2, "a");
        }
        assert!(view.nodes.knows(1) && view.nodes.knows(2));
        assert_eq!(view.pass(0, true, &[]), []);
    }

    #[test]
    fn one_that_has_said_bye_stays_away() {
        let mut view = View::new();
        view.hears(1, "a");
        assert_eq!(view.nodes.bye(view.now, 1), Some(Event::Left(1, Leaving::Bye)));
        assert_eq!(view.pass(60, true, &[1]), []);
        assert_eq!(view.nodes.bye(view.now, 2), None);
        assert_eq!(view.hears(2, "b"), [], "its bye has overtaken its first heartbeat");
    }

    #[test]
    fn who_does_not_hear_itself_reconnects_every_three_seconds_and_judges_nobody_for_thirty() {
        let mut view = View::new();
        view.pass(1, true, &[1]);
        let mut events = view.pass(33, false, &[]);
        assert_eq!(events.remove(1), Event::Deaf, "after why it is");
        assert!(events.len() >= 8 && events.iter().all(|event| *event == Event::Reconnect), "{events:?}");
        let events = view.pass(3, false, &[]);
        assert!(events.contains(&Event::Left(1, Leaving::Deaf)), "{events:?}");
        let events = view.pass(1, true, &[1]);
        assert!(events.ends_with(&[Event::Hearing, Event::Joined(1)]), "{events:?}");
    }

    #[test]
    fn after_an_outage_the_others_have_six_seconds_to_be_heard() {
        let mut view = View::new();
        view.pass(1, true, &[1, 2]);
        assert_eq!(view.nodes.down(view.now), Some(Event::Deaf));
        assert_eq!(view.nodes.down(view.now), None);
        view.pass(20, false, &[]);
        assert_eq!(view.pass(1, true, &[]), [Event::Hearing]);
        assert_eq!(view.pass(5, true, &[1]), []);
        assert_eq!(view.pass(1, true, &[1]), [Event::Left(2, Leaving::Silent)]);
    }

    #[test]
    fn a_process_that_was_stopped_judges_neither_the_others_nor_its_connection_by_that_time() {
        let mut view = View::new();
        view.pass(1, true, &[1]);
        view.nodes.sent(view.now);
        view.now += Duration::from_secs(600);
        assert_eq!(view.nodes.tick(view.now), []);
        assert_eq!(view.pass(5, true, &[1]), []);
    }

    #[test]
    fn while_other_frames_arrive_late_heartbeats_mean_nothing() {
        let mut view = View::new();
        view.pass(1, true, &[1]);
        for _ in 0..20 {
            assert_eq!(view.pass(1, false, &[]), []);
            assert_eq!(view.nodes.came_back(view.now), None);
            view.nodes.sends(view.now, 1);
        }
        assert_eq!(view.pass(3, false, &[]), []);
        assert_eq!(
            view.pass(1, false, &[]),
            [Event::Reconnect, Event::Deaf],
            "none since the next heartbeat"
        );
        assert_eq!(view.pass(1, true, &[]), [Event::Hearing]);
        assert_eq!(view.pass(6, true, &[]), [Event::Left(1, Leaving::Silent)]);
        view.nodes.sends(view.now, 1);
        assert!(!view.nodes.knows(1), "only a heartbeat brings back who is gone");
    }

    #[test]
    fn however_many_have_gone_little_is_kept_of_them() {
        let mut view = View::new();
        for incarnation in 0..5_000 {
            view.hears(incarnation, "a");
        }
        assert_eq!((view.nodes.others().count(), view.nodes.gone.len()), (1, GONE));
        assert_eq!(view.nodes.order.len(), GONE);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Heard { incarnation: u64, beat: u64, name: u8 },
        Bye(u64),
        Sends(u64),
        Sent,
        Back,
        Down,
        Tick(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u64..5, 0u64..20, 0u8..3)
                .prop_map(|(incarnation, beat, name)| Step::Heard { incarnation, beat, name }),
            1 => (0u64..5).prop_map(Step::Bye),
            1 => (0u64..5).prop_map(Step::Sends),
            1 => Just(Step::Sent),
            2 => Just(Step::Back),
            1 => Just(Step::Down),
            3 => (0u16..3_000).prop_map(Step::Tick),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever is heard in whatever order.
        #[test]
        fn events_say_who_is_there_and_who_has_said_bye_is_not(steps in steps()) {
            let (mut nodes, mut now, mut there, mut byes) = (Nodes::new(Duration::ZERO), Duration::ZERO, vec![], vec![]);
            for step in steps {
                let events = match step {
                    Step::Heard { incarnation, beat, name } => nodes.heard(now, incarnation, beat, &name.to_string()),
                    Step::Bye(incarnation) => {
                        byes.push(incarnation);
                        nodes.bye(now, incarnation).into_iter().collect()
                    }
                    Step::Sends(incarnation) => {
                        nodes.sends(now, incarnation);
                        vec![]
                    }
                    Step::Sent => {
                        nodes.sent(now);
                        vec![]
                    }
                    Step::Back => nodes.came_back(now).into_iter().collect(),
                    Step::Down => nodes.down(now).into_iter().collect(),
                    Step::Tick(millis) => {
                        now += Duration::from_millis(millis.into());
                        let was_hearing = nodes.is_hearing();
                        let events = nodes.tick(now);
                        let judges = events.iter().any(|event| matches!(event, Event::Left(_, Leaving::Silent)));
                        prop_assert!(!judges || was_hearing);
                        events
                    }
                };
                for event in events {
                    match event {
                        Event::Joined(incarnation) => {
                            prop_assert!(!there.contains(&incarnation) && !byes.contains(&incarnation));
                            there.push(incarnation);
                        }
                        Event::Left(incarnation, _) => {
                            prop_assert!(there.contains(&incarnation));
                            there.retain(|one| *one != incarnation);
                        }
                        Event::Hearing | Event::Deaf | Event::Reconnect => {}
                    }
                }
                let mut known: Vec<u64> = nodes.others().map(|(incarnation, _)| incarnation).collect();
                known.sort_unstable();
                there.sort_unstable();
                prop_assert_eq!(&known, &there);
            }
        }
    }
}
