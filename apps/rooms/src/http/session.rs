//! Signing up, logging in and out, and the token of the socket.

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse, Result,
    web::{Data, Json},
};
use serde::Deserialize;
use serde_json::json;

use super::cookie;
use crate::{
    domain::{accounts, names, sessions, user::User},
    failure::Failure,
    limits::network,
    store::DbError,
    team::Team,
};

/// Who somebody wants to be.
#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

/// Adds a user, who is logged in.
pub(super) async fn sign_up(
    team: Data<Team>,
    request: HttpRequest,
    credentials: Json<Credentials>,
) -> Result<HttpResponse> {
    let Credentials { name, password } = credentials.into_inner();
    let name = names::shown(&name)?;
    team.limits.sign_up.take(address(&team, &request))?;
    let hash = team.passwords.hash(password).await?;
    let work = move |tx: &mut crate::store::Tx<'_>| {
        let user = accounts::sign_up(tx, &name, &hash)?;
        let session_id = sessions::begin(tx, &user.id)?;
        Ok((user, session_id))
    };
    let (user, session_id) = team.store.write(work).await?;
    let cookie = cookie::of_session(&team, &session_id, &request)?;
    Ok(HttpResponse::Created().cookie(cookie).json(json!({ "user": user })))
}

/// Begins a session.
pub(super) async fn login(
    team: Data<Team>,
    request: HttpRequest,
    credentials: Json<Credentials>,
) -> Result<HttpResponse> {
    let Credentials { name, password } = credentials.into_inner();
    let name = names::shown(&name).map_err(|_| Failure::WrongPassword)?;
    team.limits.login_address.take(address(&team, &request))?;
    team.limits.login_name.take(names::key(&name))?;
    let found: Option<(User, String)> = team.store.read(move |tx| accounts::by_name(tx, &name)).await?;
    let (user, hash) = found.unzip();
    team.passwords.verify(password, hash).await?;
    let user = user.ok_or(Failure::WrongPassword)?;
    let id = user.id.clone();
    let session_id = team.store.write(move |tx| sessions::begin(tx, &id)).await?;
    let cookie = cookie::of_session(&team, &session_id, &request)?;
    Ok(HttpResponse::Ok().cookie(cookie).json(json!({ "user": user })))
}

/// Ends the session, if there is one.
pub(super) async fn logout(team: Data<Team>, request: HttpRequest) -> Result<HttpResponse> {
    if let Some(id) = cookie::session_id(&team, &request) {
        team.store.write(move |tx| sessions::end(tx, &id)).await?;
    }
    Ok(HttpResponse::NoContent().cookie(cookie::removal()).finish())
}

/// The user of the session, and a token for its socket; both null if nobody is logged in, which a page that is opened for the first
/// time asks for too.
pub(super) async fn get(team: Data<Team>, request: HttpRequest) -> Result<HttpResponse> {
    let (session_id, user) = match cookie::session(&team, &request).await {
        Ok(session) => session,
        Err(Failure::NotLoggedIn) => {
            return Ok(HttpResponse::Ok().json(json!({ "user": null, "token": null })));
        }
        Err(failure) => return Err(failure.into()),
    };
    let token = team.tokens.sign(&session_id);
    let token = token.map_err(|error| Failure::from(DbError::Statement(error.to_string())))?;
    Ok(HttpResponse::Ok().json(json!({ "user": user, "token": token })))
}

/// Whose tries are counted together. Requests that came over no network count as one.
fn address(team: &Team, request: &HttpRequest) -> IpAddr {
    let address = team.trusted_proxies.client(request);
    network(address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)))
}
