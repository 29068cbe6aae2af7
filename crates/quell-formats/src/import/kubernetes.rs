//! Kubernetes: what `kubectl get nodes,pods,deployments,replicasets,statefulsets,daemonsets,services,ingresses,pvc,pv
//! -A -o json` (or `-o yaml`) prints: lists and single objects, in any number of files.
//!
//! | object | id | labels, so that alerts bind | depends on |
//! |---|---|---|---|
//! | Node | `node/N` | `node` | |
//! | Pod | `pod/NS/N` | `namespace`, `pod` | its node (`runs_on`), its claims |
//! | Deployment, StatefulSet, DaemonSet, and a ReplicaSet or Job without an owner | `deployment/NS/N`, … | `namespace`, `deployment`, … | its pods, of which one is enough |
//! | Service | `service/NS/N` | `namespace`, `service` | the pods it selects, of which one is enough |
//! | Ingress | `ingress/NS/N` | `namespace`, `ingress` | the services of its paths |
//! | PersistentVolumeClaim | `pvc/NS/N` | `namespace`, `persistentvolumeclaim` | its volume |
//! | PersistentVolume | `pv/N` | `persistentvolume` | |
//!
//! The label or annotation `owner` or `team` is the owner. Pods that have ended are left out. Absent on purpose: how
//! many replicas a workload needs; the objects do not say.

use std::collections::BTreeMap;

use quell_domain::Ci;
use serde_json::Value;

use super::Text;
use super::draft::{Draft, alias, list, text};

/// Kinds of workloads with the word for them in ids and labels.
const WORKLOADS: [(&str, &str, &str); 6] = [
    ("Deployment", "deployment", "deployment"),
    ("StatefulSet", "statefulset", "statefulset"),
    ("DaemonSet", "daemonset", "daemonset"),
    ("ReplicaSet", "replicaset", "replicaset"),
    ("Job", "job", "job_name"),
    ("CronJob", "cronjob", "cronjob"),
];

/// A pod that others select or own.
struct Pod {
    id: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// What is looked up while objects are tied together.
#[derive(Default)]
struct Known {
    pods: Vec<Pod>,
    /// Workload → its pods.
    owned: BTreeMap<String, Vec<String>>,
    /// A workload's id → the workload that owns it.
    owners: BTreeMap<String, String>,
}

/// Reads objects.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    let mut documents = draft.documents(texts);
    documents.iter_mut().for_each(|(_, document)| name_kinds(document));
    let mut objects: Vec<(String, &Value)> = Vec::new();
    for (file, document) in &documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => {
                objects.extend(items.iter().enumerate().map(|(at, item)| (format!("{file}: items[{at}]"), item)));
            }
            None => objects.push((file.clone(), document)),
        }
    }
    let mut known = Known::default();
    for (place, object) in &objects {
        declare(place, object, draft, &mut known);
    }
    for (_, object) in &objects {
        own(object, draft, &mut known);
    }
    for (_, object) in &objects {
        tie(object, &known, draft);
    }
    for (workload, pods) in &known.owned {
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        draft.relate_any(workload, &pods, "consists_of", "replicas");
    }
}

/// The API's own lists (`PodList`) say the kind once for all their items.
fn name_kinds(document: &mut Value) {
    let kind = text(document, "/kind").and_then(|kind| kind.strip_suffix("List")).unwrap_or_default().to_owned();
    let items = document.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
    for item in items.filter_map(Value::as_object_mut).filter(|_| !kind.is_empty()) {
        item.entry("kind").or_insert_with(|| kind.clone().into());
    }
}

/// The id of an object that is a CI.
fn id_of(kind: &str, namespace: &str, name: &str) -> Option<String> {
    let workload = WORKLOADS.iter().find(|(known, ..)| *known == kind).map(|&(_, word, _)| word);
    Some(match (kind, workload) {
        (_, Some(word)) => format!("{word}/{namespace}/{name}"),
        ("Node", _) => format!("node/{name}"),
        ("Pod", _) => format!("pod/{namespace}/{name}"),
        ("Service", _) => format!("service/{namespace}/{name}"),
        ("Ingress", _) => format!("ingress/{namespace}/{name}"),
        ("PersistentVolumeClaim", _) => format!("pvc/{namespace}/{name}"),
        ("PersistentVolume", _) => format!("pv/{name}"),
        _ => return None,
    })
}

/// Kind, namespace, name and id of an object.
fn identity(object: &Value) -> Option<(&str, &str, &str, String)> {
    let (kind, name) = (text(object, "/kind")?, text(object, "/metadata/name")?);
    let namespace = text(object, "/metadata/namespace").unwrap_or("default");
    Some((kind, namespace, name, id_of(kind, namespace, name)?))
}

fn declare(place: &str, object: &Value, draft: &mut Draft<'_>, known: &mut Known) {
    for field in ["kind", "metadata.name"] {
        if text(object, &format!("/{}", field.replace('.', "/"))).is_none() {
            return draft.wrong(place, field, "nothing", "an object as kubectl prints it");
        }
    }
    let Some((kind, namespace, name, id)) = identity(object) else {
        let kind = text(object, "/kind").unwrap_or_default();
        return draft.leave_out(&format!("objects of kind {kind} are no CIs"), place);
    };
    if kind == "Pod" && text(object, "/status/phase").is_some_and(|phase| phase == "Succeeded" || phase == "Failed") {
        return draft.leave_out("a pod that has ended", &format!("{namespace}/{name}"));
    }
    // A replica set of a deployment is a detail of it.
    if let Some(owner) = controller(object, namespace) {
        known.owners.insert(id.clone(), owner);
        if kind == "ReplicaSet" || kind == "Job" {
            return;
        }
    }
    let word = WORKLOADS.iter().find(|(known, ..)| *known == kind).map(|&(_, word, _)| word);
    let ci_kind = match kind {
        "Node" => "kubernetes_node",
        "Pod" => "pod",
        "Service" => "kubernetes_service",
        "Ingress" => "ingress",
        "PersistentVolumeClaim" => "volume_claim",
        "PersistentVolume" => "volume",
        _ => word.unwrap_or("workload"),
    };
    let Some(ci) = draft.ci(&id, ci_kind) else {
        return draft.wrong(place, "metadata.name", &format!("{id:?} a second time"), "each object once");
    };
    name.clone_into(&mut ci.name);
    describe(ci, object, kind, namespace, name);
    if kind == "Pod" {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        known.pods.push(Pod { id, namespace: namespace.to_owned(), labels });
    }
}

/// The id of what controls an object.
fn controller(object: &Value, namespace: &str) -> Option<String> {
    let owner =
        list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == Value::Bool(true))?;
    id_of(text(owner, "/kind")?, namespace, text(owner, "/name")?)
}

fn describe(ci: &mut Ci, object: &Value, kind: &str, namespace: &str, name: &str) {
    let label = match kind {
        "Node" => "node",
        "Pod" => "pod",
        "Service" => "service",
        "Ingress" => "ingress",
        "PersistentVolumeClaim" => "persistentvolumeclaim",
        "PersistentVolume" => "persistentvolume",
        _ => WORKLOADS.iter().find(|(known, ..)| *known == kind).map_or("workload", |&(_, _, label)| label),
    };
    ci.labels.insert(label.to_owned(), name.to_owned());
    if kind != "Node" && kind != "PersistentVolume" {
        ci.labels.insert("namespace".to_owned(), namespace.to_owned());
    }
    let said = |map: &str, name: &str| text(object, &format!("/metadata/{map}/{name}")).map(str::to_owned);
    ci.owner = ["owner", "team"].iter().find_map(|name| said("labels", name).or_else(|| said("annotations", name)));
    match kind {
        "Node" => {
            list(object, "/status/addresses").iter().filter_map(|a| text(a, "/address")).for_each(|a| alias(ci, a))
        }
        // A pod in its host's network has its host's address.
        "Pod" if object.pointer("/spec/hostNetwork") != Some(&Value::Bool(true)) => {
            alias(ci, text(object, "/status/podIP").unwrap_or_default());
        }
        "Service" => {
            alias(ci, &format!("{name}.{namespace}"));
            alias(ci, &format!("{name}.{namespace}.svc"));
            alias(ci, &format!("{name}.{namespace}.svc.cluster.local"));
            alias(ci, text(object, "/spec/clusterIP").filter(|ip| *ip != "None").unwrap_or_default());
        }
        "Ingress" => {
            list(object, "/spec/rules").iter().filter_map(|rule| text(rule, "/host")).for_each(|host| alias(ci, host));
        }
        _ => {}
    }
}

/// Counts a pod to the workload on top of its chain of owners.
fn own(object: &Value, draft: &Draft<'_>, known: &mut Known) {
    let Some(("Pod", _, _, id)) = identity(object) else { return };
    if !draft.has(&id) {
        return;
    }
    let Some(mut owner) = known.owners.get(&id).cloned() else { return };
    // Deployment → replica set → pod, cron job → job → pod: never longer.
    for _ in 0..2 {
        if !draft.has(&owner)
            && let Some(above) = known.owners.get(&owner)
        {
            owner = above.clone();
        }
    }
    known.owned.entry(owner).or_default().push(id);
}

/// What an object says it needs.
fn tie(object: &Value, known: &Known, draft: &mut Draft<'_>) {
    let Some((kind, namespace, _, id)) = identity(object) else { return };
    if !draft.has(&id) {
        return;
    }
    match kind {
        "Pod" => {
            if let Some(node) = text(object, "/spec/nodeName") {
                draft.relate(&id, &format!("node/{node}"), "runs_on");
            }
            for volume in list(object, "/spec/volumes") {
                if let Some(claim) = text(volume, "/persistentVolumeClaim/claimName") {
                    draft.relate(&id, &format!("pvc/{namespace}/{claim}"), "stored_on");
                }
            }
        }
        "Service" => {
            let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object) else { return };
            let wanted = |pod: &&Pod| {
                let has = |(name, value): (&String, &Value)| pod.labels.get(name).map(String::as_str) == value.as_str();
                pod.namespace == namespace && !selector.is_empty() && selector.iter().all(has)
            };
            let pods: Vec<&str> = known.pods.iter().filter(wanted).map(|pod| pod.id.as_str()).collect();
            draft.relate_any(&id, &pods, "depends_on", "endpoints");
        }
        "Ingress" => {
            let paths = list(object, "/spec/rules").iter().flat_map(|rule| list(rule, "/http/paths"));
            let backends = paths.filter_map(|path| text(path, "/backend/service/name"));
            let mut all: Vec<&str> = backends.chain(text(object, "/spec/defaultBackend/service/name")).collect();
            all.sort_unstable();
            all.dedup();
            for service in all {
                draft.relate(&id, &format!("service/{namespace}/{service}"), "depends_on");
            }
        }
        "PersistentVolumeClaim" => {
            if let Some(volume) = text(object, "/spec/volumeName") {
                draft.relate(&id, &format!("pv/{volume}"), "stored_on");
            }
        }
        _ => {}
    }
}
