//! Brings a [`Bundle`] into the cluster by server-side apply.
//!
//! Takes the bundle, returns the `StatefulSet` as stored; the only stage that changes resources.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::build::Bundle;
use crate::api::{FIELD_MANAGER, Names};

/// A resource that could not be brought into the cluster.
#[derive(Debug, Error)]
#[error("cannot apply {kind} {name}: {source}")]
pub struct ApplyError {
    kind: String,
    name: String,
    source: Box<kube::Error>,
}

/// Applies everything, what others refer to first.
pub async fn apply(
    client: &Client,
    names: &Names,
    bundle: Bundle,
) -> Result<StatefulSet, ApplyError> {
    // No `..`: a resource that is built and forgotten here does not compile.
    let Bundle {
        auth,
        internal,
        config,
        primary_service,
        readonly_service,
        pods_service,
        stateful_set,
        pdb,
        primary_pdb,
    } = bundle;
    if let Some(auth) = auth {
        one(client, names, &auth).await?;
    }
    one(client, names, &internal).await?;
    one(client, names, &config).await?;
    one(client, names, &pods_service).await?;
    one(client, names, &primary_service).await?;
    one(client, names, &readonly_service).await?;
    if let Some(floor) = primary_pdb {
        // The other budget lets go of the primary first: two over one pod answer 500.
        one(client, names, &pdb).await?;
        one(client, names, &floor).await?;
    } else {
        remove_floor(client, names).await?;
        one(client, names, &pdb).await?;
    }
    one(client, names, &stateful_set).await
}

async fn one<K>(client: &Client, names: &Names, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: k8s_openapi::Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &names.namespace);
    let name = object.meta().name.clone().unwrap_or_default();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&name, &params, &Patch::Apply(object)).await;
    applied.map_err(|source| ApplyError {
        kind: <K as k8s_openapi::Resource>::KIND.to_owned(),
        name,
        source: Box::new(source),
    })
}

async fn remove_floor(client: &Client, names: &Names) -> Result<(), ApplyError> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &names.namespace);
    let name = names.primary_pdb();
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ApplyError {
            kind: "PodDisruptionBudget".to_owned(),
            name,
            source: Box::new(source),
        }),
    }
}
