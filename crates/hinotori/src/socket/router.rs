//! Which channel serves which topic of a socket.

use std::{marker::PhantomData, rc::Rc, sync::Arc};

use super::{CloseReason, SocketHandler};
use crate::{
    channel::{self, Channel, Membership},
    pubsub::is_scoped,
    telemetry::{Count, Gauge, Telemetry},
    wire::{Pattern, Payload},
};

/// The channels of a socket, by the topics that they serve. The first pattern that matches wins.
pub struct Routes<S> {
    routes: Vec<Route<S>>,
    telemetry: Arc<Telemetry>,
}

struct Route<S> {
    pattern: Pattern,
    /// The gauge of channels that have been started and have not ended.
    running: Gauge,
    start: Box<dyn Start<S>>,
}

impl<S: SocketHandler> Routes<S> {
    /// The routes that `S` declares, whose channels are counted.
    pub(crate) fn of(telemetry: Arc<Telemetry>) -> Self {
        let mut routes = Self { routes: vec![], telemetry };
        S::channels(&mut routes);
        routes
    }

    /// Serves a topic, or all topics with a prefix (`room:*`), with the channel `C`.
    ///
    /// # Panics
    /// If the pattern is empty or has a `*` anywhere except at its end. This happens when the server starts.
    pub fn channel<C: Channel<Socket = S>>(&mut self, pattern: &str) -> &mut Self {
        match Pattern::parse(pattern) {
            Ok(parsed) => self.routes.push(Route {
                pattern: parsed,
                running: self.telemetry.channels_of(pattern),
                start: Box::new(Starter::<C>(PhantomData)),
            }),
            Err(error) => panic!("{error}"),
        }
        self
    }

    fn find(&self, topic: &str) -> Option<&Route<S>> {
        self.routes.iter().find(|route| route.pattern.matches(topic))
    }
}

/// Starts a channel of one type.
trait Start<S> {
    fn start(&self, socket: Rc<S>, membership: Rc<Membership>, payload: Payload, count: Count);
}

struct Starter<C>(PhantomData<C>);

impl<C: Channel> Start<C::Socket> for Starter<C> {
    fn start(&self, socket: Rc<C::Socket>, membership: Rc<Membership>, payload: Payload, count: Count) {
        channel::start::<C>(socket, membership, payload, count);
    }
}

/// One connected socket's routes, without its type.
pub(crate) trait Router {
    /// Whether a topic has a channel.
    fn is_routed(&self, topic: &str) -> bool;
    /// Starts the channel that serves the membership's topic.
    fn start(&self, membership: Rc<Membership>, payload: Payload);
    /// Tells the application that the connection has ended.
    fn terminate(&self, why: CloseReason);
}

/// A socket's handler beside the routes of its mount.
pub(crate) struct Connected<S> {
    pub(crate) socket: Rc<S>,
    pub(crate) routes: Rc<Routes<S>>,
}

impl<S: SocketHandler> Router for Connected<S> {
    fn is_routed(&self, topic: &str) -> bool {
        self.routes.find(topic).is_some() && !is_scoped(topic)
    }

    fn start(&self, membership: Rc<Membership>, payload: Payload) {
        if let Some(route) = self.routes.find(membership.topic()) {
            let count = Count::new(route.running.clone());
            route.start.start(self.socket.clone(), membership, payload, count);
        }
    }

    fn terminate(&self, why: CloseReason) {
        self.socket.terminate(why);
    }
}
