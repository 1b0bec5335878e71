//! Passwords, hashed by argon2 off the threads that serve clients.

use actix_web::web;
use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{self, SaltString},
};
use tokio::sync::Semaphore;

use crate::{failure::Failure, ids, store::DbError};

/// Characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Hashes that are computed at a time. Each takes a core, 19 MiB, and some 30 ms.
const AT_A_TIME: usize = 2;

/// Hashes that may wait: some seconds.
const WAITING: usize = 100;

/// Hashes and verifies passwords, not too many at a time.
#[derive(Debug)]
pub struct Passwords {
    seats: Semaphore,
    turns: Semaphore,
    /// The hash that an unknown name is compared with: that takes as long as for a known one.
    nobody: String,
}

impl Passwords {
    /// Starts with a hash of a password that nobody has.
    ///
    /// # Errors
    /// If argon2 failed.
    pub fn new() -> Result<Self, String> {
        let nobody = hash(&ids::new()).map_err(|error| error.to_string())?;
        Ok(Self { seats: Semaphore::new(AT_A_TIME + WAITING), turns: Semaphore::new(AT_A_TIME), nobody })
    }

    /// Hashes a password that is long enough.
    ///
    /// # Errors
    /// [`Failure::WeakPassword`]; [`Failure::TooMany`] if too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Failure> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(Failure::WeakPassword);
        }
        self.run(move || hash(&password)).await?.map_err(|error| broken(&error))
    }

    /// Verifies a password by its hash; none if there is no such user, which takes as long.
    ///
    /// # Errors
    /// [`Failure::WrongPassword`]; [`Failure::TooMany`] if too many wait.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<(), Failure> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(Failure::WrongPassword);
        }
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let verified = self
            .run(move || Argon2::default().verify_password(password.as_bytes(), &PasswordHash::new(&hash)?));
        match verified.await? {
            Ok(()) if is_known => Ok(()),
            Ok(()) | Err(password_hash::Error::Password) => Err(Failure::WrongPassword),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Runs on the thread pool, when it is its turn.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let _seat = self.seats.try_acquire().map_err(|_| Failure::TooMany)?;
        let _turn = self.turns.acquire().await.map_err(|_| Failure::TooMany)?;
        web::block(work).await.map_err(|_| Failure::TooMany)
    }
}

/// The hash of a password, with its parameters and a salt.
///
/// # Errors
/// If argon2 failed.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(&ids::random::<16>())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

fn broken(error: &password_hash::Error) -> Failure {
    Failure::Unavailable(DbError::Statement(format!("a password's hash: {error}")))
}
