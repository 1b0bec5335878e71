//! What a foreign page cannot do in the name of a user who is logged in here.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use crate::{failure::Failure, team::Team};

/// Lets requests through that change nothing, and those of the page: their type is none that a form can send, and their origin
/// is allowed. No answer is kept in a cache.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if ![Method::GET, Method::HEAD].contains(request.method()) && !is_of_page(&request) {
        return Err(Failure::Forbidden.into());
    }
    let mut response = next.call(request).await?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn is_of_page(request: &ServiceRequest) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_simple = !(essence.eq_ignore_ascii_case("application/json") || essence.starts_with("image/"));
    let team = request.app_data::<Data<Team>>();
    !is_simple && team.is_some_and(|team| team.check_origin.allows(request.request()))
}
