//! Why a connection is closed, under the name by which the transport asks for it.

#[path = "../../src/telemetry/labels.rs"]
mod labels;

pub(crate) use labels::Closed;
