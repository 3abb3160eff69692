//! Stock libraries through `redisha local`, while the primary moves again and again.

use tests::clients::Clients;
use tests::load::{Bar, Load, Target, unharmed};
use tests::local::Local;
use tests::place::Place;

const SWITCHOVERS: usize = 5;

#[test]
fn no_library_notices_switchovers() {
    let clients = Clients::prepare().unwrap();
    let local = Local::start(&[]);
    let target = Target {
        place: Place::Here,
        host: "127.0.0.1".to_owned(),
        port: local.port,
        password: None,
    };
    let mut load = Load::start(&clients, &target, "local").unwrap();
    for _ in 0..SWITCHOVERS {
        local.run(&["switchover"]);
        load.more().unwrap();
    }
    unharmed(&load.stop().unwrap(), Bar::NoError).unwrap();
    assert!(local.interrupt().success());
}
