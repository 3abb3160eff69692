//! The format: a tar of `oci-layout`, `index.json`, `manifest.json` and blobs.
//!
//! `index.json` is what OCI tools and containerd read; `manifest.json` is what `docker load` reads.
//! Both lead to the same blobs. Nothing in it depends on the time or on the machine's users.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::contents::{Entry, Layer, USER};
use crate::digest::sha256;

/// An image of one program.
#[derive(Debug)]
pub struct Image {
    /// With its tag, for example `redisha-server:0.1.0`.
    pub name: String,
    /// The program that runs.
    pub entrypoint: String,
    pub workdir: String,
    pub layer: Layer,
}

impl Image {
    /// The whole archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = layer_tar(&self.layer).context("write the layer")?;
        let config = self.config(&layer).to_string().into_bytes();
        let manifest = manifest(&config, &layer).to_string().into_bytes();
        let docker = json!([{
            "Config": blob_path(&config),
            "RepoTags": [self.name],
            "Layers": [blob_path(&layer)],
        }]);
        let mut tar = Builder::new(Vec::new());
        file(
            &mut tar,
            "oci-layout",
            json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes(),
        )?;
        file(&mut tar, "index.json", self.index(&manifest).to_string().as_bytes())?;
        file(&mut tar, "manifest.json", docker.to_string().as_bytes())?;
        for blob in [&config, &manifest, &layer] {
            file(&mut tar, &blob_path(blob), blob)?;
        }
        tar.into_inner().context("end the archive")
    }

    /// As container runtimes complete a name that has no registry, and as pods find it.
    fn full_name(&self) -> String {
        format!("docker.io/library/{}", self.name)
    }

    fn config(&self, layer: &[u8]) -> Value {
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Entrypoint": [self.entrypoint],
                "Env": ["PATH=/usr/local/bin"],
                "WorkingDir": self.workdir,
                "Labels": {"org.opencontainers.image.licenses": "Apache-2.0"},
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            "history": [{"created_by": "cargo xtask image"}],
        })
    }

    fn index(&self, manifest: &[u8]) -> Value {
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
        entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": self.full_name(),
            "org.opencontainers.image.ref.name": tag,
        });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        })
    }
}

fn manifest(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", sha256(blob))
}

fn blob_path(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", sha256(blob))
}

/// Go's name of this machine's architecture, which is what image tools compare.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer_tar(layer: &Layer) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, entry) in layer {
        let (kind, mode, owner, bytes): (_, _, _, &[u8]) = match entry {
            Entry::Folder { mode, owner } => (EntryType::Directory, *mode, *owner, &[]),
            Entry::File { mode, bytes } => (EntryType::Regular, *mode, 0, bytes),
        };
        let mut header = header(kind, mode, owner, bytes.len());
        tar.append_data(&mut header, path, bytes)?;
    }
    Ok(tar.into_inner()?)
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, 0, bytes.len());
    tar.append_data(&mut header, path, bytes).with_context(|| format!("add {path}"))
}

fn header(kind: EntryType, mode: u32, owner: u64, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        let mut layer = super::super::contents::base();
        let program = Entry::File { mode: 0o755, bytes: b"program".to_vec() };
        layer.insert("usr/local/bin/x".into(), program);
        Image {
            name: "x:1".into(),
            entrypoint: "/usr/local/bin/x".into(),
            workdir: "/data".into(),
            layer,
        }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, bytes);
        }
        files
    }

    #[test]
    fn both_indexes_lead_to_blobs_that_are_what_their_names_say() {
        let files = files(&image().archive().unwrap());
        for (path, bytes) in &files {
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, sha256(bytes));
            }
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        let manifest: Value = serde_json::from_slice(&files[&format!("blobs/{digest}")]).unwrap();
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let layer = docker[0]["Layers"][0].as_str().unwrap();
        assert_eq!(manifest["layers"][0]["size"], json!(files[layer].len()));
        let config: Value =
            serde_json::from_slice(&files[docker[0]["Config"].as_str().unwrap()]).unwrap();
        assert_eq!(config["config"]["User"], json!("65532:65532"));
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        assert_eq!(image().archive().unwrap(), image().archive().unwrap());
    }
}
