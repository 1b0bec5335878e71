//! The words of a text, for the search and for mentions.
//!
//! Words are letters and digits without case. Scripts that put no spaces between words are cut into pairs of characters, as
//! neither database knows where a word of Japanese ends: "東京都" has "東京", "京都" and "都".

use unicode_normalization::UnicodeNormalization;

/// Characters of a word that are compared.
const WORD_MAX: usize = 40;

/// Words of a query.
const QUERY_MAX: usize = 16;

/// The words of a text, each once.
#[must_use]
pub fn of(text: &str) -> Vec<String> {
    let mut terms = vec![];
    for run in runs(text) {
        if is_unspaced(run[0]) {
            terms.extend(run.windows(2).map(String::from_iter));
            terms.extend(run.last().map(char::to_string));
        } else {
            terms.push(run.iter().take(WORD_MAX).collect());
        }
    }
    unique(terms)
}

/// The words that a query looks for. Each is the beginning of a word of the text.
#[must_use]
pub fn of_query(text: &str) -> Vec<String> {
    let mut terms = vec![];
    for run in runs(text) {
        match run.as_slice() {
            [only] => terms.push(only.to_string()),
            run if is_unspaced(run[0]) => terms.extend(run.windows(2).map(String::from_iter)),
            run => terms.push(run.iter().take(WORD_MAX).collect()),
        }
    }
    let mut terms = unique(terms);
    terms.truncate(QUERY_MAX);
    terms
}

/// The users whose names follow an `@` in a text. Names are without case, the longest first: "@ann lee" is not Ann.
#[must_use]
pub fn mentioned(text: &str, names: &[(String, String)]) -> Vec<String> {
    let text = text.nfc().collect::<String>().to_lowercase();
    let mut users = vec![];
    for (at, _) in text.match_indices('@') {
        let rest = &text[at + 1..];
        // "ann@lee.example" is an address
        let is_inside = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let named = names.iter().find(|(_, name)| {
            let after = rest.strip_prefix(name.as_str());
            after.is_some_and(|after| !after.chars().next().is_some_and(char::is_alphanumeric))
        });
        if let Some((id, _)) = named.filter(|_| !is_inside) {
            users.push(id.clone());
        }
    }
    unique(users)
}

/// The letters and digits that follow each other, of one kind of script.
fn runs(text: &str) -> Vec<Vec<char>> {
    let mut runs: Vec<Vec<char>> = vec![];
    let mut is_new = true;
    for char in text.chars().flat_map(char::to_lowercase) {
        // PostgreSQL stores no NUL; marks belong to the letter before
        if !char.is_alphanumeric() {
            is_new = true;
            continue;
        }
        match runs.last_mut().filter(|run| !is_new && is_unspaced(run[0]) == is_unspaced(char)) {
            Some(run) => run.push(char),
            None => runs.push(vec![char]),
        }
        is_new = false;
    }
    runs
}

/// Whether it is of a script without spaces: kana, Chinese characters, Thai, Lao, Burmese, Khmer.
fn is_unspaced(char: char) -> bool {
    matches!(char,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

fn unique(terms: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    terms.into_iter().filter(|term| seen.insert(term.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_no_case_and_nothing_that_a_query_could_mean() {
        assert_eq!(
            of("Hello, *hello* World2 \"x\" OR NEAR('a':*)"),
            ["hello", "world2", "x", "or", "near", "a"]
        );
        assert_eq!(of("東京都 Tokyo都"), ["東京", "京都", "都", "tokyo"]);
        assert_eq!(of_query("東京"), ["東京"]);
        assert_eq!(of_query("都"), ["都"]);
        assert_eq!(of_query("' | \" & ! <->"), Vec::<String>::new());
        assert!(of(&"x".repeat(9_000)).concat().len() <= WORD_MAX);
    }

    #[test]
    fn a_mention_is_the_longest_name_after_an_at() {
        let names = [("2", "ann lee"), ("1", "ann"), ("3", "zo\u{eb}")];
        let names = names.map(|(id, name)| (id.to_owned(), name.to_owned()));
        for (text, ids) in [
            ("@Ann hi", &["1"][..]),
            ("(@ANN LEE)", &["2"]),
            ("@ann, @ann lee!", &["1", "2"]),
            ("mail@ann", &[]),
            ("@Zoe\u{308}", &["3"]),
            ("@annika", &[]),
            ("ann", &[]),
            ("@", &[]),
        ] {
            assert_eq!(mentioned(text, &names), ids, "{text}");
        }
    }
}
