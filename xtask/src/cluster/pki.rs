//! The cluster's certificates: one authority, and a certificate for everyone who connects.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::{State, network};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A user of the API server: the file's name, the user and the group.
struct User {
    file: String,
    name: String,
    group: String,
}

/// Writes the authority, all certificates and a kubeconfig for each user.
pub fn create(state: &State) -> Result<()> {
    let authority = authority()?;
    write(state, "ca.crt", &authority.pem())?;
    let server = server(&authority)?;
    write(state, "apiserver.crt", &server.0)?;
    write(state, "apiserver.key", &server.1)?;
    let accounts = KeyPair::generate().context("make the service account key")?;
    write(state, "accounts.key", &accounts.serialize_pem())?;
    write(state, "accounts.pub", &accounts.public_key_pem())?;
    for user in users() {
        let (certificate, key) = client(&authority, &user)?;
        write(state, &format!("{}.crt", user.file), &certificate)?;
        write(state, &format!("{}.key", user.file), &key)?;
        let path = if user.file == "admin" { "kubeconfig" } else { &user.file };
        let folder = if user.file == "admin" { "" } else { "config/" };
        state.write(&format!("{folder}{path}"), &kubeconfig(state, &user.file))?;
    }
    Ok(())
}

fn users() -> Vec<User> {
    let user = |file: &str, name: &str, group: &str| User {
        file: file.to_owned(),
        name: name.to_owned(),
        group: group.to_owned(),
    };
    let mut users = vec![
        user("admin", "admin", "system:masters"),
        user("controllers", "system:kube-controller-manager", "system:controllers"),
        user("scheduler", "system:kube-scheduler", "system:schedulers"),
        user("proxy", "system:kube-proxy", "system:proxies"),
    ];
    users.extend((1..=network::NODES).map(|number| {
        let node = network::node(number);
        user(&node, &format!("system:node:{node}"), "system:nodes")
    }));
    users
}

fn authority() -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = distinguished("redisha-test", None);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().context("make the authority's key")?;
    CertifiedIssuer::self_signed(params, key).context("sign the authority")
}

fn server(authority: &Authority) -> Result<(String, String)> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        network::CONTROL,
        network::API_SERVICE,
    ];
    let mut params = CertificateParams::new(names.map(str::to_owned).to_vec())?;
    params.distinguished_name = distinguished("kube-apiserver", None);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    signed(authority, &params)
}

fn client(authority: &Authority, user: &User) -> Result<(String, String)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = distinguished(&user.name, Some(&user.group));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    signed(authority, &params)
}

fn signed(authority: &Authority, params: &CertificateParams) -> Result<(String, String)> {
    let key = KeyPair::generate().context("make a key")?;
    let certificate = params.signed_by(&key, authority).context("sign a certificate")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn distinguished(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished
}

fn write(state: &State, name: &str, pem: &str) -> Result<()> {
    let path = state.write(&format!("pki/{name}"), pem)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("protect a key")
}

fn kubeconfig(state: &State, user: &str) -> String {
    let pki = state.data("pki");
    let pki = pki.display();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters:\n- name: test\n  cluster:\n    server: https://{address}:6443\n    \
         certificate-authority: {pki}/ca.crt\n\
         users:\n- name: {user}\n  user:\n    client-certificate: {pki}/{user}.crt\n    \
         client-key: {pki}/{user}.key\n\
         contexts:\n- name: test\n  context: {{cluster: test, user: {user}}}\n",
        address = network::CONTROL,
    )
}
