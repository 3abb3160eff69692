use super::*;

fn words(text: &str) -> Vec<&[u8]> {
    text.split(' ').map(str::as_bytes).collect()
}

fn user(rules: &str) -> User {
    let mut user = User::new(Defaults::default());
    user.apply_words(&words(rules), Defaults::default()).expect(rules);
    user
}

/// Rules, and the text in which they are listed.
const DESCRIBED: &[(&str, &str)] = &[
    ("", "off resetchannels -@all"),
    ("on nopass ~* &* +@all", "on nopass ~* &* +@all"),
    ("+get +set", "off resetchannels -@all +get +set"),
    ("+set +get +set", "off resetchannels -@all +get +set"),
    ("+GET -get", "off resetchannels -@all -get"),
    ("+@all -config +config|get", "off resetchannels +@all -config +config|get"),
    ("+config|get +config", "off resetchannels -@all +config"),
    ("+select|0 +select|1", "off resetchannels -@all +select|0 +select|1"),
    ("+@all -@dangerous +keys", "off resetchannels +@all -@dangerous +keys"),
    ("~a* %R~b %W~c %W~b", "off ~a* ~b %W~c resetchannels -@all"),
    ("&a &b* &a", "off resetchannels &a &b* -@all"),
    ("db=3,1,3", "off resetchannels db=1,3 -@all"),
    ("resetdbs", "off resetchannels resetdbs -@all"),
    ("skip-sanitize-payload on", "on resetchannels -@all"),
    (
        "(~a +get) ( %W~b +set )",
        "off resetchannels -@all \
         (~a resetchannels -@all +get) (%W~b resetchannels -@all +set)",
    ),
    ("(~a +get) clearselectors", "off resetchannels -@all"),
    ("on +@all ~* reset", "off resetchannels -@all"),
];

#[test]
fn rules_are_listed_so_that_they_can_be_given_again() {
    for (rules, text) in DESCRIBED {
        let first = user(rules);
        assert_eq!(String::from_utf8(first.describe()).unwrap(), *text, "{rules}");
        assert_eq!(user(text).describe(), first.describe(), "{text}");
        assert_eq!(parse(text.as_bytes()).unwrap(), text.as_bytes());
    }
}

#[test]
fn rules_that_are_refused_change_nothing() {
    let check = |rules: &str, error: &str| {
        let mut changed = user("on ~key");
        let refused = changed.apply_words(&words(rules), Defaults::default()).unwrap_err();
        assert!(refused.contains(error), "{rules}: {refused}");
        assert_eq!(changed, user("on ~key"), "{rules}");
    };
    check("off +nosuch", "modifier '+nosuch': Unknown command or category name in ACL");
    check("+@nosuch", "Unknown command or category name in ACL");
    check("+config|nosuch", "Unknown command");
    check("+config|get|x", "Allowing first-arg of a subcommand is not supported");
    check("+get|", "Syntax error");
    check("%~a", "Syntax error");
    check("%", "Syntax error");
    check("%RX~a", "Syntax error");
    check("nonsense", "Syntax error");
    check("allkeys ~a", "Adding a pattern after the * pattern (or the 'allkeys' flag)");
    check("allchannels &a", "Adding a pattern after the * pattern (or the 'allchannels' flag)");
    check("<nosuch", "The password you are trying to remove from the user does not exist");
    check("#abc", "The password hash must be exactly 64 characters");
    check("db=1,x", "Syntax error");
    check("db=,1", "Syntax error");
    check("db=-1", "The provided database ID is out of range");
    check("(~a", "Unmatched parenthesis in acl selector starting at '(~a'");
    check("(~a +nosuch)", "Unknown command");
    check("(~a))", "Syntax error");
}

fn request<'r>(
    command: &str,
    first_arg: Option<&'r [u8]>,
    keys: &'r [(usize, &'r [u8], Access)],
    channels: &'r [(usize, &'r [u8], bool)],
) -> Request<'r> {
    let command = commands::find(command.as_bytes()).expect(command);
    let databases = Databases::Some(vec![(0, 2)]);
    Request { command, is_open: false, first_arg, keys, channels, databases }
}

const READ: Access = Access { read: true, write: false };
const WRITE: Access = Access { read: false, write: true };

#[test]
fn one_selector_must_allow_the_whole_command() {
    let check = |rules: &str, command: &str, key: (&str, Access), allowed: Result<(), Denied>| {
        let keys = [(1, key.0.as_bytes(), key.1)];
        assert_eq!(user(rules).check(&request(command, None, &keys, &[])), allowed, "{rules}");
    };
    let denied_key = Err(Denied::Key { argument: 1 });
    check("+@all ~*", "get", ("k", READ), Ok(()));
    check("+@all", "get", ("k", READ), denied_key);
    check("~*", "get", ("k", READ), Err(Denied::Command));
    check("+get ~k*", "get", ("key", READ), Ok(()));
    check("+get ~k*", "get", ("other", READ), denied_key);
    check("+@read %R~k", "get", ("k", READ), Ok(()));
    check("+@all %R~k", "set", ("k", WRITE), denied_key);
    check("+@all %R~k %W~k*", "set", ("k", Access::ALL), denied_key);
    check("+@all %R~k %W~k", "set", ("k", Access::ALL), Ok(()));
    check("+get ~a (~b +set)", "set", ("b", WRITE), Ok(()));
    check("+get ~a (~b +set)", "set", ("a", WRITE), denied_key);
    check("+get ~a (~b +set)", "get", ("b", READ), denied_key);
    check("+@all ~* db=1", "get", ("k", READ), Err(Denied::Database { argument: 0 }));
    check("+@all ~* db=1,2", "get", ("k", READ), Ok(()));
    check("+@all -@read ~*", "get", ("k", READ), Err(Denied::Command));
    check("+@all -@read +get ~*", "get", ("k", READ), Ok(()));
    check("+get -@read ~*", "get", ("k", READ), Err(Denied::Command));
}

#[test]
fn subcommands_first_arguments_and_channels() {
    let check = |rules: &str, command: &str, first: &str, allowed: bool| {
        let request = request(command, Some(first.as_bytes()), &[], &[]);
        assert_eq!(user(rules).check(&request).is_ok(), allowed, "{rules} {command} {first}");
    };
    check("+config", "config|get", "x", true);
    check("+config|get", "config|get", "x", true);
    check("+config|get", "config|set", "x", false);
    check("+config -config|set", "config|set", "x", false);
    check("+select|0", "select", "0", true);
    check("+select|0", "select", "1", false);
    check("+select|0 -select", "select", "0", false);
    let check = |rules: &str, channel: &str, is_pattern: bool, allowed: bool| {
        let channels = [(1, channel.as_bytes(), is_pattern)];
        let request = request("psubscribe", None, &[], &channels);
        assert_eq!(user(rules).check(&request).is_ok(), allowed, "{rules} {channel}");
    };
    check("+@all &c*", "c1", false, true);
    check("+@all &c*", "d", false, false);
    check("+@all &c*", "c1*", true, false);
    check("+@all &c*", "c*", true, true);
    check("+@all &*", "c*", true, true);
}

#[test]
fn passwords() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let check = |rules: &str, password: &str, accepted: bool| {
        assert_eq!(user(rules).accepts(password.as_bytes()), accepted, "{rules} {password}");
    };
    check("on >secret", "secret", true);
    check("on >secret", "Secret", false);
    check(&format!("on #{hash}"), "secret", true);
    check(">secret", "secret", false);
    check("on >one >two", "two", true);
    check("on >one >two <two", "two", false);
    check(&format!("on >secret !{hash}"), "secret", false);
    check("on nopass", "anything", true);
    check("on nopass >one", "anything", false);
    check("on >one nopass resetpass", "one", false);
    check("on", "", false);
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let read = |text: &str| Users::from_text(text.as_bytes(), "f", Defaults::default());
    let users = read("user a on +get\n\n  user b ~x (+set ~y)\r\n").unwrap();
    let names: Vec<_> = users.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [b"a", b"b"]);
    let mut all = Users::default();
    for (name, user) in users {
        all.put(&name, user);
    }
    let text = String::from_utf8(all.to_text()).unwrap();
    assert_eq!(text.lines().next(), Some("user a on resetchannels -@all +get"));
    for (text, error) in [
        ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
        ("usr a on", "f:1 should start with user keyword followed by the username. "),
        ("user a +nosuch", "f:1: Error in applying operation '+nosuch': Unknown command"),
        ("user a nonsense", "f:1: Syntax error. "),
        ("user a (~x", "f:1: Unmatched parenthesis in selector definition."),
    ] {
        let refused = read(text).unwrap_err().to_string();
        assert!(refused.starts_with(error), "{text}: {refused}");
        assert!(refused.ends_with("no change to the previously active ACL rules was performed"));
    }
}

#[test]
fn nothing_is_checked_while_everybody_may_do_everything() {
    let mut users = Users::default();
    assert!(!users.is_restrictive());
    users.put(b"all", user("on +@all ~* &*"));
    assert!(!users.is_restrictive());
    users.put(b"some", user("on +@all ~k &*"));
    assert!(users.is_restrictive());
    let id = users.remove(b"some").unwrap();
    assert!(!users.is_restrictive());
    assert_ne!(users.put(b"some", user("")), id, "an id is never given twice");
    assert_eq!(users.remove(b"default"), None);
}

proptest::proptest! {
    #[test]
    fn whatever_is_read_is_listed_as_itself(
        rules in "([+-](@[a-z]{2,6}|[a-z|]{1,8})|[~&%RW>#<!a-c*]{1,4}|on|off|[()]|[ ])*"
    ) {
        if let Ok(text) = parse(rules.as_bytes()) {
            let again = parse(&text);
            proptest::prop_assert_eq!(again, Ok(text));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(rules in proptest::collection::vec(0_u8.., 0..64)) {
        let _ = parse(&rules);
    }
}

#[test]
fn the_digest_tells_lists_of_users_apart_and_nothing_else() {
    let (mut one, mut other) = (Users::default(), Users::default());
    assert_eq!(one.digest(), other.digest());
    one.put(b"b", user("on +get ~b"));
    assert_ne!(one.digest(), other.digest());
    other.put(b"gone", user("on +@all ~* &*"));
    other.put(b"b", user("on +get ~b"));
    other.remove(b"gone");
    assert_eq!(one.digest(), other.digest());
    one.put(b"b", user("on +get ~b >word"));
    assert_ne!(one.digest(), other.digest(), "a password counts");
}
