//! Installing the operator and a `RedisHA`, and what happens to an invalid one.

use anyhow::{Result, bail, ensure};
use tests::cluster::{NAMESPACE, file, text};

use super::World;

pub fn apply(world: &World) -> Result<()> {
    world.redisha.install()?;
    let spec = &world.redisha.get()?["spec"];
    ensure!(spec["durability"] == "replicated", "the example is stored as {spec}");
    world.under_load("apply", || Ok(()))
}

pub fn invalid(world: &World) -> Result<()> {
    let cases = [
        ("replicas: 0", "spec.replicas"),
        ("replicas: many", "spec.replicas"),
        ("durability: perhaps", "spec.durability"),
        ("durability: disk", "spec.durability: 'disk' needs a volume for each pod"),
        (
            "durability: disk, storage: {size: 1Gi}, config: {appendonly: 'no'}",
            "spec.config.appendonly: 'disk' keeps what is answered in append-only files",
        ),
        ("replicas: 2, whenReplicaLost: block", "spec.whenReplicaLost"),
        ("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds"),
        ("migrateFrom: {host: old, tls: {}}", "spec.migrateFrom.tls"),
        (
            "migrateFrom: {host: old, tls: {caSecret: {name: a}, caConfigMap: {name: a}}}",
            "spec.migrateFrom.tls",
        ),
        (
            "migrateFrom: {host: old, tls: {caSecret: {name: a}, verify: none}}",
            "spec.migrateFrom.tls.verify",
        ),
    ];
    for (line, words) in cases {
        let yaml = format!(
            "apiVersion: redisha.dev/v1alpha1\nkind: RedisHA\n\
             metadata: {{name: invalid}}\nspec: {{{line}}}\n"
        );
        match world.cluster.kubectl_with(&["apply", "-f", "-"], &yaml) {
            Ok(_) => bail!("`{line}` was taken"),
            Err(error) => {
                let said = format!("{error:#}");
                ensure!(said.contains(words), "`{line}` is refused without `{words}`: {said}");
            }
        }
    }
    Ok(())
}

/// Replaces the installation by the chart's, in which nothing of the data path may notice, and makes
/// another object Ready.
pub fn helm(world: &World) -> Result<()> {
    let cluster = &world.cluster;
    cluster.kubectl(&["delete", "redisha", "--all", "-n", "default", "--timeout=120s"])?;
    let deployed = file("deploy/redisha.yaml");
    // Another scenario took the webhook's configuration away.
    let delete = ["delete", "-f", &deployed, "--ignore-not-found", "--timeout=120s"];
    cluster.kubectl(&delete)?;
    let mut helm = cluster.tool("helm");
    helm.args(["install", "redisha"]).arg(file("charts/redisha"));
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"]);
    text(&mut helm)?;
    cluster.kubectl(&["apply", "-f", &file("examples/redisha.yaml")])?;
    world.redisha.settled()?;
    world.under_load("helm", || {
        let primary = world.redisha.primary()?;
        cluster.kubectl(&["delete", "pod", &primary, "-n", "default", "--timeout=120s"])?;
        world.redisha.settled().map(drop)
    })
}
