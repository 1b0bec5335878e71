//! Exports the messages of the store, or imports them, instead of serving.

use std::path::Path;

use hinotori::BoxError;

use crate::{
    chat::{self, Keep, Meters, Sharing},
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
    let meters = Meters::new()?;
    let count = chat::import(&mut *settings.store.log(Sharing::Alone, Keep::All, meters)?, file)?;
    log::info!("event=imported messages={count} file={:?}", file.display().to_string());
    Ok(())
}
