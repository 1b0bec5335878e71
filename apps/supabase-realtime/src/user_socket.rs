//! A client's connection: the project that it belongs to, and its apikey.

use std::sync::Arc;

use actix_web::{http::StatusCode, web::Data};
use hinotori::{ConnectInfo, Params, Presence, Refused, Routes, SocketHandler};

use crate::{access::Rule, keys::Keys, meters::Meters, realtime_channel::RealtimeChannel};

/// What all clients of the server have in common.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) keys: Keys,
    pub(crate) rule: Rule,
    pub(crate) presence: Presence,
    pub(crate) meters: Meters,
}

/// See the module.
pub(crate) struct UserSocket {
    /// The token of channels whose client gives none. It is checked again when it is used.
    pub(crate) apikey: String,
    pub(crate) project: Arc<Project>,
}

impl SocketHandler for UserSocket {
    async fn connect(params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let project = info.data::<Data<Project>>()?.clone().into_inner();
        let apikey = info.header("x-api-key").or_else(|| params.get("apikey")).unwrap_or_default();
        project.keys.verify(apikey).map_err(|refusal| {
            project.meters.refused(&refusal);
            Refused::from(refusal).with_status(StatusCode::UNAUTHORIZED)
        })?;
        Ok(Self { apikey: apikey.to_owned(), project })
    }

    fn channels(routes: &mut Routes<Self>) {
        routes.channel::<RealtimeChannel>("realtime:*");
    }
}
