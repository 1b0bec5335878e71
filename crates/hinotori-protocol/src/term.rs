//! The subset of Erlang's external term format that has a JSON equivalent: the contents of a Phoenix token.
//!
//! [`decode`] reads one term, [`encode`] writes one. Both work in memory, limit size and depth, and cannot panic.
//!
//! | term | JSON |
//! |---|---|
//! | `nil`, `true`, `false` | `null`, `true`, `false` |
//! | any other atom | string |
//! | integer from −2⁶³ to 2⁶⁴ − 1, float | number |
//! | UTF-8 binary | string |
//! | list, tuple | array; a charlist is a list of integers |
//! | map with keys that are atoms, binaries or integers | object |
//!
//! In the other direction, strings and keys become binaries, and arrays become lists. Everything else is an error:
//! pids, ports, references, functions, bit strings, larger integers, improper lists, compressed terms, and maps with
//! two keys that read the same (`:a` and `"a"`).
//!
//! # Source
//! <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>, version 131.

use std::fmt;

use serde_json::{Map, Number, Value};

/// Length of the longest term, in bytes. A token is sent in a header or a query string, which servers limit to a few
/// KiB.
pub const MAX_SIZE: usize = 64 * 1024;

/// How deep lists, tuples and maps may be nested.
pub const MAX_DEPTH: usize = 64;

const VERSION: u8 = 131;
const NEW_FLOAT: u8 = 70;
const COMPRESSED: u8 = 80;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
/// Latin-1, as written by OTP before 26.
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
/// A list of integers from 0 to 255.
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// Why bytes are not an accepted term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermError {
    /// The term is longer than [`MAX_SIZE`]; holds its length.
    TooBig(usize),
    /// Lists, tuples and maps are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The first byte is not 131 but this one; `None` if there is no byte.
    Version(Option<u8>),
    /// The term is truncated.
    Truncated,
    /// This many bytes follow the term.
    Trailing(usize),
    /// A term type that is not accepted; holds its tag.
    Tag(u8),
    /// An atom or a binary is not UTF-8.
    NotUtf8,
    /// An integer is below −2⁶³ or above 2⁶⁴ − 1.
    Integer,
    /// A float is infinite or not a number.
    Float,
    /// A list's tail is not the empty list.
    Improper,
    /// A map's key is not an atom, binary or integer.
    Key,
    /// Two keys of a map read the same.
    DuplicateKey,
}

impl fmt::Display for TermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig(size) => write!(f, "term too big: expected at most {MAX_SIZE} bytes, got {size}"),
            Self::TooDeep => write!(f, "term too deep: expected at most {MAX_DEPTH} levels"),
            Self::Version(Some(got)) => write!(f, "expected a term of version {VERSION}, got {got}"),
            Self::Version(None) => f.write_str("expected a term, got no bytes"),
            Self::Truncated => f.write_str("term truncated"),
            Self::Trailing(bytes) => write!(f, "{bytes} bytes behind the term"),
            Self::Tag(COMPRESSED) => f.write_str("a compressed term is not taken"),
            Self::Tag(tag) => write!(
                f,
                "expected an atom, integer, float, binary, list, tuple or map, got a term with tag {tag}"
            ),
            Self::NotUtf8 => f.write_str("atom or binary is not UTF-8"),
            Self::Integer => f.write_str("integer out of range: expected -2^63 to 2^64 - 1"),
            Self::Float => f.write_str("float is not finite"),
            Self::Improper => f.write_str("improper list"),
            Self::Key => f.write_str("expected an atom, binary or integer as a map's key"),
            Self::DuplicateKey => f.write_str("two keys of a map read the same"),
        }
    }
}

impl std::error::Error for TermError {}

/// Reads a term, which must span all of the bytes.
///
/// ```
/// use hinotori_protocol::term;
/// use serde_json::json;
///
/// // :erlang.term_to_binary(%{id: 7})
/// let bytes = [131, 116, 0, 0, 0, 1, 119, 2, b'i', b'd', 97, 7];
/// assert_eq!(term::decode(&bytes)?, json!({ "id": 7 }));
/// # Ok::<_, term::TermError>(())
/// ```
///
/// # Errors
/// [`TermError`] for the first problem found.
pub fn decode(bytes: &[u8]) -> Result<Value, TermError> {
    if bytes.len() > MAX_SIZE {
        return Err(TermError::TooBig(bytes.len()));
    }
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            let mut reader = Reader { rest };
            let value = reader.value(0)?;
            if reader.rest.is_empty() { Ok(value) } else { Err(TermError::Trailing(reader.rest.len())) }
        }
        other => Err(TermError::Version(other.map(|(version, _)| *version))),
    }
}

/// The bytes that have not been read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], TermError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(TermError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TermError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(TermError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<usize, TermError> {
        self.array().map(|[byte]| byte.into())
    }

    fn u16(&mut self) -> Result<usize, TermError> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    /// A length that does not fit into `usize` is treated as one that exceeds the input.
    fn u32(&mut self) -> Result<usize, TermError> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| TermError::Truncated)
    }

    fn value(&mut self, depth: usize) -> Result<Value, TermError> {
        if depth > MAX_DEPTH {
            return Err(TermError::TooDeep);
        }
        let [tag] = self.array()?;
        Ok(match tag {
            SMALL_INTEGER => self.u8()?.into(),
            INTEGER => i32::from_be_bytes(self.array()?).into(),
            SMALL_BIG => Value::Number(self.big()?),
            NEW_FLOAT => {
                let float = Number::from_f64(f64::from_be_bytes(self.array()?));
                Value::Number(float.ok_or(TermError::Float)?)
            }
            ATOM => atom(self.u16().and_then(|length| self.latin1(length))?),
            SMALL_ATOM => atom(self.u8().and_then(|length| self.latin1(length))?),
            ATOM_UTF8 => atom(self.u16().and_then(|length| self.text(length))?),
            SMALL_ATOM_UTF8 => atom(self.u8().and_then(|length| self.text(length))?),
            BINARY => self.u32().and_then(|length| self.text(length))?.into(),
            STRING => self.u16().and_then(|length| self.bytes(length))?.into(),
            NIL => Value::Array(vec![]),
            LIST => {
                let count = self.u32()?;
                let list = self.values(count, depth)?;
                if self.array()? == [NIL] { list } else { return Err(TermError::Improper) }
            }
            SMALL_TUPLE => self.u8().and_then(|count| self.values(count, depth))?,
            LARGE_TUPLE => self.u32().and_then(|count| self.values(count, depth))?,
            MAP => self.u32().and_then(|count| self.map(count, depth))?,
            other => return Err(TermError::Tag(other)),
        })
    }

    /// No memory is reserved for what a count only claims.
    fn values(&mut self, count: usize, depth: usize) -> Result<Value, TermError> {
        (0..count).map(|_| self.value(depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, TermError> {
        let mut map = Map::new();
        for _ in 0..count {
            let key = self.key(depth + 1)?;
            let value = self.value(depth + 1)?;
            if map.insert(key, value).is_some() {
                return Err(TermError::DuplicateKey);
            }
        }
        Ok(Value::Object(map))
    }

    fn key(&mut self, depth: usize) -> Result<String, TermError> {
        match self.value(depth)? {
            Value::String(key) => Ok(key),
            Value::Number(key) if !key.is_f64() => Ok(key.to_string()),
            // atoms too
            Value::Bool(key) => Ok(key.to_string()),
            Value::Null => Ok("nil".to_owned()),
            _ => Err(TermError::Key),
        }
    }

    fn text(&mut self, length: usize) -> Result<String, TermError> {
        let text = str::from_utf8(self.bytes(length)?).map_err(|_| TermError::NotUtf8)?;
        Ok(text.to_owned())
    }

    fn latin1(&mut self, length: usize) -> Result<String, TermError> {
        Ok(self.bytes(length)?.iter().copied().map(char::from).collect())
    }

    /// Bytes of the magnitude, least significant first.
    fn big(&mut self) -> Result<Number, TermError> {
        let count = self.u8()?;
        let [sign] = self.array()?;
        let magnitude = self.bytes(count)?;
        if magnitude.iter().skip(8).any(|byte| *byte != 0) {
            return Err(TermError::Integer);
        }
        let magnitude = magnitude.iter().take(8).rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        match sign {
            0 => Ok(magnitude.into()),
            _ => 0_i64.checked_sub_unsigned(magnitude).map(Number::from).ok_or(TermError::Integer),
        }
    }
}

fn atom(name: String) -> Value {
    match &*name {
        "nil" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::String(name),
    }
}

/// Writes a value as a term that [`decode`] and any Erlang since OTP 18 can read.
///
/// # Errors
/// [`TermError::TooBig`] and [`TermError::TooDeep`].
pub fn encode(value: &Value) -> Result<Vec<u8>, TermError> {
    let mut out = vec![VERSION];
    write(&mut out, value, 0)?;
    if out.len() > MAX_SIZE { Err(TermError::TooBig(out.len())) } else { Ok(out) }
}

/// Writes a tuple of these values.
pub(crate) fn encode_tuple(values: &[Value]) -> Result<Vec<u8>, TermError> {
    let count = u8::try_from(values.len()).map_err(|_| TermError::TooBig(values.len()))?;
    let mut out = vec![VERSION, SMALL_TUPLE, count];
    values.iter().try_for_each(|value| write(&mut out, value, 1))?;
    if out.len() > MAX_SIZE { Err(TermError::TooBig(out.len())) } else { Ok(out) }
}

/// Reads a tuple's values.
pub(crate) fn decode_tuple(bytes: &[u8]) -> Option<Vec<Value>> {
    match (bytes, decode(bytes)) {
        ([VERSION, SMALL_TUPLE, ..], Ok(Value::Array(values))) => Some(values),
        _ => None,
    }
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), TermError> {
    if depth > MAX_DEPTH {
        return Err(TermError::TooDeep);
    }
    match value {
        Value::Null => write_atom(out, b"nil"),
        Value::Bool(true) => write_atom(out, b"true"),
        Value::Bool(false) => write_atom(out, b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text)?,
        Value::Array(values) if values.is_empty() => out.push(NIL),
        Value::Array(values) => {
            out.push(LIST);
            write_count(out, values.len())?;
            values.iter().try_for_each(|value| write(out, value, depth + 1))?;
            out.push(NIL);
        }
        Value::Object(map) => {
            out.push(MAP);
            write_count(out, map.len())?;
            for (key, value) in map {
                write_text(out, key)?;
                write(out, value, depth + 1)?;
            }
        }
    }
    Ok(())
}

fn write_count(out: &mut Vec<u8>, count: usize) -> Result<(), TermError> {
    let count = u32::try_from(count).map_err(|_| TermError::TooBig(count))?;
    out.extend(count.to_be_bytes());
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), TermError> {
    out.push(BINARY);
    write_count(out, text.len())?;
    out.extend(text.as_bytes());
    Ok(())
}

fn write_atom(out: &mut Vec<u8>, name: &'static [u8]) {
    out.extend([SMALL_ATOM_UTF8, name.len() as u8]);
    out.extend(name);
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    let small = number.as_i64().and_then(|integer| i32::try_from(integer).ok());
    match (small, number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(byte @ 0..=255), ..) => out.extend([SMALL_INTEGER, byte as u8]),
        (Some(small), ..) => {
            out.push(INTEGER);
            out.extend(small.to_be_bytes());
        }
        (_, Some(integer), ..) => write_big(out, integer < 0, integer.unsigned_abs()),
        (_, _, Some(integer), _) => write_big(out, false, integer),
        (.., float) => {
            out.push(NEW_FLOAT);
            out.extend(float.unwrap_or_default().to_be_bytes());
        }
    }
}

fn write_big(out: &mut Vec<u8>, is_negative: bool, magnitude: u64) {
    let bytes = magnitude.to_le_bytes();
    let length = 8 - magnitude.leading_zeros() as usize / 8;
    out.extend([SMALL_BIG, length as u8, is_negative.into()]);
    out.extend(&bytes[..length]);
}

#[cfg(test)]
mod tests;
