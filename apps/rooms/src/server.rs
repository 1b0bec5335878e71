//! The program's server: the sockets, the routes and the page, as the settings say.

use std::{error::Error, sync::Arc, time::Duration};

use actix_web::{rt, web::Data};
use hinotori::{Check, Endpoint};
use hinotori_app::serve;

use crate::{
    demo,
    domain::upkeep,
    http::{self, Page},
    settings::Settings,
    store::{Address, Health, Store},
    team::Team,
    user_socket::UserSocket,
};

/// How often what nobody needs is deleted.
const UPKEEP: Duration = Duration::from_secs(60 * 60);

/// How often the store is tried while nobody uses it.
const PULSE: Duration = Duration::from_secs(2);

/// Serves until it is told to stop.
///
/// # Errors
/// Why it does not start.
pub async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let page = Page::open(&settings.static_dir)?;
    let health = Health::default();
    let endpoint = endpoint(settings, &health)?;
    let store = Store::open(&settings.store, settings.cluster.is_some(), &endpoint, health.clone())?;
    let mut team = Team::new(&endpoint, store, settings.secret.clone()).await?;
    if let Some(team) = Arc::get_mut(&mut team) {
        team.check_origin = settings.clients.check_origin.clone();
        team.trusted_proxies = settings.clients.trusted_proxies.clone();
    }
    if settings.demo {
        demo::seed(&team).await?;
    }
    rt::spawn(look_after(team.clone()));
    rt::spawn(feel_pulse(team.clone(), health));
    let (sockets, options, team) = (endpoint.clone(), settings.socket(), Data::from(team));
    serve("rooms", &settings.listen, settings.ops_listen, &endpoint, move |config| {
        config
            .app_data(team.clone())
            .configure(sockets.socket::<UserSocket>("/socket", options.clone()))
            .configure(http::configure)
            .configure(|config| page.configure(config));
    })
    .await
}

fn endpoint(settings: &Settings, health: &Health) -> Result<Endpoint, Box<dyn Error>> {
    let mut endpoint = Endpoint::builder()
        .max_connections(settings.limits.max_connections())
        .drainer(settings.drain.drainer())
        .check(store_check(health, settings.ready_requires_store));
    if let Some(name) = &settings.node_name {
        endpoint = endpoint.node_name(name);
    }
    if let Some(engine) = &settings.cluster {
        let store = match &settings.store {
            Address::Postgres(dsn) => Some(dsn),
            Address::Sqlite(_) => None,
        };
        endpoint = engine.connect(endpoint, store, &settings.cluster_name)?;
    }
    Ok(endpoint.build())
}

/// What `/readyz` tells of the store.
fn store_check(health: &Health, is_required: bool) -> Check {
    let health = health.clone();
    let check = Check::new("store", move || health.is_up());
    if is_required { check.required() } else { check }
}

/// Lets the store's health be known also while nobody writes.
async fn feel_pulse(team: Arc<Team>, health: Health) {
    loop {
        rt::time::sleep(PULSE).await;
        // an empty transaction notices a lost connection; that a full disk has room again, only one that writes
        let _ = match health.is_up() {
            true => team.store.write(|_| Ok(())).await,
            false => team.store.write(upkeep::pulse).await,
        };
    }
}

/// Deletes now and then what nobody needs. Each node does it, which does no harm.
async fn look_after(team: Arc<Team>) {
    let mut hours = rt::time::interval(UPKEEP);
    loop {
        hours.tick().await;
        if let Err(failure) = team.store.write(upkeep::run).await {
            log::warn!("event=upkeep_failed why={:?}", failure.logged().to_string());
        }
    }
}
