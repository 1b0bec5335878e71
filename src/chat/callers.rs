//! Callers whose command is committed and not yet applied on this node.

use std::collections::BTreeMap;

use super::{
    StoreError,
    follower::{Event, Place},
    message_log::Reply,
};

/// See the module. Each is answered when this node has applied what it waits for.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// By the id of the post.
    posts: BTreeMap<u64, Vec<Reply>>,
    /// By the revision of the like, with the id of the message.
    likes: BTreeMap<u64, (u64, Reply)>,
}

impl Callers {
    /// One who waits for a post.
    pub(super) fn of_post(&mut self, id: u64, reply: Reply) {
        self.posts.entry(id).or_default().push(reply);
    }

    /// One who waits for a like, which made a revision.
    pub(super) fn of_like(&mut self, rev: u64, id: u64, reply: Reply) {
        self.likes.insert(rev, (id, reply));
    }

    /// Answers those whose events are applied.
    pub(super) fn answer(&mut self, place: Place) {
        while let Some(first) = self.posts.first_entry().filter(|first| *first.key() <= place.id) {
            let (id, replies) = first.remove_entry();
            // a caller may be gone
            replies.into_iter().for_each(|reply| _ = reply.send(Ok(Some(id))));
        }
        while let Some(first) = self.likes.first_entry().filter(|first| *first.key() <= place.rev) {
            let (id, reply) = first.remove();
            let _ = reply.send(Ok(Some(id)));
        }
    }

    /// Answers the caller of an event that could not be applied.
    pub(super) fn refuse(&mut self, event: &Event, why: StoreError) {
        let reply = match event {
            Event::Posted(message) => self.posts.remove(&message.id()).and_then(|mut replies| replies.pop()),
            Event::Liked(message) => self.likes.remove(&message.likes().rev).map(|(_, reply)| reply),
        };
        reply.map(|reply| reply.send(Err(why)));
    }
}
