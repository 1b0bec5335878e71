//! A disk of a few megabytes, for one test.

use std::{path::Path, process::Command};

use crate::folder::Folder;

/// In memory, unmounted when it is dropped.
pub(crate) struct SmallDisk {
    folder: Folder,
}

impl SmallDisk {
    /// None, and why is printed, if whoever runs the tests may not mount one: root may, unless a container forbids it.
    pub(crate) fn mount(mebibytes: u32) -> Option<Self> {
        let disk = Self { folder: Folder::new() };
        let size = format!("size={mebibytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "hinotori-it"]).arg(disk.path()).output();
        let why = match mount {
            Ok(mount) if mount.status.success() => return Some(disk),
            Ok(mount) => String::from_utf8_lossy(&mount.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped, as no disk can be mounted: {why}");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // one that was not mounted is none to unmount
        let _ = Command::new("umount").arg(self.path()).output();
    }
}
