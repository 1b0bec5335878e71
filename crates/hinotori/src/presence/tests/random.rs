//! Any sequence of changes, lists, rejoins and restarts: what pages show is what is true.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// Channels whose presences come and go, and pages that watch them; of either, those with even numbers are on topic `"0"`,
/// the others on `"1"`.
const CHANNELS: usize = 5;
const WATCHERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Track(usize, u8),
    Update(usize, u8),
    Untrack(usize, u8),
    /// A channel ends, and its client joins again.
    End(usize),
    /// A page joins, again if it has joined: diffs come, a state is to come.
    Join(usize),
    /// Its channel makes a list.
    List(usize),
    /// And pushes it; diffs may have come since, but not on a page that has had a state.
    Push(usize),
    Tell,
    /// The server dies and starts again; all join again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (channel, watcher, key) = (0..CHANNELS, 0..WATCHERS, 0u8..3);
    let change = (channel.clone(), key);
    let step = prop_oneof![
        8 => change.clone().prop_map(|(channel, key)| Step::Track(channel, key)),
        6 => change.clone().prop_map(|(channel, key)| Step::Update(channel, key)),
        4 => change.prop_map(|(channel, key)| Step::Untrack(channel, key)),
        4 => channel.prop_map(Step::End),
        3 => watcher.clone().prop_map(Step::Join),
        6 => watcher.clone().prop_map(Step::List),
        6 => watcher.prop_map(Step::Push),
        4 => Just(Step::Tell),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..80)
}

fn topic(number: usize) -> String {
    (number % 2).to_string()
}

/// A page.
#[derive(Default)]
struct Watcher {
    client: Rc<Client>,
    is_joined: bool,
    /// What its channel has listed and not pushed yet.
    listed: Option<Presences>,
}

/// What must hold of all diffs of all lives together.
#[derive(Default)]
struct Witness {
    /// Whether the presence of a `phx_ref` is there.
    there: RefCell<HashMap<String, bool>>,
}

impl Subscriber for Witness {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        let diff: Value = broadcast.payload.parse().unwrap();
        let refs = |half: &str| -> Vec<String> {
            let half = diff[half].as_object().unwrap();
            half.values().flat_map(metas).map(|meta| meta["phx_ref"].as_str().unwrap().to_owned()).collect()
        };
        let mut there = self.there.borrow_mut();
        for left in refs("leaves") {
            let before = there.insert(left.clone(), false);
            assert_eq!(before, Some(true), "{left} left, and came in an earlier diff");
        }
        for joined in refs("joins") {
            let before = there.insert(joined.clone(), true);
            assert_eq!(before, None, "{joined} came, which nobody was before");
        }
        false
    }
}

struct World {
    life: Life,
    owners: Vec<SubscriberKey>,
    watchers: Vec<Watcher>,
    witness: Rc<Witness>,
    /// What each channel says under its keys.
    truth: BTreeMap<(usize, u8), u32>,
    said: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            life: Life::new(),
            owners: (0..CHANNELS).map(|_| SubscriberKey::new()).collect(),
            watchers: (0..WATCHERS).map(|_| Watcher::default()).collect(),
            witness: Rc::default(),
            truth: BTreeMap::new(),
            said: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for number in 0..2 {
            self.life.node.pubsub.local().subscribe(
                &topic(number),
                SubscriberKey::new(),
                self.witness.clone(),
            );
        }
    }

    fn says(&mut self) -> u32 {
        self.said += 1;
        self.said
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Track(channel, key) => {
                let n = self.says();
                let tracked =
                    self.life.track(self.owners[channel], &topic(channel), &key.to_string(), says(n));
                let is_new = !self.truth.contains_key(&(channel, key));
                assert_eq!(tracked.is_ok(), is_new);
                self.truth.entry((channel, key)).or_insert(n);
            }
            Step::Update(channel, key) => {
                let n = self.says();
                let change = |meta: &mut Meta| _ = meta.insert("n".into(), json!(n));
                let (owner, topic) = (self.owners[channel], topic(channel));
                let updated = self.life.tracker.update(owner, &topic, &key.to_string(), change);
                assert_eq!(updated.is_ok(), self.truth.contains_key(&(channel, key)));
                self.truth.entry((channel, key)).and_modify(|said| *said = n);
            }
            Step::Untrack(channel, key) => {
                self.life.tracker.untrack(self.owners[channel], &topic(channel), &key.to_string());
                self.truth.remove(&(channel, key));
            }
            Step::End(channel) => {
                self.life.end(self.owners[channel]);
                self.owners[channel] = SubscriberKey::new();
                self.truth.retain(|(of, _), _| *of != channel);
            }
            Step::Join(watcher) => self.join(watcher),
            Step::List(number) => {
                let watcher = &mut self.watchers[number];
                let listed = self.life.tracker.list(&topic(number));
                if watcher.is_joined && watcher.client.presence.borrow().is_synced {
                    watcher.client.presence.borrow_mut().on_state(&listed);
                } else if watcher.is_joined {
                    watcher.listed = Some(listed);
                }
            }
            Step::Push(number) => {
                let watcher = &mut self.watchers[number];
                if let Some(listed) = watcher.listed.take() {
                    watcher.client.presence.borrow_mut().on_state(&listed);
                }
            }
            Step::Tell => self.tell(),
            Step::Restart => self.restart(),
        }
    }

    fn join(&mut self, number: usize) {
        let watcher = &mut self.watchers[number];
        if !watcher.is_joined {
            watcher.is_joined = true;
            let client = watcher.client.clone();
            self.life.node.pubsub.local().subscribe(&topic(number), SubscriberKey::new(), client);
        } else if watcher.client.presence.borrow().is_synced {
            // phoenix.js keeps the diffs of a join that got no state, and takes them for those of the next: not ours to fix
            watcher.client.presence.borrow_mut().rejoin();
        }
    }

    fn restart(&mut self) {
        // a page that still waits for its first state is opened anew, as in `join`
        for watcher in &mut self.watchers {
            let is_synced = watcher.client.presence.borrow().is_synced;
            *watcher = Watcher {
                client: if is_synced { watcher.client.clone() } else { Rc::default() },
                ..Watcher::default()
            };
            watcher.client.presence.borrow_mut().rejoin();
        }
        self.life = Life::new();
        self.truth.clear();
        self.begin();
        (0..WATCHERS).for_each(|watcher| self.join(watcher));
    }

    fn tell(&mut self) {
        self.life.tell();
        for number in 0..WATCHERS {
            let truth = self.truth_of(number);
            assert_eq!(said(&self.life.tracker.list(&topic(number)).into()), truth);
            let presence = self.watchers[number].client.presence.borrow();
            if presence.is_synced {
                assert_eq!(said(&presence.state.clone().into()), truth, "watcher {number}");
            }
        }
    }

    /// What a page should show.
    fn truth_of(&self, number: usize) -> Vec<String> {
        let mut keys = BTreeMap::<u8, Vec<String>>::new();
        for ((channel, key), n) in &self.truth {
            if topic(*channel) == topic(number) {
                keys.entry(*key).or_default().push(n.to_string());
            }
        }
        let shown = |(key, mut said): (u8, Vec<String>)| {
            said.sort();
            format!("{key}: {}", said.join(" "))
        };
        keys.into_iter().map(shown).collect()
    }
}

proptest! {
    #[test]
    fn every_page_shows_who_is_there_whenever_all_is_told(steps in steps()) {
        actix_web::rt::System::new().block_on(async {
            let mut world = World::new();
            for step in &steps {
                world.play(step);
            }
            for watcher in 0..WATCHERS {
                for step in [Step::Join(watcher), Step::List(watcher), Step::Push(watcher)] {
                    world.play(&step);
                }
            }
            world.tell();
            assert!(world.watchers.iter().all(|watcher| watcher.client.presence.borrow().is_synced));
        });
    }
}
