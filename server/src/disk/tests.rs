//! Saves and loads in a folder of their own.

use std::fs;
use std::time::{Duration, Instant};

use super::testing::Folder;
use super::{DiskError, find, open, prepare};
use crate::persistence::load::{Data, DataLoader, Template};
use crate::persistence::rdb::{Aux, Form, Sealer, Writer};
use crate::store::{StrRef, ValueRef};

/// For parts that are whole files already.
const PLAIN: Form = Form { compress: false, checksum: false, frames: false };

/// Loads the file as a start does.
fn load(dir: &str, name: &str, template: Template) -> Result<Option<Data>, DiskError> {
    let Some(mut source) = find(dir, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    source.read.read_to_end(&mut bytes).unwrap();
    let mut loader = DataLoader::new(template);
    let failed = |source| DiskError::Load { path: name.into(), offset: 0, source };
    let whole = loader.feed(&bytes).map_err(failed)?;
    let truncated = || failed(crate::persistence::rdb::RdbError::Truncated);
    whole.then(|| Some(loader.finish())).ok_or_else(truncated)
}

fn rdb(value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(&Aux::default());
    writer.entry(0, b"k", ValueRef::Str(StrRef::Bytes(value)), None);
    writer.finish();
    Sealer::new(Form::default()).seal(writer.take())
}

#[test]
fn a_save_takes_its_place_only_when_it_is_whole() {
    let folder = Folder::new("disk-whole");
    prepare(folder.path()).unwrap();
    assert!(load(folder.path(), "dump.rdb", Template::default()).unwrap().is_none());

    let mut save = open(folder.path(), "dump.rdb", PLAIN, None).unwrap();
    save.write(rdb(b"first").into());
    assert!(!folder.0.join("dump.rdb").exists(), "not committed yet");
    save.commit();
    save.wait().unwrap();
    let data = load(folder.path(), "dump.rdb", Template::default()).unwrap().unwrap();
    assert_eq!(data.keyspace.len(), 1);

    // A save that is given up leaves the old file and nothing else.
    let mut second = open(folder.path(), "dump.rdb", PLAIN, None).unwrap();
    second.write(rdb(b"second")[..20].to_vec().into());
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(&folder.0).unwrap().count() > 1 {
        assert!(Instant::now() < deadline, "the temporary file stays");
        std::thread::yield_now();
    }
    assert_eq!(
        load(folder.path(), "dump.rdb", Template::default()).unwrap().unwrap().keyspace.len(),
        1
    );
}

/// A save that was whole, and was given up while the disk had not taken all of it, took its name later,
/// from a newer one: a restart would have found the older data.
#[test]
fn a_save_that_is_given_up_at_its_end_takes_no_name() {
    let folder = Folder::new("disk-late");
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    // The writing thread tells that half of its room is free again: there it is held.
    let wake = std::sync::Arc::new(move || {
        let _ = gate.lock().unwrap().recv();
    });
    let mut old = open(folder.path(), "dump.rdb", PLAIN, Some(wake)).unwrap();
    old.write(vec![b'x'; 3 * 1024 * 1024].into());
    old.commit();
    let mut new = open(folder.path(), "dump.rdb", PLAIN, None).unwrap();
    new.write(rdb(b"new").into());
    new.commit();
    new.wait().unwrap();
    drop(old);
    drop(go);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(&folder.0).unwrap().count() > 1 {
        assert!(Instant::now() < deadline, "the temporary file stays");
        std::thread::yield_now();
    }
    assert_eq!(fs::read(folder.0.join("dump.rdb")).unwrap(), rdb(b"new"));
}

#[test]
fn what_cannot_be_used_is_told_in_one_line() {
    let folder = Folder::new("disk-errors");
    fs::write(folder.0.join("cut.rdb"), &rdb(b"v")[..25]).unwrap();
    fs::write(folder.0.join("other.rdb"), b"no such format").unwrap();
    fs::write(folder.0.join("temp-redisha-1-save"), b"left behind").unwrap();
    prepare(folder.path()).unwrap();
    assert!(!folder.0.join("temp-redisha-1-save").exists(), "left by an interrupted save");
    for (name, why) in [("cut.rdb", "ends too early"), ("other.rdb", "does not start with")] {
        let error = load(folder.path(), name, Template::default()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(name), "{error}");
    }
    let missing = folder.0.join("missing");
    let error = prepare(missing.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, DiskError::Folder { .. }));
    assert!(open(missing.to_str().unwrap(), "dump.rdb", PLAIN, None).is_err());
}

#[test]
fn a_full_disk_is_an_error_and_tears_nothing() {
    // Linux's device that is always full stands for the disk: the name is a link to it.
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let folder = Folder::new("disk-full");
    fs::write(folder.0.join("dump.rdb"), rdb(b"old")).unwrap();
    let temporary = folder.0.join(super::save::temporary_name("save"));
    std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
    let mut save = super::save::open_by(temporary, folder.0.join("dump.rdb"), PLAIN, None).unwrap();
    save.write(rdb(b"new").into());
    save.commit();
    let error = save.wait().unwrap_err();
    assert!(error.contains("No space left"), "{error}");
    let old = fs::read(folder.0.join("dump.rdb")).unwrap();
    assert_eq!(old, rdb(b"old"));
}

/// What ACL SAVE and CONFIG REWRITE write was put by ways of their own, which did not make the name
/// durable: a loss of power could undo what had been answered.
#[test]
fn a_small_file_is_put_whole_and_leaves_nothing_behind() {
    let folder = Folder::new("disk-small");
    let path = folder.0.join("users.acl");
    let path = path.to_str().unwrap();
    for text in ["old", "new"] {
        super::replace(path, "acl", text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    // A name that is taken by a folder can be replaced by no file.
    fs::create_dir(folder.0.join("taken")).unwrap();
    let taken = folder.0.join("taken");
    assert!(super::replace(taken.to_str().unwrap(), "acl", b"text").is_err());
    assert!(super::replace("..", "acl", b"text").is_err(), "no file's name");
    let left = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|e| left(e.unwrap())).collect();
    names.sort();
    assert_eq!(names, ["taken", "users.acl"]);
}
