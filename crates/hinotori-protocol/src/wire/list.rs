//! A JSON array that changes a little and is sent often, such as a chat's history.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use super::{IntoPayload, Payload, PayloadError, PayloadObject};

/// Bytes after which the next element begins a new piece. A list of 16 MiB has a thousand pieces: each payload holds
/// only their addresses, and a change copies one piece.
const PIECE: usize = 16 * 1024;

/// A JSON array whose encoded elements are kept in pieces of about 16 KiB.
///
/// A [payload](Self::payload) made from it copies none of them: ten thousand clients that are sent a list of 10 MB
/// share its bytes. A change replaces one piece, and payloads made before and after it share the others. The list's
/// bytes do not count toward the limit of what may wait for a client, so a client can take as long as it needs to read
/// a long list, provided it keeps reading.
///
/// ```
/// use hinotori_protocol::wire::PayloadList;
/// use serde_json::json;
///
/// let mut history = PayloadList::new();
/// history.push(json!({ "id": 1, "likes": 0 }))?;
/// history.push(json!({ "id": 2, "likes": 0 }))?;
/// history.replace(1, json!({ "id": 2, "likes": 1 }))?;
/// history.pop_front();
/// let payload = history.payload("messages");
/// assert_eq!(payload.as_json().as_deref(), Some(&br#"{"messages":[{"id":2,"likes":1}]}"#[..]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct PayloadList {
    pieces: VecDeque<Piece>,
    /// How many elements have been removed from the front.
    popped: u64,
    len: usize,
    bytes: usize,
}

/// Consecutive elements, each after a comma.
#[derive(Debug)]
struct Piece {
    /// The position of its first element, counting every element the list has ever had.
    first: u64,
    text: Bytes,
    /// The index of each element's comma.
    commas: VecDeque<usize>,
}

impl Piece {
    fn new(first: u64) -> Self {
        Self { first, text: Bytes::new(), commas: VecDeque::new() }
    }

    fn has_room_for(&self, element: &[u8], most: usize) -> bool {
        self.commas.is_empty() || self.text.len() + 1 + element.len() <= most
    }

    /// Writes in place unless a payload shares the text.
    fn push(&mut self, element: &[u8]) {
        let end = self.text.len();
        let mut text = std::mem::take(&mut self.text).try_into_mut().unwrap_or_else(|shared| {
            let mut text = BytesMut::with_capacity(PIECE.max(end + 1 + element.len()));
            text.put_slice(&shared);
            text
        });
        self.commas.push_back(end);
        text.put_u8(b',');
        text.put_slice(element);
        self.text = text.freeze();
    }

    /// The position of an element in the text.
    fn range(&self, index: usize) -> Option<Range<usize>> {
        let start = self.commas.get(index)? + 1;
        Some(start..self.commas.get(index + 1).copied().unwrap_or(self.text.len()))
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.text.get(self.range(index)?)
    }

    fn element(&self, index: usize) -> Option<Bytes> {
        Some(self.text.slice(self.range(index)?))
    }

    fn elements(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.commas.len()).filter_map(|index| self.get(index))
    }

    /// The text, without the first comma if it is the list's first piece.
    fn shared(&self, is_first: bool) -> Bytes {
        let start = self.commas.front().map_or(0, |comma| comma + usize::from(is_first));
        self.text.slice(start..)
    }
}

impl PayloadList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all elements, as JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The JSON text of an element.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (at, within) = self.find(index)?;
        self.pieces.get(at)?.get(within)
    }

    /// An element as a payload, which shares the list's bytes. While it is alive, the next change of its piece copies
    /// that piece.
    #[must_use]
    pub fn element(&self, index: usize) -> Option<Payload> {
        let (at, within) = self.find(index)?;
        self.pieces.get(at)?.element(within).map(Payload::from_json)
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// [`PayloadError::Encode`] if it does not serialize, [`PayloadError::NotJson`] if it is a binary payload. The list
    /// is then as it was.
    pub fn push(&mut self, element: impl IntoPayload) -> Result<(), PayloadError> {
        let payload = element.into_payload()?;
        let json = payload.as_json().ok_or(PayloadError::NotJson)?;
        self.push_json(&json, PIECE);
        Ok(())
    }

    /// Adds an element to a piece of at most `most` bytes.
    fn push_json(&mut self, json: &[u8], most: usize) {
        if !self.pieces.back().is_some_and(|last| last.has_room_for(json, most)) {
            self.pieces.push_back(Piece::new(self.popped + self.len as u64));
        }
        if let Some(last) = self.pieces.back_mut() {
            last.push(json);
        }
        self.len += 1;
        self.bytes += json.len();
    }

    /// Removes the first element. False if there was none.
    pub fn pop_front(&mut self) -> bool {
        let Some(first) = self.pieces.front_mut() else { return false };
        self.bytes -= first.get(0).map_or(0, <[u8]>::len);
        self.len -= 1;
        self.popped += 1;
        first.first += 1;
        first.commas.pop_front();
        if first.commas.is_empty() {
            self.pieces.pop_front();
        }
        true
    }

    /// Replaces the element at `index`. False if there is none.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn replace(&mut self, index: usize, element: impl IntoPayload) -> Result<bool, PayloadError> {
        let payload = element.into_payload()?;
        let json = payload.as_json().ok_or(PayloadError::NotJson)?;
        let Some((at, within)) = self.find(index) else { return Ok(false) };
        let Some(old) = self.pieces.get(at) else { return Ok(false) };
        let mut new = Self { popped: old.first, ..Self::default() };
        for (index, kept) in old.elements().enumerate() {
            // an element that has grown a little does not split its piece
            new.push_json(if index == within { &json } else { kept }, 2 * PIECE);
        }
        self.bytes = self.bytes + json.len() - old.get(within).map_or(0, <[u8]>::len);
        self.pieces.remove(at);
        for piece in new.pieces.into_iter().rev() {
            // one piece, unless elements have grown
            self.pieces.insert(at, piece);
        }
        Ok(true)
    }

    /// The list as the object `{"<key>":[…]}`. Takes time proportional to the number of pieces, not of elements.
    #[must_use]
    pub fn payload(&self, key: &str) -> Payload {
        self.payload_in(PayloadObject::new(), key)
    }

    /// The same with the fields of an object before the list.
    #[must_use]
    pub fn payload_in(&self, object: PayloadObject, key: &str) -> Payload {
        let opening = object.open_list(key);
        let pieces = self.pieces.iter().enumerate().map(|(index, piece)| piece.shared(index == 0));
        let all: Arc<[Bytes]> = std::iter::once(opening.into())
            .chain(pieces)
            .chain(std::iter::once(Bytes::from_static(b"]}")))
            .collect();
        Payload::from_list(all)
    }

    /// The piece of an element, and its index there.
    fn find(&self, index: usize) -> Option<(usize, usize)> {
        let position = self.popped + index as u64;
        let at = self.pieces.partition_point(|piece| piece.first <= position).checked_sub(1)?;
        let within = usize::try_from(position - self.pieces.get(at)?.first).ok()?;
        (index < self.len).then_some((at, within))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pieces(list: &PayloadList) -> Vec<Bytes> {
        list.payload("all").pieces().to_vec()
    }

    fn filled(count: usize) -> PayloadList {
        let mut list = PayloadList::new();
        (0..count).for_each(|index| list.push(json!({ "id": index })).unwrap());
        list
    }

    /// How many pieces of `after` are not in `before`, counting the two around them.
    fn new_pieces(before: &[Bytes], after: &[Bytes]) -> usize {
        let before: HashSet<*const u8> = before.iter().map(|piece| piece.as_ptr()).collect();
        after[1..].iter().filter(|piece| !before.contains(&piece.as_ptr())).count()
    }

    #[test]
    fn a_change_replaces_one_piece_and_a_payload_copies_none() {
        let mut list = filled(10_000);
        let first = pieces(&list);
        assert!((5..20).contains(&first.len()), "{}", first.len());
        assert_eq!(new_pieces(&first, &pieces(&list)), 0);
        list.replace(5_000, json!({ "id": "five thousand" })).unwrap();
        let second = pieces(&list);
        assert_eq!(new_pieces(&first, &second), 1);
        list.push(json!({})).unwrap();
        let third = pieces(&list);
        assert_eq!(new_pieces(&second, &third), 1);
        drop((first, second, third));
        let before = pieces(&list).iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
        list.push(json!({})).unwrap();
        let after = pieces(&list).iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
        assert_eq!(before[1..], after[1..], "nothing is copied that no payload holds");
    }

    #[test]
    fn a_payload_made_before_a_change_stays_as_it_was() {
        let mut list = filled(3);
        let before = list.payload("all");
        list.replace(0, json!([])).unwrap();
        list.push(json!(1)).unwrap();
        list.pop_front();
        assert_eq!(
            before.parse::<Value>().unwrap(),
            json!({ "all": [{ "id": 0 }, { "id": 1 }, { "id": 2 }] })
        );
    }

    #[test]
    fn bytes_are_no_element_and_leave_the_list_as_it_was() {
        let mut list = filled(1);
        assert!(matches!(list.push(Payload::binary(vec![1])), Err(PayloadError::NotJson)));
        assert!(matches!(list.replace(0, Payload::binary(vec![1])), Err(PayloadError::NotJson)));
        assert_eq!((list.len(), list.get(0)), (1, Some(&br#"{"id":0}"#[..])));
        assert_eq!(PayloadList::new().payload("\"").as_json().as_deref(), Some(&br#"{"\"":[]}"#[..]));
    }

    #[derive(Debug, Clone)]
    enum Change {
        Push(usize),
        Replace(usize, usize),
        Pop,
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let length = prop_oneof![9 => 0usize..3_000, 1 => 10_000usize..40_000];
        prop_oneof![
            3 => length.clone().prop_map(Change::Push),
            2 => (0usize..60, length).prop_map(|(index, length)| Change::Replace(index, length)),
            1 => Just(Change::Pop),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_list_is_the_array_of_its_elements_in_pieces_of_their_size(changes in prop::collection::vec(any_change(), 0..80)) {
            let (mut list, mut model, mut payloads) = (PayloadList::new(), Vec::<Value>::new(), vec![]);
            for (step, change) in changes.into_iter().enumerate() {
                let element = |length: usize| json!(format!("{step}{}", "x".repeat(length)));
                match change {
                    Change::Push(length) => {
                        list.push(element(length)).unwrap();
                        model.push(element(length));
                    }
                    Change::Replace(index, length) => {
                        prop_assert_eq!(list.replace(index, element(length)).unwrap(), index < model.len());
                        if let Some(place) = model.get_mut(index) {
                            *place = element(length);
                        }
                    }
                    Change::Pop => {
                        prop_assert_eq!(list.pop_front(), !model.is_empty());
                        model.drain(..model.len().min(1));
                    }
                }
                if step % 5 == 0 {
                    payloads.push((list.payload("all"), model.clone()));
                }
            }
            payloads.push((list.payload("all"), model.clone()));
            for (payload, elements) in payloads {
                prop_assert_eq!(payload.parse::<Value>().unwrap(), json!({ "all": elements }));
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.bytes(), model.iter().map(|element| element.to_string().len()).sum::<usize>());
            for (index, element) in model.iter().enumerate() {
                let json = element.to_string();
                prop_assert_eq!(list.get(index), Some(json.as_bytes()));
                prop_assert_eq!(list.element(index), element.into_payload().ok());
            }
            prop_assert_eq!((list.get(model.len()), list.element(model.len())), (None, None));
            prop_assert!(list.pieces.iter().all(|piece| piece.commas.len() == 1 || piece.text.len() <= 2 * PIECE));
        }
    }
}
