//! What this node does with the frames that arrive.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use hinotori_protocol::{
    cluster::{Arrival, Envelope, EnvelopeError, Fragment, Heartbeat, Kind},
    presence::{Delta, Part},
};

use super::{Cluster, NodeId, Sink, Why, others::Others, outward::micros};
use crate::{
    pubsub::Broadcast,
    telemetry::{Quoted, Unsent},
};

type Frame = Envelope<ByteString>;

/// What the adapter tells.
impl Sink for Cluster {
    fn frame(&self, frame: Bytes) {
        self.hops.received();
        match Envelope::decode(frame) {
            Ok(frame) => self.arrived(frame),
            Err(error) => self.refused(error),
        }
    }

    fn up(&self) {
        self.outward.set_up(true);
        self.others().next_beat = Duration::ZERO;
        self.sooner.notify_one();
        self.passing.changed();
    }

    fn down(&self, why: Why) {
        self.outward.set_up(false);
        let mut others = self.others();
        others.why = why.to_string();
        let events = others.nodes.down(self.now());
        self.handle(&mut others, events);
        drop(others);
        self.passing.down();
    }
}

impl Cluster {
    fn arrived(&self, frame: Frame) {
        if frame.incarnation == self.me.id.0 {
            return self.came_back(&frame);
        }
        let mut others = self.others();
        others.nodes.sends(self.now(), frame.incarnation);
        if frame.to.is_some_and(|to| to != self.me.id.0) {
            return;
        }
        match frame.kind {
            Kind::Broadcast => self.broadcast_arrived(&mut others, frame),
            Kind::Disconnect => self.disconnect_arrived(&mut others, frame),
            Kind::Heartbeat => self.heartbeat_arrived(&mut others, frame),
            Kind::Bye => {
                let event = others.nodes.bye(self.now(), frame.incarnation);
                self.handle(&mut others, event);
            }
            // of a node that is gone, or that has not said that it is there, nothing is believed
            Kind::Delta | Kind::Part | Kind::Request if !others.nodes.knows(frame.incarnation) => {}
            Kind::Delta => self.delta_arrived(&mut others, frame),
            Kind::Part => self.part_arrived(&mut others, frame),
            // names of slices are few; those that others ask for may be any
            Kind::Request if self.slices.get(&frame.topic).is_none() => {}
            Kind::Request => self.askers.add(frame.incarnation, frame.topic),
            // a client need not wait until this node has heard of the one that passes its request on
            Kind::Pass | Kind::Answer => self.fragment_arrived(&mut others, frame),
        }
    }

    /// A frame of this node, which shows that the connection is alive.
    fn came_back(&self, frame: &Frame) {
        if frame.kind == Kind::Heartbeat {
            self.hops.hop(Duration::from_micros(micros().saturating_sub(frame.sent_at)));
        }
        let mut others = self.others();
        if let Some(event) = others.nodes.came_back(self.now()) {
            self.handle(&mut others, [event]);
        }
    }

    fn broadcast_arrived(&self, others: &mut Others, frame: Frame) {
        match others.heard(frame.incarnation).broadcasts.arrive(frame.seq) {
            Arrival::New { missing } => {
                self.lost(others, frame.incarnation, missing);
                _ = self.deliver(frame);
            }
            Arrival::Late => self.hops.dropped(Unsent::Late),
            Arrival::Again => self.hops.dropped(Unsent::Double),
        }
    }

    /// One for which there is no room has not arrived, so its sender repeats it.
    fn disconnect_arrived(&self, others: &mut Others, frame: Frame) {
        let (seq, disconnects) = (frame.seq, &mut others.heard(frame.incarnation).disconnects);
        if disconnects.has(seq) {
            self.hops.dropped(Unsent::Double);
        } else if self.deliver(frame) {
            disconnects.is_new(seq);
        }
    }

    /// Delivers under the lock, because the frames of a node stay in their order. Returns whether there is room for it.
    fn deliver(&self, frame: Frame) -> bool {
        let Frame { topic, event, payload, latest, position, .. } = frame;
        let broadcast = Broadcast::new(&topic, &event, payload, None);
        let broadcast = broadcast.latest_of(latest.as_deref()).at(position);
        let Some(ticket) = self.inflow.admit(broadcast.cost()) else {
            self.hops.dropped(Unsent::Busy);
            return false;
        };
        if let Some(pubsub) = self.pubsub.get() {
            pubsub.receive(broadcast, ticket);
        }
        true
    }

    fn heartbeat_arrived(&self, others: &mut Others, frame: Frame) {
        let Some(heartbeat) = frame.payload.to_binary().and_then(Heartbeat::decode) else {
            return self.hops.dropped(Unsent::Malformed);
        };
        let (now, node) = (self.now(), frame.incarnation);
        let events = others.nodes.heard(now, node, frame.seq, &frame.topic);
        if !others.nodes.knows(node) {
            return;
        }
        let is_younger = frame.seq < others.beats;
        let heard = others.heard(node);
        heard.disconnects.announced(heartbeat.disconnects, heartbeat.kept_from, is_younger);
        let missing = heard.broadcasts.announce(heartbeat.broadcasts);
        self.lost(others, node, missing);
        self.handle(others, events);
        if let Some(ack) = heartbeat.acks.iter().find(|ack| ack.incarnation == self.me.id.0) {
            self.outward.repeat(now, NodeId(node), ack.up_to);
        }
        for announced in heartbeat.slices {
            if let Some(sliced) = self.slices.get(&announced.name) {
                sliced.announced(node, announced.version, announced.digest);
                self.ask_if_behind(others, node, &announced.name);
            }
        }
    }

    fn delta_arrived(&self, others: &mut Others, frame: Frame) {
        let Some(sliced) = self.slices.get(&frame.topic) else { return };
        let Some(delta) = frame.payload.to_binary().and_then(Delta::decode) else {
            return self.hops.dropped(Unsent::Malformed);
        };
        sliced.delta(frame.incarnation, delta);
        self.ask_if_behind(others, frame.incarnation, &frame.topic);
    }

    fn part_arrived(&self, others: &mut Others, frame: Frame) {
        let Some(sliced) = self.slices.get(&frame.topic) else { return };
        match frame.payload.to_binary().and_then(Part::decode) {
            Some(part) => {
                sliced.part(frame.incarnation, part);
                others.requests.postpone(self.now(), frame.incarnation, &frame.topic);
            }
            None => self.hops.dropped(Unsent::Malformed),
        }
    }

    fn fragment_arrived(&self, others: &mut Others, frame: Frame) {
        let from = frame.incarnation;
        let Some(fragment) = frame.payload.to_binary().and_then(Fragment::decode) else {
            return self.hops.dropped(Unsent::Malformed);
        };
        let (id, is_request) = (fragment.id, frame.kind == Kind::Pass);
        let taken = if !is_request {
            self.passing.answered(self.now(), from, fragment)
        } else if self.passing.is_arriving(from, fragment.id) || others.heard(from).passed.is_new(fragment.id)
        {
            self.passing.requested(self.now(), from, fragment)
        } else {
            Err(Unsent::Double)
        };
        let Err(why) = taken else { return };
        self.hops.dropped(why);
        if is_request && why == Unsent::Busy {
            self.refuse_request(from, id);
        }
    }

    fn ask_if_behind(&self, others: &mut Others, node: u64, name: &ByteString) {
        let is_behind = self.slices.get(name).is_some_and(|sliced| sliced.is_behind(node));
        if is_behind && others.requests.add(self.now(), node, name) {
            self.sooner.notify_one();
        }
    }

    fn lost(&self, others: &Others, node: u64, count: u64) {
        if count > 0 {
            let name = others.nodes.name(node).unwrap_or("unknown");
            log::debug!("event=lost what=broadcasts node={} count={count}", Quoted(name));
            self.hops.lost(name, count);
        }
    }

    fn refused(&self, error: EnvelopeError) {
        self.hops.dropped(match error {
            EnvelopeError::Version(_) => Unsent::Version,
            EnvelopeError::Kind(_) => Unsent::Kind,
            _ => Unsent::Malformed,
        });
        let mut others = self.others();
        if !matches!(error, EnvelopeError::Kind(_)) && !std::mem::replace(&mut others.has_warned, true) {
            log::warn!("event=frame_refused why={} logged=once", Quoted(&error.to_string()));
        }
    }
}
