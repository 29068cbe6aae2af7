//! Files that people edit: the config, rules and pipelines, read from disk or taken as shipped.
//!
//! Absent on purpose: what they mean; `quell-formats` checks them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use quell_formats::config::{self, Config, Secret};
use quell_formats::mistake::Mistake;
use quell_formats::settings::{self, Compiled, SourceFile};

/// Reads the config file, or takes the defaults where none is named.
pub(crate) fn config(file: Option<&Path>) -> anyhow::Result<Config> {
    let Some(file) = file else { return Ok(Config::default()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    config::decode(&file.display().to_string(), &text).map_err(|mistakes| all("the config", &mistakes))
}

/// Reads a secret from where the config says it is; `whose` names it in errors.
pub(crate) fn secret(whose: &str, secret: &Secret) -> anyhow::Result<String> {
    match secret {
        Secret::File(path) => {
            std::fs::read_to_string(path).with_context(|| format!("{whose}: cannot read {}", path.display()))
        }
        Secret::Env(name) => std::env::var(name).with_context(|| format!("{whose}: the environment has no {name}")),
    }
}

/// Reads rules and pipelines: each kind from its directory where one is named, else as shipped.
pub(crate) fn files(rules: Option<&Path>, pipelines: Option<&Path>) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for (directory, kind) in [(rules, "rules/"), (pipelines, "pipelines/")] {
        match directory {
            Some(directory) => files.extend(read_directory(directory, kind)?),
            None => files.extend(settings::shipped().into_iter().filter(|file| file.name.starts_with(kind))),
        }
    }
    Ok(files)
}

/// Compiles files.
pub(crate) fn compile(files: &[SourceFile]) -> anyhow::Result<Compiled> {
    settings::compile(files).map_err(|mistakes| all("rules and pipelines", &mistakes))
}

fn all(what: &str, mistakes: &[Mistake]) -> anyhow::Error {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
    let count = if lines.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", lines.len()) };
    anyhow::anyhow!("{count} in {what}:\n{}", lines.join("\n"))
}

/// The YAML files of a directory, by name; `kind` is put before the name as in the shipped ones.
fn read_directory(directory: &Path, kind: &str) -> anyhow::Result<Vec<SourceFile>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no .yaml file", directory.display());
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(SourceFile { name: format!("{kind}{name}"), text })
    };
    paths.into_iter().map(read).collect()
}
