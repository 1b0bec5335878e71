//! A JSON object that is put together from payloads that are encoded already.

use std::borrow::Borrow;

use serde_json::Value;

use super::{IntoPayload, Payload, PayloadError};

/// A JSON object under construction. Payloads are copied into it without being parsed, so an object with a thousand
/// of them costs little more than copying their bytes.
///
/// Like those of a [`PayloadList`](super::PayloadList), the bytes of a long object do not count toward the limit of what
/// may wait for a client.
///
/// ```
/// use hinotori_protocol::wire::{IntoPayload, PayloadObject};
/// use serde_json::json;
///
/// let messages = [json!({ "id": 1 }).into_payload()?, json!({ "id": 2 }).into_payload()?];
/// let mut object = PayloadObject::new();
/// object.field("last_id", 2)?;
/// object.list("messages", &messages)?;
/// let payload = object.into_payload();
/// assert_eq!(payload.as_json().as_deref(), Some(&br#"{"last_id":2,"messages":[{"id":1},{"id":2}]}"#[..]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PayloadObject {
    /// Well-formed JSON, but for the closing brace.
    json: Vec<u8>,
}

impl Default for PayloadObject {
    fn default() -> Self {
        Self { json: vec![b'{'] }
    }
}

impl PayloadObject {
    /// An object without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field. A key that is there twice counts as in JavaScript: the last one wins.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if the value does not serialize, [`PayloadError::NotJson`] if it is a binary payload. The
    /// object is then as it was.
    pub fn field(&mut self, key: &str, value: impl IntoPayload) -> Result<(), PayloadError> {
        let value = value.into_payload()?;
        let json = value.as_json().ok_or(PayloadError::NotJson)?;
        self.key(key);
        self.json.extend_from_slice(&json);
        Ok(())
    }

    /// Adds an array.
    ///
    /// # Errors
    /// [`PayloadError::NotJson`] if an element is a binary payload. The object is then as it was.
    pub fn list<P: Borrow<Payload>>(
        &mut self,
        key: &str,
        elements: impl IntoIterator<Item = P>,
    ) -> Result<(), PayloadError> {
        let before = self.json.len();
        self.key(key);
        self.json.push(b'[');
        for (index, element) in elements.into_iter().enumerate() {
            let Some(json) = element.borrow().as_json() else {
                self.json.truncate(before);
                return Err(PayloadError::NotJson);
            };
            if index > 0 {
                self.json.push(b',');
            }
            self.json.extend_from_slice(&json);
        }
        self.json.push(b']');
        Ok(())
    }

    fn key(&mut self, key: &str) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(Value::from(key).to_string().as_bytes());
        self.json.push(b':');
    }

    /// The text up to the first element of the array `key`, which the caller completes.
    pub(super) fn open_list(mut self, key: &str) -> Vec<u8> {
        self.key(key);
        self.json.push(b'[');
        self.json
    }

    /// The number of bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + 1
    }

    /// The complete object.
    #[must_use]
    pub fn into_payload(mut self) -> Payload {
        self.json.push(b'}');
        Payload::from_list([self.json.into()].into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_neither_a_field_nor_an_element_and_leave_the_object_as_it_was() {
        let mut object = PayloadObject::new();
        object.field("a", 1).unwrap();
        let binary = Payload::binary(vec![1]);
        assert!(matches!(object.field("b", &binary), Err(PayloadError::NotJson)));
        let elements = [Payload::empty(), binary];
        assert!(matches!(object.list("c", &elements), Err(PayloadError::NotJson)));
        assert_eq!(object.bytes(), br#"{"a":1}"#.len());
        assert_eq!(object.into_payload().as_json().as_deref(), Some(&br#"{"a":1}"#[..]));
    }

    proptest! {
        #[test]
        fn any_fields_read_as_they_were_written(
            fields in proptest::collection::btree_map(any::<String>(), proptest::collection::vec(any::<String>(), 0..4), 0..4),
        ) {
            let mut object = PayloadObject::new();
            for (key, texts) in &fields {
                let elements: Vec<_> = texts.iter().map(|text| text.into_payload().unwrap()).collect();
                object.list(key, &elements).unwrap();
            }
            let (bytes, payload) = (object.bytes(), object.into_payload());
            prop_assert_eq!(bytes, payload.len());
            prop_assert_eq!(payload.parse::<Value>().unwrap(), json!(fields));
        }
    }
}
