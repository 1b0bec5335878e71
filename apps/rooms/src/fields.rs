//! The fields of a client's message. An error names the field.

use hinotori::Payload;
use serde_json::{Map, Value};

use crate::{failure::Failure, ids};

/// The fields of a payload. One that is no object has none.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a payload.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        Self(payload.parse().unwrap_or_default())
    }

    /// A field that may be missing or `null`.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text. PostgreSQL stores no NUL, so there is none in it.
    ///
    /// # Errors
    /// [`Failure::Invalid`], as those of the others.
    pub fn text(&self, name: &'static str) -> Result<String, Failure> {
        let text = self.get(name).and_then(Value::as_str).filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or(Failure::Invalid(name))
    }

    /// The id of a user, a room or a picture, or an invitation's code.
    ///
    /// # Errors
    /// If it is no text. A text that no id can be is [`Failure::NotFound`].
    pub fn id(&self, name: &'static str) -> Result<String, Failure> {
        let id = self.text(name)?;
        if ids::is_valid(&id) { Ok(id) } else { Err(Failure::NotFound) }
    }

    /// The same for a field that may be missing.
    ///
    /// # Errors
    /// As those of [`Fields::id`].
    pub fn optional_id(&self, name: &'static str) -> Result<Option<String>, Failure> {
        self.get(name).map(|_| self.id(name)).transpose()
    }

    /// The id of a message, or a position.
    ///
    /// # Errors
    /// If it is no integer of at least 0.
    pub fn number(&self, name: &'static str) -> Result<i64, Failure> {
        self.get(name).and_then(Value::as_i64).filter(|id| *id >= 0).ok_or(Failure::Invalid(name))
    }

    /// The same for a field that may be missing.
    ///
    /// # Errors
    /// As those of [`Fields::number`].
    pub fn optional_number(&self, name: &'static str) -> Result<Option<i64>, Failure> {
        self.get(name).map(|_| self.number(name)).transpose()
    }

    /// A flag.
    ///
    /// # Errors
    /// If it is neither `true` nor `false`.
    pub fn flag(&self, name: &'static str) -> Result<bool, Failure> {
        self.get(name).and_then(Value::as_bool).ok_or(Failure::Invalid(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_what_it_is_said_to_be_or_the_error_names_it() {
        let payload =
            Payload::json(&json!({ "n": 1, "m": -1, "f": 1.5, "t": "a\0b", "i": "../x", "z": null }))
                .unwrap();
        let fields = Fields::of(&payload);
        assert_eq!(fields.number("n"), Ok(1));
        assert_eq!(fields.number("m"), Err(Failure::Invalid("m")));
        assert_eq!(fields.number("f"), Err(Failure::Invalid("f")));
        assert_eq!(fields.text("n"), Err(Failure::Invalid("n")));
        assert_eq!(fields.text("t"), Err(Failure::Invalid("t")));
        assert_eq!(fields.id("i"), Err(Failure::NotFound));
        assert_eq!(fields.optional_id("z"), Ok(None));
        assert_eq!(fields.optional_number("t"), Err(Failure::Invalid("t")));
        assert_eq!(fields.flag("n"), Err(Failure::Invalid("n")));
        assert_eq!(Fields::of(&Payload::json(&json!([1])).unwrap()).text("t"), Err(Failure::Invalid("t")));
    }
}
