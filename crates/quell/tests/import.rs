//! `quell import topology` against a running quell: shown first, put in force, combined, and asked about as of then.
//!
//! Absent on purpose: the formats; `quell-formats` tests each.

mod support {
    pub(crate) mod process;
}

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;
use support::process::{Process, fresh_folder, serve};
use tokio::process::Command;

const CATALOG: &str = "kind: Component\nmetadata: {name: shop}\nspec: {type: service, owner: a, dependsOn: ['resource:db']}\n---\n\
    kind: Resource\nmetadata: {name: db}\nspec: {type: database}\n";
const NODES: &str = r#"{"kind": "NodeList", "items": [{"metadata": {"name": "n1"}}]}"#;

async fn import(folder: &Path, args: &[&str]) -> anyhow::Result<(bool, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    let done = command.current_dir(folder).args(["import", "topology"]).args(args).output().await?;
    Ok((done.status.success(), format!("{}{}", String::from_utf8(done.stdout)?, String::from_utf8(done.stderr)?)))
}

async fn cis(quell: &Process, query: &str) -> anyhow::Result<Vec<String>> {
    let topology = quell.get(&format!("/api/v1/topology{query}")).await?;
    let id = |ci: &Value| ci["id"].as_str().map(str::to_owned).context("an id");
    topology["cis"].as_array().context("a list")?.iter().map(id).collect()
}

#[tokio::test]
async fn an_import_is_shown_put_in_force_and_remembered() -> anyhow::Result<()> {
    let folder = fresh_folder("import")?;
    std::fs::write(folder.join("catalog.yaml"), CATALOG)?;
    std::fs::write(folder.join("nodes.json"), NODES)?;
    let mut quell = Process::start(serve(&[], &folder.join("data")), &folder.join("quell.log")).await?;
    let url = quell.url.clone();
    let catalog = ["--from", "backstage", "catalog.yaml", "--url", &url];
    let (done, said) = import(&folder, &[&catalog[..], &["--dry-run"]].concat()).await?;
    ensure!(done && said.contains("CIs: 2 added, 0 removed, 0 changed, 0 as before; 2 in all"), "{said}");
    ensure!(cis(&quell, "").await?.is_empty(), "a dry run changes nothing");
    ensure!(import(&folder, &catalog).await?.0, "put in force");
    let (done, said) = import(&folder, &["--from", "kubernetes", "nodes.json", "--url", &url]).await?;
    ensure!(done && said.contains("CIs: 1 added, 0 removed, 0 changed, 2 as before; 3 in all\n"), "{said}");
    let all = ["component:default/shop", "node/n1", "resource:default/db"];
    ensure!(cis(&quell, "").await? == all, "both sources stand side by side");
    let (_, said) = import(&folder, &["--from", "kubernetes", "nodes.json", "--url", &url, "--dry-run"]).await?;
    ensure!(said.contains("CIs: 0 added, 0 removed, 0 changed, 3 as before"), "{said}");
    let versions = quell.list("/api/v1/topology/versions?").await?;
    ensure!(versions.len() == 2, "{versions:?}");
    let first = versions[1]["since"].as_str().context("an instant")?.to_owned();
    let mut hygiene = Command::new(env!("CARGO_BIN_EXE_quell"));
    let told = String::from_utf8(hygiene.args(["hygiene", "--url", &url, "--list", "1"]).output().await?.stdout)?;
    let ownerless = "2 CIs that nobody answers for\n  node/n1\n  … and 1 more; --list shows more\n";
    ensure!(told.starts_with("0 alerts looked at; 0 are bound to no CI\n") && told.contains(ownerless), "{told}");
    quell.terminate().await?;
    quell.ended(std::time::Duration::from_secs(20)).await?;
    let quell = Process::start(serve(&[], &folder.join("data")), &folder.join("again.log")).await?;
    ensure!(cis(&quell, &format!("?at={first}")).await? == [all[0], all[2]], "as of the first, after a restart");
    let impact = quell.get(&format!("/api/v1/impact?ci=resource:default/db&at={first}")).await?;
    ensure!(impact["cis"] == 1 && impact["services"][0]["owner"] == "a", "{impact}");
    ensure!(cis(&quell, "").await? == all, "now");
    Ok(())
}

#[tokio::test]
async fn an_import_says_what_is_wrong_and_where_to() -> anyhow::Result<()> {
    let folder = fresh_folder("import-wrong")?;
    std::fs::write(folder.join("bad.yaml"), "kind: Component\n---\nkind: Other\nmetadata: {name: x}\n")?;
    let (done, said) = import(&folder, &["--from", "backstage", "bad.yaml", "--dry-run"]).await?;
    ensure!(!done && said.contains("metadata.name: found nothing") && said.contains("kind: found \"other\""), "{said}");
    let (done, said) = import(&folder, &["--from", "backstage", "bad.yaml"]).await?;
    ensure!(!done && said.contains("allowed: --output FILE, --url URL or --dry-run"), "{said}");
    std::fs::write(folder.join("catalog.yaml"), CATALOG)?;
    let (done, said) = import(&folder, &["--from", "backstage", "catalog.yaml", "--output", "out.json"]).await?;
    ensure!(done, "{said}");
    let again =
        ["--from", "backstage", "catalog.yaml", "--source", "other", "--merge", "out.json", "--dry-run", "--list", "0"];
    let (done, said) = import(&folder, &again).await?;
    ensure!(done && said.contains("relationships: 1 added, 0 removed, 0 changed, 1 as before; 2 in all"), "{said}");
    ensure!(said.contains("… and 1 more changes of relationships; --list shows more"), "{said}");
    Ok(())
}
