//! Frames between nodes.

use bytes::Bytes;
use hinotori_protocol::{
    cluster::{Envelope, Heartbeat, Kind},
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
        Kind::Broadcast | Kind::Request | Kind::Disconnect | Kind::Bye => {}
    }
}
