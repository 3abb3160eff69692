//! The pods.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource,
    EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::live;
use super::config_map::{AUTH_DIR, CONF_DIR, DATA_DIR};
use super::{Plan, owned};
use crate::api::{ASKED_ANNOTATION, CONF_KEY, HEALTH_PORT, READONLY_PORT, REDIS_PORT, RUN_AS};

/// The `StatefulSet` of one `RedisHA`. `OnDelete` leaves the order of restarts to the operator.
pub fn stateful_set(plan: &Plan) -> StatefulSet {
    StatefulSet {
        metadata: owned(plan, plan.names.name.clone()),
        spec: Some(StatefulSetSpec {
            service_name: Some(plan.names.pods_service()),
            replicas: Some(plan.replicas),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            selector: LabelSelector {
                match_labels: Some(plan.names.selector()),
                ..LabelSelector::default()
            },
            template: template(plan),
            volume_claim_templates: claim(plan).map(|claim| vec![claim]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// Names what the user asked for of a pod, in 16 hexadecimal digits. A pod that carries another one
/// is out of date. What the operator itself decides is left out on purpose: its upgrade must not
/// restart anybody.
pub fn asked_hash(plan: &Plan) -> String {
    let config: BTreeMap<_, _> =
        plan.config.iter().filter(|(name, _)| !live::is_live(name)).collect();
    let asked = serde_json::json!({
        "image": plan.image,
        "config": config,
        "resources": plan.resources,
        "grace": plan.grace_seconds,
    });
    // FNV-1a: stable over versions of the standard library, which `DefaultHasher` is not.
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(asked.to_string().as_bytes());
    format!("{:016x}", hasher.finish())
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn template(plan: &Plan) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(plan.names.labels()),
            annotations: Some(BTreeMap::from([(ASKED_ANNOTATION.to_owned(), asked_hash(plan))])),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(plan.grace_seconds),
            affinity: Some(spread(plan)),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(RUN_AS),
                run_as_group: Some(RUN_AS),
                fs_group: Some(RUN_AS),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![server(plan)],
            volumes: Some(volumes(plan)),
            ..PodSpec::default()
        }),
    }
}

/// What a pod asks for where the user names neither a request nor a limit of it. A pod that asks for
/// nothing weighs next to nothing beside its neighbours: while they are busy the kernel holds it for a
/// second, which every client sees; and it is the first to be evicted.
const REQUESTS: [(&str, &str); 2] = [("cpu", "250m"), ("memory", "128Mi")];

fn requested(mut asked: ResourceRequirements) -> ResourceRequirements {
    let limits = asked.limits.clone().unwrap_or_default();
    let requests = asked.requests.get_or_insert_default();
    for (resource, least) in REQUESTS {
        // A limit alone is a request, too.
        if !limits.contains_key(resource) {
            requests.entry(resource.to_owned()).or_insert_with(|| Quantity(least.to_owned()));
        }
    }
    asked
}

/// One pod per node where there are enough nodes, so that one node's loss takes one member.
fn spread(plan: &Plan) -> Affinity {
    let selector =
        LabelSelector { match_labels: Some(plan.names.selector()), ..LabelSelector::default() };
    let away = |key: &str, weight| WeightedPodAffinityTerm {
        weight,
        pod_affinity_term: PodAffinityTerm {
            topology_key: key.to_owned(),
            label_selector: Some(selector.clone()),
            ..PodAffinityTerm::default()
        },
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                away("kubernetes.io/hostname", 100),
                away("topology.kubernetes.io/zone", 50),
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn server(plan: &Plan) -> Container {
    let hostname = plan.names.pod_fqdn("$(POD_NAME)", &plan.cluster_domain);
    let args = [
        &format!("{CONF_DIR}/{CONF_KEY}"),
        "--member-name",
        // Kubernetes expands these: the image holds no shell.
        "$(POD_NAME)",
        "--replica-announce-ip",
        "$(POD_IP)",
        "--announce-hostname",
        &hostname,
    ];
    Container {
        name: "server".to_owned(),
        image: Some(plan.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args.map(str::to_owned).to_vec()),
        env: Some(vec![
            from_field("POD_NAME", "metadata.name"),
            from_field("POD_IP", "status.podIP"),
        ]),
        ports: Some(vec![
            port("redis", REDIS_PORT),
            port("readonly", READONLY_PORT),
            port("health", HEALTH_PORT),
        ]),
        resources: Some(requested(plan.resources.clone().unwrap_or_default())),
        // Ready means in sync: what the Services lead to can answer.
        readiness_probe: Some(probe("/readyz", 2, 3)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("conf", CONF_DIR, true),
            mount("auth", AUTH_DIR, true),
            mount("data", DATA_DIR, false),
        ]),
        ..Container::default()
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        // A starved node answers late; the members' own word decides what matters.
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn volumes(plan: &Plan) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "conf".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: plan.names.name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "auth".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(plan.names.internal_secret()),
                // Readable by the pod's group, which the server runs as, and by nobody else.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    if plan.storage.is_none() {
        volumes.push(Volume {
            name: "data".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes
}

fn claim(plan: &Plan) -> Option<PersistentVolumeClaim> {
    let storage = plan.storage.as_ref()?;
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(plan.names.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), storage.size.clone())])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
