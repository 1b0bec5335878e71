//! An engine within the process, whose connections a test can disturb, and what every [`Adapter`] must do.
//!
//! [`Adapter`]: crate::cluster::Adapter

mod conformance;
mod hub;
mod memory;
mod nodes;

pub use conformance::{Engine, conformance};
pub use hub::{Faults, Hub};
pub use memory::Memory;
pub use nodes::nodes;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_engine_within_the_process_does_what_every_engine_must() {
        conformance(&Hub::new(7)).await;
    }

    #[actix_web::test]
    async fn endpoints_on_the_engine_within_the_process_are_one_server() {
        nodes(&Hub::new(7)).await;
    }
}
