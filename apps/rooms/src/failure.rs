//! Why something is not done: what clients are told, by the socket and by HTTP.

use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use hinotori::{Reply, Result};
use serde_json::json;

use crate::store::DbError;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such thing, or the user is not allowed to know.
    NotFound,
    /// The user may not do that.
    Forbidden,
    /// A field is missing or has a value that it cannot have.
    Invalid(&'static str),
    /// It was done too often.
    TooMany,
    /// The database failed; the same may succeed later.
    Unavailable(DbError),
    /// Another user has the name.
    NameTaken,
    /// A name cannot be like this.
    InvalidName,
    /// A password is too short or too long.
    WeakPassword,
    /// There is no such user, or the password is another.
    WrongPassword,
    /// There is no session.
    NotLoggedIn,
    /// An administrator has removed the user.
    Removed,
    /// A picture has too many bytes or pixels.
    TooLarge,
    /// A file is no picture.
    NotAPicture,
}

impl Failure {
    /// The code that clients are told.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Invalid(_) => "invalid",
            Self::TooMany => "too_many",
            Self::Unavailable(_) => "unavailable",
            Self::NameTaken => "name_taken",
            Self::InvalidName => "invalid_name",
            Self::WeakPassword => "weak_password",
            Self::WrongPassword => "wrong_password",
            Self::NotLoggedIn => "not_logged_in",
            Self::Removed => "removed",
            Self::TooLarge => "too_large",
            Self::NotAPicture => "not_a_picture",
        }
    }

    /// The payload of an error reply.
    #[must_use]
    pub fn reason(&self) -> serde_json::Value {
        match self {
            Self::Invalid(field) => json!({ "reason": self.code(), "field": field }),
            _ => json!({ "reason": self.code() }),
        }
    }

    /// The error reply to a client's message.
    ///
    /// # Errors
    /// None: its payload serializes.
    pub fn reply(&self) -> Result {
        Reply::error(self.logged().reason())
    }

    /// The same, in the log if an operator can do something about it.
    #[must_use]
    pub fn logged(&self) -> &Self {
        if let Self::Unavailable(why) = self {
            log::error!("event=store_failed why={:?}", why.to_string());
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such thing",
            Self::Forbidden => "you may not do that",
            Self::Invalid(field) => return write!(f, "{field} is missing or invalid"),
            Self::TooMany => "too often: try again later",
            Self::Unavailable(_) => "the database is not available: try again later",
            Self::NameTaken => "another user has this name",
            Self::InvalidName => "a name has 1 to 32 visible characters",
            Self::WeakPassword => "a password has 8 to 256 characters",
            Self::WrongPassword => "the name or the password is wrong",
            Self::NotLoggedIn => "log in first",
            Self::Removed => "an administrator has removed this user",
            Self::TooLarge => "a picture has at most 5 MiB and 40 megapixels",
            Self::NotAPicture => "expected a PNG, JPEG, GIF or WebP",
        })
    }
}

impl std::error::Error for Failure {}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Unavailable(error)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NameTaken => StatusCode::CONFLICT,
            Self::InvalidName | Self::WeakPassword => StatusCode::UNPROCESSABLE_ENTITY,
            Self::WrongPassword | Self::NotLoggedIn | Self::Removed => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAPicture => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let body = json!({ "error": self.logged().code(), "message": self.to_string() });
        HttpResponse::build(self.status_code()).json(body)
    }
}
