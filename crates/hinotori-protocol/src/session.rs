//! The rules of a socket: what follows from a client's message and from what its channels do.
//!
//! This is a state machine without I/O. Each input returns [`Effect`]s, in the order in which they must be carried out.
//! The runtime does nothing else.
//!
//! A membership is *joining* while the application decides, then *joined*, *leaving* until the channel has answered the
//! leave, and *ending* until the last of its callbacks is over. A topic has one membership at a time. While its join is
//! still running, or its former channel has to end before the next join may start, messages for the topic are kept, and
//! judged afterwards as if they had arrived then. Each membership counts toward the limit of channels until it is over.
//!
//! # Source
//! Phoenix `lib/phoenix/socket.ex` (`handle_in/4`) and `lib/phoenix/channel/server.ex`, 1.8.12.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use bytestring::ByteString;
use serde_json::json;

use crate::wire::{
    HEARTBEAT, IntoPayload, Message, PHOENIX, PHX_CLOSE, PHX_ERROR, PHX_JOIN, PHX_LEAVE, Payload, Ref, Status,
};

/// Identifies one membership of one socket in one topic within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

impl ChannelId {
    /// An id that nothing else in this process has.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for ChannelId {
    fn default() -> Self {
        Self::new()
    }
}

/// What the runtime must do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a reply.
    Reply {
        /// The join_ref of the reply.
        join_ref: Ref,
        /// The ref of the message that is answered.
        reference: Ref,
        /// The topic of that message.
        topic: ByteString,
        /// Whether it succeeded.
        status: Status,
        /// The `response` of the reply.
        payload: Payload,
    },
    /// Send `phx_close` or `phx_error`.
    Ended {
        /// The join_ref of the channel, which goes into the first two fields of the message.
        join_ref: Ref,
        /// The topic of the channel.
        topic: ByteString,
        /// [`PHX_CLOSE`] or [`PHX_ERROR`].
        event: &'static str,
        /// `{}`, or the reason of an error.
        payload: Payload,
    },
    /// Start a channel and run its join callback. Report the outcome with [`Session::joined`].
    Start {
        /// The new channel.
        channel: ChannelId,
        /// The join_ref that its pushes carry.
        join_ref: Ref,
        /// The topic that it joins.
        topic: ByteString,
        /// The payload of the join.
        payload: Payload,
    },
    /// Pass a message to `handle_in` of a channel.
    Deliver {
        /// The channel, which is joined.
        channel: ChannelId,
        /// The message.
        message: Message,
    },
    /// Make a channel answer the leave and end.
    Leave {
        /// The channel, which is joined.
        channel: ChannelId,
        /// The ref of the leave.
        reference: Ref,
    },
    /// End a channel without notifying the client. Nothing that it still pushes may be sent.
    Replace {
        /// The channel, which is joined or leaving.
        channel: ChannelId,
        /// When the join that replaces it arrived, by the clock of [`Session::receive`]. The channel has the time of a
        /// shutdown from then: it may have been replaced before it began.
        since: u64,
    },
    /// The client no longer waits for this join: its callback now has the time of a shutdown to decide.
    Hurry {
        /// The channel, which is joining.
        channel: ChannelId,
    },
}

/// How a join callback ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Joined {
    /// The client has joined; the `response` of its reply.
    Ok(Payload),
    /// The application refused the client; the `response` of its reply.
    Refused(Payload),
    /// The callback panicked or failed. The reply gives no details.
    Crashed,
}

/// How a joined channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It stopped, or its client left.
    Closed,
    /// It panicked, failed, or was sent an event that it does not handle.
    Crashed,
}

/// The protocol state of one socket: its memberships in topics.
///
/// ```
/// use hinotori_protocol::{
///     session::{Effect, Joined, Session},
///     wire::{Payload, Serializer, Status},
/// };
///
/// let mut session = Session::<()>::new(100);
/// let join = Serializer::V2.decode_text(&r#"["1","1","room:lobby","phx_join",{}]"#.into())?;
/// let effects = session.receive(join, 0, |topic| topic == "room:lobby");
/// let [Effect::Start { channel, .. }] = effects[..] else { panic!("{effects:?}") };
///
/// // the application has let the client in
/// let effects = session.joined(channel, Joined::Ok(Payload::empty()), |_| true);
/// assert!(matches!(effects[..], [Effect::Reply { status: Status::Ok, .. }]));
/// # Ok::<_, hinotori_protocol::wire::DecodeError>(())
/// ```
///
/// It keeps a `handle` of the caller's for each membership, from [`attach`](Self::attach) until the membership is over, so
/// that nobody has to keep a second list of them.
#[derive(Debug)]
pub struct Session<M = ()> {
    /// Few, and nearly always one: a list is smaller and faster than a map.
    entries: Vec<Entry<M>>,
    max_channels: usize,
    /// Bytes of the messages that wait for memberships to be joined or over.
    waiting: usize,
}

#[derive(Debug)]
struct Entry<M> {
    topic: ByteString,
    channel: ChannelId,
    join_ref: Ref,
    state: State,
    handle: Option<M>,
}

impl<M> Entry<M> {
    /// Whether this is the topic's membership.
    fn is_of(&self, topic: &str) -> bool {
        self.topic == topic && !matches!(self.state, State::Overdue)
    }
}

#[derive(Debug)]
enum State {
    Joining(Box<Joining>),
    Joined,
    /// A leave was passed to the channel; its reply must carry this ref.
    Leaving(Ref),
    Ending(Box<Ending>),
    /// It did not end in its time: its topic is free, but it still counts toward the limit of channels.
    Overdue,
}

/// Messages that wait for a topic, each with its time of arrival.
type Waiting = VecDeque<(u64, Message)>;

/// A channel that the client no longer has, and whose callbacks are not over.
#[derive(Debug, Default)]
struct Ending {
    /// Its join_ref, if its `phx_close` follows the answer to the join that replaces it.
    replaced: Option<Ref>,
    /// A join of the topic, and what arrived after it.
    waiting: Waiting,
}

#[derive(Debug)]
struct Joining {
    /// The ref that the answer to the join must carry.
    reference: Ref,
    /// The join_ref of the channel that this join replaces: its `phx_close` follows the answer.
    replaces: Option<Ref>,
    /// What arrived for the topic meanwhile.
    waiting: Waiting,
}

impl<M> Session<M> {
    /// A session that holds at most `max_channels` topics.
    pub fn new(max_channels: usize) -> Self {
        Self { entries: vec![], max_channels, waiting: 0 }
    }

    /// Keeps the caller's handle of a channel that it [starts](Effect::Start).
    pub fn attach(&mut self, channel: ChannelId, handle: M) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.channel == channel) {
            entry.handle = Some(handle);
        }
    }

    /// The handle of a channel that is not over.
    pub fn handle(&self, channel: ChannelId) -> Option<&M> {
        self.entries.iter().find(|entry| entry.channel == channel)?.handle.as_ref()
    }

    /// The handles of all channels that are not over.
    pub fn handles(&self) -> impl Iterator<Item = &M> {
        self.entries.iter().filter_map(|entry| entry.handle.as_ref())
    }

    /// A message from the client, which arrived at the time `now` of any monotonic clock. `is_routed` says whether a
    /// topic has a channel.
    pub fn receive(&mut self, message: Message, now: u64, is_routed: impl Fn(&str) -> bool) -> Vec<Effect> {
        if message.topic == PHOENIX && message.event == HEARTBEAT {
            let ok = Payload::empty();
            return vec![reply(Ref::Null, message.reference, message.topic, Status::Ok, ok)];
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_of(&message.topic)) else {
            return self.receive_unjoined(message, None, is_routed);
        };
        match (&mut entry.state, &*message.event) {
            (State::Joining(joining), event) => {
                let hurry = matches!(event, PHX_JOIN | PHX_LEAVE);
                self.waiting += message.cost();
                joining.waiting.push_back((now, message));
                hurry.then_some(Effect::Hurry { channel: entry.channel }).into_iter().collect()
            }
            (State::Ending(ending), event) if event == PHX_JOIN || !ending.waiting.is_empty() => {
                self.waiting += message.cost();
                ending.waiting.push_back((now, message));
                vec![]
            }
            (State::Ending(_) | State::Overdue, _) => self.receive_unjoined(message, None, is_routed),
            (_, PHX_JOIN) => self.replace(message, now),
            // "a nil join_ref is valid on non-join messages"; any other than the present one is of an earlier join
            _ if message.join_ref != Ref::Null && message.join_ref != entry.join_ref => vec![],
            (State::Leaving(_), _) => vec![],
            (State::Joined, PHX_LEAVE) => {
                entry.state = State::Leaving(message.reference.clone());
                vec![Effect::Leave { channel: entry.channel, reference: message.reference }]
            }
            (State::Joined, _) => vec![Effect::Deliver { channel: entry.channel, message }],
        }
    }

    /// A message for a topic without a membership. If it is a join that has replaced a channel, `replaced` is that
    /// channel's join_ref.
    fn receive_unjoined(
        &mut self,
        message: Message,
        replaced: Option<Ref>,
        is_routed: impl Fn(&str) -> bool,
    ) -> Vec<Effect> {
        let Message { join_ref, reference, topic, event, payload, .. } = message;
        match &*event {
            PHX_JOIN if !is_routed(&topic) => vec![unmatched(reference, topic)],
            PHX_JOIN if self.entries.len() >= self.max_channels => {
                let payload = reason("too many channels joined");
                let refused = reply(join_ref, reference, topic.clone(), Status::Error, payload);
                let replaced = replaced.map(|join_ref| closed(join_ref, topic));
                [refused].into_iter().chain(replaced).collect()
            }
            PHX_JOIN => vec![self.start(join_ref, reference, topic, payload, replaced)],
            PHX_LEAVE => vec![reply(join_ref, reference, topic, Status::Ok, Payload::empty())],
            _ => vec![unmatched(reference, topic)],
        }
    }

    /// A join of a topic that is joined: it waits until the old channel has ended. The `phx_close` of the old one
    /// follows the reply to the new one.
    fn replace(&mut self, message: Message, since: u64) -> Vec<Effect> {
        let Some(old) = self.entries.iter_mut().find(|entry| entry.is_of(&message.topic)) else {
            return vec![];
        };
        let mut effects = vec![Effect::Replace { channel: old.channel, since }];
        self.waiting += message.cost();
        let ending =
            Ending { replaced: Some(old.join_ref.clone()), waiting: VecDeque::from([(since, message)]) };
        if let State::Leaving(leave) = std::mem::replace(&mut old.state, State::Ending(Box::new(ending))) {
            // the channel ends before it has answered the leave
            let (join_ref, topic) = (old.join_ref.clone(), old.topic.clone());
            effects.push(reply(join_ref, leave, topic, Status::Ok, Payload::empty()));
        }
        effects
    }

    fn start(
        &mut self,
        join_ref: Ref,
        reference: Ref,
        topic: ByteString,
        payload: Payload,
        replaces: Option<Ref>,
    ) -> Effect {
        // a copy: the name would keep the frame of the join alive for as long as the channel lives
        let topic = ByteString::from(&*topic);
        let channel = ChannelId::new();
        let joined_by = reference.clone();
        let state = State::Joining(Box::new(Joining { reference, replaces, waiting: VecDeque::new() }));
        // most sockets join one topic: ten thousand of them should not keep room for three more each
        self.entries.reserve_exact(1);
        self.entries.push(Entry {
            topic: topic.clone(),
            channel,
            join_ref: join_ref.clone(),
            state,
            handle: None,
        });
        // "join_ref: join_ref || ref": if the client gave none, what the channel sends still names its join
        let join_ref = if join_ref == Ref::Null { joined_by } else { join_ref };
        Effect::Start { channel, join_ref, topic, payload }
    }

    /// A join callback ended. Messages that waited for it are judged now, in the order in which they arrived.
    pub fn joined(
        &mut self,
        channel: ChannelId,
        how: Joined,
        is_routed: impl Fn(&str) -> bool,
    ) -> Vec<Effect> {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.channel == channel) else {
            return vec![];
        };
        let State::Joining(joining) = std::mem::replace(&mut entry.state, State::Joined) else {
            return vec![];
        };
        let joining = *joining;
        let (topic, join_ref) = (entry.topic.clone(), entry.join_ref.clone());
        let (status, payload) = match how {
            Joined::Ok(payload) => (Status::Ok, payload),
            Joined::Refused(payload) => (Status::Error, payload),
            Joined::Crashed => (Status::Error, reason("join crashed")),
        };
        if status == Status::Error {
            self.remove(channel);
        }
        let mut effects = vec![reply(join_ref, joining.reference, topic.clone(), status, payload)];
        effects.extend(joining.replaces.map(|join_ref| closed(join_ref, topic)));
        self.judge(joining.waiting, is_routed, &mut effects);
        effects
    }

    /// A joined channel ended by itself, or after a leave. It is *ending* until it is [over](Session::over).
    pub fn ended(&mut self, channel: ChannelId, how: Ended) -> Option<Effect> {
        let entry = self.entries.iter_mut().find(|entry| entry.channel == channel)?;
        if let State::Ending(_) | State::Overdue = entry.state {
            return None;
        }
        entry.state = State::Ending(Box::default());
        let (topic, join_ref) = (entry.topic.clone(), entry.join_ref.clone());
        Some(match how {
            Ended::Closed => closed(join_ref, topic),
            Ended::Crashed => {
                Effect::Ended { join_ref, topic, event: PHX_ERROR, payload: reason("channel_crash") }
            }
        })
    }

    /// The last callback of a channel is over. A join that waited for it starts now.
    pub fn over(&mut self, channel: ChannelId, is_routed: impl Fn(&str) -> bool) -> Vec<Effect> {
        match self.remove(channel) {
            Some(Entry { state: State::Ending(ending), .. }) => self.go_on(*ending, is_routed),
            _ => vec![],
        }
    }

    /// A channel did not end in its time: a join of its topic waits for it no longer.
    pub fn overdue(&mut self, channel: ChannelId, is_routed: impl Fn(&str) -> bool) -> Vec<Effect> {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.channel == channel) else {
            return vec![];
        };
        match std::mem::replace(&mut entry.state, State::Overdue) {
            State::Ending(ending) => self.go_on(*ending, is_routed),
            _ => vec![],
        }
    }

    /// Judges what waited for a channel to end; the first message is a join.
    fn go_on(&mut self, ending: Ending, is_routed: impl Fn(&str) -> bool) -> Vec<Effect> {
        let Ending { replaced, mut waiting } = ending;
        let Some((_, join)) = waiting.pop_front() else { return vec![] };
        self.waiting -= join.cost();
        let mut effects = self.receive_unjoined(join, replaced, &is_routed);
        self.judge(waiting, is_routed, &mut effects);
        effects
    }

    /// Judges what has waited for a topic, up to the next message that has to wait again.
    fn judge(&mut self, mut waiting: Waiting, is_routed: impl Fn(&str) -> bool, effects: &mut Vec<Effect>) {
        while let Some((_, first)) = waiting.front() {
            if let Some(next) = self.waiting_for(&first.topic) {
                // moved as a whole: with many joins, each would otherwise look at all messages after it
                next.append(&mut waiting);
                return;
            }
            let Some((arrived, message)) = waiting.pop_front() else { return };
            self.waiting -= message.cost();
            effects.extend(self.receive(message, arrived, &is_routed));
        }
    }

    /// The queue in which messages of a topic wait, if they have to.
    fn waiting_for(&mut self, topic: &str) -> Option<&mut Waiting> {
        let entry = self.entries.iter_mut().find(|entry| entry.is_of(topic))?;
        match &mut entry.state {
            State::Joining(joining) => Some(&mut joining.waiting),
            State::Ending(ending) if !ending.waiting.is_empty() => Some(&mut ending.waiting),
            _ => None,
        }
    }

    /// Bytes of the messages that wait for memberships to be joined or over.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn remove(&mut self, channel: ChannelId) -> Option<Entry<M>> {
        let index = self.entries.iter().position(|entry| entry.channel == channel)?;
        Some(self.entries.swap_remove(index))
    }
}

fn reply(join_ref: Ref, reference: Ref, topic: ByteString, status: Status, payload: Payload) -> Effect {
    Effect::Reply { join_ref, reference, topic, status, payload }
}

fn closed(join_ref: Ref, topic: ByteString) -> Effect {
    Effect::Ended { join_ref, topic, event: PHX_CLOSE, payload: Payload::empty() }
}

fn unmatched(reference: Ref, topic: ByteString) -> Effect {
    reply(Ref::Null, reference, topic, Status::Error, reason("unmatched topic"))
}

/// `{"reason": text}`.
pub fn reason(text: &str) -> Payload {
    json!({ "reason": text }).into_payload().unwrap_or_default()
}

#[cfg(test)]
mod tests;
