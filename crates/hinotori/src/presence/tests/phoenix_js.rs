//! The `Presence` class of phoenix.js, line by line.
//!
//! # Source
//! Phoenix `assets/js/phoenix/presence.js`, 1.8.12.

use super::*;

/// What a page knows of who is present on the topic of one channel.
#[derive(Default)]
pub(super) struct PhoenixJs {
    pub(super) state: Presences,
    pending_diffs: Vec<Value>,
    /// Whether a state has come since the channel was last joined.
    pub(super) is_synced: bool,
}

impl PhoenixJs {
    /// The channel has a new join ref. phoenix.js forgets nothing until the new state comes.
    pub(super) fn rejoin(&mut self) {
        self.is_synced = false;
    }

    pub(super) fn on_state(&mut self, new_state: &Presences) {
        self.is_synced = true;
        self.sync_state(new_state);
        for diff in std::mem::take(&mut self.pending_diffs) {
            self.sync_diff(&diff);
        }
    }

    pub(super) fn on_diff(&mut self, diff: &Value) {
        if self.is_synced {
            self.sync_diff(diff);
        } else {
            self.pending_diffs.push(diff.clone());
        }
    }

    fn sync_state(&mut self, new_state: &Presences) {
        let (mut joins, mut leaves) = (Presences::new(), Presences::new());
        for (key, presence) in &self.state {
            if !new_state.contains_key(key) {
                leaves.insert(key.clone(), presence.clone());
            }
        }
        for (key, new_presence) in new_state {
            let Some(current) = self.state.get(key) else {
                joins.insert(key.clone(), new_presence.clone());
                continue;
            };
            let joined = without(new_presence, current);
            let left = without(current, new_presence);
            if !metas(&joined).is_empty() {
                joins.insert(key.clone(), joined);
            }
            if !metas(&left).is_empty() {
                leaves.insert(key.clone(), left);
            }
        }
        self.sync_diff(&json!({ "joins": joins, "leaves": leaves }));
    }

    fn sync_diff(&mut self, diff: &Value) {
        for (key, new_presence) in diff["joins"].as_object().unwrap() {
            let mut presence = new_presence.clone();
            if let Some(current) = self.state.get(key) {
                let kept = [metas(&without(current, new_presence)), metas(new_presence)].concat();
                presence["metas"] = kept.into();
            }
            self.state.insert(key.clone(), presence);
        }
        for (key, left) in diff["leaves"].as_object().unwrap() {
            let Some(current) = self.state.get_mut(key) else { continue };
            *current = without(current, left);
            if metas(current).is_empty() {
                self.state.remove(key);
            }
        }
    }
}

/// A presence without the metas whose `phx_ref`s another one has.
fn without(presence: &Value, other: &Value) -> Value {
    let refs: Vec<Value> = metas(other).iter().map(|meta| meta["phx_ref"].clone()).collect();
    let kept: Vec<Value> =
        metas(presence).into_iter().filter(|meta| !refs.contains(&meta["phx_ref"])).collect();
    let mut presence = presence.clone();
    presence["metas"] = kept.into();
    presence
}
