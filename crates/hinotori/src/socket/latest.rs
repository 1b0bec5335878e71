//! For a client that lags: the newest of each message that supersedes earlier ones, to be sent when the client has
//! caught up.

use indexmap::IndexMap;

use super::ChannelId;
use crate::wire::Frame;

/// Frames by channel and key. Few of a client's channels have any.
#[derive(Debug, Default)]
pub(super) struct Latest {
    channels: Vec<(ChannelId, IndexMap<Box<str>, Frame>)>,
    /// Bytes of keys and frames.
    bytes: usize,
}

fn cost(key: &str, frame: &Frame) -> usize {
    size_of::<(Box<str>, Frame)>() + key.len() + frame.size()
}

impl Latest {
    /// Keeps a frame in place of an older one with the same key; drops it if more than `limit` bytes would be kept.
    pub(super) fn keep(&mut self, channel: ChannelId, key: &str, frame: &Frame, limit: usize) {
        let index = self.channels.iter().position(|(id, _)| *id == channel).unwrap_or_else(|| {
            self.channels.push((channel, IndexMap::new()));
            self.channels.len() - 1
        });
        let frames = &mut self.channels[index].1;
        // an older one is out of date, whether or not there is room for this one
        if let Some(older) = frames.swap_remove(key) {
            self.bytes -= cost(key, &older);
        }
        if self.bytes + cost(key, frame) <= limit {
            self.bytes += cost(key, frame);
            frames.insert(key.into(), frame.clone());
        }
    }

    /// Drops the frames of a channel that has ended.
    pub(super) fn forget(&mut self, channel: ChannelId) {
        if let Some(index) = self.channels.iter().position(|(id, _)| *id == channel) {
            let (_, frames) = self.channels.swap_remove(index);
            self.bytes -= frames.iter().map(|(key, frame)| cost(key, frame)).sum::<usize>();
        }
    }

    pub(super) fn into_frames(self) -> impl Iterator<Item = Frame> {
        self.channels.into_iter().flat_map(|(_, frames)| frames.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Opcode;

    fn frame(text: &str) -> Frame {
        Frame::of(Opcode::Text, text.as_bytes())
    }

    #[test]
    fn the_newest_of_each_key_is_kept_within_its_bound_and_nothing_of_a_channel_that_has_ended() {
        let (mut latest, one, two) = (Latest::default(), ChannelId(1), ChannelId(2));
        let limit = 3 * cost("ann", &frame("1"));
        for (channel, key, text) in
            [(one, "ann", "1"), (two, "ann", "2"), (one, "bob", "3"), (one, "ann", "4"), (two, "eve", "5")]
        {
            latest.keep(channel, key, &frame(text), limit);
        }
        assert!(latest.bytes <= limit);
        latest.forget(two);
        latest.keep(one, "bob", &frame(&"x".repeat(limit)), limit);
        assert_eq!(
            latest.bytes,
            cost("ann", &frame("4")),
            "a long one drives out no other, nor does an old one stay"
        );
        assert_eq!(latest.into_frames().collect::<Vec<_>>(), [frame("4")]);
    }
}
