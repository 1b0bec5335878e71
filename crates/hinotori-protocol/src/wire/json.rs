//! Reads the JSON of a client's message: checks all of it and finds its parts, without building values.
//!
//! Most payloads are forwarded unread, so reading one should cost no more than a look at each byte: one pass, without
//! recursion. The reader accepts what serde_json accepts, except for what [`Fault`] names; `oracle.rs` compares the
//! two.
//!
//! # Source
//! RFC 8259.

use std::{borrow::Cow, fmt};

/// Levels of nested arrays and objects: what serde_json accepts when it builds a value (its `recursion_limit`), and so
/// what a receiver in Rust can read.
pub const MAX_DEPTH: usize = 128;

/// Digits before the point that always fit a double: 308.
const MAX_DIGITS: usize = f64::MAX_10_EXP as usize;

/// Why the text of a message is refused before it is interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not JSON.
    Syntax {
        /// The index of the first byte that is not allowed, or the length of a text that ends too soon.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An escape such as `\ud800` that is half a character: strict parsers of other clients would fail on it.
    LoneSurrogate,
    /// A fraction or an exponent that does not fit a double, such as `1e999`: Phoenix refuses it, and so do parsers of
    /// other clients. Integers may have any length.
    NumberTooBig,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // not the text at that place: a user wrote it, so it should not be logged
            Self::Syntax { at } => write!(f, "not JSON at byte {at}"),
            Self::TooDeep => write!(f, "JSON nested deeper than {MAX_DEPTH} levels"),
            Self::LoneSurrogate => f.write_str("JSON with an escape of half a character"),
            Self::NumberTooBig => f.write_str("JSON with a number that does not fit a double"),
        }
    }
}

/// A value within a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    /// Its text.
    pub(super) json: &'a str,
    /// Whether it is a string without escapes.
    is_plain: bool,
}

impl<'a> Value<'a> {
    pub(super) const NULL: Self = Self { json: "null", is_plain: false };

    /// The string, if it is one: a part of the text unless it has escapes.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if self.is_plain {
            return Some(Cow::Borrowed(&self.json[1..self.json.len() - 1]));
        }
        serde_json::from_str(self.json).ok().map(Cow::Owned)
    }
}

/// Reads a text that is one array or one object, part by part. The whole text has been checked only when there are no
/// more parts.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    /// The index at which the next part begins.
    at: usize,
    /// The byte that ends the array or the object.
    close: u8,
    is_over: bool,
}

impl<'a> Reader<'a> {
    /// Begins to read an array. `None` if the text is something else.
    pub(super) fn array(text: &'a str) -> Result<Option<Self>, Fault> {
        Self::new(text, b'[', b']')
    }

    /// Begins to read an object. `None` if the text is something else.
    pub(super) fn object(text: &'a str) -> Result<Option<Self>, Fault> {
        Self::new(text, b'{', b'}')
    }

    fn new(text: &'a str, open: u8, close: u8) -> Result<Option<Self>, Fault> {
        let (byte, at) = token(text.as_bytes(), 0);
        if byte != open {
            return Ok(None);
        }
        let mut reader = Self { text, at: at + 1, close, is_over: false };
        let (byte, at) = token(text.as_bytes(), at + 1);
        if byte == close {
            reader.end(at + 1)?;
        }
        Ok(Some(reader))
    }

    /// The array's next element. `None` after the last, where the whole text ends.
    pub(super) fn element(&mut self) -> Result<Option<Value<'a>>, Fault> {
        if self.is_over { Ok(None) } else { self.value().map(Some) }
    }

    /// The object's next key and its value. `None` after the last, where the whole text ends.
    pub(super) fn entry(&mut self) -> Result<Option<(Value<'a>, Value<'a>)>, Fault> {
        if self.is_over {
            return Ok(None);
        }
        let json = self.text.as_bytes();
        let (_, start) = token(json, self.at);
        let plain = plain_string(json, start);
        let end = plain.map_or_else(|| string(json, start), Ok)?;
        let key = Value { json: &self.text[start..end], is_plain: plain.is_some() };
        self.at = expect(json, end, b':')?;
        self.value().map(|value| Some((key, value)))
    }

    /// A value, and the comma or the end after it.
    fn value(&mut self) -> Result<Value<'a>, Fault> {
        let json = self.text.as_bytes();
        let (_, start) = token(json, self.at);
        let plain = plain_string(json, start);
        let end = plain.map_or_else(|| value(json, start), Ok)?;
        let value = Value { json: &self.text[start..end], is_plain: plain.is_some() };
        let (byte, at) = token(json, end);
        if byte == b',' {
            self.at = at + 1;
        } else if byte == self.close {
            self.end(at + 1)?;
        } else {
            return Err(Fault::Syntax { at });
        }
        Ok(value)
    }

    fn end(&mut self, at: usize) -> Result<(), Fault> {
        self.is_over = true;
        match token(self.text.as_bytes(), at) {
            (_, at) if at == self.text.len() => Ok(()),
            (_, at) => Err(Fault::Syntax { at }),
        }
    }
}

/// The end of the value that begins at `at`, within an array or an object, which is a level too.
fn value(json: &[u8], at: usize) -> Result<usize, Fault> {
    value_within::<1>(json, at)
}

/// Checks a text that is one value, which will be a field of a message's payload: within two levels.
pub(super) fn check_field(text: &str) -> Result<(), Fault> {
    let json = text.as_bytes();
    match token(json, value_within::<2>(json, 0)?) {
        (_, at) if at == json.len() => Ok(()),
        (_, at) => Err(Fault::Syntax { at }),
    }
}

/// The end of the value that begins at `at`, within so many levels.
fn value_within<const LEVELS: usize>(json: &[u8], mut at: usize) -> Result<usize, Fault> {
    let mut depth = LEVELS;
    // one bit per level, the innermost lowest: whether it is an object
    let mut objects = 0_u128;
    loop {
        let byte;
        (byte, at) = token(json, at);
        at = match byte {
            b'"' => string(json, at)?,
            b'-' | b'0'..=b'9' => number(json, at)?,
            b't' => word(json, at, b"true")?,
            b'f' => word(json, at, b"false")?,
            b'n' => word(json, at, b"null")?,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Fault::TooDeep);
                }
                let is_object = byte == b'{';
                objects = objects << 1 | u128::from(is_object);
                let (next, begin) = token(json, at + 1);
                match next {
                    b']' if !is_object => begin,
                    b'}' if is_object => begin,
                    _ => {
                        at = if is_object { key(json, begin)? } else { begin };
                        continue;
                    }
                }
            }
            _ => return Err(Fault::Syntax { at }),
        };
        // a value has ended, or an empty array or object was opened: what ends with it?
        loop {
            if depth == LEVELS {
                return Ok(at);
            }
            let is_object = objects & 1 == 1;
            let (byte, next) = token(json, at);
            match byte {
                b',' => {
                    at = if is_object { key(json, next + 1)? } else { next + 1 };
                    break;
                }
                b']' if !is_object => at = next + 1,
                b'}' if is_object => at = next + 1,
                _ => return Err(Fault::Syntax { at: next }),
            }
            depth -= 1;
            objects >>= 1;
        }
    }
}

/// The end of a key and its colon.
fn key(json: &[u8], at: usize) -> Result<usize, Fault> {
    let (_, at) = token(json, at);
    expect(json, string(json, at)?, b':')
}

/// The end of the string that begins at `at`, if it has no escapes.
fn plain_string(json: &[u8], at: usize) -> Option<usize> {
    let end = (json.get(at) == Some(&b'"')).then(|| plain_end(json, at + 1))?;
    (json.get(end) == Some(&b'"')).then_some(end + 1)
}

/// The end of the string whose opening quote must be at `at`.
fn string(json: &[u8], at: usize) -> Result<usize, Fault> {
    let mut at = expect(json, at, b'"')?;
    loop {
        at = plain_end(json, at);
        match json.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(json, at)?,
            _ => return Err(Fault::Syntax { at }),
        }
    }
}

fn escape(json: &[u8], at: usize) -> Result<usize, Fault> {
    match json.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        _ => match code_unit(json, at)? {
            0xD800..0xDC00 => match code_unit(json, at + 6) {
                Ok(0xDC00..0xE000) => Ok(at + 12),
                _ => Err(Fault::LoneSurrogate),
            },
            0xDC00..0xE000 => Err(Fault::LoneSurrogate),
            _ => Ok(at + 6),
        },
    }
}

/// The UTF-16 code unit of the escape at `at`, which is `\u` and four digits.
fn code_unit(json: &[u8], at: usize) -> Result<u32, Fault> {
    let escape = json.get(at..at + 6).and_then(|escape| escape.strip_prefix(br"\u"));
    let mut digits = escape.ok_or(Fault::Syntax { at })?.iter();
    let unit = digits.try_fold(0_u32, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?));
    unit.ok_or(Fault::Syntax { at })
}

fn number(json: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start + usize::from(json[start] == b'-');
    at = match json.get(at) {
        // only a fraction or an exponent may follow a zero
        Some(b'0') => at + 1,
        _ => digits(json, at)?,
    };
    // whether a fraction after this many digits may not fit a double
    let mut is_doubtful = false;
    if json.get(at) == Some(&b'.') {
        is_doubtful = at - start > MAX_DIGITS;
        at = digits(json, at + 1)?;
    }
    if let Some(b'e' | b'E') = json.get(at) {
        is_doubtful = true;
        let is_signed = matches!(json.get(at + 1), Some(b'+' | b'-'));
        at = digits(json, at + 1 + usize::from(is_signed))?;
    }
    if is_doubtful && !is_finite(&json[start..at]) { Err(Fault::NumberTooBig) } else { Ok(at) }
}

/// Whether a number fits a double, however roughly.
fn is_finite(number: &[u8]) -> bool {
    str::from_utf8(number).ok().and_then(|digits| digits.parse().ok()).is_some_and(f64::is_finite)
}

/// The end of digits; there must be at least one.
fn digits(json: &[u8], at: usize) -> Result<usize, Fault> {
    let end =
        json[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(json.len(), |length| at + length);
    if end == at { Err(Fault::Syntax { at }) } else { Ok(end) }
}

fn word(json: &[u8], at: usize, word: &[u8]) -> Result<usize, Fault> {
    if json[at..].starts_with(word) { Ok(at + word.len()) } else { Err(Fault::Syntax { at }) }
}

/// The end of this byte, which must come next, apart from whitespace.
fn expect(json: &[u8], at: usize, expected: u8) -> Result<usize, Fault> {
    match token(json, at) {
        (byte, at) if byte == expected => Ok(at + 1),
        (_, at) => Err(Fault::Syntax { at }),
    }
}

/// The first byte that is not whitespace, and its index. At the end of the text it is a zero, which JSON never has.
fn token(json: &[u8], mut at: usize) -> (u8, usize) {
    loop {
        match json.get(at) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
            byte => return (byte.copied().unwrap_or(0), at),
        }
    }
}

/// The index of the next byte of a string that is not literal: its end, an escape, or a byte that is not allowed.
fn plain_end(json: &[u8], mut at: usize) -> usize {
    // eight bytes at a time: the high bit of each that is less than or equal to another, exact up to the first
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    while let Some(bytes) = json[at..].first_chunk() {
        let bytes = u64::from_le_bytes(*bytes);
        // swaps the quote with a space, so that it comes right after the control characters
        let quote_or_control = (bytes ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let backslash = (bytes ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let found = (quote_or_control | backslash) & !bytes & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + json[at..].iter().take_while(|byte| **byte >= b' ' && !matches!(byte, b'"' | b'\\')).count()
}

/// Writes a text as a JSON string: two bytes longer than the text, unless something must be escaped.
pub(super) fn write(out: &mut Vec<u8>, text: &str) {
    if plain_end(text.as_bytes(), 0) == text.len() {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a text, if it is read as an element of an array.
    fn judged(json: &str) -> Result<(), Fault> {
        let array = format!("[{json}]");
        let mut reader = Reader::array(&array)?.unwrap();
        assert_eq!(reader.element()?.unwrap().json, json);
        assert!(reader.element()?.is_none());
        Ok(())
    }

    #[test]
    fn nesting_is_counted_outside_of_strings_only() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        assert_eq!(judged(&deep), Ok(()));
        assert_eq!(judged(&format!("[{deep}]")), Err(Fault::TooDeep));
        assert_eq!(judged(&format!("\"{}\"", "[".repeat(MAX_DEPTH + 1))), Ok(()));
        assert_eq!(judged(&format!("[{}1]", "[1],".repeat(1_000))), Ok(()), "siblings do not nest");
    }

    #[test]
    fn objects_and_arrays_are_closed_by_their_own_bracket_at_every_depth() {
        for wrong in ["[}", "{]", "[{]}", "[1}", "{\"a\":1]"] {
            assert!(matches!(judged(wrong), Err(Fault::Syntax { .. })), "{wrong}");
        }
        let open = "[{\"a\":".repeat(MAX_DEPTH / 2 - 1);
        let close = "}]".repeat(MAX_DEPTH / 2 - 1);
        assert_eq!(judged(&format!("{open}1{close}")), Ok(()));
        let at = 1 + open.len() + 1;
        for wrong in ["]", "]}", ","] {
            let json = format!("{open}1{wrong}{}", &close[1..]);
            assert!(matches!(judged(&json), Err(Fault::Syntax { at: found }) if found >= at), "{json}");
        }
    }

    #[test]
    fn a_pair_of_surrogates_is_fine_and_a_lone_one_is_not() {
        assert_eq!(judged(r#""\ud83d\udc4b""#), Ok(()));
        assert_eq!(judged(r#""\ud83d""#), Err(Fault::LoneSurrogate));
        assert_eq!(judged(r#""\ud83dx\udc4b""#), Err(Fault::LoneSurrogate));
        assert_eq!(judged(r#""\udc4b""#), Err(Fault::LoneSurrogate));
        assert_eq!(judged(r#""\ud7ff\ue000\ud800\udc00\udbff\udfff""#), Ok(()));
        assert_eq!(judged(r#""\ud800\ue000""#), Err(Fault::LoneSurrogate));
        assert_eq!(judged(r#""\\ud83d""#), Ok(()), "an escaped backslash begins no escape");
        assert_eq!(judged(r#""\"\u00e9[""#), Ok(()));
    }

    #[test]
    fn numbers_that_no_double_holds_are_refused_unless_they_are_integers() {
        let long = "9".repeat(400);
        let zeros = "0".repeat(400);
        for number in [
            "1e999",
            "-1e400",
            "1E+309",
            "123e99999999999999999999",
            &format!("{long}.5"),
            &format!("-1{zeros}.0e0"),
        ] {
            assert_eq!(judged(number), Err(Fault::NumberTooBig), "{number}");
            assert_eq!(judged(&format!("{{\"a\":[0,{number}]}}")), Err(Fault::NumberTooBig), "{number}");
        }
        let most = "9".repeat(MAX_DIGITS);
        for number in [
            &long,
            "-0",
            "1e308",
            "1.7976931348623157e308",
            "1e-999",
            "0e999",
            "-0.0E+999",
            &format!("{most}.9"),
            &format!("-{most}.9"),
            &format!("1{zeros}e-400"),
            &format!("0.{zeros}1e400"),
        ] {
            assert_eq!(judged(number), Ok(()), "{number}");
        }
    }

    #[test]
    fn the_end_of_what_is_plain_is_found_wherever_it_is() {
        for length in 0..40 {
            let text = "\u{e9}".repeat(length / 2) + &"~".repeat(length % 2);
            for other in ['"', '\\', '\0', '\u{1f}'] {
                for rest in 0..20 {
                    let json = format!("{text}{other}{}", "\"".repeat(rest));
                    assert_eq!(plain_end(json.as_bytes(), 0), length, "{json:?}");
                }
            }
            for plain in [' ', '!', '#', '[', ']', '\u{7f}', '\u{80}'] {
                let json = format!("{text}{plain}{text}");
                assert_eq!(plain_end(json.as_bytes(), 0), json.len(), "{json:?}");
            }
        }
    }

    #[test]
    fn a_fault_names_its_place_and_nothing_of_what_stands_there() {
        assert_eq!(judged("{\"a\" 1}").unwrap_err().to_string(), "not JSON at byte 6");
        assert_eq!(judged("[1").unwrap_err(), Fault::Syntax { at: 4 });
    }

    #[test]
    fn a_text_is_written_as_serde_json_writes_it() {
        for text in [
            "",
            "plain",
            "say \"hi\"",
            "\\",
            "\n\u{1}\u{7f}",
            "\u{e9}\u{1f44b}",
            "a text of more than eight bytes\"",
        ] {
            let mut out = vec![];
            write(&mut out, text);
            assert_eq!(out, serde_json::to_vec(text).unwrap());
        }
    }
}
