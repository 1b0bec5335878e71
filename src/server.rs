//! The program's server: the chat and its page, as the settings say.

use std::error::Error;

use actix_web::web::Data;
use hinotori::{Check, Endpoint};
use hinotori_app::serve;

use crate::{
    chat::{Chat, Close, Keep, Kind, MessageStore, Meters, Page, Sharing, UserSocket},
    settings::Settings,
};

/// Serves until it is told to stop.
pub(crate) async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let sharing = match (&settings.cluster, &settings.store) {
        (None, _) => Sharing::Alone,
        (Some(_), Kind::Postgres(_)) => Sharing::Nodes,
        (Some(_), Kind::Memory | Kind::Sqlite(..)) => {
            return Err("--cluster needs a store that all nodes share: set --store postgres://…, or remove \
                        --cluster"
                .into());
        }
    };
    let meters = Meters::new()?;
    let mut endpoint = Endpoint::builder()
        .max_connections(settings.limits.max_connections())
        .drainer(settings.drain.drainer())
        .check(store_check(&meters, settings.ready_requires_store));
    if let Some(name) = &settings.node_name {
        endpoint = endpoint.node_name(name);
    }
    if let Some(engine) = &settings.cluster {
        endpoint = engine.connect(endpoint, settings.store.postgres(), &settings.cluster_name)?;
    }
    let endpoint = endpoint.build();
    if settings.store == Kind::Memory && settings.keep != Keep::All {
        return Err(
            "--keep needs a database: set --store sqlite:PATH or postgres://…, or remove --keep".into()
        );
    }
    meters.register(endpoint.registry())?;
    let log = settings.store.log(sharing, settings.keep, meters)?;
    let store = MessageStore::start(log, settings.history(), &endpoint)?;
    let chat = Data::new(Chat { store: store.clone(), message_max: settings.message_max });
    let (sockets, options) = (endpoint.clone(), settings.limits.socket(&settings.clients));
    let served = serve("realtime-chat", &settings.listen, settings.ops_listen, &endpoint, move |config| {
        config
            .app_data(chat.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(|config| page.configure(config));
    })
    .await;
    store.send(Close).await?;
    served
}

/// What `/readyz` tells of the store.
fn store_check(meters: &Meters, is_required: bool) -> Check {
    let meters = meters.clone();
    let check = Check::new("store", move || meters.is_up());
    if is_required { check.required() } else { check }
}
