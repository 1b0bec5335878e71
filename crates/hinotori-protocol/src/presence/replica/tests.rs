//! A slice and its replicas, however the frames between them fare.

use proptest::prelude::*;

use super::{
    super::{
        slice::Slice,
        state::{Clock, Meta, Present},
    },
    *,
};

/// A node that owns a slice, and what is really present there.
struct Owner {
    clock: Clock,
    slice: Slice,
    present: Vec<(Arc<str>, Entry)>,
}

impl Owner {
    fn new(incarnation: u64) -> Self {
        Self { clock: Clock::new(incarnation), slice: Slice::default(), present: vec![] }
    }

    fn join(&mut self, topic: u8, key: u8) {
        let (topic, joined) = self.entry(topic, key);
        self.slice.change(&topic, &[], Some(&joined));
        self.present.push((topic, joined));
    }

    /// The nth of those who are there gets a new meta.
    fn update(&mut self, nth: usize) {
        if let Some((topic, left)) = self.nth(nth) {
            let id = Id { key: left.0.key.clone(), tag: self.clock.tick() };
            let joined = (id, Arc::new(Meta::from_iter([("updated".to_owned(), true.into())])));
            self.slice.change(&topic, &[left], Some(&joined));
            self.present.push((topic, joined));
        }
    }

    /// The nth of those who are there leaves, with everyone else of the same topic and key.
    fn leave(&mut self, nth: usize) {
        let Some((topic, left)) = self.nth(nth) else { return };
        let mut all = vec![left.clone()];
        self.present.retain(|(of, entry)| {
            let goes = *of == topic && entry.0.key == left.0.key;
            if goes {
                all.push(entry.clone());
            }
            !goes
        });
        self.slice.change(&topic, &all, None);
    }

    fn nth(&mut self, nth: usize) -> Option<(Arc<str>, Entry)> {
        (!self.present.is_empty()).then(|| self.present.remove(nth % self.present.len()))
    }

    fn entry(&self, topic: u8, key: u8) -> (Arc<str>, Entry) {
        let id = Id { key: key.to_string().into(), tag: self.clock.tick() };
        let meta = Meta::from_iter([("phx_ref".to_owned(), id.tag.phx_ref().into())]);
        (topic.to_string().into(), (id, Arc::new(meta)))
    }
}

/// What a node shows its clients, made of the changes alone.
#[derive(Default)]
struct View(BTreeMap<Arc<str>, Present>);

impl View {
    fn apply(&mut self, changed: Vec<Changed>) {
        for Changed { topic, left, joined } in changed {
            let present = self.0.entry(topic).or_default();
            for (id, _) in left {
                assert!(present.remove(&id).is_some(), "a leave of someone who is not there");
            }
            for (id, meta) in joined {
                assert!(present.insert(id, meta).is_none(), "a second join of the same");
            }
        }
        self.0.retain(|_, present| !present.is_empty());
    }
}

fn wanted(owner: &Owner) -> BTreeMap<Arc<str>, Present> {
    let mut wanted: BTreeMap<Arc<str>, Present> = BTreeMap::new();
    for (topic, (id, meta)) in owner.present.iter().cloned() {
        wanted.entry(topic).or_default().insert(id, meta);
    }
    wanted
}

#[test]
fn a_replica_follows_deltas_in_any_order_and_asks_only_if_one_stays_away() {
    let (mut owner, mut replica) = (Owner::new(1), Replica::new(1));
    let mut deltas = vec![];
    for n in 0..4 {
        owner.join(n, n);
        deltas.extend(owner.slice.take());
    }
    let mut view = View::default();
    for nth in [3, 2, 0] {
        view.apply(replica.delta(deltas[nth].clone()));
        assert!(replica.is_behind() || nth == 0 && view.0.len() == 1);
    }
    assert!(replica.is_behind());
    view.apply(replica.delta(deltas[1].clone()));
    assert!(!replica.is_behind());
    assert_eq!(view.0, wanted(&owner));
}

#[test]
fn changes_while_the_parts_arrive_are_not_lost() {
    let (mut owner, mut replica, mut view) = (Owner::new(1), Replica::new(1), View::default());
    for n in 0..1_000 {
        owner.join(1, (n % 250) as u8);
    }
    owner.slice.take();
    replica.announced(owner.slice.version(), owner.slice.digest());
    let parts = owner.slice.parts();
    assert!(parts.len() > 1);
    for part in parts {
        view.apply(replica.part(part));
        owner.leave(7);
        for delta in owner.slice.take() {
            view.apply(replica.delta(delta));
        }
    }
    assert!(!replica.is_behind());
    assert_eq!(view.0, wanted(&owner));
}

#[test]
fn no_part_and_no_delta_of_many_small_changes_is_much_larger_than_a_frame_should_be() {
    let mut owner = Owner::new(1);
    for n in 0..5_000u32 {
        owner.join((n % 200) as u8, (n % 100) as u8);
    }
    let deltas: Vec<_> = owner.slice.take().iter().map(|delta| delta.encode().len()).collect();
    let parts: Vec<_> = owner.slice.parts().iter().map(|part| part.encode().len()).collect();
    assert!(deltas.len() > 2 && parts.len() > 2);
    assert!(deltas.iter().chain(&parts).all(|length| *length <= 66_000), "{deltas:?} {parts:?}");
}

#[test]
fn what_waits_for_a_delta_that_stays_away_is_limited() {
    let (mut owner, mut replica, mut view) = (Owner::new(1), Replica::new(1), View::default());
    owner.join(1, 1);
    owner.slice.take();
    for n in 0..5_000 {
        owner.update(n);
        for delta in owner.slice.take() {
            view.apply(replica.delta(delta));
        }
        assert!(replica.later.len() <= LATER && replica.bytes <= LATER_BYTES);
    }
    for part in owner.slice.parts() {
        view.apply(replica.part(part));
    }
    assert_eq!((view.0, replica.is_behind(), replica.later.len()), (wanted(&owner), false, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8, u8),
    Update(usize),
    Leave(usize),
    /// What has changed is sent.
    Send,
    /// Whoever is behind asks, and the parts are sent.
    Ask,
    /// Of what is under way, this one arrives at this node.
    Arrive(usize, usize),
    /// It arrives and stays under way.
    Double(usize, usize),
    Lose(usize),
    /// The owner starts anew, and all learn of it.
    Restart,
    /// A node starts anew.
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..3, 0u8..3).prop_map(|(topic, key)| Step::Join(topic, key)),
        3 => any::<usize>().prop_map(Step::Update),
        3 => any::<usize>().prop_map(Step::Leave),
        6 => Just(Step::Send),
        2 => Just(Step::Ask),
        10 => (any::<usize>(), 0usize..2).prop_map(|(nth, node)| Step::Arrive(nth, node)),
        3 => (any::<usize>(), 0usize..2).prop_map(|(nth, node)| Step::Double(nth, node)),
        3 => any::<usize>().prop_map(Step::Lose),
        1 => Just(Step::Restart),
        1 => (0usize..2).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..120)
}

#[derive(Clone)]
enum Frame {
    Delta(Delta),
    Part(Part),
}

/// A node that follows the slice.
struct Follower {
    replica: Replica,
    view: View,
}

impl Follower {
    fn new(incarnation: u64) -> Self {
        Self { replica: Replica::new(incarnation), view: View::default() }
    }

    fn get(&mut self, incarnation: u64, frame: Frame) {
        // the caller knows who is gone
        if incarnation == self.replica.incarnation {
            let changed = match frame {
                Frame::Delta(delta) => self.replica.delta(delta),
                Frame::Part(part) => self.replica.part(part),
            };
            self.view.apply(changed);
        }
    }

    /// The owner is another one from now on.
    fn follow(&mut self, incarnation: u64) {
        let former = mem::replace(&mut self.replica, Replica::new(incarnation));
        self.view.apply(former.end());
        assert!(self.view.0.is_empty(), "someone of a dead incarnation is left over");
    }
}

fn frames<T>(of: Vec<T>, kind: fn(T) -> Frame, incarnation: u64) -> impl Iterator<Item = (u64, Frame)> {
    of.into_iter().map(move |frame| (incarnation, kind(frame)))
}

proptest! {
    #[test]
    fn whatever_is_lost_doubled_late_or_restarted_all_are_equal_after_one_round(steps in steps()) {
        let (mut owner, mut incarnation) = (Owner::new(1), 1);
        let mut followers = [Follower::new(1), Follower::new(1)];
        let mut under_way: Vec<(u64, Frame)> = vec![];
        for step in steps {
            match step {
                Step::Join(topic, key) => owner.join(topic, key),
                Step::Update(nth) => owner.update(nth),
                Step::Leave(nth) => owner.leave(nth),
                Step::Send => under_way.extend(frames(owner.slice.take(), Frame::Delta, incarnation)),
                Step::Ask => if followers.iter().any(|follower| follower.replica.is_behind()) {
                    under_way.extend(frames(owner.slice.parts(), Frame::Part, incarnation));
                },
                Step::Arrive(nth, node) if !under_way.is_empty() => {
                    let (of, frame) = under_way.remove(nth % under_way.len());
                    followers[node].get(of, frame);
                }
                Step::Double(nth, node) if !under_way.is_empty() => {
                    let (of, frame) = under_way[nth % under_way.len()].clone();
                    followers[node].get(of, frame);
                }
                Step::Lose(nth) if !under_way.is_empty() => _ = under_way.remove(nth % under_way.len()),
                Step::Arrive(..) | Step::Double(..) | Step::Lose(_) => {}
                Step::Restart => {
                    incarnation += 1;
                    owner = Owner::new(incarnation);
                    followers.iter_mut().for_each(|follower| follower.follow(incarnation));
                }
                Step::Forget(node) => followers[node] = Follower::new(incarnation),
            }
        }
        let now = wanted(&owner);
        for follower in &mut followers {
            follower.replica.announced(owner.slice.version(), owner.slice.digest());
            if follower.replica.is_behind() {
                for part in owner.slice.parts() {
                    follower.get(incarnation, Frame::Part(part));
                }
            }
            prop_assert_eq!(&follower.view.0, &now);
            prop_assert!(!follower.replica.is_behind());
            // nor does anything that is still under way change that
            for (of, frame) in under_way.clone() {
                follower.get(of, frame);
            }
            prop_assert_eq!(&follower.view.0, &now);
        }
        // what is taken last changes nothing either, though a part of it is known
        for delta in owner.slice.take() {
            followers.iter_mut().for_each(|follower| follower.get(incarnation, Frame::Delta(delta.clone())));
        }
        for follower in followers {
            prop_assert_eq!(&follower.view.0, &now);
        }
    }
}
