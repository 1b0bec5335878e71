//! What this node has heard of the others.

use std::{collections::HashMap, time::Duration};

use hinotori_protocol::cluster::{Ack, Lane, Nodes, Received};

use super::slices::Requests;

/// Nodes of which lanes are kept, those that are gone included.
const HEARD: usize = 1_024;

/// See the module. One lock around all of it, so that nothing of a node is applied after it is gone.
pub(super) struct Others {
    pub(super) nodes: Nodes,
    pub(super) requests: Requests,
    /// Since when this node hears itself, if it does.
    pub(super) hearing_since: Duration,
    /// When the next heartbeat is due.
    pub(super) next_beat: Duration,
    /// How many heartbeats this node has sent: a node with fewer is younger.
    pub(super) beats: u64,
    /// Why there is no connection.
    pub(super) why: String,
    /// Whether it was logged that frames of another version arrive.
    pub(super) has_warned: bool,
    heard: HashMap<u64, Heard>,
}

/// The lanes of one node.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) broadcasts: Lane,
    pub(super) disconnects: Received,
    /// The requests that it has passed on, each of which is carried out once.
    pub(super) passed: Received,
}

impl Others {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            nodes: Nodes::new(now),
            requests: Requests::default(),
            hearing_since: now,
            next_beat: now,
            beats: 0,
            why: "not connected yet".to_owned(),
            has_warned: false,
            heard: HashMap::new(),
        }
    }

    /// The lanes of a node, whether it is known or not.
    pub(super) fn heard(&mut self, incarnation: u64) -> &mut Heard {
        if self.heard.len() >= HEARD && !self.heard.contains_key(&incarnation) {
            let nodes = &self.nodes;
            self.heard.retain(|of, _| nodes.knows(*of));
        }
        self.heard.entry(incarnation).or_default()
    }

    /// What has arrived of the disconnects of those who are there.
    pub(super) fn acks(&self) -> Vec<Ack> {
        let ack = |(incarnation, _)| {
            let up_to = self.heard.get(&incarnation)?.disconnects.up_to()?;
            Some(Ack { incarnation, up_to })
        };
        self.nodes.others().filter_map(ack).collect()
    }
}
