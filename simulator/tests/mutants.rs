//! `docs/mutants.md` names only what is there, and everything that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use simulator::{Mutant, model};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts in backquotes of one cell.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_planted_bug_is_told_and_every_catcher_exists() {
    let text = read("docs/mutants.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Bug"));
    let (mut worlds, mut searched) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, bug, world, course, tests, _] = cells[..] else { panic!("{row}") };
        assert!(
            [world, course, tests].iter().any(|cell| !cell.is_empty()),
            "nothing catches {bug}"
        );
        worlds.extend(names(world));
        searched.extend(names(course));
        let places = names(tests);
        match &places[..] {
            [] => {}
            [file] => drop(read(file)),
            [file, name] => assert!(read(file).contains(&format!("fn {name}(")), "{bug}: {name}"),
            more => panic!("{bug}: {more:?}"),
        }
    }
    let all = |mutants: &[Mutant]| mutants.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(worlds, all(&Mutant::ALL));
    assert_eq!(searched, all(&model::MUTANTS.map(|(mutant, _)| mutant)));
}
