//! Finds out whether a folder is on a file system of this machine alone, or on one that other machines may write to as
//! well. SQLite's write-ahead log needs memory shared by all processes, which processes on two machines do not have.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Types of file systems that only one machine has mounted. Every other type (NFS, Lustre, GPFS, CIFS, an unknown FUSE)
/// is taken for shared: that costs a little time for each set, and is correct in both cases.
const LOCAL: [&str; 23] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "iso9660",
    "jfs", "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs", "vfat", "xfs",
    "zfs",
];

/// File in which the kernel lists this process's mounts; see proc_pid_mountinfo(5).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Returns whether other machines may read and write this file or folder at the same time; `true` where the type of the
/// file system is unknown.
pub(super) fn is_shared(path: &Path) -> bool {
    let mounts = std::fs::read(MOUNTS).unwrap_or_default();
    // For a store that does not exist yet, its folder decides.
    let there = path.canonicalize().or_else(|_| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize(),
        _ => Path::new(".").canonicalize(),
    });
    let kind = there.ok().and_then(|path| type_of(&mounts, &path));
    !kind.is_some_and(|kind| LOCAL.contains(&kind.as_str()))
}

/// Returns the type of the file system that an absolute path without links is on: the newest of the deepest mounts
/// above it.
fn type_of(mounts: &[u8], path: &Path) -> Option<String> {
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        // Fields: mount, parent, device, root, mount point, options and optional fields, a hyphen, type, source,
        // options.
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let hyphen = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
        let point = unescaped(fields.get(4)?);
        let kind = String::from_utf8_lossy(fields.get(hyphen + 1)?).into_owned();
        let point = Path::new(std::ffi::OsStr::from_bytes(&point)).to_owned();
        path.starts_with(&point).then(|| (point.components().count(), kind))
    });
    // Of mounts of equal depth, `max_by_key` returns the last, which covers the earlier ones.
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// Decodes a mount point's bytes: a field separator is written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 27 0:40 / /shared rw,relatime shared:2 master:1 - autofs auto rw
41 40 0:41 / /shared rw,relatime - nfs4 server:/export rw,vers=4.2
42 27 0:42 / /scratch\\040of\\040all rw - lustre mds@tcp:/scratch rw,flock
43 41 0:43 / /shared/local rw - tmpfs tmpfs rw
";

    #[test]
    fn a_path_is_on_the_deepest_and_newest_mount_above_it() {
        for (path, kind) in [
            ("/home/me/runs", "ext4"),
            ("/shared", "nfs4"),
            ("/shared/study/part-1", "nfs4"),
            ("/shared-not/study", "ext4"),
            ("/shared/local/study", "tmpfs"),
            ("/scratch of all/study", "lustre"),
        ] {
            assert_eq!(type_of(MOUNTINFO.as_bytes(), Path::new(path)).as_deref(), Some(kind), "{path}");
        }
        assert_eq!(type_of(b"", Path::new("/home")), None, "where nothing is said");
        assert_eq!(
            type_of(b"27 1 254:0 / / rw\nand so on\n", Path::new("/home")),
            None,
            "nor where it is cut"
        );
    }

    #[test]
    fn unknown_file_systems_count_as_shared() {
        assert!(!is_shared(Path::new("/dev/shm")), "tmpfs, as every Linux has it");
        assert!(!is_shared(Path::new("/dev/shm/not-there-yet")));
        assert!(is_shared(Path::new("/proc/self")), "no file system that this list has");
    }
}
