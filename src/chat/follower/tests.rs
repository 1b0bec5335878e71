//! A follower of a log in memory, by a connection that loses, doubles and reorders.

use proptest::prelude::*;

use super::{super::message::Draft, *};

const EPOCH: u64 = 7;

/// A log with all its commits.
#[derive(Debug, Default)]
struct Log {
    messages: Vec<Message>,
    last_rev: u64,
}

impl Log {
    fn post(&mut self, content: &str) -> Event {
        let id = self.messages.len() as u64 + 1;
        let message = Draft::new(content, None, None).unwrap().message(id, self.last_rev, None);
        self.messages.push(message.clone());
        Event::Posted(message)
    }

    fn like(&mut self, nth: usize) -> Event {
        if self.messages.is_empty() {
            return self.post("x");
        }
        let index = nth % self.messages.len();
        self.last_rev += 1;
        let message = self.messages[index].clone().liked(self.last_rev);
        self.messages[index] = message.clone();
        Event::Liked(message)
    }

    fn head(&self) -> Place {
        Place { id: self.messages.len() as u64, rev: self.last_rev }
    }

    /// As a reader answers, with smaller pages.
    fn page(&self, Place { id, rev }: Place, messages: usize) -> Page {
        let (old, new) = self.messages.split_at(id as usize);
        let mut liked: Vec<_> = old.iter().filter(|message| message.likes().rev > rev).cloned().collect();
        liked.retain(|message| message.likes().count > 0);
        liked.sort_by_key(|message| message.likes().rev);
        liked.truncate(PAGE.messages);
        let posted = new.iter().take(messages).cloned().collect();
        let (epoch, last_id, last_rev) = (EPOCH, self.messages.len() as u64, self.last_rev);
        Page { epoch, first_id: 1, last_id, last_rev, posted, liked, damaged: vec![] }
    }
}

/// What clients see.
#[derive(Debug, Default)]
struct Seen {
    messages: Vec<Message>,
    rev: u64,
}

impl Seen {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Posted(message) => {
                assert_eq!(message.id(), self.messages.len() as u64 + 1);
                self.messages.push(message);
            }
            Event::Liked(message) => {
                let known = &mut self.messages[message.id() as usize - 1];
                assert!(message.likes().count > known.likes().count, "{known:?}, then {message:?}");
                assert!(message.likes().rev > self.rev);
                self.rev = message.likes().rev;
                *known = message;
            }
        }
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A commit of this node, which hears of it at once, or of another.
    Post {
        is_own: bool,
    },
    Like {
        is_own: bool,
        nth: usize,
    },
    /// One of the events under way arrives, and may arrive again.
    Arrive {
        nth: usize,
        again: bool,
    },
    Lose {
        nth: usize,
    },
    /// The head of the log is heard of.
    Poll,
    /// Time passes.
    Ask,
    /// The page that was asked for is read, which is so far, and arrives later.
    Read {
        messages: usize,
    },
    Page,
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_own| Step::Post { is_own }),
        4 => (any::<bool>(), 0..100usize).prop_map(|(is_own, nth)| Step::Like { is_own, nth }),
        6 => (0..100usize, any::<bool>()).prop_map(|(nth, again)| Step::Arrive { nth, again }),
        1 => (0..100usize).prop_map(|nth| Step::Lose { nth }),
        1 => Just(Step::Poll),
        2 => Just(Step::Ask),
        2 => (1..4usize).prop_map(|messages| Step::Read { messages }),
        2 => Just(Step::Page),
        1 => Just(Step::Fail),
    ]
}

struct Run {
    log: Log,
    follower: Follower,
    seen: Seen,
    under_way: Vec<Event>,
    now: Instant,
    /// The log is asked from here.
    asked: Option<Place>,
    read: Option<Page>,
}

impl Run {
    fn new() -> Self {
        Self {
            log: Log::default(),
            follower: Follower::new(EPOCH, Place::default()),
            seen: Seen::default(),
            under_way: vec![],
            now: Instant::now(),
            asked: None,
            read: None,
        }
    }

    fn committed(&mut self, event: Event, is_own: bool) {
        if is_own {
            self.hears(event);
        } else {
            self.under_way.push(event);
        }
    }

    fn hears(&mut self, event: Event) {
        self.follower.add(event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.follower.next() {
            // what is not to be told to anyone who recovers is told to everyone
            if let Event::Posted(message) = &event {
                assert!(message.likes().posted_rev <= self.follower.place().rev);
            }
            self.seen.apply(event);
        }
    }

    fn page(&mut self, page: Page) {
        for event in self.follower.page(self.now, page).unwrap() {
            self.seen.apply(event);
        }
        self.drain();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Post { is_own } => {
                let event = self.log.post("x");
                self.committed(event, is_own);
            }
            Step::Like { is_own, nth } => {
                let event = self.log.like(nth);
                self.committed(event, is_own);
            }
            Step::Arrive { .. } | Step::Lose { .. } if self.under_way.is_empty() => {}
            Step::Arrive { nth, again } => {
                let index = nth % self.under_way.len();
                let event =
                    if again { self.under_way[index].clone() } else { self.under_way.swap_remove(index) };
                self.hears(event);
            }
            Step::Lose { nth } => {
                let index = nth % self.under_way.len();
                self.under_way.swap_remove(index);
            }
            Step::Poll => {
                let place = self.follower.place();
                self.follower.read(place, EPOCH, self.log.head()).unwrap();
            }
            Step::Ask => {
                if let Some(due) = self.follower.due(self.now) {
                    self.now = self.now.max(due);
                    self.asked = self.follower.ask(self.now);
                    assert!(self.asked.is_some());
                }
            }
            Step::Read { messages } => {
                if let Some(asked) = self.asked.take() {
                    self.read = Some(self.log.page(asked, messages));
                }
            }
            Step::Page => {
                if let Some(page) = self.read.take() {
                    self.page(page);
                }
            }
            Step::Fail => {
                if self.asked.take().is_some() {
                    self.follower.failed(self.now);
                }
            }
        }
    }

    /// Nothing more is lost.
    fn heal(&mut self) {
        for step in [Step::Read { messages: 2 }, Step::Page, Step::Poll] {
            self.take(step);
        }
        self.drain();
        while self.follower.due(self.now).is_some() {
            for step in [Step::Ask, Step::Read { messages: 2 }, Step::Page] {
                self.take(step);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn whatever_is_lost_doubled_or_late_all_is_applied_once_in_order(steps in prop::collection::vec(step(), 0..120)) {
        let mut run = Run::new();
        for step in steps {
            run.take(step);
        }
        run.heal();
        prop_assert_eq!(&run.seen.messages, &run.log.messages);
        prop_assert_eq!(run.follower.place(), run.log.head());
        prop_assert_eq!((run.follower.bytes, run.follower.due(run.now)), (0, None));
    }
}

#[test]
fn what_does_not_come_in_time_is_asked_for_and_what_does_is_not() {
    let (mut run, start) = (Run::new(), Instant::now());
    let events: Vec<_> = (0..3).map(|_| run.log.post("x")).collect();
    run.hears(events[1].clone());
    let due = run.follower.due(start).unwrap();
    assert_eq!(due, start + WAIT);
    assert_eq!(run.follower.ask(start), None);
    run.hears(events[0].clone());
    assert_eq!((run.seen.messages.len(), run.follower.due(due), run.follower.ask(due)), (2, None, None));
    run.follower.heard(Place { id: 3, rev: 0 });
    assert_eq!(run.follower.due(due), Some(due + WAIT));
    assert_eq!(run.follower.ask(due + WAIT), Some(Place { id: 2, rev: 0 }));
    // nothing overtakes the page
    run.hears(events[2].clone());
    assert_eq!((run.seen.messages.len(), run.follower.due(due + WAIT)), (2, None));
    run.follower.failed(due + WAIT);
    run.drain();
    assert_eq!(run.seen.messages.len(), 3);
}

#[test]
fn no_more_waits_than_there_is_room_for_and_what_is_forgotten_is_read() {
    let mut run = Run::new();
    let events: Vec<_> = (0..3_000).map(|_| run.log.post("x")).collect();
    events[1..].iter().for_each(|event| run.hears(event.clone()));
    assert_eq!((run.follower.posts.len(), run.follower.posts.last_key_value().unwrap().0), (MOST, &1_025));
    run.hears(events[0].clone());
    assert_eq!(run.seen.messages.len(), MOST);
    run.heal();
    assert_eq!(run.seen.messages.len(), 3_000);
    let mut run = Run::new();
    let large: Vec<_> = (0..20).map(|_| run.log.post(&"x".repeat(1 << 20))).collect();
    large[1..].iter().for_each(|event| run.hears(event.clone()));
    assert!(run.follower.bytes <= MOST_BYTES, "{}", run.follower.bytes);
    run.heal();
    assert_eq!(run.seen.messages.len(), 20);
}

#[test]
fn many_likes_come_before_the_posts_after_them() {
    let mut run = Run::new();
    for _ in 0..600 {
        let event = run.log.post("x");
        run.hears(event);
    }
    for nth in 0..600 {
        run.log.like(nth);
    }
    run.log.post("after them");
    run.heal();
    assert_eq!(run.seen.messages, run.log.messages);
}

#[test]
fn messages_that_are_deleted_are_passed_over() {
    let mut run = Run::new();
    for _ in 0..9 {
        run.log.post("x");
    }
    run.take(Step::Poll);
    run.take(Step::Ask);
    let page = run.log.page(Place::default(), 9);
    let posted = page.posted[5..].to_vec();
    let applied = run.follower.page(run.now, Page { posted, ..page }).unwrap();
    assert_eq!(applied.iter().map(|event| event.message().id()).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(run.follower.due(run.now), None);
}

#[test]
fn a_log_of_another_epoch_or_one_that_has_come_less_far_is_another_log() {
    let mut follower = Follower::new(EPOCH, Place { id: 5, rev: 3 });
    let place = follower.place();
    for (epoch, id, rev) in [(EPOCH + 1, 5, 3), (EPOCH, 4, 3), (EPOCH, 5, 2), (0, 0, 0)] {
        assert_eq!(follower.read(place, epoch, Place { id, rev }), Err(Replaced), "{epoch} {id} {rev}");
        let (posted, liked, damaged) = (vec![], vec![], vec![]);
        let page = Page { epoch, first_id: 1, last_id: id, last_rev: rev, posted, liked, damaged };
        assert_eq!(follower.page(Instant::now(), page), Err(Replaced));
    }
    assert_eq!(follower.read(place, EPOCH, place), Ok(()));
    assert_eq!(follower.due(Instant::now()), None);
}
