//! Who sends a request.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
};

use super::problem::Problem;
use crate::{claims::Claims, refusal::Refusal, user_socket::Project};

/// The claims of the token in `Authorization: Bearer`, or of the `apikey` if there is none.
pub(super) fn caller(request: &HttpRequest, project: &Project) -> Result<Claims, Problem> {
    let header = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    let bearer = header(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    // what a client of Supabase's newer API keys sends there is no token
    let bearer = bearer.filter(|token| !token.is_empty() && !token.starts_with("sb_"));
    let token = bearer.or_else(|| header(HeaderName::from_static("apikey"))).ok_or(Refusal::NoToken);
    token.and_then(|token| project.keys.verify(token)).map_err(|refusal| {
        project.meters.refused(&refusal);
        Problem::Refused(refusal)
    })
}
