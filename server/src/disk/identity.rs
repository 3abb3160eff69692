//! The record of a member's id, a file beside the append-only files: one line, its checksum first.
//!
//! It is replaced as a whole, so that a start finds the old one or the new one; and while it is being
//! written nobody else writes it, so that what says that the disk has failed is the last word.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::member::Found;
use crate::handover::Kept;
use crate::log;
use crate::persistence::rdb::crc64;

use super::save;

/// The file's name.
const NAME: &str = "redisha-member";
/// What it holds once the disk has failed to keep the files.
const DISTRUSTED: &[u8] = b"distrusted\n";
/// The rest after a failure.
const RETRY: Duration = Duration::from_millis(100);
/// So often it is tried to change a record.
const ATTEMPTS: u32 = 50;

static WRITING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn encode(kept: &Kept) -> String {
    let line = kept.encode();
    format!("{:016x} {line}\n", crc64::update(0, line.as_bytes()))
}

fn decode(bytes: &[u8]) -> Result<Kept, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (sum, rest) = text.split_once(' ').ok_or("it has no checksum")?;
    let line = rest.strip_suffix('\n').ok_or("it has no end")?;
    if u64::from_str_radix(sum, 16) != Ok(crc64::update(0, line.as_bytes())) {
        return Err("its checksum is another".into());
    }
    Kept::decode(line).map_err(|error| error.to_string())
}

/// What there is of a record in a folder.
pub fn read(dir: &str) -> Found {
    let path = Path::new(dir).join(NAME);
    let damaged = |why: String| Found::Damaged(format!("{}: {why}", path.display()));
    match fs::read(&path) {
        Ok(bytes) if bytes == DISTRUSTED => Found::Distrusted,
        Ok(bytes) => match decode(&bytes) {
            Ok(kept) => Found::Kept(Box::new(kept)),
            Err(why) => damaged(why),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => damaged(super::reason(&error)),
    }
}

/// Makes a record durable in a folder in the place of the last one; none: no record is found again.
/// A record that could not be erased would speak for an id that is no more: then the process ends,
/// while the files are still those that it speaks of.
pub fn keep(dir: &str, kept: Option<&Kept>) -> Result<(), String> {
    let dir = Path::new(dir);
    let _alone = alone();
    if let Some(kept) = kept {
        let written = replace(dir, encode(kept).as_bytes());
        return written.map_err(|error| format!("{}: {error}", dir.join(NAME).display()));
    }
    let mut attempts = 0;
    while let Err(error) = erase(dir) {
        attempts += 1;
        if attempts == ATTEMPTS {
            log::write_last(&format!("{} can not be erased: {error}", dir.join(NAME).display()));
            std::process::abort();
        }
        std::thread::sleep(RETRY);
        // A folder of which a sync has failed is clean to the next one, which would make nothing
        // durable: it is changed once more.
        let _ = replace(dir, DISTRUSTED);
    }
    Ok(())
}

/// The next start is to know that the files may not be on the disk as they are read, whether or not a
/// record spoke for them: it would go on with them, and say that they are durable. Returns when that
/// is on the disk; no record is written any more. On a disk that takes nothing for some seconds the
/// record is only erased: a primary that waited for its disk would stay one that answers nobody.
pub fn distrust(dir: &Path) {
    // Held until the process has ended.
    std::mem::forget(alone());
    for _ in 0..ATTEMPTS {
        if replace(dir, DISTRUSTED).is_ok() {
            return;
        }
        std::thread::sleep(RETRY);
    }
    if let Err(error) = erase(dir) {
        log::write_last(&format!("{} can not be erased: {error}", dir.join(NAME).display()));
    }
}

fn replace(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    save::put(dir, "member", NAME, bytes)
}

fn erase(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ if dir.is_dir() => save::sync_folder(dir),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testing::Folder;

    fn record(offset: u64) -> Kept {
        Kept { uid: "u".into(), member: "m".into(), offset, ..Kept::default() }
    }

    #[test]
    fn a_record_is_found_as_it_was_kept_until_it_is_erased() {
        let folder = Folder::new("identity-kept");
        assert_eq!(read(folder.path()), Found::Nothing);
        for offset in [7, 9] {
            keep(folder.path(), Some(&record(offset))).unwrap();
            assert_eq!(read(folder.path()), Found::Kept(Box::new(record(offset))));
        }
        for _ in 0..2 {
            keep(folder.path(), None).unwrap();
            assert_eq!(read(folder.path()), Found::Nothing);
        }
        keep("no-such-folder", None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    /// Whatever is changed in it, cut off it or added, it speaks for nobody.
    #[test]
    fn a_damaged_record_is_none() {
        let whole = encode(&record(7)).into_bytes();
        assert_eq!(decode(&whole), Ok(record(7)));
        for at in 0..whole.len() {
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_ne!(decode(&other), Ok(record(7)), "changed at {at}");
            assert!(decode(&other).is_err(), "changed at {at}");
        }
        let folder = Folder::new("identity-damaged");
        fs::write(folder.0.join(NAME), &whole[1..]).unwrap();
        assert!(matches!(read(folder.path()), Found::Damaged(_)));
    }

    /// What can not be written whole leaves the last record as it was.
    #[test]
    fn a_record_takes_the_place_of_the_last_one_as_a_whole() {
        let folder = Folder::new("identity-whole");
        keep(folder.path(), Some(&record(7))).unwrap();
        let taken = folder.0.join(save::temporary_name("member"));
        fs::create_dir(&taken).unwrap();
        assert!(keep(folder.path(), Some(&record(9))).is_err());
        assert_eq!(read(folder.path()), Found::Kept(Box::new(record(7))));
        fs::remove_dir(&taken).unwrap();
        // Half a record that a crash left under the temporary name is no record.
        fs::write(&taken, b"00").unwrap();
        assert_eq!(read(folder.path()), Found::Kept(Box::new(record(7))));
        save::remove_temporary(&folder.0).unwrap();
        assert!(!taken.exists());
        replace(&folder.0, DISTRUSTED).unwrap();
        assert_eq!(read(folder.path()), Found::Distrusted);
    }
}
