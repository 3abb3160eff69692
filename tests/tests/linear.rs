//! The judge of histories: some that one server could have answered, and planted ones that none could.

use std::time::Duration;

use tests::linear::{Action, Operation, judge};
use tests::resp::Value;

/// Operations as `action answer begun-ended`, one a line; `?` is an answer that never came.
fn history(text: &str) -> Vec<Operation> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(operation).collect()
}

fn operation(line: &str) -> Operation {
    let mut words = line.split_whitespace();
    let mut next = || words.next().expect("an action, an answer, an interval");
    let (action, answer, interval) = (next(), next(), next());
    let at = |text: &str| Duration::from_millis(text.parse().expect("milliseconds"));
    let (begun, ended) = interval.split_once('-').expect("begun-ended");
    let answer = (answer != "?").then(|| (at(ended), value(answer)));
    Operation { object: "o".into(), action: parse(action), begun: at(begun), answer }
}

fn parse(text: &str) -> Action {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let (first, second) = rest.split_once(',').unwrap_or((rest, ""));
    let (a, b) = (first.to_owned(), second.to_owned());
    let number = || first.parse().expect("a number");
    match name {
        "set" => Action::Set(a),
        "append" => Action::Append(a),
        "get" => Action::Get,
        "add" => Action::Add(number()),
        "push" => Action::Push(a),
        "pop" => Action::Pop,
        "range" => Action::Range,
        "hset" => Action::SetField(a, b),
        "hdel" => Action::DropField(a),
        "fields" => Action::Fields,
        "move" => Action::Move(number()),
        "both" => Action::Both,
        "cas" => Action::Replace(a, b),
        "px" => Action::SetFor(a, b.parse().expect("milliseconds")),
        other => panic!("no action {other}"),
    }
}

/// `nil`, `:1`, `[a,b]`, `[:1,:2]`, or a text.
fn value(text: &str) -> Value {
    if let Some(items) = text.strip_prefix('[') {
        let items = items.trim_end_matches(']').split(',').filter(|item| !item.is_empty());
        return Value::Array(items.map(value).collect());
    }
    match text.strip_prefix(':') {
        Some(number) => Value::Int(number.parse().expect("a number")),
        None if text == "nil" => Value::Nil,
        None => Value::Text(text.into()),
    }
}

fn check(text: &str, clean: bool) {
    let verdict = judge(history(text));
    assert_eq!(verdict.is_clean(), clean, "{text}\n{verdict:?}");
    assert!(verdict.undecided.is_empty());
}

#[test]
fn overlapping_commands_may_have_run_in_either_order() {
    check("set:a OK 0-9\n set:b OK 0-9\n get a 10-11\n get a 12-13", true);
    check("set:a OK 0-9\n set:b OK 0-9\n get b 10-11", true);
    check("get nil 0-9\n set:a OK 1-2\n get a 3-4", true);
    check("append:x :2 0-9\n append:y :1 0-9\n get yx 10-11", true);
}

#[test]
fn a_text_that_goes_back_is_seen() {
    check("set:a OK 0-1\n set:b OK 2-3\n get a 4-5", false);
    check("set:a OK 0-9\n set:b OK 0-9\n get a 10-11\n get b 12-13", false);
    check("set:a OK 0-1\n get nil 2-3", false);
    check("append:x :1 0-1\n append:y :1 2-3", false);
}

#[test]
fn an_outcome_that_is_not_known_may_come_at_any_time_or_never() {
    check("set:a OK 0-1\n set:b ? 2-0\n get a 9-10\n get b 11-12", true);
    check("set:a OK 0-1\n set:b ? 2-0\n get a 9-10", true);
    // But once only, and never before it was sent.
    check("set:a OK 0-1\n set:b ? 2-0\n get b 3-4\n get a 5-6", false);
    check("add:1 :1 0-1\n add:1 ? 2-0\n get 3 3-4", false);
    check("get b 0-1\n set:b ? 2-0", false);
}

#[test]
fn a_counter_that_two_nodes_count_is_seen() {
    check("add:1 :1 0-1\n add:2 :3 2-3\n get 3 4-5", true);
    check("add:1 :1 0-5\n add:1 :1 1-6", false);
    check("add:1 :1 0-1\n add:1 :2 2-3\n add:1 :2 4-5", false);
}

#[test]
fn a_list_keeps_its_order_and_gives_each_element_once() {
    check("push:x :1 0-1\n push:y :2 2-3\n pop x 4-5\n range [y] 6-7", true);
    check("push:x :1 0-1\n pop x 2-3\n pop nil 4-5\n range [] 6-7", true);
    check("push:x :1 0-1\n pop x 2-3\n pop x 2-4", false);
    check("push:x :1 0-1\n push:y :2 2-3\n range [y,x] 4-5", false);
    check("push:x :1 0-1\n push:y :2 2-3\n range [x] 4-5", false);
}

#[test]
fn a_hash_is_its_fields_in_any_order() {
    let both = "hset:f,1 :1 0-1\n hset:g,2 :1 2-3\n";
    check(&format!("{both} fields [g,2,f,1] 4-5"), true);
    check(&format!("{both} hdel:f :1 4-5\n fields [g,2] 6-7"), true);
    check(&format!("{both} fields [f,1] 4-5"), false);
    check(&format!("{both} hdel:f :1 4-5\n hdel:f :1 6-7"), false);
    check(&format!("{both} fields [g,1,f,2] 4-5"), false);
}

/// Half of a transaction, or the middle of one.
#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    check("move:5 [:-5,:5] 0-1\n both [-5,5] 2-3", true);
    check("move:5 ? 0-0\n both [nil,nil] 1-2\n both [-5,5] 3-4", true);
    check("move:5 [:-5,:5] 0-1\n both [-5,0] 2-3", false);
    check("move:5 ? 0-0\n both [-5,nil] 2-3", false);
    check("move:5 [:-5,:5] 0-1\n move:1 [:-6,:5] 2-3", false);
}

#[test]
fn a_script_runs_alone() {
    check("set:a OK 0-1\n cas:a,b :1 2-3\n get b 4-5", true);
    check("set:a OK 0-1\n cas:a,b :1 2-9\n cas:a,c :0 2-9\n get b 10-11", true);
    check("set:a OK 0-1\n cas:a,b :1 2-9\n cas:a,c :1 2-9", false);
    check("set:a OK 0-1\n cas:x,b :1 2-3", false);
}

#[test]
fn a_text_goes_when_its_time_is_over_and_not_before() {
    check("px:a,500 OK 0-10\n get a 400-401\n get nil 600-601", true);
    // Between the two moments nobody can tell.
    check("px:a,500 OK 0-200\n get nil 550-551", true);
    check("px:a,500 OK 0-200\n get a 650-651", true);
    check("px:a,500 OK 0-10\n get nil 400-401", false);
    check("px:a,500 OK 0-10\n get a 900-901", false);
    // Gone is gone.
    check("px:a,500 OK 0-400\n get nil 600-601\n get a 610-611", false);
    // Another primary took the moment for another one.
    check("px:a,500 OK 0-10\n px:b,900 OK 20-30\n get nil 700-701", false);
}

#[test]
fn objects_share_nothing() {
    let mut both = history("set:a OK 0-1");
    let mut other = history("get nil 2-3");
    other[0].object = "p".into();
    both.extend(other);
    let verdict = judge(both);
    assert!(verdict.is_clean());
    assert_eq!((verdict.operations, verdict.unknown, verdict.objects), (2, 0, 2));
}

/// Many clients and several open outcomes are judged in a moment, or no test could wait for it.
#[test]
fn a_long_history_is_judged_at_once() {
    let mut lines = Vec::new();
    for turn in 0..200 {
        let at = turn * 10;
        // Eight clients at a time, answered in the order in which they began.
        for client in 0..8 {
            let value = turn * 8 + client + 1;
            lines.push(format!("add:1 :{value} {}-{}", at + client, at + 15));
        }
        if turn % 40 == 0 {
            lines.push(format!("add:1000 ? {}-0", at + 1));
        }
    }
    let text = lines.join("\n");
    check(&text, true);
    check(&format!("{text}\nget 1601 9000-9001"), false);
}
