//! The socket of a user who has logged in.

use actix_web::{http::StatusCode, web::Data};
use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};

use crate::{
    domain::sessions,
    failure::Failure,
    room_channel::RoomChannel,
    session_watch::SessionWatch,
    store::Tx,
    team::{TOKEN_AGE, Team},
    team_channel::TeamChannel,
    topics,
    user_channel::UserChannel,
};

/// The socket of a user who has logged in.
#[derive(Debug)]
pub struct UserSocket {
    /// The user.
    pub user_id: String,
    session_id: String,
    _watch: SessionWatch,
    /// What all sockets share.
    pub team: Data<Team>,
}

impl SocketHandler for UserSocket {
    async fn connect(_params: &Params, info: &ConnectInfo<'_>) -> Result<Self, Refused> {
        let team = info.data::<Data<Team>>()?.clone();
        let session_id: String = team.tokens.verify(info.auth_token(), TOKEN_AGE)?;
        let session = session_id.clone();
        // a token outlives its session
        match team.store.read(move |tx| sessions::user(tx, &session)).await {
            Ok(user) => {
                let watch = SessionWatch::start(team.clone(), session_id.clone());
                Ok(Self { user_id: user.id, session_id, _watch: watch, team })
            }
            Err(failure @ Failure::Unavailable(_)) => {
                let refused = Refused::from(failure.logged().clone());
                Err(refused.with_status(StatusCode::SERVICE_UNAVAILABLE))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![topics::session(&self.session_id), topics::sockets(&self.user_id)]
    }

    fn channels(routes: &mut Routes<Self>) {
        routes
            .channel::<TeamChannel>(topics::TEAM)
            .channel::<UserChannel>("user:*")
            .channel::<RoomChannel>("room:*");
    }
}

impl UserSocket {
    /// Runs a transaction that reads, for this user.
    ///
    /// # Errors
    /// What `work` returns; [`Failure::Unavailable`].
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let me = self.user_id.clone();
        self.team.store.read(move |tx| work(tx, &me)).await
    }

    /// Runs a transaction that writes, for this user, unless it writes too often.
    ///
    /// # Errors
    /// What `work` returns; [`Failure::TooMany`]; [`Failure::Unavailable`].
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let me = self.user_id.clone();
        self.team.limits.write.take(me.clone())?;
        self.team.store.write(move |tx| work(tx, &me)).await
    }
}
