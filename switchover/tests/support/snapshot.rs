//! Compares a generated text with the checked-in one; `REDISHA_REWRITE=1` rewrites it.

use std::path::Path;

pub fn assert_same(path: &Path, text: &str) {
    if std::env::var_os("REDISHA_REWRITE").is_some() {
        std::fs::write(path, text).expect("the checked-in text can be written");
        return;
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    let differs = stored.lines().zip(text.lines()).enumerate().find(|(_, (old, new))| old != new);
    let place = differs.map(|(i, (old, new))| format!("line {}:\n- {old}\n+ {new}", i + 1));
    assert!(
        stored == text,
        "{} has drifted (REDISHA_REWRITE=1 rewrites it); {}",
        path.display(),
        place.unwrap_or_else(|| "one of them is longer".into())
    );
}
