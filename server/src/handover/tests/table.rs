//! Every role × every command, as one table: what is answered, and the role afterwards.

use std::fmt::Write as _;

use super::world::{Node, follow, handed_over, handover, pair, pause, promote};
use crate::handover::{Identity, Member, Reply, Timing, Verb};

fn unmanaged() -> Node {
    let mut node = Node::boot("bb");
    node.member = Member::new(
        Identity { uid: None, ..node.member.identity().clone() },
        Timing::default(),
        node.member.data_epoch(),
    );
    node
}

/// Fenced with data, having promised 2.0.
fn sealed() -> Node {
    let (_, mut b) = pair();
    b.ask(Verb::Seal { term: 2 });
    b
}

fn paused() -> Node {
    let (mut a, _) = pair();
    a.ask(pause("x", "bb"));
    a
}

fn short(reply: Option<Reply>) -> String {
    match reply {
        None => "(later)".into(),
        Some(Reply::NotReady(why)) => format!("NOTREADY {why}"),
        Some(Reply::Sealed(status)) => format!("sealed {}", status.data_epoch),
        Some(Reply::Paused { epoch, .. }) => format!("paused in {epoch}"),
        Some(Reply::Outcome { outcome, epoch }) => format!("{} {epoch}", outcome.name()),
        Some(Reply::Stale { promised }) => format!("STALE promised {promised}"),
        Some(other) => format!("{other:?}").to_uppercase(),
    }
}

type Case = (&'static str, fn() -> Node);

fn table() -> String {
    let blob = handed_over().3.trim_start_matches("redisha:handover:").to_owned();
    let roles: [Case; 7] = [
        ("unmanaged", unmanaged),
        ("fresh", || Node::boot("bb")),
        ("sealed", sealed),
        ("follower", || pair().1),
        ("primary", || pair().0),
        ("paused", paused),
        ("limbo", || handed_over().0),
    ];
    let (x, bb) = (|| "x".to_owned(), || "bb".to_owned());
    let verbs = [
        ("BOOTSTRAP 1", Verb::Bootstrap { term: 1, config: None }),
        ("BOOTSTRAP 3", Verb::Bootstrap { term: 3, config: None }),
        ("SEAL 1", Verb::Seal { term: 1 }),
        ("SEAL 2", Verb::Seal { term: 2 }),
        ("PROMOTE 1", promote(1)),
        ("PROMOTE 2", promote(2)),
        ("FOLLOW 1.0 a", follow("1.0", "a")),
        ("FOLLOW 1.1 ccc", follow("1.1", "ccc")),
        ("FOLLOW 2.0 ccc", follow("2.0", "ccc")),
        ("PAUSE x bb", pause("x", "bb")),
        ("PAUSE y ccc", pause("y", "ccc")),
        ("UNPAUSE x", Verb::Unpause { id: x() }),
        ("LEVEL x bb", Verb::Level { id: x(), to: bb() }),
        ("HANDOVER x bb", handover("x", "bb")),
        ("HANDOVER x ccc", handover("x", "ccc")),
        ("TAKEOVER 1.1 a→bb", Verb::Takeover { blob }),
        ("RELEASE x", Verb::Release { id: x() }),
    ];
    let mut out = String::new();
    for (name, make) in roles {
        for (label, verb) in &verbs {
            let mut node = make();
            let answer = short(node.ask(verb.clone()));
            let (role, epoch) = (node.member.role().name(), node.member.epoch());
            let at = epoch.map(|e| format!(" {e}")).unwrap_or_default();
            let promised = node.member.promised();
            let _ = writeln!(out, "{name:9} | {label:17} | {role}{at}, {promised} | {answer}");
        }
    }
    out
}

/// `REDISHA_BLESS=1` rewrites the table; the diff is then to be reviewed.
#[test]
fn every_role_answers_every_command_as_the_table_says() {
    let path = "src/handover/tests/table.txt";
    let found = table();
    if std::env::var_os("REDISHA_BLESS").is_some() {
        std::fs::write(path, &found).expect("the table can be written");
    }
    let expected = std::fs::read_to_string(path).expect("the checked-in table");
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}
