//! A folder on the disk, for tests of what is put into it.

use std::fs;
use std::path::PathBuf;

/// A folder of a test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// No other test may take the name.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redisha-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
