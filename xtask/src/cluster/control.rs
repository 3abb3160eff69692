//! The control plane: etcd, API server, controller manager and scheduler, all in namespace `cp`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{State, network, node, process};

/// How long the control plane and the nodes may take; some ten times what they need.
const DEADLINE: Duration = Duration::from_mins(3);

/// Starts it and waits until the API server answers.
pub fn start(state: &State, programs: &Path) -> Result<()> {
    let run = |name: &str, args: Vec<String>| {
        process::start(state, name, "cp", &programs.join(name), &args)
    };
    run("etcd", etcd(state))?;
    run("kube-apiserver", api_server(state))?;
    wait("the API server", || {
        state.kubectl_text(&["get", "--raw", "/readyz"], "").map(|answer| answer == "ok")
    })?;
    run("kube-controller-manager", controllers(state))?;
    run("kube-scheduler", scheduler(state))?;
    // The API server reaches an admission webhook's Service by its ClusterIP. The control plane is no
    // node itself.
    node::start_proxy(state, programs, ("cp", &network::node(1)), network::CONTROL)
}

/// Waits until every node is Ready and the default service account exists.
pub fn wait_ready(state: &State) -> Result<()> {
    let status = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    wait("the nodes", || {
        let answer = state.kubectl_text(&["get", "nodes", "-o", status], "")?;
        let ready = answer.split_whitespace().filter(|word| *word == "True").count();
        Ok(ready == usize::from(network::NODES))
    })?;
    wait("the default service account", || {
        Ok(state.kubectl_text(&["get", "serviceaccount", "default"], "").is_ok())
    })
}

/// Asks until the answer is yes; the last error, or that it never came, at the deadline.
fn wait(what: &str, ask: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            answer.with_context(|| format!("{what}: not ready in time"))?;
            bail!("{what}: not ready in time");
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn etcd(state: &State) -> Vec<String> {
    vec![
        format!("--data-dir={}", state.data("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        // The cluster lives as long as the test; nobody needs it after a loss of power.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server(state: &State) -> Vec<String> {
    let pki = |name: &str| state.data("pki").join(name).display().to_string();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--advertise-address={}", network::CONTROL),
        format!("--bind-address={}", network::CONTROL),
        "--secure-port=6443".into(),
        format!("--service-cluster-ip-range={}", network::SERVICES),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--kubelet-client-certificate={}", pki("admin.crt")),
        format!("--kubelet-client-key={}", pki("admin.key")),
        // Else `kubectl logs` and `exec` look the node's name up, which nobody serves.
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--service-account-key-file={}", pki("accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        "--profiling=false".into(),
    ]
}

fn controllers(state: &State) -> Vec<String> {
    let config = state.data("config/controllers").display().to_string();
    let pki = state.data("pki");
    vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        format!("--root-ca-file={}", pki.join("ca.crt").display()),
        format!("--service-account-private-key-file={}", pki.join("accounts.key").display()),
        "--use-service-account-credentials=true".into(),
        format!("--cert-dir={}", state.data("config/controllers-tls").display()),
        "--leader-elect=false".into(),
        "--node-monitor-grace-period=20s".into(),
        "--profiling=false".into(),
    ]
}

fn scheduler(state: &State) -> Vec<String> {
    let config = state.data("config/scheduler").display().to_string();
    vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        format!("--cert-dir={}", state.data("config/scheduler-tls").display()),
        "--leader-elect=false".into(),
        "--profiling=false".into(),
    ]
}
