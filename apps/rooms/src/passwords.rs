//! Passwords, hashed by argon2 on threads of their own.
//!
//! They are not hashed on a thread pool: each of its threads would keep the 19 MiB that a hash takes.

mod hasher;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use argon2::password_hash;
use hasher::Hasher;
use tokio::sync::oneshot;

use crate::{failure::Failure, ids, store::DbError};

/// Characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Threads that hash. Each hash takes a core, 19 MiB, and some 30 ms.
const THREADS: usize = 2;

/// Hashes that may wait: some seconds.
const WAITING: usize = 100;

type Job = Box<dyn FnOnce(&mut Hasher) + Send>;

/// Hashes and verifies passwords, not too many at a time.
#[derive(Debug)]
pub struct Passwords {
    jobs: SyncSender<Job>,
    /// The hash that an unknown name is compared with: that takes as long as for a known one.
    nobody: String,
}

impl Passwords {
    /// Starts the threads, which end when it is dropped.
    ///
    /// # Errors
    /// If argon2 failed, or there is no thread.
    pub fn new() -> Result<Self, String> {
        let nobody = hash(&ids::new()).map_err(|error| error.to_string())?;
        let (jobs, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let waiting = waiting.clone();
            let work = move || {
                let mut hasher = Hasher::new();
                while let Some(job) = next(&waiting) {
                    job(&mut hasher);
                }
            };
            thread::Builder::new()
                .name("passwords".to_owned())
                .spawn(work)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self { jobs, nobody })
    }

    /// Hashes a password that is long enough.
    ///
    /// # Errors
    /// [`Failure::WeakPassword`]; [`Failure::TooMany`] if too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Failure> {
        if !LENGTH.contains(&password.chars().count()) {
            return Err(Failure::WeakPassword);
        }
        self.run(move |hasher| hasher.hash(&password)).await?.map_err(|error| broken(&error))
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
        match self.run(move |hasher| hasher.verify(&password, &hash)).await? {
            Ok(true) if is_known => Ok(()),
            Ok(_) => Err(Failure::WrongPassword),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Runs on one of the threads, when it is its turn.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hasher) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, is_done) = oneshot::channel();
        // a client that has gone needs no answer
        let job: Job = Box::new(move |hasher| _ = done.send(work(hasher)));
        self.jobs.try_send(job).map_err(|_| Failure::TooMany)?;
        is_done.await.map_err(|_| Failure::TooMany)
    }
}

/// The next password; none if there will be no more.
fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// The hash of a password of any length.
///
/// # Errors
/// If argon2 failed.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    Hasher::new().hash(password)
}

fn broken(error: &password_hash::Error) -> Failure {
    Failure::Unavailable(DbError::Statement(format!("a password's hash: {error}")))
}
