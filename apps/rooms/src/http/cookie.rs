//! The cookie of a session: its id, signed.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, CookieBuilder, SameSite, time::Duration},
    http::header::ORIGIN,
};

use crate::{
    domain::{sessions, user::User},
    failure::Failure,
    store::DbError,
    team::Team,
};

const NAME: &str = "rooms_session";

/// The cookie of a session. Over HTTPS, which only the page's origin tells behind a proxy, it is not sent in the clear.
pub(super) fn of_session(
    team: &Team,
    session_id: &str,
    request: &HttpRequest,
) -> Result<Cookie<'static>, Failure> {
    let signed = team.cookies.sign(&session_id);
    let signed = signed.map_err(|error| DbError::Statement(error.to_string()))?;
    let is_secure =
        request.headers().get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https:"));
    let age = Duration::try_from(sessions::AGE).unwrap_or(Duration::DAY);
    Ok(build(signed).max_age(age).secure(is_secure).finish())
}

/// What removes it.
pub(super) fn removal() -> Cookie<'static> {
    let mut cookie = build(String::new()).finish();
    cookie.make_removal();
    cookie
}

fn build(value: String) -> CookieBuilder<'static> {
    Cookie::build(NAME, value).path("/").http_only(true).same_site(SameSite::Lax)
}

/// The id of a request's session, if its cookie is one of this server.
pub(super) fn session_id(team: &Team, request: &HttpRequest) -> Option<String> {
    let cookie = request.cookie(NAME)?;
    team.cookies.verify(Some(cookie.value()), sessions::AGE).ok()
}

/// The session of a request, and its user.
///
/// # Errors
/// [`Failure::NotLoggedIn`]; [`Failure::Removed`].
pub(super) async fn session(team: &Team, request: &HttpRequest) -> Result<(String, User), Failure> {
    let id = session_id(team, request).ok_or(Failure::NotLoggedIn)?;
    let session = id.clone();
    let user = team.store.read(move |tx| sessions::user(tx, &session)).await?;
    Ok((id, user))
}
