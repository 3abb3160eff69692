//! What kubelet, containerd and CNI leave outside of the cluster's own folders.
//!
//! Their paths cannot be configured and are the machine's, so only entries that name our folders, or
//! held our processes, are removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::State;

/// The control groups of the processes, in every hierarchy.
pub fn control_groups(pids: &[u32]) -> BTreeSet<PathBuf> {
    let texts =
        pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    let names: BTreeSet<String> = texts.flat_map(|text| groups(&text)).collect();
    let top = PathBuf::from("/sys/fs/cgroup");
    let inner = fs::read_dir(&top).into_iter().flatten().flatten().map(|entry| entry.path());
    let hierarchies: Vec<_> = inner.chain([top.clone()]).collect();
    let joined = names.iter().flat_map(|name| hierarchies.iter().map(move |top| top.join(name)));
    joined.filter(|path| path.is_dir()).collect()
}

/// The groups that containerd's Kubernetes side makes, of `/proc/PID/cgroup`.
fn groups(text: &str) -> Vec<String> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let ours =
        paths.filter_map(|path| path.strip_prefix('/')).filter(|path| path.starts_with("k8s.io/"));
    ours.map(str::to_owned).collect()
}

/// Removes groups in which no process is left; one that is still in use stays by itself.
pub fn remove_groups(groups: &BTreeSet<PathBuf>) {
    for group in groups {
        let _ = fs::remove_dir(group);
        // The last one takes the folder of all with it.
        let _ = group.parent().map(fs::remove_dir);
    }
}

/// Removes the links to logs and the address records that name the cluster's folders.
pub fn remove_files(state: &State) {
    let [_, data] = state.roots();
    for link in entries(Path::new("/var/log/containers")) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(data)) {
            let _ = fs::remove_file(link);
        }
    }
    for record in entries(Path::new("/var/lib/cni/results")) {
        let ours = |text: &String| state.roots().iter().any(|root| names(text, root));
        if fs::read_to_string(&record).as_ref().is_ok_and(ours) {
            let _ = fs::remove_file(record);
        }
    }
}

fn names(text: &str, folder: &Path) -> bool {
    text.contains(&format!("{}/", folder.display()))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_groups_of_containers_are_taken() {
        let text =
            "4:memory:/k8s.io/ab12\n3:cpu,cpuacct:/user.slice\n0::/k8s.io/ab12\n1:name=x:/\n";
        assert_eq!(super::groups(text), ["k8s.io/ab12", "k8s.io/ab12"]);
    }
}
