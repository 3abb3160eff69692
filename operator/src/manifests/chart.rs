//! The Helm chart: the same objects, with the chart's values where installations differ.
//!
//! Returns file names and texts; pure. An expression is put into an object as a string between
//! marks and takes its braces when the YAML is printed, so the templates cannot drift from what
//! `redisha manifests` prints.

use serde_json::{Value, json};

use super::{Settings, crd, default_resources, rbac, webhook, workload, yaml};

const MARK: &str = "@@";

/// A value that Helm fills in.
fn expression(text: &str) -> Value {
    json!(format!("{MARK}{text}{MARK}"))
}

fn settings() -> Settings {
    Settings {
        namespace: expression(".Release.Namespace"),
        operator_image: expression(".Values.operator.image | quote"),
        server_image: expression(".Values.server.image | quote"),
        pull_policy: expression(".Values.operator.imagePullPolicy"),
        replicas: expression(".Values.operator.replicas"),
        cluster_domain: expression(".Values.clusterDomain | quote"),
        resources: expression(".Values.operator.resources | toJson"),
    }
}

/// Prints objects as a template.
fn template(objects: &[Value]) -> String {
    let printed = yaml::documents(objects);
    let mut text = String::with_capacity(printed.len());
    for (index, part) in printed.split(MARK).enumerate() {
        // Every second part is an expression. YAML quotes a text that begins with a mark.
        if index % 2 == 0 {
            let part =
                if index > 0 { part.strip_prefix(['"', '\'']).unwrap_or(part) } else { part };
            text.push_str(part);
        } else {
            if text.ends_with(['"', '\'']) {
                text.pop();
            }
            text.push_str("{{ ");
            text.push_str(part);
            text.push_str(" }}");
        }
    }
    text
}

/// A template that a value switches off.
fn when(value: &str, text: &str) -> String {
    format!("{{{{- if {value} }}}}\n{text}{{{{- end }}}}\n")
}

/// Every file of the chart, by its path in it.
pub fn files() -> Vec<(&'static str, String)> {
    let settings = settings();
    let mut kept = crd::crd();
    kept["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    vec![
        ("Chart.yaml", chart()),
        ("values.yaml", VALUES.replace("VERSION", env!("CARGO_PKG_VERSION"))),
        ("values.schema.json", schema()),
        ("templates/crd.yaml", when(".Values.crds.install", &template(&[kept]))),
        ("templates/rbac.yaml", template(&rbac::objects(&settings))),
        ("templates/operator.yaml", template(&workload::objects(&settings))),
        (
            "templates/webhook.yaml",
            when(".Values.webhook.enabled", &template(&webhook::objects(&settings))),
        ),
        ("templates/NOTES.txt", NOTES.to_owned()),
    ]
}

fn chart() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "apiVersion: v2\nname: redisha\ndescription: A Redis that moves without its clients \
         noticing\ntype: application\nversion: {version}\nappVersion: \"{version}\"\n\
         kubeVersion: \">=1.29.0-0\"\n"
    )
}

const VALUES: &str = "\
# Values of the chart `redisha`; values.schema.json says what each may be.
operator:
  image: redisha-operator:VERSION
  imagePullPolicy: IfNotPresent
  # One acts, all answer the webhook.
  replicas: 2
  resources:
    requests:
      cpu: 50m
      memory: 64Mi
    limits:
      memory: 256Mi
server:
  # Image of RedisHA objects whose specification names none, at their creation.
  image: redisha-server:VERSION
webhook:
  # Moves a primary before its pod is evicted. Without it, the server hands over at SIGTERM.
  enabled: true
crds:
  # The definition stays when the chart is uninstalled, and so do all RedisHA objects.
  install: true
# The cluster's DNS domain.
clusterDomain: cluster.local
";

const NOTES: &str = "\
RedisHA's operator is on its way. A first RedisHA:

  kubectl apply -f - <<EOF
  apiVersion: redisha.dev/v1alpha1
  kind: RedisHA
  metadata:
    name: example
  spec:
    replicas: 3
  EOF

  kubectl wait --for=condition=Ready redisha/example
  kubectl get secret example-auth -o jsonpath='{.data.password}' | base64 -d
";

fn schema() -> String {
    let object = |properties: Value| json!({"type": "object", "additionalProperties": false, "properties": properties});
    let text = json!({"type": "string", "minLength": 1});
    let mut schema = object(json!({
        "operator": object(json!({
            "image": text,
            "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 9},
            "resources": {"type": "object"},
        })),
        "server": object(json!({"image": text})),
        "webhook": object(json!({"enabled": {"type": "boolean"}})),
        "crds": object(json!({"install": {"type": "boolean"}})),
        "clusterDomain": text,
        // Helm passes these to every chart.
        "global": {"type": "object"},
    }));
    schema["$schema"] = json!("https://json-schema.org/draft-07/schema#");
    schema["properties"]["operator"]["properties"]["resources"]["default"] = default_resources();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_lose_their_quotes_and_only_theirs() {
        let object = json!({
            "apiVersion": "v1",
            "a": expression(".Values.x"),
            "b": "\"kept\": yes",
            "c": [expression(".Values.y | quote"), "z"],
        });
        let text = template(&[object]);
        assert!(text.contains("\na: {{ .Values.x }}\n"), "{text}");
        assert!(text.contains("- {{ .Values.y | quote }}\n"), "{text}");
        let others: Vec<_> = text.lines().filter(|l| !l.contains("{{")).collect();
        let read: Value = serde_saphyr::from_str(&others.join("\n")).unwrap();
        assert_eq!(read["b"], "\"kept\": yes");
    }

    /// What the values say must be what `redisha manifests` prints without arguments.
    #[test]
    fn the_values_are_the_defaults_of_the_manifests() {
        let values: Value =
            serde_saphyr::from_str(&VALUES.replace("VERSION", env!("CARGO_PKG_VERSION"))).unwrap();
        assert_eq!(values["operator"]["resources"], default_resources());
        assert_eq!(values["server"]["image"], crate::controller::default_image());
        assert_eq!(values["operator"]["replicas"], 2);
    }
}
