//! The refusal of a client by a socket.

use std::{any::type_name, fmt};

use actix_web::http::StatusCode;

use crate::channel::{BoxError, chain};

/// The error that [`SocketHandler::connect`](crate::SocketHandler::connect) returns to refuse a client.
///
/// The client sees only the status, 403 by default as in Phoenix. The reason is written to the log, in `event=refused
/// reason=application … why="…"`.
///
/// Any error or text converts to a refusal by `?`:
///
/// ```
/// use actix_web::http::StatusCode;
/// use hinotori::{ConnectInfo, Params, Refused};
///
/// async fn user_id(params: &Params, _info: &ConnectInfo<'_>) -> Result<u64, Refused> {
///     let id = params.get("user_id").ok_or("there is no user_id")?.parse()?;
///     if id == 0 {
///         return Err(Refused::because("user 0 may not connect").with_status(StatusCode::UNAUTHORIZED));
///     }
///     Ok(id)
/// }
/// ```
///
/// Like `anyhow::Error`, it does not implement `std::error::Error`: otherwise it could not implement `From` for every
/// error.
#[derive(Debug)]
pub struct Refused {
    why: BoxError,
    status: StatusCode,
    /// Whether the server is at fault rather than the client.
    is_fault: bool,
}

impl Refused {
    /// Refuses with 403. The text goes to the log, quoted and cut after 256 bytes; the client does not see it.
    #[must_use]
    pub fn because(why: impl Into<String>) -> Self {
        why.into().into()
    }

    /// Sets another status, such as 401.
    ///
    /// phoenix.js treats all statuses alike and tries again. On long polling, a 403 is sent in the body of the answer,
    /// as in Phoenix; any other status is the status of the answer itself.
    ///
    /// # Panics
    /// If the status is not an error, 400 to 599. In `connect`, a panic is answered with 500.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        assert!(
            status.is_client_error() || status.is_server_error(),
            "expected a status from 400 to 599 for a refused client, got {status}"
        );
        Self { status, ..self }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The application's `App` lacks data that its socket needs.
    pub(crate) fn missing<T>() -> Self {
        let why = format!("there is no {} in the app_data of the App", type_name::<T>());
        Self { why: why.into(), status: StatusCode::INTERNAL_SERVER_ERROR, is_fault: true }
    }

    pub(crate) fn is_fault(&self) -> bool {
        self.is_fault
    }
}

impl<E: Into<BoxError>> From<E> for Refused {
    fn from(why: E) -> Self {
        Self { why: why.into(), status: StatusCode::FORBIDDEN, is_fault: false }
    }
}

/// The reason with all its causes.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_and_any_text_refuses_with_403_and_says_what_caused_it() {
        let number = "x".parse::<u8>().unwrap_err();
        let caused = anyhow::Error::new(number).context("the user_id is no number");
        let both = "the user_id is no number: invalid digit found in string";
        for (refused, text) in [
            (Refused::from("x".parse::<u8>().unwrap_err()), "invalid digit found in string"),
            (Refused::from(caused), both),
            (Refused::from("banned"), "banned"),
            (Refused::because("banned"), "banned"),
        ] {
            let got = (refused.to_string(), refused.status(), refused.is_fault());
            assert_eq!(got, (text.to_owned(), StatusCode::FORBIDDEN, false));
        }
    }

    #[test]
    #[should_panic(expected = "expected a status from 400 to 599 for a refused client, got 200 OK")]
    fn a_status_that_would_say_that_all_is_well_is_a_bug() {
        let _ = Refused::because("banned").with_status(StatusCode::OK);
    }
}
