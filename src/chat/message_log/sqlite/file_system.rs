//! Where the file is: SQLite's write-ahead log is memory that processes of one machine share.

use std::{io, path::Path};

use rustix::fs::statfs;

/// The file systems of Linux that are served by another machine, by their magic numbers (`statfs(2)`).
const REMOTE: [u32; 7] = [
    0x0000_6969, // NFS
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB 2 and 3
    0x0000_517b, // SMB
    0x0000_564c, // NCP
    0x7375_7245, // Coda
    0x5346_414f, // AFS
];

/// Whether a folder is on a file system of another machine.
pub(super) fn is_remote(folder: &Path) -> io::Result<bool> {
    // magic numbers have 32 bits, whatever the type of the field is
    let magic = statfs(folder)?.f_type as u32;
    Ok(has_remote_magic(magic))
}

fn has_remote_magic(magic: u32) -> bool {
    REMOTE.contains(&magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_this_machine_are_none_and_those_of_a_server_are() {
        for folder in [std::env::temp_dir().as_path(), Path::new("/"), Path::new("/proc")] {
            assert!(!is_remote(folder).unwrap(), "{}", folder.display());
        }
        assert!(is_remote(Path::new("/no/such/folder")).is_err());
        // ext4, XFS, Btrfs, overlayfs, tmpfs, FUSE
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0x0102_1994, 0x6573_5546] {
            assert!(!has_remote_magic(local), "{local:x}");
        }
        // NFS, CIFS
        for remote in [0x6969, 0xff53_4d42] {
            assert!(has_remote_magic(remote), "{remote:x}");
        }
    }
}
