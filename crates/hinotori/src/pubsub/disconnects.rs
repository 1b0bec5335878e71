//! Disconnects that are broadcast while a socket is being connected.
//!
//! A socket is subscribed to its ids once `connect` has returned. A disconnect that comes after `connect` has checked its
//! client, but before the subscription, would miss the socket. So a thread keeps the disconnects that it delivers while
//! any of its sockets is being connected, and each of these looks for its own ids when it has subscribed. Nothing is kept
//! while no socket is being connected.
//!
//! # Source
//! Phoenix has this gap: `lib/phoenix/socket.ex` (`__init__/1`), 1.8.12, subscribes after `connect/3` and `id/1`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use indexmap::IndexMap;

use super::{Broadcast, Local};
use crate::wire::DISCONNECT;

/// Ids whose disconnects a thread keeps, as many as a node keeps for other nodes. A socket that was being connected
/// during those of more ids is closed, because one may have been its own; phoenix.js connects again.
const KEPT: usize = 1_024;

/// See the module.
#[derive(Default)]
pub(super) struct Disconnects {
    /// Sockets that are being connected.
    connecting: Cell<usize>,
    /// When the newest disconnect of each id was made.
    recent: RefCell<IndexMap<Box<str>, Instant>>,
    /// When the newest was made of those that are no longer kept.
    forgotten: Cell<Option<Instant>>,
}

impl Disconnects {
    /// A broadcast is delivered.
    pub(super) fn note(&self, broadcast: &Broadcast) {
        if self.connecting.get() > 0 && broadcast.event == DISCONNECT {
            self.keep(broadcast.made, &broadcast.topic);
        }
    }

    fn keep(&self, made: Instant, id: &str) {
        let mut recent = self.recent.borrow_mut();
        let made = recent.shift_remove(id).map_or(made, |before| before.max(made));
        if recent.len() == KEPT {
            let oldest = recent.shift_remove_index(0).map(|(_, made)| made);
            self.forgotten.set(self.forgotten.get().max(oldest));
        }
        recent.insert(id.into(), made);
    }
}

/// The disconnects of a thread since a socket began to be connected.
pub(crate) struct DisconnectsSince {
    local: Rc<Local>,
    begun: Instant,
}

impl DisconnectsSince {
    /// From now on. What was made before, `connect` can see in whatever it checks.
    pub(super) fn now(local: Rc<Local>) -> Self {
        let connecting = &local.disconnects().connecting;
        connecting.set(connecting.get() + 1);
        Self { local, begun: Instant::now() }
    }

    /// Whether one of these ids was, or may have been, disconnected.
    pub(crate) fn has(&self, ids: &[Box<str>]) -> bool {
        let Disconnects { recent, forgotten, .. } = self.local.disconnects();
        let (recent, is_since) = (recent.borrow(), |made: Instant| made >= self.begun);
        !ids.is_empty()
            && (forgotten.get().is_some_and(is_since)
                || ids.iter().any(|id| recent.get(id).copied().is_some_and(is_since)))
    }
}

impl Drop for DisconnectsSince {
    fn drop(&mut self) {
        let Disconnects { connecting, recent, forgotten } = self.local.disconnects();
        connecting.set(connecting.get() - 1);
        if connecting.get() == 0 {
            drop((recent.take(), forgotten.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Endpoint;

    use super::*;

    fn since(endpoint: &Endpoint) -> DisconnectsSince {
        endpoint.pubsub().disconnects_since_now()
    }

    fn has(since: &DisconnectsSince, id: &str) -> bool {
        since.has(&["sessions:1".into(), id.into()])
    }

    fn kept(endpoint: &Endpoint) -> usize {
        endpoint.pubsub().local().disconnects().recent.borrow().len()
    }

    #[actix_web::test]
    async fn a_socket_has_the_disconnects_of_its_ids_since_it_began_and_no_other() {
        let endpoint = Endpoint::new();
        let early = since(&endpoint);
        endpoint.disconnect("users:1");
        endpoint.broadcast("users:2", "connect", serde_json::json!({})).unwrap();
        let late = since(&endpoint);
        assert!(has(&early, "users:1") && !has(&early, "users:2") && !early.has(&[]));
        assert!(!has(&late, "users:1"));
        endpoint.disconnect("users:3");
        assert!(has(&early, "users:3") && has(&late, "users:3"));
    }

    #[actix_web::test]
    async fn nothing_is_kept_unless_a_socket_is_being_connected() {
        let endpoint = Endpoint::new();
        let _ = endpoint.pubsub().local();
        endpoint.disconnect("users:1");
        assert_eq!(kept(&endpoint), 0);
        let sockets = [(); 2].map(|()| since(&endpoint));
        (0..2 * KEPT).for_each(|n| endpoint.disconnect(&format!("users:{n}")));
        let [first, second] = sockets;
        drop(first);
        assert_eq!(kept(&endpoint), KEPT);
        drop(second);
        assert_eq!((kept(&endpoint), has(&since(&endpoint), "users:2047")), (0, false));
    }

    #[actix_web::test]
    async fn a_socket_that_may_have_missed_its_disconnect_counts_as_disconnected() {
        let endpoint = Endpoint::new();
        let early = since(&endpoint);
        (0..KEPT).for_each(|n| endpoint.disconnect(&format!("devices:{n}")));
        assert!(!has(&early, "users:2"), "all are kept");
        endpoint.disconnect("users:1");
        let late = since(&endpoint);
        assert!(has(&early, "users:2") && !early.has(&[]), "one may have been of users:2");
        assert!(!has(&late, "users:2"), "that one was made before");
    }

    #[actix_web::test]
    async fn however_often_one_id_is_disconnected_those_of_others_are_kept() {
        let endpoint = Endpoint::new();
        let early = since(&endpoint);
        (0..2 * KEPT).for_each(|_| endpoint.disconnect("users:1"));
        (2..KEPT).for_each(|n| endpoint.disconnect(&format!("devices:{n}")));
        assert!(!has(&early, "users:2") && has(&early, "users:1"));
        let late = since(&endpoint);
        for id in ["users:1", "users:3", "users:4"] {
            endpoint.disconnect(id);
        }
        assert!(
            has(&late, "users:1") && !has(&late, "users:2"),
            "the oldest is forgotten, and late began after it"
        );
    }
}
