//! Moving in from a server outside the cluster.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::cluster::{PATIENCE, RedisHA};
use tests::place::Place;
use tests::programs::{self, Running};
use tests::resp::{Client, Value};
use tests::valve::Valve;
use tests::wait;

use super::World;

/// Where the source is, in the control plane's network, and the way to it on which its stream can be
/// held back.
const SOURCE: (&str, u16) = ("10.99.0.1", 7001);
const VALVE: (&str, u16) = ("10.99.0.1", 7002);
/// What the source writes at one time, and by how much at least it is ahead then.
const WRITES: usize = 200;
const BYTES: i64 = 20_000;

/// A new `RedisHA` follows a server outside, takes no writes until it is told to cut over, and then
/// takes them while the source takes none.
pub fn moves_in(world: &World) -> Result<()> {
    let place = Place::Namespace("cp".to_owned());
    let port = SOURCE.1.to_string();
    let mut command = place.command(programs::server());
    command.args(["--port", &port, "--bind", SOURCE.0, "--save", ""]);
    command.args(["--requirepass", "outside"]);
    let _source = Running::start(&mut command);
    let address =
        |(host, port): (&str, u16)| -> Result<SocketAddr> { Ok(format!("{host}:{port}").parse()?) };
    let connect = || -> Result<Client> {
        let address = address(SOURCE)?;
        let mut client = Client::connect_within(address, Duration::from_secs(5))?;
        client.say("AUTH outside")?.text()?;
        Ok(client)
    };
    let mut source = wait::until("the source answers", PATIENCE, || place.run(connect).map(Some))?;
    source.say("SET moved:key hello")?.text()?;
    let valve = Valve::start(&place, address(VALVE)?, address(SOURCE)?)?;

    let moved = RedisHA { name: "moved".to_owned(), ..world.redisha.clone() };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "outside", "namespace": moved.namespace},
        "stringData": {"password": "outside"},
    });
    let manifest = json!({
        "apiVersion": "redisha.dev/v1alpha1", "kind": "RedisHA",
        "metadata": {"name": moved.name, "namespace": moved.namespace},
        "spec": {"replicas": 2, "terminationGracePeriodSeconds": 10, "migrateFrom": {
            "host": VALVE.0, "port": VALVE.1, "passwordSecret": {"name": "outside"},
        }},
    });
    for object in [&secret, &manifest] {
        world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string())?;
    }
    let result = follow_and_cut_over(&moved, &mut source, &valve);
    let delete = ["delete", "redisha", &moved.name, "-n", &moved.namespace, "--wait=false"];
    world.cluster.kubectl(&delete)?;
    world.cluster.kubectl(&["delete", "secret", "outside", "-n", &moved.namespace])?;
    result
}

fn follow_and_cut_over(moved: &RedisHA, source: &mut Client, valve: &Valve) -> Result<()> {
    until_phase(moved, "Following")?;
    moved.settled()?;
    let target = moved.target("cp")?;
    // The address of a Service that has just been made leads nowhere for a moment.
    let found = wait::until("the data are read", PATIENCE, || {
        target.read(&["moved:key".to_owned()]).map(Some)
    })?;
    ensure!(found == ["hello"], "the data are {found:?}");
    match write(moved)? {
        Value::Error(why) if why.starts_with("MIGRATING") => {}
        other => bail!("a write before the cut-over: {other:?}"),
    }
    lags(moved, source, valve)?;

    moved.patch(&json!({"spec": {"migrateFrom": {"cutOver": true}}}))?;
    until_phase(moved, "CutOver")?;
    ensure!(write(moved)? == Value::Text("OK".to_owned()), "writes are not taken after it");
    match source.say("SET moved:key late")? {
        Value::Error(why) if why.starts_with("REDIRECT") => Ok(()),
        other => bail!("the source still takes writes: {other:?}"),
    }
}

/// The status tells how far the source is ahead, while its stream is held back and after.
fn lags(moved: &RedisHA, source: &mut Client, valve: &Valve) -> Result<()> {
    let lag = || -> Result<i64> {
        let migration = moved.get()?["status"]["migration"].clone();
        ensure!(migration["phase"] == "Following", "it is {migration}");
        migration["lagBytes"].as_i64().context("no lag")
    };
    wait::until("nothing is behind", PATIENCE, || Ok((lag()? == 0).then_some(())))?;
    valve.set_shut(true);
    let text = "x".repeat(BYTES as usize / WRITES);
    for round in 1..=2 {
        for _ in 0..WRITES {
            source.call(&["SET", "moved:bulk", &text])?.text()?;
        }
        wait::until("the source is ahead", PATIENCE, || {
            Ok((lag()? >= round * BYTES).then_some(()))
        })?;
    }
    valve.set_shut(false);
    wait::until("nothing is behind", PATIENCE, || Ok((lag()? == 0).then_some(())))
}

fn until_phase(moved: &RedisHA, phase: &str) -> Result<()> {
    wait::until(&format!("the migration is {phase}"), PATIENCE, || {
        let found = moved.get()?["status"]["migration"].clone();
        if found["phase"] == phase { Ok(Some(())) } else { bail!("it is {found}") }
    })
}

/// What a client of the Service is told about a write.
fn write(moved: &RedisHA) -> Result<Value> {
    let target = moved.target("cp")?;
    target.place.run(|| {
        let mut client = Client::connect((target.host.as_str(), target.port))?;
        client.call(&["AUTH", target.password.as_deref().unwrap_or_default()])?.text()?;
        client.say("SET moved:key mine")
    })
}
