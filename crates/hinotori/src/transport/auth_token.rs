//! The auth token that phoenix.js puts into the WebSocket's subprotocols, because browsers do not allow custom headers
//! there.
//!
//! `new Socket(url, {authToken})` sends `Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.<base64 of the token>`.
//! Despite the name, phoenix.js uses the standard alphabet; both are accepted here.
//!
//! # Source
//! Phoenix `lib/phoenix/transports/websocket.ex` (`maybe_auth_token_from_header/2`), 1.8.12.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// The prefix of the item that is the token.
const PREFIX: &str = "base64url.bearer.phx.";

/// The protocol that a client must offer if it offers any.
const PHOENIX: &str = "phoenix";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The result of reading a request's subprotocols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The decoded token, if there was exactly one.
    pub(super) token: Option<String>,
    /// The subprotocol that the answer names.
    pub(super) protocol: Option<&'static str>,
}

/// There are subprotocols without `phoenix`, or the token does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadOffer;

/// Reads the `Sec-WebSocket-Protocol` headers. Only a token in the first line counts. If that line has nothing else,
/// the next line has the subprotocols.
pub(super) fn read_offer<'a>(mut lines: impl Iterator<Item = &'a str>) -> Result<Offer, BadOffer> {
    let mut items = list(lines.next());
    let tokens: Vec<&str> = items.iter().filter_map(|item| item.strip_prefix(PREFIX)).collect();
    let token = match tokens[..] {
        [token] => Some(decode(token).ok_or(BadOffer)?),
        _ => None,
    };
    if token.is_some() {
        items.retain(|item| !item.starts_with(PREFIX));
        if items.is_empty() {
            items = list(lines.next());
        }
    }
    match (items.is_empty(), items.contains(&PHOENIX)) {
        (true, _) => Ok(Offer { token, protocol: None }),
        (_, true) => Ok(Offer { token, protocol: Some(PHOENIX) }),
        (_, false) => Err(BadOffer),
    }
}

/// The items of a header line.
fn list(line: Option<&str>) -> Vec<&str> {
    line.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Base64 in either alphabet, with or without padding.
fn decode(text: &str) -> Option<String> {
    let standard = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    let url_safe = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    let bytes = standard.decode(text).or_else(|_| url_safe.decode(text)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(header: &str) -> Result<(Option<String>, Option<&'static str>), BadOffer> {
        read_offer([header].into_iter()).map(|Offer { token, protocol }| (token, protocol))
    }

    fn token(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn one_token_is_decoded_in_either_alphabet_with_padding_or_without() {
        let phoenix = Some("phoenix");
        assert_eq!(offer("phoenix, base64url.bearer.phx.c2VjcmV0LTE"), Ok((token("secret-1"), phoenix)));
        assert_eq!(
            offer("base64url.bearer.phx.YT4+PmI/Pz9jfn5+ ,phoenix"),
            Ok((token("a>>>b???c~~~"), phoenix))
        );
        assert_eq!(
            offer("phoenix,base64url.bearer.phx.YT4-PmI_Pz9jfn5-"),
            Ok((token("a>>>b???c~~~"), phoenix))
        );
        assert_eq!(offer("phoenix, base64url.bearer.phx.dA=="), Ok((token("t"), phoenix)));
        assert_eq!(offer("phoenix, base64url.bearer.phx."), Ok((token(""), phoenix)));
        assert_eq!(offer("base64url.bearer.phx.YWxvbmU"), Ok((token("alone"), None)));
    }

    #[test]
    fn no_offer_needs_no_answer_and_one_without_phoenix_is_refused() {
        assert_eq!(read_offer([].into_iter()), Ok(Offer::default()));
        assert_eq!(offer(""), Ok((None, None)));
        assert_eq!(offer("phoenix"), Ok((None, Some("phoenix"))));
        for header in ["graphql-ws", "Phoenix", "graphql-ws, base64url.bearer.phx.dA"] {
            assert_eq!(offer(header), Err(BadOffer), "{header}");
        }
    }

    #[test]
    fn a_token_counts_in_the_first_line_alone() {
        let lines = |lines: [&'static str; 2]| {
            read_offer(lines.into_iter()).map(|offer| (offer.token, offer.protocol))
        };
        let (alone, phoenix) = ("base64url.bearer.phx.dA", "phoenix");
        assert_eq!(lines([phoenix, alone]), Ok((None, Some(phoenix))));
        assert_eq!(lines([alone, phoenix]), Ok((token("t"), Some(phoenix))));
        assert_eq!(lines([alone, "graphql-ws"]), Err(BadOffer));
    }

    #[test]
    fn two_tokens_are_none_and_a_broken_one_is_refused() {
        let two = "phoenix, base64url.bearer.phx.dA, base64url.bearer.phx.dQ";
        assert_eq!(offer(two), Ok((None, Some("phoenix"))));
        assert_eq!(offer("base64url.bearer.phx.dA, base64url.bearer.phx.dQ"), Err(BadOffer));
        assert_eq!(offer("phoenix, base64url.bearer.phx.!!!"), Err(BadOffer));
        assert_eq!(offer("phoenix, base64url.bearer.phx./w"), Err(BadOffer), "not UTF-8");
    }
}
