//! Moving in from a server outside the cluster.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::cluster::{PATIENCE, RedisHA};
use tests::place::Place;
use tests::programs::{self, Running};
use tests::resp::{Client, Value};
use tests::tls::Authority;
use tests::valve::Valve;
use tests::wait;

use super::World;

/// Where the source is, in the control plane's network; where it speaks TLS; and the way to it on
/// which its stream can be held back.
const SOURCE: (&str, u16) = ("10.99.0.1", 7001);
const SECURED: (&str, u16) = ("10.99.0.1", 7003);
const VALVE: (&str, u16) = ("10.99.0.1", 7002);
/// What the source writes at one time, and by how much at least it is ahead then.
const WRITES: usize = 200;
const BYTES: i64 = 20_000;

/// A new `RedisHA` follows a server outside, by TLS from the moment that it is told so, takes no writes
/// until it is told to cut over, and then takes them while the source takes none.
pub fn moves_in(world: &World) -> Result<()> {
    let place = Place::Namespace("cp".to_owned());
    let authority = Authority::new("moves-in")?;
    let port = SOURCE.1.to_string();
    let mut command = place.command(programs::server());
    command.args(["--port", &port, "--bind", SOURCE.0, "--save", ""]);
    command.args(["--requirepass", "outside"]).args(authority.directives(SECURED.1));
    let _source = Running::start(&mut command);
    let connect = || -> Result<Client> {
        let mut client = Client::connect_within(address(SOURCE)?, Duration::from_secs(5))?;
        client.say("AUTH outside")?.text()?;
        Ok(client)
    };
    let mut source = wait::until("the source answers", PATIENCE, || place.run(connect).map(Some))?;
    source.say("SET moved:key hello")?.text()?;
    let valve = Valve::start(&place, address(VALVE)?, address(SOURCE)?)?;

    let redisha = RedisHA { name: "moved".to_owned(), ..world.redisha.clone() };
    let moved = Moved { world, redisha, source: &mut source, valve: &valve };
    moved.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "outside"},
        "stringData": {"password": "outside"},
    }))?;
    moved.apply(&json!({
        "apiVersion": "redisha.dev/v1alpha1", "kind": "RedisHA", "metadata": {"name": "moved"},
        "spec": {"replicas": 2, "terminationGracePeriodSeconds": 10, "migrateFrom": {
            "host": VALVE.0, "port": VALVE.1, "passwordSecret": {"name": "outside"},
        }},
    }))?;
    let namespace = moved.redisha.namespace.clone();
    let result = moved.follow_and_cut_over(&authority);
    for object in ["redisha/moved", "secret/outside", "secret/mover", "configmap/outside"] {
        let delete = ["delete", object, "-n", &namespace, "--ignore-not-found", "--wait=false"];
        world.cluster.kubectl(&delete)?;
    }
    result
}

fn address((host, port): (&str, u16)) -> Result<SocketAddr> {
    Ok(format!("{host}:{port}").parse()?)
}

/// What is moved, and from where.
struct Moved<'a> {
    world: &'a World,
    redisha: RedisHA,
    source: &'a mut Client,
    valve: &'a Valve,
}

impl Moved<'_> {
    fn apply(&self, object: &serde_json::Value) -> Result<()> {
        let words = ["apply", "-n", &self.redisha.namespace, "-f", "-"];
        self.world.cluster.kubectl_with(&words, &object.to_string()).map(drop)
    }

    fn follow_and_cut_over(mut self, authority: &Authority) -> Result<()> {
        self.until_phase("Following")?;
        self.redisha.settled()?;
        self.until_read("hello")?;
        match self.write()? {
            Value::Error(why) if why.starts_with("MIGRATING") => {}
            other => bail!("a write before the cut-over: {other:?}"),
        }
        self.lags()?;
        self.goes_on_by_tls(authority)?;

        self.redisha.patch(&json!({"spec": {"migrateFrom": {"cutOver": true}}}))?;
        self.until_phase("CutOver")?;
        ensure!(self.write()? == Value::Text("OK".to_owned()), "writes are not taken after it");
        match self.source.say("SET moved:key late")? {
            Value::Error(why) if why.starts_with("REDIRECT") => Ok(()),
            other => bail!("the source still takes writes: {other:?}"),
        }
    }

    /// The source is spoken to by TLS as soon as all that the spec names is there.
    fn goes_on_by_tls(&mut self, authority: &Authority) -> Result<()> {
        let pem = |name: &str| authority.pem(name);
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mover"},
            "stringData": {"tls.crt": pem("tls.crt")?, "tls.key": pem("tls.key")?},
        }))?;
        self.valve.lead_to(address(SECURED)?);
        // Its certificate is not for the host.
        self.redisha.patch(&json!({"spec": {"migrateFrom": {"tls": {
            "caConfigMap": {"name": "outside"},
            "clientCertificateSecret": {"name": "mover"},
            "serverName": "127.0.0.1",
        }}}}))?;
        self.until_message(Some(
            "spec.migrateFrom.tls.caConfigMap: there is no ConfigMap outside",
        ))?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "outside"},
            "data": {"ca.crt": pem("ca.crt")?},
        }))?;
        self.until_message(None)?;
        // Nothing that was connected before is left.
        self.source.say("CLIENT KILL TYPE replica")?.int()?;
        self.source.say("SET moved:key secret")?.text()?;
        self.until_read("secret")
    }

    /// The status tells how far the source is ahead, while its stream is held back and after.
    fn lags(&mut self) -> Result<()> {
        let redisha = &self.redisha;
        let lag = || -> Result<i64> {
            let migration = redisha.get()?["status"]["migration"].clone();
            ensure!(migration["phase"] == "Following", "it is {migration}");
            migration["lagBytes"].as_i64().context("no lag")
        };
        wait::until("nothing is behind", PATIENCE, || Ok((lag()? == 0).then_some(())))?;
        self.valve.set_shut(true);
        let text = "x".repeat(BYTES as usize / WRITES);
        for round in 1..=2 {
            for _ in 0..WRITES {
                self.source.call(&["SET", "moved:bulk", &text])?.text()?;
            }
            wait::until("the source is ahead", PATIENCE, || {
                Ok((lag()? >= round * BYTES).then_some(()))
            })?;
        }
        self.valve.set_shut(false);
        wait::until("nothing is behind", PATIENCE, || Ok((lag()? == 0).then_some(())))
    }

    /// Waits until a client of the Service reads this.
    fn until_read(&self, expect: &str) -> Result<()> {
        let target = self.redisha.target("cp")?;
        wait::until(&format!("`{expect}` is read"), PATIENCE, || {
            // The address of a Service that has just been made leads nowhere for a moment.
            let found = target.read(&["moved:key".to_owned()])?;
            if found == [expect] { Ok(Some(())) } else { bail!("the data are {found:?}") }
        })
    }

    fn until_phase(&self, phase: &str) -> Result<()> {
        wait::until(&format!("the migration is {phase}"), PATIENCE, || {
            let found = self.redisha.get()?["status"]["migration"].clone();
            if found["phase"] == phase { Ok(Some(())) } else { bail!("it is {found}") }
        })
    }

    /// Waits until the status says this of what stands in the way, or nothing.
    fn until_message(&self, expect: Option<&str>) -> Result<()> {
        wait::until(&format!("the message is {expect:?}"), PATIENCE, || {
            let found = self.redisha.get()?["status"]["migration"]["message"].clone();
            let told = match expect {
                None => found.is_null(),
                Some(words) => found.as_str().is_some_and(|message| message.contains(words)),
            };
            if told { Ok(Some(())) } else { bail!("it is {found}") }
        })
    }

    /// What a client of the Service is told about a write.
    fn write(&self) -> Result<Value> {
        let target = self.redisha.target("cp")?;
        target.place.run(|| {
            let mut client = Client::connect((target.host.as_str(), target.port))?;
            client.call(&["AUTH", target.password.as_deref().unwrap_or_default()])?.text()?;
            client.say("SET moved:key mine")
        })
    }
}
