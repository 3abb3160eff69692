//! A running cluster, through the tools that `cargo xtask cluster up` put into a folder.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::load::Target;
use crate::place::Place;
use crate::wait;

/// How long Kubernetes and the operator may take for anything.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// The operator's namespace.
pub const NAMESPACE: &str = "redisha-system";
/// Selects the operator's pods.
pub const OPERATOR: &str = "app.kubernetes.io/name=redisha-operator";

/// A file of the repository, from the folder of a package in it.
pub fn file(path: &str) -> String {
    let root = std::path::absolute("..").expect("the working folder is there");
    root.join(path).display().to_string()
}

/// The cluster's tools.
#[derive(Clone, Debug)]
pub struct Cluster {
    bin: PathBuf,
}

impl Cluster {
    /// The cluster that the environment names, if any.
    pub fn from_env() -> Option<Self> {
        env::var_os("REDISHA_CLUSTER_BIN").map(|bin| Self { bin: bin.into() })
    }

    /// One of the tools: `kubectl`, `helm`, `on-node`, `tag-image`.
    pub fn tool(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    /// Where the cluster keeps its logs, process ids and certificates.
    pub fn data(&self) -> &Path {
        self.bin.parent().expect("the tools lie among the data")
    }

    /// The process of one of the cluster's own programs, by the record of who started it.
    pub fn program(&self, name: &str) -> Result<Pid> {
        let path = self.data().join("pids").join(name);
        let record =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let pid = record.split_whitespace().next().and_then(|word| word.parse().ok());
        let none = || format!("{} has no process", path.display());
        pid.and_then(Pid::from_raw).with_context(none)
    }

    /// Runs kubectl and gives its output.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        text(self.tool("kubectl").args(args))
    }

    /// Runs kubectl with `input` on its stdin; the error is what kubectl said.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = self.tool("kubectl");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start kubectl")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input.as_bytes()).context("write to kubectl")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// An object as JSON.
    pub fn get(&self, kind: &str, name: &str, namespace: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])?;
        serde_json::from_str(&text).context("read kubectl's JSON")
    }

    /// The node on which a pod runs.
    pub fn node_of(&self, pod: &str, namespace: &str) -> Result<String> {
        let pod = self.get("pod", pod, namespace)?;
        Ok(pod["spec"]["nodeName"].as_str().context("the pod has no node")?.to_owned())
    }

    /// The process of a pod's only container.
    pub fn process_of(&self, pod: &str, namespace: &str) -> Result<Pid> {
        let object = self.get("pod", pod, namespace)?;
        let id = object["status"]["containerStatuses"][0]["containerID"].as_str();
        let id = id.and_then(|id| id.strip_prefix("containerd://"));
        let id = id.with_context(|| format!("{pod} has no running container"))?;
        for entry in fs::read_dir("/proc").context("list the processes")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process may end while it is looked at.
            let group = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            if group.contains(id)
                && let Some(pid) = Pid::from_raw(pid)
            {
                return Ok(pid);
            }
        }
        bail!("no process of {pod} is there")
    }

    /// Waits until all of the operator's pods are Ready.
    pub fn operators_are_ready(&self) -> Result<()> {
        let wait = ["rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=180s"];
        self.kubectl(&wait).map(drop)
    }

    /// The operator's pod that holds the lease.
    pub fn acting_operator(&self) -> Result<String> {
        let lease = self.get("lease", "redisha-operator", NAMESPACE)?;
        let holder = lease["spec"]["holderIdentity"].as_str().filter(|name| !name.is_empty());
        Ok(holder.context("no operator acts")?.to_owned())
    }
}

/// Sends a signal to a process of the cluster.
pub fn signal(pid: Pid, signal: Signal) -> Result<()> {
    kill_process(pid, signal).with_context(|| format!("signal {pid:?}"))
}

/// Runs a command to its end and gives its stdout; the error is what it said.
pub fn text(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A `RedisHA` in the cluster.
#[derive(Clone, Debug)]
pub struct RedisHA {
    pub cluster: Cluster,
    pub name: String,
    pub namespace: String,
}

impl RedisHA {
    /// The object of the example, whether it is there or not.
    pub fn example(cluster: &Cluster) -> Result<Self> {
        // Only read here, so that the name is not written down twice.
        let yaml = fs::read_to_string(file("examples/redisha.yaml")).context("read the example")?;
        let name = yaml.lines().find_map(|line| line.strip_prefix("  name: "));
        let name = name.context("the example has no name")?.trim().to_owned();
        Ok(Self { cluster: cluster.clone(), name, namespace: "default".to_owned() })
    }

    /// Installs the operator and the example, and waits until all is Ready.
    pub fn install(&self) -> Result<()> {
        self.cluster.kubectl(&["apply", "-f", &file("deploy/redisha.yaml")])?;
        self.cluster.operators_are_ready()?;
        self.cluster.kubectl(&["apply", "-f", &file("examples/redisha.yaml")])?;
        self.settled().map(drop)
    }

    pub fn get(&self) -> Result<Value> {
        self.cluster.get("redisha", &self.name, &self.namespace)
    }

    /// Merges a patch into the object.
    pub fn patch(&self, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let args = ["patch", "redisha", &self.name, "-n", &self.namespace, "--type=merge"];
        self.cluster.kubectl(&[&args[..], &["-p", &patch]].concat()).map(drop)
    }

    /// Asks for a switchover, to that pod if one is named, and gives the request's id. It is a new one
    /// at every call: what was answered once is never performed again.
    pub fn ask(&self, what: &str, to: Option<&str>) -> Result<String> {
        let object = self.get()?;
        let version = object["metadata"]["resourceVersion"].as_str().context("no version")?;
        let id = format!("{what}-{version}");
        let wish = to.map_or_else(|| id.clone(), |pod| format!("{id}/{pod}"));
        self.patch(&json!({"metadata": {"annotations": {"redisha.dev/switchover": wish}}}))?;
        Ok(id)
    }

    /// Waits until it is Ready, runs as asked for, and every pod is in sync.
    pub fn settled(&self) -> Result<Value> {
        wait::until(&format!("{} settled", self.name), PATIENCE, || {
            let object = self.get()?;
            let status = &object["status"];
            let generation = &object["metadata"]["generation"];
            let pods = object["spec"]["replicas"].as_i64().unwrap_or(3);
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let ready =
                conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            let all = status["ready"].as_str() == Some(format!("{pods}/{pods}").as_str());
            let settled = ready
                && all
                && status["phase"] == "Running"
                && status["observedGeneration"] == *generation;
            if !settled {
                bail!("its status is {status}");
            }
            Ok(Some(object))
        })
    }

    /// The pod that takes writes.
    pub fn primary(&self) -> Result<String> {
        let object = self.get()?;
        let primary = object["status"]["primary"].as_str().filter(|name| !name.is_empty());
        Ok(primary.context("there is no primary")?.to_owned())
    }

    /// How often the primary has moved.
    pub fn switchovers(&self) -> Result<i64> {
        Ok(self.get()?["status"]["switchovers"].as_i64().unwrap_or(0))
    }

    /// Asks that this pod be the primary, and waits until it is and all is settled.
    pub fn lead_by(&self, pod: &str) -> Result<()> {
        if self.primary()? == pod {
            return Ok(());
        }
        self.ask("lead", Some(pod))?;
        wait::until(&format!("{pod} is the primary"), PATIENCE, || {
            Ok((self.primary()? == pod).then_some(()))
        })?;
        self.settled().map(drop)
    }

    /// The node on which a pod runs.
    pub fn node_of(&self, pod: &str) -> Result<String> {
        self.cluster.node_of(pod, &self.namespace)
    }

    /// Its Service, as clients on a node reach it.
    pub fn target(&self, node: &str) -> Result<Target> {
        let service = self.cluster.get("service", &self.name, &self.namespace)?;
        let host = service["spec"]["clusterIP"].as_str().context("no ClusterIP")?.to_owned();
        let template = "{{.data.password | base64decode}}";
        let secret = format!("{}-auth", self.name);
        let output = format!("go-template={template}");
        let args = ["get", "secret", &secret, "-n", &self.namespace, "-o", &output];
        let password = Some(self.cluster.kubectl(&args)?);
        Ok(Target { place: Place::Namespace(node.to_owned()), host, port: 6379, password })
    }
}
