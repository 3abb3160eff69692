//! The scenarios of a planned switch on a real Kubernetes, each under the load of all libraries.
//!
//! `cargo xtask test --parts cluster` starts the cluster, loads the images and runs this program;
//! its arguments name the scenarios to run, none means all. They build on one another: the first
//! installs what the others act on.

#[path = "cluster/bounds.rs"]
mod bounds;
#[path = "cluster/crash.rs"]
mod crash;
#[path = "cluster/disruption.rs"]
mod disruption;
#[path = "cluster/install.rs"]
mod install;
#[path = "cluster/migration.rs"]
mod migration;
#[path = "cluster/outage.rs"]
mod outage;
#[path = "cluster/power.rs"]
mod power;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use tests::clients::Clients;
use tests::cluster::{Cluster, NAMESPACE, OPERATOR, RedisHA};
use tests::load::{Bar, Load, unharmed};

/// What every scenario acts on.
struct World {
    cluster: Cluster,
    clients: Clients,
    redisha: RedisHA,
}

type Scenario = fn(&World) -> Result<()>;

/// In the order in which they run.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("apply_makes_it_ready", install::apply),
    ("an_invalid_object_is_refused", install::invalid),
    ("a_changed_image_moves_the_primary_once", disruption::changed_image),
    ("a_drain_moves_the_primary_first", disruption::drain),
    ("an_eviction_moves_the_primary_first", disruption::evict),
    ("a_deleted_primary_hands_over", disruption::delete),
    ("a_drain_that_cannot_move_the_primary_is_held_and_let_go", bounds::held_drain),
    // It takes the webhook's configuration away for good.
    ("without_the_webhook_an_eviction_hands_over", disruption::evict_without_webhook),
    ("a_requested_switchover_is_answered", disruption::request),
    ("scaling_down_moves_the_primary_first", bounds::scale_down),
    ("a_live_directive_restarts_nobody", bounds::live_directive),
    ("another_durability_is_taken_up_unnoticed", bounds::changed_durability),
    ("all_servers_that_promise_the_disk_are_killed_at_once", power::all_killed),
    ("a_new_one_moves_in_from_outside", migration::moves_in),
    ("an_operator_that_ends_at_a_step_leaves_nothing_open", crash::operator),
    ("an_operator_that_lost_its_lease_takes_it_again", crash::lease),
    ("a_lost_primary_has_a_successor_though_nothing_can_be_applied", crash::unapplied),
    ("writes_go_on_without_operator_and_api_server", outage::control_plane),
    ("helm_install_makes_it_ready", install::helm),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let Some(cluster) = Cluster::from_env() else {
        eprintln!("SKIPPED: no cluster; `cargo xtask test --parts cluster` makes one");
        println!("test result: ok. 0 passed; 0 failed; {} ignored;", SCENARIOS.len());
        return ExitCode::SUCCESS;
    };
    match run(cluster, &wanted) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the scenarios could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cluster: Cluster, wanted: &[String]) -> Result<usize> {
    let clients = Clients::prepare().context("prepare the clients")?;
    let redisha = RedisHA::example(&cluster)?;
    let world = World { cluster, clients, redisha };
    let (mut passed, mut failed) = (0, 0);
    let mut told = Vec::new();
    for (name, scenario) in SCENARIOS {
        // What the others act on is always there.
        let always = *name == SCENARIOS[0].0;
        if !always && !wanted.is_empty() && !wanted.iter().any(|one| name.contains(one.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let result = scenario(&world);
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({seconds:.1} s)");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({seconds:.1} s)\n{error:#}");
                world.tell();
                told.push(format!("{name}: {error:#}"));
                if always {
                    println!("nothing is installed, so the other scenarios cannot pass");
                    failed += SCENARIOS.len() - 1;
                    break;
                }
            }
        }
    }
    // Once more after all that was said and in libtest's form, so that whoever reads the end finds it.
    if failed > 0 {
        println!("failures:\n{}", told.join("\n"));
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored;");
    Ok(failed)
}

impl World {
    /// Acts under the load of all libraries and fails unless no client noticed. Clients are processes
    /// in a node's network, so draining that node moves pods and leaves them.
    fn under_load(&self, name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        self.under_load_with(Bar::NoError, name, act)
    }

    fn under_load_with(
        &self,
        bar: Bar,
        name: &str,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.under_load_of(&self.redisha, bar, name, act)
    }

    fn under_load_of(
        &self,
        redisha: &RedisHA,
        bar: Bar,
        name: &str,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let target = redisha.target("node1")?;
        let mut load = Load::start(&self.clients, &target, name)?;
        act()?;
        load.more().context("after all was done")?;
        unharmed(&load.stop()?, bar)
    }

    /// What a person would look at after a failure.
    fn tell(&self) {
        let looks: [&[&str]; 4] = [
            &["get", "redisha,pods,services,statefulsets", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["describe", "redisha", "-A"],
            &["logs", "-n", NAMESPACE, "-l", OPERATOR, "--tail=60", "--prefix"],
        ];
        for look in looks {
            let said = self.cluster.kubectl(look).unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("--- kubectl {}\n{said}", look.join(" "));
        }
    }
}
