//! The ids of a socket: the topics on which a `disconnect` closes it.

/// Most sockets have one id or none, and then take no more memory than an `Option<Box<str>>`.
#[derive(Debug)]
pub(crate) enum Ids {
    /// The only one. An empty string stands for none.
    One(Box<str>),
    #[expect(clippy::box_collection, reason = "a thin pointer fits into the length of the other variant")]
    Many(Box<Vec<Box<str>>>),
}

impl Ids {
    pub(super) fn all(&self) -> &[Box<str>] {
        match self {
            Self::One(none) if none.is_empty() => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// The one that names the socket in the log.
    pub(super) fn first(&self) -> Option<&str> {
        self.all().first().map(|id| &**id)
    }
}

impl From<Vec<String>> for Ids {
    fn from(ids: Vec<String>) -> Self {
        let mut ids: Vec<Box<str>> = ids.into_iter().map(String::into_boxed_str).collect();
        match &mut ids[..] {
            [] => Self::One(Box::default()),
            [id] if !id.is_empty() => Self::One(std::mem::take(id)),
            _ => Self::Many(Box::new(ids)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Ids {
        ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>().into()
    }

    #[test]
    fn all_ids_are_kept_in_their_order_and_an_empty_one_is_an_id() {
        for all in [&[][..], &["a"], &[""], &["a", "b"], &["", "a", "a"]] {
            let kept = ids(all);
            assert_eq!(kept.all().iter().map(|id| &**id).collect::<Vec<_>>(), all);
            assert_eq!(kept.first(), all.first().copied());
        }
    }

    #[test]
    fn one_id_takes_no_more_memory_than_a_string() {
        assert_eq!(size_of::<Ids>(), size_of::<Option<Box<str>>>());
        assert!(matches!(ids(&["users:7"]), Ids::One(_)));
        assert!(matches!(ids(&[]), Ids::One(_)));
    }
}
