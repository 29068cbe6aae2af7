//! What installations are started from: the compose file as docker-compose reads it, the settings that it hands out, the
//! manifest for Kubernetes and the container's own look at quell.
//!
//! Absent on purpose: running any of it in containers, which needs an engine.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use support::{Quell, fresh_folder, server};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is two folders up")
}

/// The compose file with some profiles, as docker-compose makes it out.
fn compose(profiles: &[&str], secrets: Option<&Path>) -> anyhow::Result<Result<Value, String>> {
    let mut command = Command::new(server("QUELL_COMPOSE", &["docker-compose"])?);
    command.current_dir(root()).env_remove("QUELL_SECRETS").env_remove("QUELL_OTLP").env_remove("QUELL_PORT");
    command.args(profiles.iter().flat_map(|profile| ["--profile", profile])).arg("config");
    if let Some(secrets) = secrets {
        command.env("QUELL_SECRETS", secrets);
    }
    let done = command.output()?;
    if !done.status.success() {
        return Ok(Err(String::from_utf8_lossy(&done.stderr).into_owned()));
    }
    let text = String::from_utf8(done.stdout)?;
    Ok(Ok(serde_saphyr::from_str(&text).with_context(|| text.clone())?))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_compose_file_is_sound_in_every_profile() -> anyhow::Result<()> {
    let folder = fresh_folder("compose")?.join("secrets");
    let made = Command::new(root().join("scripts/compose-secrets")).arg(&folder).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let always = ["door", "kafka", "postgres", "quell-1", "quell-2"];
    let watch = ["alertmanager", "grafana", "prometheus"];
    for (profiles, more) in
        [(&[][..], &[][..]), (&["watch"], &watch), (&["trace"], &["collector"]), (&["watch", "trace"], &[])]
    {
        let file = compose(profiles, Some(&folder))?.map_err(anyhow::Error::msg)?;
        let services = file["services"].as_object().context("services")?;
        for name in always.iter().chain(more) {
            ensure!(services.contains_key(*name), "{profiles:?}: there is no {name}");
        }
        for (name, service) in services {
            check_service(name, service).with_context(|| name.clone())?;
        }
        for (name, secret) in file["secrets"].as_object().context("secrets")? {
            let path = secret["file"].as_str().context("a file")?;
            ensure!(fs::metadata(path)?.len() > 20, "{name}: {path} is hardly a secret");
        }
    }
    let refused = compose(&[], None)?.err().context("it goes without secrets")?;
    ensure!(refused.contains("scripts/compose-secrets"), "{refused}");
    Ok(())
}

fn check_service(name: &str, service: &Value) -> anyhow::Result<()> {
    let image = service["image"].as_str().context("an image")?;
    let (_, tag) = image.rsplit_once(':').context("no version")?;
    ensure!(tag != "latest" && (tag == "local" || tag.contains('.')), "{image} is not pinned");
    ensure!(service["build"].is_null() == (tag != "local"), "{image} is neither fetched nor built");
    ensure!(service["healthcheck"]["test"].is_array(), "nobody looks whether it is well");
    ensure!(texts(&service["security_opt"]).contains(&"no-new-privileges:true"), "it may gain rights");
    ensure!(name == "kafka" || service["read_only"] == true, "its root can be written");
    for port in texts(&service["ports"]) {
        ensure!(port.starts_with("127.0.0.1:"), "{port} is open to others");
    }
    for volume in texts(&service["volumes"]) {
        let source = volume.split(':').next().unwrap_or_default();
        if source.starts_with('/') {
            ensure!(Path::new(source).exists(), "{source} is not there");
            ensure!(volume.ends_with(":ro"), "{volume} can be written");
        }
    }
    let environment = service["environment"].as_object().into_iter().flatten();
    for (variable, value) in environment.filter(|(variable, _)| variable.to_ascii_uppercase().contains("PASSWORD")) {
        ensure!(variable.ends_with("_FILE") && value.to_string().contains("/run/secrets/"), "{variable} is open");
    }
    Ok(())
}

#[test]
fn passwords_are_drawn_once_and_for_their_owner_only() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = fresh_folder("secrets")?.join("made");
    let make = || Command::new(root().join("scripts/compose-secrets")).arg(&folder).status();
    ensure!(make()?.success());
    let read = || -> anyhow::Result<BTreeSet<String>> {
        fs::read_dir(&folder)?.map(|entry| Ok(fs::read_to_string(entry?.path())?)).collect()
    };
    let first = read()?;
    ensure!(first.len() == 4, "{} different ones", first.len());
    ensure!(fs::metadata(&folder)?.permissions().mode() & 0o077 == 0, "others can enter");
    ensure!(make()?.success() && read()? == first, "a second call drew others");
    Ok(())
}

#[test]
fn the_settings_of_the_nodes_hold() -> anyhow::Result<()> {
    let manifest = fs::read_to_string(root().join("deploy/kubernetes/quell.yaml"))?;
    let documents: Vec<Value> =
        manifest.split("\n---\n").map(serde_saphyr::from_str).collect::<Result<_, _>>().context("quell.yaml")?;
    let kinds: Vec<&str> = documents.iter().filter_map(|one| one["kind"].as_str()).collect();
    let wanted = ["ConfigMap", "Service", "Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet"];
    ensure!(kinds == wanted, "{kinds:?}");
    let pod = &documents[5]["spec"]["template"]["spec"];
    for container in pod["containers"].as_array().context("containers")? {
        ensure!(container["securityContext"]["readOnlyRootFilesystem"] == true, "{container:#}");
        ensure!(container["securityContext"]["allowPrivilegeEscalation"] == false, "{container:#}");
        let named = |name: &Value| pod["volumes"].to_string().contains(&name.to_string()) || name == "data";
        for mount in container["volumeMounts"].as_array().context("mounts")? {
            ensure!(named(&mount["name"]), "{mount} has no volume");
        }
    }
    let folder = fresh_folder("settings")?;
    let inner = documents[0]["data"]["quell.yaml"].as_str().context("the settings")?;
    fs::write(folder.join("kubernetes.yaml"), inner)?;
    for file in [root().join("deploy/compose/quell.yaml"), folder.join("kubernetes.yaml")] {
        let checked = Command::new(env!("CARGO_BIN_EXE_quell")).args(["check", "--config"]).arg(&file).output()?;
        ensure!(checked.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&checked.stderr));
    }
    let unit = fs::read_to_string(root().join("deploy/systemd/quell.service"))?;
    let line = |key: &str| unit.lines().filter_map(|line| line.strip_prefix(key)).collect::<Vec<_>>();
    ensure!(
        line("ExecStart=") == ["/usr/local/bin/quell serve --config /etc/quell/quell.yaml --data-dir /var/lib/quell"]
    );
    ensure!(line("StateDirectory=") == ["quell"] && line("ProtectSystem=") == ["strict"]);
    Ok(())
}

#[test]
fn grafana_and_prometheus_find_what_is_mounted() -> anyhow::Result<()> {
    let read = |path: &str| -> anyhow::Result<Value> {
        Ok(serde_saphyr::from_str(&fs::read_to_string(root().join("deploy/compose").join(path))?)?)
    };
    let compose = fs::read_to_string(root().join("docker-compose.yml"))?;
    let boards = read("grafana/dashboards/quell.yaml")?;
    let folder = boards["providers"][0]["options"]["path"].as_str().context("a folder")?;
    ensure!(compose.contains(&format!("./dashboards:{folder}:ro")), "{folder} is not mounted");
    let prometheus = read("prometheus.yaml")?;
    for rules in texts(&prometheus["rule_files"]) {
        ensure!(compose.contains(&format!("./dashboards/alerts.yaml:{rules}:ro")), "{rules} is not mounted");
    }
    let targets = texts(&prometheus["scrape_configs"][0]["static_configs"][0]["targets"]);
    let door = fs::read_to_string(root().join("deploy/compose/door.conf"))?;
    ensure!(targets.len() == 2, "{targets:?}");
    for target in targets {
        let port = target.strip_prefix("door:").context("another host")?;
        ensure!(door.contains(&format!("listen {port};")), "the door does not listen at {port}");
    }
    let alertmanager = read("alertmanager.yaml")?;
    let url = alertmanager["receivers"][0]["webhook_configs"][0]["url"].as_str().context("a receiver")?;
    ensure!(url == "http://door:8096/api/v1/webhooks/alertmanager", "{url}");
    Ok(())
}

/// What the container asks: well when quell is ready, ill when nobody listens.
#[tokio::test]
async fn the_container_sees_whether_quell_is_ready() -> anyhow::Result<()> {
    let quell = Quell::start(&fresh_folder("ready")?).await?;
    let port = quell.authority().rsplit_once(':').context("a port")?.1.to_owned();
    let ask = async |port: &str| tokio::process::Command::new(root().join("deploy/ready")).arg(port).status().await;
    ensure!(ask(&port).await?.success(), "it is ready");
    drop(quell);
    support::eventually("nobody listens", async || {
        let asked = ask(&port).await?;
        ensure!(!asked.success(), "it says ready");
        Ok(())
    })
    .await
}
