//! Why a request is not answered with 202.

use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde_json::json;

use crate::refusal::Refusal;

/// See the module. Clients read the text from `error` or `message`.
#[derive(Debug)]
pub(super) enum Problem {
    Refused(Refusal),
    /// A body that is not what is expected.
    Invalid(String),
    /// A body of another type.
    MediaType,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{}: {refusal}", refusal.code()),
            Self::Invalid(why) => f.write_str(why),
            Self::MediaType => {
                f.write_str("expected application/json or application/octet-stream as the Content-Type")
            }
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused(_) => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let text = self.to_string();
        HttpResponse::build(self.status_code()).json(json!({ "error": text, "message": text }))
    }
}
