//! NetBox: answers of its REST API as JSON, one or many in a file: an answer (`{"results": […]}`), a list of objects, or
//! an object with an answer or list under each name. What an object is, its `url` says.
//!
//! | object | id | depends on |
//! |---|---|---|
//! | device | `device/SITE/NAME` | the chassis it stands in (`part_of`), what it is cabled to (`connected_to`) |
//! | virtual machine | `vm/CLUSTER/NAME` | its device, else its cluster (`runs_on`) |
//! | cluster | `cluster/NAME` | its devices, of which one is enough |
//! | service | `service/HOST/NAME` | its device or virtual machine (`runs_on`) |
//!
//! A cable says nothing about who needs whom; the roles of the devices do ([`rank`]): the lower ranked needs the higher,
//! and several of them are alternatives. Primary addresses are aliases, the tenant is the owner, the status says the
//! lifecycle. Absent on purpose: cables between devices of one rank, racks, sites and power.

use std::collections::BTreeMap;

use quell_domain::{Ci, Lifecycle};
use serde_json::Value;

use super::Text;
use super::draft::{Draft, alias, list, text};

/// Objects with their place, by the last words of the path of their `url`.
type Objects<'v> = BTreeMap<String, Vec<(String, &'v Value)>>;

/// Reads answers.
pub(super) fn read(texts: &[Text<'_>], draft: &mut Draft<'_>) {
    let values = draft.json(texts);
    let mut objects = Objects::new();
    for (file, value) in &values {
        gather(file, value, &mut objects, draft);
    }
    let mut ids: BTreeMap<(&str, u64), String> = BTreeMap::new();
    let mut ranks: BTreeMap<u64, u8> = BTreeMap::new();
    for (what, kind) in [
        ("dcim/devices", "device"),
        ("virtualization/virtual-machines", "virtual_machine"),
        ("virtualization/clusters", "cluster"),
    ] {
        for (place, object) in objects.get(what).into_iter().flatten() {
            if let Some((number, id)) = declare(place, object, kind, draft) {
                if kind == "device" {
                    ranks.insert(number, rank(role(object).unwrap_or_default()));
                }
                ids.insert((kind, number), id);
            }
        }
    }
    let of = |what: &str| objects.get(what).into_iter().flatten();
    for (_, object) in of("virtualization/virtual-machines") {
        run(object, &ids, draft);
    }
    clusters(of("dcim/devices").map(|(_, object)| *object), &ids, draft);
    cables(&objects, &ids, &ranks, draft);
    for (place, object) in of("ipam/services") {
        service(place, object, &ids, draft);
    }
}

/// Finds the objects in an answer.
fn gather<'v>(file: &str, value: &'v Value, objects: &mut Objects<'v>, draft: &mut Draft<'_>) {
    let mut open: Vec<(String, &Value)> = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Array(items) => {
                open.extend(items.iter().enumerate().rev().map(|(at, item)| (format!("{path}[{at}]"), item)));
            }
            Value::Object(fields) if fields.contains_key("url") || fields.contains_key("id") => {
                let place = format!("{file}: {path}");
                match text(value, "/url").and_then(what) {
                    Some(what) if KNOWN.contains(&what.as_str()) => {
                        objects.entry(what).or_default().push((place, value))
                    }
                    Some(what) => draft.leave_out(&format!("{what} are no CIs"), &place),
                    None => {
                        draft.wrong(file, &format!("{path}.url"), "nothing", "the url that NetBox gives every object")
                    }
                }
            }
            Value::Object(fields) => {
                let dot = if path.is_empty() { "" } else { "." };
                let below = fields.iter().filter(|(_, value)| value.is_array() || value.is_object());
                let below: Vec<_> = below.map(|(name, value)| (format!("{path}{dot}{name}"), value)).collect();
                open.extend(below.into_iter().rev());
            }
            _ => draft.wrong(file, &path, &value.to_string(), "an object or a list of objects"),
        }
    }
}

/// Objects that are read.
const KNOWN: [&str; 6] = [
    "dcim/devices",
    "dcim/interfaces",
    "dcim/cables",
    "virtualization/virtual-machines",
    "virtualization/clusters",
    "ipam/services",
];

/// `dcim/devices` of `https://netbox.example/api/dcim/devices/88/`.
fn what(url: &str) -> Option<String> {
    let (_, path) = url.split_once("/api/")?;
    let mut words = path.split('/');
    Some(format!("{}/{}", words.next()?, words.next().filter(|word| !word.is_empty())?))
}

/// The role of a device or virtual machine; `device_role` before NetBox 3.6.
fn role(object: &Value) -> Option<&str> {
    text(object, "/role/slug").or_else(|| text(object, "/device_role/slug"))
}

/// How near to the middle of the network a device of a role is: 0 for what is no part of it.
fn rank(role: &str) -> u8 {
    const RANKS: [(&str, u8); 10] = [
        ("core", 4),
        ("router", 4),
        ("spine", 4),
        ("firewall", 3),
        ("distribution", 3),
        ("aggregation", 3),
        ("border", 4),
        ("access", 2),
        ("leaf", 2),
        ("switch", 2),
    ];
    RANKS.iter().find(|(word, _)| role.contains(word)).map_or(0, |&(_, rank)| rank)
}

/// Adds a CI; its number and id.
fn declare(place: &str, object: &Value, kind: &str, draft: &mut Draft<'_>) -> Option<(u64, String)> {
    let Some(number) = object["id"].as_u64() else {
        draft.wrong(place, "id", "no number", "the number that NetBox gives every object");
        return None;
    };
    let nameless = format!("#{number}");
    let name = text(object, "/name").unwrap_or(&nameless);
    let slug = |of: &str| text(object, &format!("/{of}/slug")).or_else(|| text(object, &format!("/{of}/name")));
    let id = match kind {
        "device" => format!("device/{}/{name}", slug("site").unwrap_or("-")),
        "virtual_machine" => format!("vm/{}/{name}", slug("cluster").or_else(|| slug("site")).unwrap_or("-")),
        _ => format!("cluster/{name}"),
    };
    let its_kind = role(object).unwrap_or(kind).replace('-', "_");
    let Some(ci) = draft.ci(&id, &its_kind) else {
        draft.leave_out("the same name in the same place twice: only the first is kept", &format!("{place}: {id}"));
        return None;
    };
    name.clone_into(&mut ci.name);
    ci.owner = text(object, "/tenant/name").map(str::to_owned);
    ci.lifecycle = match text(object, "/status/value").unwrap_or_default() {
        "planned" | "staged" | "inventory" => Lifecycle::Planned,
        "decommissioning" | "retired" => Lifecycle::Retired,
        _ => Lifecycle::Active,
    };
    addresses(ci, object);
    Some((number, id))
}

/// Primary addresses without their mask.
fn addresses(ci: &mut Ci, object: &Value) {
    for field in ["primary_ip4", "primary_ip6", "primary_ip"] {
        let address = text(object, &format!("/{field}/address")).and_then(|address| address.split('/').next());
        alias(ci, address.unwrap_or_default());
        alias(ci, text(object, &format!("/{field}/dns_name")).unwrap_or_default());
    }
}

fn run(object: &Value, ids: &BTreeMap<(&str, u64), String>, draft: &mut Draft<'_>) {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let Some(id) = number("/id").and_then(|number| ids.get(&("virtual_machine", number))) else { return };
    let device = number("/device/id").and_then(|number| ids.get(&("device", number)));
    let cluster = number("/cluster/id").and_then(|number| ids.get(&("cluster", number)));
    if let Some(host) = device.or(cluster) {
        draft.relate(id, host, "runs_on");
    }
}

fn clusters<'v>(devices: impl Iterator<Item = &'v Value>, ids: &BTreeMap<(&str, u64), String>, draft: &mut Draft<'_>) {
    let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for device in devices {
        let number = |pointer: &str| device.pointer(pointer).and_then(Value::as_u64);
        let Some(id) = number("/id").and_then(|number| ids.get(&("device", number))) else { continue };
        if let Some(cluster) = number("/cluster/id").and_then(|number| ids.get(&("cluster", number))) {
            hosts.entry(cluster).or_default().push(id);
        }
        if let Some(chassis) = number("/parent_device/id").and_then(|number| ids.get(&("device", number))) {
            draft.relate(id, chassis, "part_of");
        }
    }
    for (cluster, hosts) in hosts {
        draft.relate_any(cluster, &hosts, "consists_of", "hosts");
    }
}

/// The devices at both ends of each cable, whether cables or interfaces were exported.
fn cables(
    objects: &Objects<'_>,
    ids: &BTreeMap<(&str, u64), String>,
    ranks: &BTreeMap<u64, u8>,
    draft: &mut Draft<'_>,
) {
    let of = |what: &str| objects.get(what).into_iter().flatten();
    let device = |value: &Value| value.pointer("/device/id").and_then(Value::as_u64);
    let mut pairs: std::collections::BTreeSet<(u64, u64)> = std::collections::BTreeSet::new();
    let mut add = |a: Option<u64>, b: Option<u64>| {
        if let (Some(a), Some(b)) = (a, b)
            && a != b
        {
            pairs.insert((a.min(b), a.max(b)));
        }
    };
    for (_, cable) in of("dcim/cables") {
        for a in list(cable, "/a_terminations") {
            for b in list(cable, "/b_terminations") {
                add(a.get("object").and_then(device), b.get("object").and_then(device));
            }
        }
        // Before NetBox 3.3.
        add(cable.get("termination_a").and_then(device), cable.get("termination_b").and_then(device));
    }
    for (_, interface) in of("dcim/interfaces") {
        // Through patch panels where NetBox has traced the way, else to the next device.
        let far = list(interface, "/connected_endpoints");
        for peer in if far.is_empty() { list(interface, "/link_peers") } else { far } {
            add(device(interface), device(peer));
        }
    }
    let mut uplinks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (a, b) in pairs {
        let (Some(a_id), Some(b_id)) = (ids.get(&("device", a)), ids.get(&("device", b))) else { continue };
        match ranks.get(&a).cmp(&ranks.get(&b)) {
            std::cmp::Ordering::Less => uplinks.entry(a_id).or_default().push(b_id),
            std::cmp::Ordering::Greater => uplinks.entry(b_id).or_default().push(a_id),
            std::cmp::Ordering::Equal => {
                draft.leave_out(
                    "a cable between devices of one rank does not say who needs whom",
                    &format!("{a_id} and {b_id}"),
                );
            }
        }
    }
    for (device, uplinks) in uplinks {
        draft.relate_any(device, &uplinks, "connected_to", "uplinks");
    }
}

fn service(place: &str, object: &Value, ids: &BTreeMap<(&str, u64), String>, draft: &mut Draft<'_>) {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let parent = text(object, "/parent_object_type").zip(number("/parent_object_id"));
    let parent = parent.and_then(|(what, number)| match what {
        "dcim.device" => ids.get(&("device", number)),
        "virtualization.virtualmachine" => ids.get(&("virtual_machine", number)),
        _ => None,
    });
    let device = number("/device/id").and_then(|number| ids.get(&("device", number)));
    let machine = number("/virtual_machine/id").and_then(|number| ids.get(&("virtual_machine", number)));
    let Some(host) = parent.or(device).or(machine) else {
        return draft.leave_out("a service whose device or virtual machine is not in the export", place);
    };
    let Some(name) = text(object, "/name") else {
        return draft.wrong(place, "name", "nothing", "the service's name");
    };
    let id = format!("service/{host}/{name}");
    // A port on a host, and nothing that users know by this name.
    let addresses: Vec<String> = match draft.known(host) {
        Some(ci) => ci.aliases.iter().chain([&ci.name]).cloned().collect(),
        None => Vec::new(),
    };
    let Some(ci) = draft.ci(&id, "listener") else {
        return draft
            .leave_out("the same name in the same place twice: only the first is kept", &format!("{place}: {id}"));
    };
    name.clone_into(&mut ci.name);
    for port in list(object, "/ports").iter().filter_map(Value::as_u64) {
        addresses.iter().for_each(|address| alias(ci, &format!("{address}:{port}")));
    }
    draft.relate(&id, host, "runs_on");
}
