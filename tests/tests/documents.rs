//! What the documents name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all functions in the Rust files of a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1).map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            });
            found.extend(names);
        }
    }
}

/// The table's rows of a document: the cells of each.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Names of tests between quotes: those with an underscore, whose last part may be cut by `…`.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let names = quoted.map(|name| name.rsplit("::").next().unwrap_or(name));
    let names = names.map(|name| name.rsplit(": ").next().unwrap_or(name));
    names.filter(|name| name.contains('_') && !name.contains(['/', '.', ' ']))
}

/// docs/security.md names a test for each limit and for each hole of other servers.
#[test]
fn every_test_that_security_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut there = BTreeSet::new();
    for folder in ["server", "operator", "simulator", "switchover", "tests", "xtask"] {
        functions(&root.join(folder), &mut there);
    }
    let text = fs::read_to_string(root.join("docs/security.md")).expect("docs/security.md");
    let mut count = 0;
    for cells in rows(&text) {
        for name in named(cells.last().expect("a row has cells")) {
            let (start, end) = name.split_once('…').unwrap_or((name, ""));
            let fits = |own: &&String| {
                own.as_str() == name
                    || name.contains('…') && own.starts_with(start) && own.ends_with(end)
            };
            assert!(there.iter().any(|own| fits(&own)), "docs/security.md: {name} is no test");
            count += 1;
        }
    }
    assert!(count > 60, "only {count} names were read");
}

/// Where `unsafe` may be, each with its reason at its head; elsewhere the compiler denies it.
const UNSAFE: &[&str] = &[
    "server/src/memory.rs",
    "server/src/script/bridge.rs",
    "server/src/script/lend.rs",
    "server/src/script/stack.rs",
    "server/src/store/thin.rs",
    "tests/src/failing_disk.rs",
];

fn allowing(folder: &Path, found: &mut BTreeSet<String>) {
    // In two parts, so that this file does not find itself.
    let allows = ["allow(", "unsafe_code"].concat();
    for entry in fs::read_dir(folder).expect("a folder of the workspace").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            allowing(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).expect("a source file").contains(&allows)
        {
            found.insert(path.display().to_string());
        }
    }
}

#[test]
fn unsafe_code_is_in_these_modules_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = BTreeSet::new();
    for folder in ["server", "operator", "simulator", "switchover", "tests", "xtask"] {
        allowing(&root.join(folder), &mut found);
    }
    let expect = UNSAFE.iter().map(|path| root.join(path).display().to_string());
    assert_eq!(found, expect.collect());
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace's manifest");
    assert!(
        manifest.contains("unsafe_code = \"deny\"") && manifest.contains("overflow-checks = true")
    );
}
