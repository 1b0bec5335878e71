//! Ids that nobody can guess.

/// Letters of an id: five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Letters in an id: 120 bits.
const LENGTH: usize = 24;

/// A new id, of lower-case letters and digits.
#[must_use]
pub fn new() -> String {
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    random::<LENGTH>().iter().map(letter).collect()
}

/// Whether a text can be an id.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| LETTERS.contains(&byte))
}

/// Random bytes.
///
/// # Panics
/// If the system has none, as nothing would be safe then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("the system has no random bytes: {error}"));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_valid_and_new() {
        let (one, other) = (new(), new());
        assert!(is_valid(&one) && is_valid(&other) && one != other, "{one} {other}");
        for text in ["", "a", "../../etc/passwd", "aaaaaaaaaaaaaaaaaaaaaaa\0", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(!is_valid(text), "{text:?}");
        }
    }
}
