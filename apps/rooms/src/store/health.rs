//! Whether the database can be written to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{failure::Failure, store::DbError};

/// Whether the database can be written to, as the last transaction found. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<AtomicBool>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Health {
    /// Whether it can be written to.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how a transaction ended that writes. One that was refused tells nothing.
    pub(super) fn note<T>(&self, written: &Result<T, Failure>) {
        match written {
            Ok(_) => {
                if !self.0.swap(true, Ordering::Relaxed) {
                    log::info!("event=store_up");
                }
            }
            Err(Failure::Unavailable(DbError::Unavailable(why))) => {
                if self.0.swap(false, Ordering::Relaxed) {
                    log::warn!("event=store_down why={why:?}");
                }
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_down_from_a_failure_of_the_database_to_the_next_success() {
        let health = Health::default();
        let away = || Err::<(), _>(DbError::Unavailable("away".into()).into());
        assert!(health.is_up());
        health.note::<()>(&Err(Failure::Forbidden));
        health.note::<()>(&Err(DbError::Statement("wrong".into()).into()));
        assert!(health.is_up());
        health.note(&away());
        health.note::<()>(&Err(Failure::Forbidden));
        assert!(!health.is_up());
        health.note(&Ok(()));
        assert!(health.is_up());
    }
}
