//! Pictures: uploads and downloads.

use actix_web::{
    HttpRequest, HttpResponse, Result,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
    web::{Data, Path, Payload},
};
use serde_json::json;

use super::cookie;
use crate::{
    domain::pictures::{self, BYTES_MAX},
    failure::Failure,
    ids,
    team::Team,
};

/// Stores a picture.
pub(super) async fn upload(team: Data<Team>, request: HttpRequest, body: Payload) -> Result<HttpResponse> {
    let (_, user) = cookie::session(&team, &request).await?;
    team.limits.upload.take(user.id.clone())?;
    let bytes = body.to_bytes_limited(BYTES_MAX).await.map_err(|_| Failure::TooLarge)??;
    let recognized = pictures::recognize(&bytes)?;
    let picture = team.store.write(move |tx| pictures::upload(tx, &user.id, &recognized, &bytes)).await?;
    Ok(HttpResponse::Created().json(json!({ "picture": picture })))
}

/// Sends a picture, which never changes. It is shown by nobody as anything else, and runs nothing.
pub(super) async fn get(team: Data<Team>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse> {
    let id = Some(id.into_inner()).filter(|id| ids::is_valid(id)).ok_or(Failure::NotFound)?;
    let session = cookie::session(&team, &request).await;
    let (_, user) = session.map_err(|failure| match failure {
        Failure::NotLoggedIn | Failure::Removed => Failure::NotFound,
        failure => failure,
    })?;
    let (content_type, bytes) = team.store.read(move |tx| pictures::get(tx, &user.id, &id)).await?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .body(bytes))
}
