//! Reads little-endian fields of bytes that anybody may have written.

use bytes::Bytes;
use bytestring::ByteString;

/// What is left to read. Every method returns `None` if the bytes end before the field does.
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N).and_then(|bytes| bytes.as_ref().try_into().ok())
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes behind their length as a u32.
    pub(crate) fn long(&mut self) -> Option<Bytes> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// The same as UTF-8.
    pub(crate) fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.long()?).ok()
    }

    /// UTF-8 behind its length as a u16.
    pub(crate) fn short_text(&mut self) -> Option<ByteString> {
        let length = self.u16()?;
        ByteString::try_from(self.bytes(length.into())?).ok()
    }
}
