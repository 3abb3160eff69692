//! Whether every dependency is under a licence that `deny.toml` allows.
//!
//! The file is cargo-deny's, which people run for its other checks too; this one needs no program
//! that takes minutes to compile, so it runs before every commit.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spdx::{Expression, ParseMode};

use crate::{compile, paths};

/// Names every dependency whose licence is not allowed.
pub fn check() -> Result<bool> {
    let text = fs::read_to_string(paths::root().join("deny.toml")).context("read deny.toml")?;
    let deny: toml::Table = text.parse().context("deny.toml is no TOML")?;
    let allow = deny.get("licenses").and_then(|table| table.get("allow"));
    let allow = allow.and_then(toml::Value::as_array).context("deny.toml allows no licence")?;
    let allow: BTreeSet<_> = allow.iter().filter_map(toml::Value::as_str).collect();

    let output = compile::cargo(&["metadata", "--format-version=1", "--locked"])
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read the metadata")?;
    let packages = metadata["packages"].as_array().context("there are no packages")?;
    let mut all_allowed = true;
    // A package without a source is of this workspace.
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let license = package["license"].as_str().unwrap_or_default();
        if !is_allowed(license, &allow) {
            let (name, version) = (&package["name"], &package["version"]);
            eprintln!("{name} {version} is under `{license}`, which deny.toml does not allow");
            all_allowed = false;
        }
    }
    Ok(all_allowed)
}

fn is_allowed(license: &str, allow: &BTreeSet<&str>) -> bool {
    // Old packages write `MIT/Apache-2.0`.
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|one| allow.contains(one.to_string().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_by_its_expression() {
        let allow = BTreeSet::from(["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]);
        for (license, allowed) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("", false),
        ] {
            assert_eq!(is_allowed(license, &allow), allowed, "{license}");
        }
    }
}
