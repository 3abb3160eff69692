//! A node: its own containerd, kubelet and kube-proxy in its own network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::state::create_dir;
use super::{State, network, process};
use crate::{image, run};

/// How long a containerd may take to answer, and a kubelet to begin.
const DEADLINE: Duration = Duration::from_mins(1);
/// Where every kubelet of a machine listens for device plugins, whatever its own folders are.
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";

/// Starts every node, with the image of the pod sandboxes imported.
pub fn start_all(state: &State, programs: &Path, pause: &Path) -> Result<()> {
    for number in 1..=network::NODES {
        start_containerd(state, number)?;
    }
    for number in 1..=network::NODES {
        wait_containerd(state, number)?;
        import(state, number, pause)?;
        start_kubelet(state, programs, number)?;
        let node = network::node(number);
        start_proxy(state, programs, (&node, &node), &network::node_address(number))?;
    }
    Ok(())
}

/// Imports archives into every node.
pub fn load_images(state: &State, archives: &[PathBuf]) -> Result<()> {
    for number in 1..=network::NODES {
        for archive in archives {
            import(state, number, archive)?;
        }
    }
    Ok(())
}

/// Starts a kube-proxy in a namespace. It takes itself for the one of the node `host`, which must come
/// to exist: until it does, or half a minute has passed, no Service is reachable there.
pub fn start_proxy(
    state: &State,
    programs: &Path,
    (name, host): (&str, &str),
    address: &str,
) -> Result<()> {
    let args = [
        format!("--kubeconfig={}", state.data("config/proxy").display()),
        format!("--hostname-override={host}"),
        format!("--cluster-cidr={}", network::PODS),
        "--proxy-mode=iptables".into(),
        // The table of connections is the machine's; its limits are not ours to set.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0".into(),
        "--conntrack-tcp-timeout-close-wait=0".into(),
        format!("--healthz-bind-address={address}:10256"),
        "--metrics-bind-address=127.0.0.1:10249".into(),
    ];
    process::start(state, &format!("proxy-{name}"), name, &programs.join("kube-proxy"), &args)
}

fn socket(state: &State, number: u8) -> PathBuf {
    state.run(&format!("{}/c.sock", network::node(number)))
}

fn ctr(state: &State, number: u8) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket(state, number)).args(["--namespace", "k8s.io"]);
    command
}

fn import(state: &State, number: u8, archive: &Path) -> Result<()> {
    run::must(ctr(state, number).args(["images", "import"]).arg(archive))
}

fn start_containerd(state: &State, number: u8) -> Result<()> {
    let node = network::node(number);
    let data = state.data(&node);
    create_dir(&data.join("cni"))?;
    create_dir(&state.run(&node))?;
    let bridge = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": data.join("addresses"),
                    "ranges": [[{"subnet": network::node_pods(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    state.write(&format!("{node}/cni/10-pods.conflist"), &bridge.to_string())?;
    let config = containerd_config(state, number);
    let config = state.write(&format!("{node}/containerd.toml"), &config)?;
    let args = ["--config".to_owned(), config.display().to_string()];
    let program = Path::new("/usr/bin/containerd");
    process::start(state, &format!("containerd-{node}"), &node, program, &args)
}

fn containerd_config(state: &State, number: u8) -> String {
    let node = network::node(number);
    let data = state.data(&node);
    let data = data.display();
    let run = state.run(&node);
    let run = run.display();
    format!(
        r#"version = 2
root = "{data}/containerd"
state = "{run}/c"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{run}/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{data}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        socket = socket(state, number).display(),
        pause = image::PAUSE,
    )
}

fn wait_containerd(state: &State, number: u8) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut version = ctr(state, number);
        version.arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        if version.status().context("start ctr")?.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the containerd of node{number} does not answer; its log is in logs");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The disk of a node's pods is one of its own, and small, so that a test can fill it.
fn mount_disk(folder: &Path) -> Result<()> {
    create_dir(folder)?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=512m", "redisha"]).arg(folder);
    run::must(&mut mount)
}

fn start_kubelet(state: &State, programs: &Path, number: u8) -> Result<()> {
    let node = network::node(number);
    let data = state.data(&node);
    mount_disk(&data.join("kubelet"))?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network::node_address(number),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": state.data("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", socket(state, number).display()),
        "podLogsDir": data.join("logs"),
        "healthzBindAddress": "127.0.0.1",
        "cgroupDriver": "cgroupfs",
        // A machine without systemd, perhaps with the first version of control groups, and shared
        // by three nodes: no kubelet may claim all of it.
        "failCgroupV1": false,
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "evictionHard": {},
        "failSwapOn": false,
        // The machine's resolver is out of a pod's reach: a look-up shall fail at once.
        "resolvConf": "",
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "shutdownGracePeriod": "0s",
        "nodeStatusUpdateFrequency": "4s",
        "registerWithTaints": [],
    });
    let config = state.write(&format!("{node}/kubelet.json"), &config.to_string())?;
    let args = [
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", state.data("config").join(&node).display()),
        format!("--hostname-override={node}"),
        format!("--node-ip={}", network::node_address(number)),
        format!("--root-dir={}", data.join("kubelet").display()),
        format!("--cert-dir={}", data.join("certificates").display()),
        "--v=1".to_owned(),
    ];
    // Of two kubelets that begin together one finds that socket taken, and ends.
    let _ = fs::remove_file(DEVICE_PLUGINS);
    process::start(state, &format!("kubelet-{node}"), &node, &programs.join("kubelet"), &args)?;
    let begun = Instant::now();
    while !Path::new(DEVICE_PLUGINS).exists() {
        if begun.elapsed() > DEADLINE {
            bail!("the kubelet of {node} does not begin; its log tells why");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
