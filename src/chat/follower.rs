//! The order in which this node applies what is committed, by itself and by other nodes.
//!
//! The log orders all posts by their ids and all likes by their revisions. What this node hears of them may come in any order,
//! twice, or not at all. The follower passes an event on when it is the next one, and asks for a page of the log when the
//! next one does not come. It does no I/O: [`MessageStore`](super::MessageStore) hands it what it hears, and applies what
//! it gets.
//!
//! # Which event is the next
//! A post with the id `n + 1` after the post with the id `n`, once all likes before it are applied (up to its `posted_rev`).
//! A like with the revision `r + 1` after that with the revision `r`, once its message is applied. In the order of the commits, each
//! event is the next one when its turn comes, so no two events wait for each other.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    history::Limit,
    message::Message,
    message_log::{Committed, Page},
};

/// How long a missing event may still come by itself before the log is asked: the engine between nodes reorders.
const WAIT: Duration = Duration::from_millis(5);

/// How long the log is left alone after it has failed.
const PAUSE: Duration = Duration::from_millis(250);

/// Events that may wait for earlier ones. Those beyond are read from the log when their turn comes.
const MOST: usize = 1_024;

/// Bytes of messages that may wait, one of any size beyond them: 4 MiB.
const MOST_BYTES: usize = 4 << 20;

/// What is read from the log at once.
pub(super) const PAGE: Limit = Limit { messages: 256, bytes: 1 << 20 };

/// Something that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A message was added.
    Posted(Message),
    /// A message has a like more.
    Liked(Message),
}

/// A place in the log: all posts up to an id, and all likes up to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) rev: u64,
}

/// The log is not the one that was followed: another epoch, or it has come less far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replaced;

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    epoch: u64,
    /// All that is applied.
    place: Place,
    /// How far the log has come, as far as is known.
    head: Place,
    /// By id.
    posts: BTreeMap<u64, Message>,
    /// By revision.
    likes: BTreeMap<u64, Message>,
    /// Of all that waits.
    bytes: usize,
    /// Up to this id, posts come by pages alone: the last page did not have them, but counts their likes as applied.
    by_page: u64,
    /// When to ask the log, if something is missing.
    due: Option<Instant>,
    /// The log is being asked. Nothing is applied until it has answered, so that its page fits.
    is_asking: bool,
}

impl Event {
    /// What was committed, if anything was.
    pub(super) fn of(committed: &Committed) -> Option<Self> {
        match committed {
            Committed::Posted(message) => Some(Self::Posted(message.clone())),
            Committed::Liked(message) => Some(Self::Liked(message.clone())),
            Committed::Repeated(_) | Committed::NotFound => None,
        }
    }

    pub(super) fn message(&self) -> &Message {
        match self {
            Self::Posted(message) | Self::Liked(message) => message,
        }
    }
}

impl Place {
    /// Whether it is at least as far as another.
    fn reaches(self, other: Self) -> bool {
        self.id >= other.id && self.rev >= other.rev
    }

    /// The further one of this and that of an event.
    pub(super) fn after(self, event: &Event) -> Self {
        match event {
            Event::Posted(message) => Self { id: self.id.max(message.id()), ..self },
            Event::Liked(message) => Self { rev: self.rev.max(message.likes().rev), ..self },
        }
    }

    fn max(self, other: Self) -> Self {
        Self { id: self.id.max(other.id), rev: self.rev.max(other.rev) }
    }
}

impl Follower {
    /// Follows a log from a place on.
    pub(super) fn new(epoch: u64, place: Place) -> Self {
        let (posts, likes, by_page) = (BTreeMap::new(), BTreeMap::new(), place.id);
        Self { epoch, place, head: place, posts, likes, bytes: 0, by_page, due: None, is_asking: false }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// All that is applied.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Takes an event that was heard of.
    pub(super) fn add(&mut self, event: Event) {
        let bytes = event.message().head().len();
        let former = match event {
            Event::Posted(message) => {
                self.head.id = self.head.id.max(message.id());
                if message.id() <= self.place.id.max(self.by_page) {
                    return;
                }
                self.posts.insert(message.id(), message)
            }
            Event::Liked(message) => {
                let rev = message.likes().rev;
                self.head.rev = self.head.rev.max(rev);
                if rev <= self.place.rev {
                    return;
                }
                self.likes.insert(rev, message)
            }
        };
        self.bytes += bytes;
        self.removed(former.as_ref());
        while self.posts.len() + self.likes.len() > MOST
            || (self.bytes > MOST_BYTES && self.posts.len() + self.likes.len() > 1)
        {
            // the last ones: their turn is the furthest away
            let last = if self.posts.len() > self.likes.len() { &mut self.posts } else { &mut self.likes };
            let last = last.pop_last().map(|(_, message)| message);
            self.removed(last.as_ref());
        }
    }

    /// Notes how far the log has come.
    pub(super) fn heard(&mut self, head: Place) {
        self.head = self.head.max(head);
    }

    /// Checks a head that was read from the log when this follower was at `place`, and notes it.
    pub(super) fn read(&mut self, place: Place, epoch: u64, head: Place) -> Result<(), Replaced> {
        if epoch != self.epoch || !head.reaches(place) {
            return Err(Replaced);
        }
        self.heard(head);
        Ok(())
    }

    /// The next event. It counts as applied.
    pub(super) fn next(&mut self) -> Option<Event> {
        if self.is_asking {
            return None;
        }
        self.drop_old();
        let like = self.likes.first_key_value();
        let like = like
            .filter(|(rev, message)| **rev == self.place.rev + 1 && message.id() <= self.place.id)
            .map(|(rev, _)| *rev);
        if let Some(rev) = like {
            let message = self.likes.remove(&rev);
            self.removed(message.as_ref());
            (self.place.rev, self.due) = (rev, None);
            return message.map(Event::Liked);
        }
        let post = self.posts.first_key_value();
        let post = post
            .filter(|(id, message)| **id == self.place.id + 1 && message.likes().posted_rev <= self.place.rev)
            .map(|(id, _)| *id);
        let message = self.posts.remove(&post?);
        self.removed(message.as_ref());
        self.place.id += 1;
        self.due = None;
        message.map(Event::Posted)
    }

    /// When to [ask](Self::ask) the log; none if nothing is missing.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.is_asking {
            return None;
        }
        if self.place.reaches(self.head) {
            self.due = None;
            return None;
        }
        Some(*self.due.get_or_insert(now + WAIT))
    }

    /// Where to read a [`PAGE`] of the log from, if it is time. The answer is for [`page`](Self::page) or
    /// [`failed`](Self::failed).
    pub(super) fn ask(&mut self, now: Instant) -> Option<Place> {
        let is_due = self.due(now).is_some_and(|due| due <= now);
        self.is_asking |= is_due;
        is_due.then_some(self.place)
    }

    /// Takes the page that was asked for. Returns what is to be applied, in that order.
    pub(super) fn page(&mut self, now: Instant, page: Page) -> Result<Vec<Event>, Replaced> {
        let Page { epoch, last_id, last_rev, posted, liked, .. } = page;
        let last = Place { id: last_id, rev: last_rev };
        // a page without anything new must not be asked for again and again
        let pause = if self.place.reaches(last) { PAUSE } else { Duration::ZERO };
        (self.is_asking, self.due) = (false, Some(now + pause));
        self.read(self.place, epoch, last)?;
        self.by_page = last_id;
        // with likes missing, a post would come too early: the next page has it
        if liked.len() >= PAGE.messages {
            self.place.rev = liked.last().map_or(self.place.rev, |message| message.likes().rev);
            return Ok(liked.into_iter().map(Event::Liked).collect());
        }
        // messages that are not there any more, or damaged, are passed over
        let id = posted.last().map_or(last_id, Message::id);
        self.place = Place { id, rev: last_rev };
        let liked = liked.into_iter().map(Event::Liked);
        Ok(liked.chain(posted.into_iter().map(Event::Posted)).collect())
    }

    /// The log could not be read.
    pub(super) fn failed(&mut self, now: Instant) {
        (self.is_asking, self.due) = (false, Some(now + PAUSE));
    }

    /// Drops what a page had, or will have.
    fn drop_old(&mut self) {
        let id = self.place.id.max(self.by_page);
        while let Some(first) = self.posts.first_entry().filter(|first| *first.key() <= id) {
            let message = first.remove();
            self.removed(Some(&message));
        }
        while let Some(first) = self.likes.first_entry().filter(|first| *first.key() <= self.place.rev) {
            let message = first.remove();
            self.removed(Some(&message));
        }
    }

    fn removed(&mut self, message: Option<&Message>) {
        self.bytes -= message.map_or(0, |message| message.head().len());
    }
}

#[cfg(test)]
mod tests;
