//! Whether the session of a socket goes on.

use actix_web::{
    rt::{self, task::JoinHandle, time::sleep},
    web::Data,
};

use crate::{domain::sessions, team::Team};

/// Asks now and then whether a session goes on, as long as its socket is there. Nobody tells a socket that its session has expired,
/// and what tells it of a logout or a removal may be lost between nodes.
#[derive(Debug)]
pub(crate) struct SessionWatch(JoinHandle<()>);

impl SessionWatch {
    pub(crate) fn start(team: Data<Team>, session_id: String) -> Self {
        Self(rt::spawn(async move {
            loop {
                sleep(team.session_check).await;
                let id = session_id.clone();
                // a database that fails is asked again
                let _ = team.store.read(move |tx| sessions::check(tx, &id)).await;
            }
        }))
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
