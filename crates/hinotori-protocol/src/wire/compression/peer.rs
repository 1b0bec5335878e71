//! The other side of a connection, for tests, with another implementation of DEFLATE.

use std::iter;

use miniz_oxide::{
    DataFormat,
    deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output},
    inflate::{
        TINFLStatus,
        core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT},
    },
};
use proptest::prelude::*;

pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A client that takes over its context, with a window of 32 KiB.
pub(super) struct Writer(Box<CompressorOxide>);

impl Writer {
    pub(super) fn new() -> Self {
        let mut compressor = Box::<CompressorOxide>::default();
        compressor.set_format_and_level(DataFormat::Raw, 6);
        Self(compressor)
    }

    /// The payload of a message.
    pub(super) fn write(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = vec![];
        compress_to_output(&mut self.0, message, TDEFLFlush::Sync, |bytes| {
            payload.extend_from_slice(bytes);
            true
        });
        payload.strip_suffix(&TAIL).unwrap().to_vec()
    }
}

/// Reads a payload with a window of this many bytes, a power of 2. Panics if the payload refers back further.
pub(super) fn read(payload: &[u8], window: usize) -> Vec<u8> {
    let bytes = [payload, &TAIL].concat();
    let (mut inflater, mut buffer, mut read) = (DecompressorOxide::new(), vec![0; window], 0);
    iter::from_fn(|| {
        let rest = &bytes[read..];
        let (status, taken, written) =
            decompress(&mut inflater, rest, &mut buffer, 0, TINFL_FLAG_HAS_MORE_INPUT);
        assert!(
            matches!(status, TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput),
            "{status:?} with a window of {window}"
        );
        read += taken;
        (written > 0 || taken > 0).then(|| buffer[..written].to_vec())
    })
    .flatten()
    .collect()
}

/// Messages of up to 50 KB that repeat themselves at short and long distances.
pub(super) fn message() -> impl Strategy<Value = Vec<u8>> {
    let unit = proptest::collection::vec(any::<u8>(), 700);
    let units = proptest::collection::vec(unit, 4);
    let parts = proptest::collection::vec((0usize..4, 0usize..700), 0..120);
    (units, parts).prop_map(|(units, parts)| {
        parts.iter().flat_map(|(unit, length)| units[*unit][..*length].iter().copied()).collect()
    })
}
