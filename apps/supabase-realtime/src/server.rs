//! The program's server, as the settings say.

use std::error::Error;

use actix_web::web::Data;
use hinotori::{Endpoint, Presence};
use hinotori_app::serve;

use crate::{
    http,
    keys::Keys,
    meters::Meters,
    settings::Settings,
    user_socket::{Project, UserSocket},
};

/// Serves until it is told to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let keys = Keys::new(settings.jwt_secret.as_ref(), settings.jwt_jwks.as_deref())?;
    let mut endpoint = Endpoint::builder()
        .max_connections(settings.limits.max_connections())
        .drainer(settings.drain.drainer());
    if let Some(name) = &settings.node_name {
        endpoint = endpoint.node_name(name);
    }
    if let Some(engine) = &settings.cluster {
        endpoint = engine.connect(endpoint, &settings.cluster_name)?;
    }
    let endpoint = endpoint.build();
    let project = Data::new(Project {
        keys,
        rule: settings.private_channels,
        presence: Presence::new(&endpoint),
        meters: Meters::register(endpoint.registry())?,
    });
    let (sockets, options) = (endpoint.clone(), settings.socket());
    let max_body = settings.limits.max_message_size;
    serve("supabase-realtime", &settings.listen, settings.ops_listen, &endpoint, move |config| {
        config.app_data(project.clone()).app_data(Data::new(sockets.clone()));
        // the path of Supabase's gateway, and that of its server
        for path in ["/realtime/v1", "/socket"] {
            config.configure(sockets.socket::<UserSocket>(path, options.clone()));
        }
        http::configure(config, max_body);
    })
    .await
}
