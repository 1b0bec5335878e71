//! Exports the messages of the store, or imports them, instead of serving.

use std::path::Path;

use hinotori::{BoxError, prometheus::Registry};

use crate::{
    chat::{self, Keep, Meters},
    settings::Settings,
};

/// Writes all messages to a file.
pub(crate) async fn export(settings: &Settings, file: &Path) -> Result<(), BoxError> {
    if settings.store.is_file(file) {
        return Err(format!("{} is the store itself: choose another file", file.display()).into());
    }
    let count = chat::export(&*settings.store.reader()?, file).await?;
    log::info!("event=exported messages={count} file={:?}", file.display().to_string());
    Ok(())
}

/// Reads all messages from a file.
pub(crate) fn import(settings: &Settings, file: &Path) -> Result<(), BoxError> {
    // what nobody scrapes
    let meters = Meters::register(&Registry::new())?;
    let count = chat::import(&mut *settings.store.log(Keep::All, meters)?, file)?;
    log::info!("event=imported messages={count} file={:?}", file.display().to_string());
    Ok(())
}
