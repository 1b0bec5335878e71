//! Frames between nodes.

use std::time::Duration;

use bytes::Bytes;
use hinotori_protocol::{
    cluster::{Answer, Envelope, Fragment, Fragments, Heartbeat, Kind, Passed},
    presence::{Delta, Part, Replica},
};

/// Checks that a frame, and what it carries, is read or refused, and that what was read is written and read again as the
/// same.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(data)) else { return };
    let frame = envelope.encode().expect("its lengths were in the frame").freeze();
    assert_eq!(Envelope::decode(frame).as_ref(), Ok(&envelope));
    let Some(payload) = envelope.payload.to_binary() else { return };
    match envelope.kind {
        Kind::Heartbeat => {
            if let Some(heartbeat) = Heartbeat::decode(payload) {
                assert_eq!(Heartbeat::decode(heartbeat.encode()), Some(heartbeat));
            }
        }
        Kind::Delta => {
            if let Some(delta) = Delta::decode(payload) {
                assert_eq!(Delta::decode(delta.encode()).as_ref(), Some(&delta));
                let mut replica = Replica::new(1);
                replica.delta(delta.clone());
                assert!(replica.delta(delta).is_empty(), "the same changes again change nothing");
                let _ = replica.end();
            }
        }
        Kind::Part => {
            if let Some(part) = Part::decode(payload) {
                assert_eq!(Part::decode(part.encode()).as_ref(), Some(&part));
                let mut replica = Replica::new(1);
                replica.part(part.clone());
                assert!(replica.part(part).is_empty(), "the same part again changes nothing");
                let _ = replica.end();
            }
        }
        Kind::Pass | Kind::Answer => {
            let Some(fragment) = Fragment::decode(payload) else { return };
            assert_eq!(Fragment::decode(fragment.encode()).as_ref(), Some(&fragment));
            let whole = Fragments::new(1 << 20).add(Duration::ZERO, 1, fragment.clone());
            assert_eq!(whole == Ok(Some(fragment.bytes.clone())), fragment.count == 1);
            if let Some(passed) = Passed::decode(fragment.bytes.clone()) {
                assert_eq!(Passed::decode(passed.encode()), Some(passed));
            }
            if let Some(answer) = Answer::decode(fragment.bytes) {
                assert_eq!(Answer::decode(answer.encode()), Some(answer));
            }
        }
        Kind::Broadcast | Kind::Request | Kind::Disconnect | Kind::Bye => {}
    }
}
