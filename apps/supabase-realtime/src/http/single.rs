//! `POST /api/broadcast/<topic>/events/<event>`: one message, with JSON or bytes.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    web::{Bytes, Data, Path, Query},
};
use hinotori::{Endpoint, Payload, UserBroadcast};
use serde::Deserialize;

use super::{caller::caller, problem::Problem, publish::Outgoing};
use crate::user_socket::Project;

#[derive(Deserialize)]
pub(super) struct Options {
    #[serde(default)]
    private: String,
}

/// Sends a message, or skips it if its channel is private and not granted.
pub(super) async fn broadcast(
    request: HttpRequest,
    path: Path<(String, String)>,
    options: Query<Options>,
    body: Bytes,
    project: Data<Project>,
    endpoint: Data<Endpoint>,
) -> Result<HttpResponse, Problem> {
    let claims = caller(&request, &project)?;
    let (channel, event) = path.into_inner();
    let payload = match request.content_type() {
        "application/json" => {
            Payload::raw_json(body).map_err(|_| Problem::Invalid("payload: is not JSON".to_owned()))?
        }
        "application/octet-stream" => Payload::binary(body),
        _ => return Err(Problem::MediaType),
    };
    let message = UserBroadcast { event, payload, meta: None };
    Outgoing::new(channel, options.private == "true", message)?.publish(&claims, &project, &endpoint)?;
    Ok(HttpResponse::Accepted().finish())
}
