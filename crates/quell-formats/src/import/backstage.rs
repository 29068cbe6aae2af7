//! Backstage: the entities of the software catalog, as YAML documents or as the catalog's API gives them in JSON.
//!
//! | field | becomes |
//! |---|---|
//! | `kind:namespace/name`, in small letters | the id |
//! | `metadata.title`, else `metadata.name` | the name |
//! | `spec.type` of a Component or Resource, else the entity's kind | the kind |
//! | `spec.owner` | the owner |
//! | `spec.dependsOn`, `spec.consumesApis` | depends on that entity |
//! | `spec.dependencyOf` | that entity depends on this one |
//! | `spec.providesApis` | the API depends on this component |
//! | `spec.system`, `spec.subcomponentOf`, `spec.domain` | that one consists of this one |
//! | `spec.lifecycle: retired` | retired |
//!
//! A reference without kind or namespace gets the ones that the catalog's format says. Absent on purpose: people and
//! templates.

use quell_domain::Lifecycle;
use serde_json::Value;

use super::Text;
use super::draft::{Draft, alias, list, text};

/// Kinds of entities that are CIs.
const CIS: [&str; 5] = ["component", "resource", "system", "api", "domain"];
/// Kinds that are not.
const OTHERS: [&str; 4] = ["group", "user", "location", "template"];

/// Reads entities.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    let documents = draft.documents(texts);
    for (file, document) in &documents {
        // The API gives a list, or a page with `items`.
        let many = document.as_array().or_else(|| document.get("items").and_then(Value::as_array));
        match many {
            Some(items) => {
                for (at, item) in items.iter().enumerate() {
                    entity(file, &format!("[{at}]"), item, draft);
                }
            }
            None => entity(file, "", document, draft),
        }
    }
}

fn entity(file: &str, path: &str, value: &Value, draft: &mut Draft<'_>) {
    let dot = if path.is_empty() { "" } else { "." };
    let Some(kind) = text(value, "/kind").map(str::to_ascii_lowercase) else {
        draft.wrong(file, &format!("{path}{dot}kind"), "nothing", "Component, Resource, System, API or Domain");
        return;
    };
    let Some(name) = text(value, "/metadata/name") else {
        draft.wrong(file, &format!("{path}{dot}metadata.name"), "nothing", "the entity's name");
        return;
    };
    if OTHERS.contains(&kind.as_str()) {
        return draft.leave_out("an entity that is no CI", &format!("{file}: {kind} {name}"));
    }
    if !CIS.contains(&kind.as_str()) {
        let allowed = "Component, Resource, System, API, Domain, Group, User, Location or Template";
        return draft.wrong(file, &format!("{path}{dot}kind"), &format!("{kind:?}"), allowed);
    }
    let namespace = text(value, "/metadata/namespace").unwrap_or("default").to_ascii_lowercase();
    let id = format!("{kind}:{namespace}/{}", name.to_ascii_lowercase());
    let typed = text(value, "/spec/type").filter(|_| kind == "component" || kind == "resource");
    let Some(ci) = draft.ci(&id, typed.unwrap_or(&kind)) else {
        let found = format!("{id:?} a second time");
        return draft.wrong(
            file,
            &format!("{path}{dot}metadata.name"),
            &found,
            "a name that no other entity of its kind and namespace has",
        );
    };
    text(value, "/metadata/title").unwrap_or(name).clone_into(&mut ci.name);
    alias(ci, name);
    alias(ci, text(value, "/metadata/annotations/backstage.io~1kubernetes-id").unwrap_or_default());
    ci.owner = text(value, "/spec/owner").map(|owner| short(owner).to_owned());
    if text(value, "/spec/lifecycle").is_some_and(|word| ["retired", "decommissioned"].contains(&word)) {
        ci.lifecycle = Lifecycle::Retired;
    }
    relationships(file, &format!("{path}{dot}"), value, &id, &namespace, draft);
}

/// A field of `spec`, the kind that its references have where they do not say, and what it means.
const FIELDS: [(&str, &str, Means); 8] = [
    ("dependsOn", "component", Means::On("depends_on")),
    ("dependencyOf", "component", Means::Of("depends_on")),
    ("consumesApis", "api", Means::On("consumes")),
    ("providesApis", "api", Means::Of("provided_by")),
    ("subcomponentOf", "component", Means::Of("consists_of")),
    ("system", "system", Means::Of("consists_of")),
    ("domain", "domain", Means::Of("consists_of")),
    ("subdomainOf", "domain", Means::Of("consists_of")),
];

#[derive(Clone, Copy)]
enum Means {
    /// This one depends on that one.
    On(&'static str),
    /// That one depends on this one.
    Of(&'static str),
}

fn relationships(file: &str, path: &str, value: &Value, id: &str, namespace: &str, draft: &mut Draft<'_>) {
    for (field, default_kind, means) in FIELDS {
        let pointer = format!("/spec/{field}");
        let one = value.pointer(&pointer).filter(|value| value.is_string());
        let references = one.into_iter().chain(list(value, &pointer));
        for reference in references {
            let Some(other) = reference.as_str().and_then(|text| full(text, default_kind, namespace)) else {
                let allowed = "a reference, as component:default/shop or shop";
                draft.wrong(file, &format!("{path}spec.{field}"), &reference.to_string(), allowed);
                continue;
            };
            match means {
                Means::On(kind) => draft.relate(id, &other, kind),
                Means::Of(kind) => draft.relate(&other, id, kind),
            };
        }
    }
}

/// `[kind:][namespace/]name` in full and in small letters.
fn full(reference: &str, kind: &str, namespace: &str) -> Option<String> {
    let reference = reference.trim().to_ascii_lowercase();
    let (kind, rest) = reference.split_once(':').unwrap_or((kind, &reference));
    let (namespace, name) = rest.split_once('/').unwrap_or((namespace, rest));
    let sound = |part: &str| !part.is_empty() && !part.contains([':', '/', ' ']);
    (sound(kind) && sound(namespace) && sound(name)).then(|| format!("{kind}:{namespace}/{name}"))
}

/// An owner without what goes without saying.
fn short(owner: &str) -> &str {
    let owner = owner.strip_prefix("group:").unwrap_or(owner);
    owner.strip_prefix("default/").unwrap_or(owner)
}
