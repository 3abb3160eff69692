//! Where things are: the checkout, what is built from it, and the cache outside of it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    // Not the compiler's word: checkouts that share a target folder share this very program.
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(Path::parent).map(Path::to_owned);
    root.unwrap_or_else(|| env::current_dir().expect("the working folder is there"))
});

/// The root of the checkout: where cargo says that it runs this, else the working folder.
pub fn root() -> &'static Path {
    &ROOT
}

/// Cargo's target folder, which `CARGO_TARGET_DIR` moves.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        // Cargo reads a relative folder from where it was started, which is where we were.
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        None => root().join("target"),
    }
}

/// A program that [`crate::compile::programs`] has built.
pub fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// What outlives a checkout: `redisha` in the user's cache folder.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let base = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    base.map_or_else(|| home().join(".cache"), PathBuf::from).join("redisha")
}

/// Where `cargo xtask image` puts its archives.
pub fn images() -> PathBuf {
    root().join("images")
}
