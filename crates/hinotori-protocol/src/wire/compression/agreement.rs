//! Negotiation: the offers in `Sec-WebSocket-Extensions`, and the answer (RFC 7692 §7.1).

use std::fmt;

use super::{Inflate, Window};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest window of DEFLATE, 32 KiB: the default if a side names none.
const MAX_BITS: u8 = 15;

/// The parameters of a connection with compressed messages. It displays as the value of the answer's header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

impl Agreement {
    /// Accepts the first offer in the lines of a `Sec-WebSocket-Extensions` header that can be met. Other extensions,
    /// offers with unknown, repeated or out-of-range parameters, and bytes that are not an offer are skipped. `None` if
    /// no offer is left: messages then stay uncompressed.
    ///
    /// ```
    /// use hinotori_protocol::wire::compression::Agreement;
    ///
    /// let agreement = Agreement::negotiate([&b"permessage-deflate; client_max_window_bits"[..]]).unwrap();
    /// let answer = "permessage-deflate;server_no_context_takeover;client_max_window_bits=15";
    /// assert_eq!(agreement.to_string(), answer);
    /// assert_eq!(Agreement::negotiate([&b"permessage-deflate; foo"[..]]), None);
    /// ```
    #[must_use]
    pub fn negotiate<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        lines.into_iter().flat_map(|line| split(line, b',')).find_map(Self::accept)
    }

    fn accept(offer: &[u8]) -> Option<Self> {
        let mut parts = split(offer, b';');
        if parts.next()? != NAME.as_bytes() {
            return None;
        }
        let (mut server_no_takeover, mut client_no_takeover) = (None, None);
        let (mut server_bits, mut client_bits) = (None, None);
        for part in parts {
            let mut sides = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
            let (name, value) = (std::str::from_utf8(sides.next()?).ok()?, sides.next());
            match (name, value) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => set(&mut server_no_takeover, ()),
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => set(&mut client_no_takeover, ()),
                (SERVER_MAX_WINDOW_BITS, Some(value)) => set(&mut server_bits, bits(value)?),
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => set(&mut client_bits, bits(value)?),
                // "the client supports the parameter": the server may choose
                (CLIENT_MAX_WINDOW_BITS, None) => set(&mut client_bits, MAX_BITS),
                _ => None,
            }?;
        }
        Some(Self {
            client_no_context_takeover: client_no_takeover.is_some(),
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        })
    }

    /// The window for messages to this client.
    #[must_use]
    pub fn window(&self) -> Window {
        Window::within(self.server_max_window_bits.unwrap_or(MAX_BITS))
    }

    /// An [`Inflate`] that reads this client's messages.
    #[must_use]
    pub fn inflate(&self) -> Inflate {
        let window = 1 << self.client_max_window_bits.unwrap_or(MAX_BITS);
        Inflate::new(if self.client_no_context_takeover { 0 } else { window })
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // "A server may include it even if the client did not": without it, a broadcast would be compressed per
        // receiver
        write!(f, "{NAME};{SERVER_NO_CONTEXT_TAKEOVER}")?;
        if self.client_no_context_takeover {
            write!(f, ";{CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, ";{SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        if let Some(bits) = self.client_max_window_bits {
            write!(f, ";{CLIENT_MAX_WINDOW_BITS}={bits}")?;
        }
        Ok(())
    }
}

/// The items of a list without empty ones. A separator within a quoted string does not count.
fn split(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |byte: &u8| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        *byte == separator && !quoted
    };
    list.split(separates).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Sets a parameter. `None` if it was set already.
fn set<T>(parameter: &mut Option<T>, value: T) -> Option<()> {
    parameter.replace(value).is_none().then_some(())
}

/// The size of a window: digits from 8 to 15. A quoted size is not accepted, as in Phoenix.
fn bits(value: &[u8]) -> Option<u8> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits?.parse().ok().filter(|bits| (8..=MAX_BITS).contains(bits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parameters of the answer beyond the server's own.
    fn answer(lines: &[&str]) -> Option<String> {
        let agreement = Agreement::negotiate(lines.iter().map(|line| line.as_bytes()))?;
        let answer = agreement.to_string();
        let rest = answer.strip_prefix("permessage-deflate;server_no_context_takeover");
        Some(rest.expect("the server never takes its context over").to_owned())
    }

    #[test]
    fn offers_are_answered_as_phoenix_does_but_for_the_servers_context() {
        for (offer, expected) in [
            ("P", ""),
            ("P;", ""),
            ("; P", ""),
            ("P,,P", ""),
            ("P, x-unknown", ""),
            ("P; client_max_window_bits", ";client_max_window_bits=15"),
            ("P; client_max_window_bits=15", ";client_max_window_bits=15"),
            ("P; client_max_window_bits=10", ";client_max_window_bits=10"),
            ("P; client_max_window_bits=8", ";client_max_window_bits=8"),
            ("P; server_no_context_takeover; client_no_context_takeover", ";client_no_context_takeover"),
            ("P; client_no_context_takeover; server_no_context_takeover", ";client_no_context_takeover"),
            ("P; server_no_context_takeover", ""),
            ("P; client_no_context_takeover", ";client_no_context_takeover"),
            ("P; server_max_window_bits=10", ";server_max_window_bits=10"),
            ("P; server_max_window_bits=8", ";server_max_window_bits=8"),
            ("P;server_max_window_bits=10", ";server_max_window_bits=10"),
            ("P; server_max_window_bits = 10", ";server_max_window_bits=10"),
            ("P\t;\tserver_max_window_bits\t=\t10\t", ";server_max_window_bits=10"),
            ("P; server_max_window_bits=010", ";server_max_window_bits=10"),
            (
                "P; server_max_window_bits=10; client_max_window_bits; server_no_context_takeover; client_no_context_takeover",
                ";client_no_context_takeover;server_max_window_bits=10;client_max_window_bits=15",
            ),
            ("P; server_max_window_bits=10, P", ";server_max_window_bits=10"),
            ("P, P; server_max_window_bits=10", ""),
            ("P; server_max_window_bits=16, P; client_max_window_bits", ";client_max_window_bits=15"),
            ("P; foo, P; client_max_window_bits=9", ";client_max_window_bits=9"),
            ("x-unknown; a=b, P; client_max_window_bits", ";client_max_window_bits=15"),
            (r#"x-unknown; a="b, P; c\", P", P; client_max_window_bits"#, ";client_max_window_bits=15"),
        ] {
            let offer = offer.replace('P', "permessage-deflate");
            assert_eq!(answer(&[&offer]).as_deref(), Some(expected), "{offer}");
        }
    }

    #[test]
    fn what_is_no_offer_or_a_bad_one_is_declined() {
        for offer in [
            "",
            ",",
            ";",
            "x-webkit-deflate-frame",
            "Permessage-Deflate",
            "P-x",
            "P x",
            "P foo",
            "P; foo",
            "P; foo=",
            "P; max_inflate_ratio",
            "P; Server_no_context_takeover",
            "P; server_no_context_takeover=1",
            "P; client_no_context_takeover=1",
            "P; server_no_context_takeover=",
            "P; server_no_context_takeover; server_no_context_takeover",
            "P; client_no_context_takeover; client_no_context_takeover",
            "P; server_max_window_bits=10; server_max_window_bits=10",
            "P; client_max_window_bits; client_max_window_bits=15",
            "P; server_max_window_bits",
            "P; server_max_window_bits=",
            "P; server_max_window_bits=7",
            "P; server_max_window_bits=16",
            "P; server_max_window_bits=abc",
            "P; server_max_window_bits=10x",
            "P; server_max_window_bits=+10",
            "P; server_max_window_bits=-10",
            "P; server_max_window_bits=1 0",
            "P; server_max_window_bits==10",
            "P; server_max_window_bits=266",
            "P; server_max_window_bits=99999999999999999999",
            "P; server_max_window_bits=\"10\"",
            "P; client_max_window_bits=",
            "P; client_max_window_bits=7",
            "P; client_max_window_bits=16",
            "P; client_max_window_bits=abc",
            "P; client_max_window_bits=\"10\"",
            "P; =10",
            "P; =",
            "\"P",
            "\"P\"",
            r#"x-unknown; a="b, P"#,
            r#"x-unknown; a="b\", P"#,
            r#"x-unknown; a="b\\\", P"#,
        ] {
            let offer = offer.replace('P', "permessage-deflate");
            assert_eq!(answer(&[&offer]), None, "{offer}");
        }
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn lines_are_one_list() {
        let [ten, nine, any] = [
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate",
        ];
        assert_eq!(answer(&[ten, any]).as_deref(), Some(";server_max_window_bits=10"));
        assert_eq!(answer(&[any, ten]).as_deref(), Some(""));
        let bad = "permessage-deflate; server_max_window_bits=99";
        assert_eq!(answer(&[bad, nine]).as_deref(), Some(";server_max_window_bits=9"));
        assert_eq!(answer(&[bad, "", "\"", nine]).as_deref(), Some(";server_max_window_bits=9"));
    }

    #[test]
    fn bytes_beyond_ascii_spoil_their_own_offer_alone() {
        let line = b"x-\xff; a=\"\xc3\", permessage-deflate; \xff, permessage-deflate; client_max_window_bits=\xff, permessage-deflate";
        assert_eq!(Agreement::negotiate([&line[..]]), Some(Agreement::default()));
    }

    /// A parameter, and the space around its parts, as numbers to choose from.
    fn parameters() -> impl Strategy<Value = (Agreement, bool, Vec<usize>, Vec<bool>)> {
        let bits = proptest::option::of(8u8..=15);
        let agreement =
            (any::<bool>(), bits.clone(), bits).prop_map(|(no_takeover, server, client)| Agreement {
                client_no_context_takeover: no_takeover,
                server_max_window_bits: server,
                client_max_window_bits: client,
            });
        let order = Just(vec![0, 1, 2, 3]).prop_shuffle();
        (agreement, any::<bool>(), order, proptest::collection::vec(any::<bool>(), 12))
    }

    proptest! {
        #[test]
        fn any_offer_that_can_be_met_is_agreed_on_in_whatever_order_and_spacing((agreement, server_too, order, spaces) in parameters()) {
            let Agreement { client_no_context_takeover, server_max_window_bits, client_max_window_bits } = agreement;
            let sized = |name: &str, bits: Option<u8>| bits.map(|bits| format!("{name} = {bits}"));
            let parameters = [
                server_too.then(|| SERVER_NO_CONTEXT_TAKEOVER.to_owned()),
                client_no_context_takeover.then(|| CLIENT_NO_CONTEXT_TAKEOVER.to_owned()),
                sized(SERVER_MAX_WINDOW_BITS, server_max_window_bits),
                sized(CLIENT_MAX_WINDOW_BITS, client_max_window_bits),
            ];
            let ordered = order.iter().filter_map(|at| parameters[*at].clone());
            let offer = std::iter::once(NAME.to_owned()).chain(ordered).collect::<Vec<_>>().join(" ; ");
            let mut keeps = spaces.iter().cycle();
            let offer: String = offer.chars().filter(|c| *c != ' ' || keeps.next() == Some(&true)).collect();
            prop_assert_eq!(Agreement::negotiate([offer.as_bytes()]), Some(agreement), "{}", offer);
        }

        #[test]
        fn any_bytes_never_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4)) {
            let _ = Agreement::negotiate(lines.iter().map(Vec::as_slice));
        }

        #[test]
        fn whatever_is_agreed_on_reads_as_an_offer_of_the_same(pieces in proptest::collection::vec(0usize..16, 0..20)) {
            let words = [
                NAME, NAME, SERVER_NO_CONTEXT_TAKEOVER, CLIENT_NO_CONTEXT_TAKEOVER, SERVER_MAX_WINDOW_BITS,
                CLIENT_MAX_WINDOW_BITS, ";", ";", ";", ",", "=", "12", "8", " ", "\"", "\\",
            ];
            let line: String = pieces.iter().map(|at| words[*at]).collect();
            if let Some(agreement) = Agreement::negotiate([line.as_bytes()]) {
                let answer = agreement.to_string();
                prop_assert_eq!(Agreement::negotiate([answer.as_bytes()]), Some(agreement));
                prop_assert!(answer.starts_with("permessage-deflate;server_no_context_takeover"));
                prop_assert!(answer.bytes().all(|byte| byte.is_ascii_graphic()), "it is a header's value");
            }
        }
    }
}
