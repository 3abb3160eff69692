//! What an installation applies, made from the same types that the operator runs with.
//!
//! Takes arguments only, returns YAML, does no I/O but printing. The files under `crds/`,
//! `deploy/` and `charts/redisha/` are its output; tests fail when they drift, and
//! `REDISHA_REWRITE=1 cargo test -p operator manifests` writes them anew.

mod crd;
mod yaml;

use std::process::ExitCode;

pub use crd::crd;

/// Arguments of `redisha manifests`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the `CustomResourceDefinition`.
pub fn print_crd() -> anyhow::Result<ExitCode> {
    print!("{}", yaml::documents(&[crd::crd()]));
    Ok(ExitCode::SUCCESS)
}

/// Prints everything that an installation applies.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the manifests are not part of this build")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Compares a generated file with the one in the repository, or writes it.
    fn check(path: &str, made: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if std::env::var_os("REDISHA_REWRITE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, made).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == made,
            "{} has drifted; REDISHA_REWRITE=1 cargo test -p operator manifests writes it anew",
            path.display()
        );
    }

    #[test]
    fn the_definition_in_the_repository_is_the_one_of_the_types() {
        check("crds/redishas.yaml", &yaml::documents(&[crd::crd()]));
    }
}
