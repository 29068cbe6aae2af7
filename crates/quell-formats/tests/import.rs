//! Exports of other systems: what becomes of each, to the letter, and every mistake at once.

use quell_domain::{Ci, Lifecycle, Relationship, Timestamp, Topology};
use quell_formats::import::{Format, Imported, Stamp, Text, read};

fn stamp() -> Stamp {
    Stamp { source: "s".into(), prefix: String::new(), seen_at: None }
}

/// One line for each CI, then one for each relationship; what goes without saying is not said.
fn shown(imported: &Imported) -> String {
    let mut lines: Vec<String> = imported.topology.cis().iter().map(ci).collect();
    lines.extend(imported.topology.relationships().iter().map(relationship));
    lines
        .extend(imported.left_out.iter().map(|left| format!("left out {} × {}: {}", left.count, left.why, left.first)));
    lines.join("\n")
}

fn ci(ci: &Ci) -> String {
    let Ci { id, kind, name, aliases, labels, owner, criticality, lifecycle, source } = ci;
    assert_eq!(source.as_deref(), Some("s"), "{id}");
    let mut words = vec![format!("{id}: {kind} {name:?}")];
    words.extend(aliases.iter().map(|alias| format!("={alias}")));
    words.extend(labels.iter().map(|(name, value)| format!("{name}={value}")));
    words.extend(owner.iter().map(|owner| format!("of {owner:?}")));
    if criticality.as_str() != "medium" {
        words.push(criticality.as_str().into());
    }
    if *lifecycle != Lifecycle::Active {
        words.push(lifecycle.as_str().into());
    }
    words.join(" ")
}

fn relationship(relationship: &Relationship) -> String {
    let Relationship { from, to, kind, redundancy, last_seen, ttl, source } = relationship;
    assert_eq!((source.as_deref(), *ttl), (Some("s"), None), "{from} {to}");
    let redundancy = redundancy.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let seen = last_seen.map(|at| format!(" seen {at}")).unwrap_or_default();
    format!("{from} {kind} {to}{redundancy}{seen}")
}

#[track_caller]
fn check(format: Format, texts: &[(&str, &str)], expected: &str) {
    let texts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, bytes: text.as_bytes() }).collect();
    let found = match read(format, &texts, &stamp()) {
        Ok(imported) => shown(&imported),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    assert_eq!(found.trim(), expected.trim(), "\n{found}\n");
}

#[test]
fn servicenow() {
    let (cis, relationships) =
        (include_str!("data/import/servicenow_ci.csv"), include_str!("data/import/servicenow_rel.csv"));
    check(
        Format::ServiceNow,
        &[("rel.csv", relationships), ("ci.csv", cis)],
        r#"
0a1: service "Web shop" of "Shop team" critical
0a2: app_server "shop-app" =shop-app.example.net =10.1.0.10 of "Shop team" high
0a3: linux_server "lnx-01" =lnx-01.example.net =10.1.0.1 of "Platform, Linux"
0a4: db_ora_instance "ora-old" retired
0a5: ip_switch "sw-1" =10.1.0.254 of "Network" planned
0a6: rack "rack \"A1\""
0a1 depends_on 0a2
0a2 runs_on 0a3 seen 2026-01-31T12:00:00Z
0a2 depends_on 0a4
0a3 connected_to 0a5
0a3 part_of 0a6
left out 1 × a relationship with a CI that is not in the export: rel.csv: line 7: mail relay
left out 1 × the type "Managed by::Manages" does not say who needs whom: rel.csv: line 8
"#,
    );
}

#[test]
fn netbox() {
    check(
        Format::NetBox,
        &[("netbox.json", include_str!("data/import/netbox.json"))],
        r##"
cluster/vmware-ber: cluster "vmware-ber"
device/ber/#5: core_router "#5" retired
device/ber/esx-1: server "esx-1" =10.2.0.11 of "Platform"
device/ber/esx-2: server "esx-2"
device/ber/leaf-1: access_switch "leaf-1"
device/ber/leaf-2: access_switch "leaf-2" planned
service/vm/vmware-ber/shop-db/postgresql: listener "postgresql" =10.2.1.5:5432 =shop-db.example.net:5432 =shop-db:5432
vm/vmware-ber/shop-db: virtual_machine "shop-db" =10.2.1.5 =shop-db.example.net of "Shop"
cluster/vmware-ber consists_of device/ber/esx-1 (hosts)
cluster/vmware-ber consists_of device/ber/esx-2 (hosts)
device/ber/esx-1 connected_to device/ber/leaf-1 (uplinks)
device/ber/esx-1 connected_to device/ber/leaf-2 (uplinks)
device/ber/esx-2 connected_to device/ber/leaf-1
device/ber/leaf-1 connected_to device/ber/#5
service/vm/vmware-ber/shop-db/postgresql runs_on vm/vmware-ber/shop-db
vm/vmware-ber/shop-db runs_on cluster/vmware-ber
left out 1 × a cable between devices of one rank does not say who needs whom: device/ber/leaf-1 and device/ber/leaf-2
left out 1 × a service whose device or virtual machine is not in the export: netbox.json: services.results[1]
left out 1 × dcim/sites are no CIs: netbox.json: sites.results[0]
"##,
    );
}

#[test]
fn backstage() {
    check(
        Format::Backstage,
        &[("catalog.yaml", include_str!("data/import/backstage.yaml"))],
        r#"
api:default/checkout-api: api "checkout-api" of "team-shop"
api:payments/pay: api "pay" of "team-pay"
component:default/cart: library "cart" of "team-shop" retired
component:default/checkout: service "Checkout" =checkout =checkout-svc of "team-shop"
resource:default/checkout-db: database "checkout-db" of "user:ana"
system:default/shop: system "shop" of "team-shop"
api:default/checkout-api provided_by component:default/checkout
component:default/checkout consumes api:payments/pay
component:default/checkout consists_of component:default/cart
component:default/checkout depends_on component:default/cart
component:default/checkout depends_on resource:default/checkout-db
system:default/shop consists_of component:default/checkout
system:default/shop consists_of resource:default/checkout-db
left out 1 × a relationship with a CI that is not in the export: domain:default/sales consists_of system:default/shop
left out 1 × an entity that is no CI: catalog.yaml document 7: group team-shop
"#,
    );
}

#[test]
fn kubernetes() {
    check(
        Format::Kubernetes,
        &[("all.json", include_str!("data/import/kubernetes.json"))],
        r#"
daemonset/ops/agent: daemonset "agent" daemonset=agent namespace=ops
deployment/shop/web: deployment "web" deployment=web namespace=shop of "shop"
ingress/shop/shop: ingress "shop" =shop.example.net ingress=shop namespace=shop
node/n1: kubernetes_node "n1" =10.3.0.1 node=n1
pod/ops/agent-x: pod "agent-x" namespace=ops pod=agent-x
pod/shop/web-5d9c-abcde: pod "web-5d9c-abcde" =10.42.0.7 namespace=shop pod=web-5d9c-abcde
pod/shop/web-5d9c-fghij: pod "web-5d9c-fghij" =10.42.1.7 namespace=shop pod=web-5d9c-fghij
pv/pv-1: volume "pv-1" persistentvolume=pv-1
pvc/shop/web-data: volume_claim "web-data" namespace=shop persistentvolumeclaim=web-data
service/shop/web: kubernetes_service "web" =web.shop =web.shop.svc =web.shop.svc.cluster.local =10.96.0.9 namespace=shop service=web
daemonset/ops/agent consists_of pod/ops/agent-x
deployment/shop/web consists_of pod/shop/web-5d9c-abcde (replicas)
deployment/shop/web consists_of pod/shop/web-5d9c-fghij (replicas)
ingress/shop/shop depends_on service/shop/web
pod/ops/agent-x runs_on node/n1
pod/shop/web-5d9c-abcde runs_on node/n1
pod/shop/web-5d9c-abcde stored_on pvc/shop/web-data
pvc/shop/web-data stored_on pv/pv-1
service/shop/web depends_on pod/shop/web-5d9c-abcde (endpoints)
service/shop/web depends_on pod/shop/web-5d9c-fghij (endpoints)
left out 1 × a pod that has ended: shop/once-1
left out 1 × a relationship with a CI that is not in the export: pod/shop/web-5d9c-fghij runs_on node/n2
left out 1 × objects of kind ConfigMap are no CIs: all.json: items[12]
"#,
    );
}

#[test]
fn opentelemetry() {
    check(
        Format::OpenTelemetry,
        &[("spans.json", include_str!("data/import/spans.json"))],
        r#"
db:postgresql:db-1/orders: database "db-1/orders" =db-1:5432
mailer: service "mailer" service_name=mailer
payments: service "payments" service_name=payments
queue:kafka:kafka-1: message_broker "kafka-1"
rates.example.com: service "rates.example.com"
shop/checkout: service "checkout" service_name=checkout service_namespace=shop
mailer depends_on queue:kafka:kafka-1 seen 2026-01-31T13:00:00Z
mailer consumes shop/checkout seen 2026-01-31T13:00:00Z
shop/checkout depends_on db:postgresql:db-1/orders seen 2026-01-31T11:59:59.5Z
shop/checkout calls payments seen 2026-01-31T11:59:59.9Z
shop/checkout depends_on queue:kafka:kafka-1 seen 2026-01-31T11:59:59.6Z
shop/checkout calls rates.example.com seen 2026-01-31T11:59:59.7Z
"#,
    );
}

#[test]
fn tables_say_every_mistake_at_once() {
    let cis = "sys_id,name,busines_criticality\n1,db,high\n1,db2,\n3,,\n4,twin,\n5,twin,\n";
    let relationships = "parent,child,type\ntwin,db,Uses::Used by\n,db,Uses::Used by\ndb,4,\n";
    let texts = [("ci.csv", cis), ("rel.csv", relationships), ("x.csv", "a,b\n1,2\n1\n")];
    check(
        Format::ServiceNow,
        &texts,
        r#"
x.csv: found no CSV: CSV error: record 2 (line: 3, byte: 8): found record with 1 fields, but the previous record has 2 fields; allowed: as many cells as the header has
x.csv: line 1: found the columns a, b; allowed: `name` as in cmdb_ci, or `parent`, `child` and `type` as in cmdb_rel_ci
ci.csv: line 2, column busines_criticality: found "high"; allowed: 1 - most critical, 2 - somewhat critical, 3 - less critical, 4 - not critical
ci.csv: line 3: found "1" a second time; allowed: a `sys_id` (or, without that column, a `name`) that no other row has
ci.csv: line 4, column name: found nothing; allowed: what people call the CI
rel.csv: line 2, column parent: found "twin", a name of several CIs; allowed: a name that one CI has, or the columns parent.sys_id and child.sys_id
rel.csv: line 3, column parent: found nothing; allowed: the name or sys_id of a CI
rel.csv: line 4, column type: found nothing; allowed: a type, as Depends on::Used by
"#,
    );
}

#[test]
fn trees_say_every_mistake_at_once() {
    check(
        Format::NetBox,
        &[
            (
                "a.json",
                r#"{"results": [{"id": 1, "name": "x"}, {"url": "/api/dcim/devices/2/", "name": "y"}], "count": [7]}"#,
            ),
            ("b.json", "{"),
        ],
        "
b.json: found no JSON: EOF while parsing an object at line 1 column 1; allowed: JSON
a.json: count[0]: found 7; allowed: an object or a list of objects
a.json: results[0].url: found nothing; allowed: the url that NetBox gives every object
a.json: results[1]: id: found no number; allowed: the number that NetBox gives every object
",
    );
    check(
        Format::Backstage,
        &[(
            "c.yaml",
            "kind: Widget\nmetadata: {name: x}\n---\nkind: Component\n---\nkind: Component\nmetadata: {name: a}\nspec: {dependsOn: ['a b', 5]}\n---\nkind: component\nmetadata: {name: A}\n",
        )],
        r#"
c.yaml document 1: kind: found "widget"; allowed: Component, Resource, System, API, Domain, Group, User, Location or Template
c.yaml document 2: metadata.name: found nothing; allowed: the entity's name
c.yaml document 3: spec.dependsOn: found "a b"; allowed: a reference, as component:default/shop or shop
c.yaml document 3: spec.dependsOn: found 5; allowed: a reference, as component:default/shop or shop
c.yaml document 4: metadata.name: found "component:default/a" a second time; allowed: a name that no other entity of its kind and namespace has
"#,
    );
    check(
        Format::Kubernetes,
        &[
            ("k.yaml", "kind: Pod\nmetadata: {}\n---\nmetadata: {name: x}\n"),
            ("l.json", r#"{"kind": "NodeList", "items": [{"metadata": {"name": "n"}}, {"metadata": {"name": "n"}}]}"#),
        ],
        r#"
k.yaml document 1: metadata.name: found nothing; allowed: an object as kubectl prints it
k.yaml document 2: kind: found nothing; allowed: an object as kubectl prints it
l.json: items[1]: metadata.name: found "node/n" a second time; allowed: each object once
"#,
    );
    let spans = r#"{"resourceSpans": [{"resource": {}}, {"resource": {"attributes": [{"key": "service.name",
        "value": {"stringValue": "a"}}]}, "scopeSpans": [{"spans": [{"traceId": "1"}, {"traceId": "1", "spanId": "2"}]}]}]}"#;
    check(
        Format::OpenTelemetry,
        &[("t.json", spans), ("u.json", "{}\n{\n")],
        "
t.json: resourceSpans[0].resource: found no service.name; allowed: the attribute service.name
t.json: resourceSpans[1] span 0: found no traceId or no spanId; allowed: both, as hexadecimal digits
t.json: resourceSpans[1] span 1.endTimeUnixNano: found null; allowed: nanoseconds since 1970
u.json: line 2: found no JSON: EOF while parsing an object at line 1 column 1; allowed: JSON
u.json: line 1: found no resourceSpans; allowed: OTLP JSON: {\"resourceSpans\": […]}
",
    );
}

#[test]
fn own_files_are_marked_with_source_prefix_and_instant() {
    let text = br#"{"cis": [{"id": "a", "kind": "host"}, {"id": "b", "kind": "host", "name": "B"}, {"id": "c", "kind": "host"}],
        "relationships": [{"from": "a", "to": "b", "redundancy": "r"}, {"from": "a", "to": "c", "redundancy": "r"}],
        "redundancies": [{"ci": "a", "name": "r", "at_least": 2}]}"#;
    let seen_at = Timestamp::parse_rfc3339("2026-01-31T12:00:00Z");
    let stamp = Stamp { source: "s".into(), prefix: "eu/".into(), seen_at };
    let imported = read(Format::Quell, &[Text { name: "x", bytes: text }], &stamp).expect("sound");
    let expected = "eu/a: host \"a\"\neu/b: host \"B\"\neu/c: host \"c\"\n\
        eu/a depends_on eu/b (r) seen 2026-01-31T12:00:00Z\neu/a depends_on eu/c (r) seen 2026-01-31T12:00:00Z";
    assert_eq!(shown(&imported), expected);
    let [rule] = imported.topology.redundancies() else { panic!("one") };
    assert_eq!((rule.ci.as_str(), rule.at_least), ("eu/a", 2));
}

#[test]
fn yaml_and_json_of_kubernetes_are_the_same() {
    let yaml =
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n---\n---\nkind: PersistentVolume\nmetadata: {name: pv-1}\n";
    let expected = "node/n1: kubernetes_node \"n1\" node=n1\npv/pv-1: volume \"pv-1\" persistentvolume=pv-1";
    check(Format::Kubernetes, &[("a.yaml", yaml)], expected);
    let json = r#"{"kind": "List", "items": [{"kind": "Node", "metadata": {"name": "n1"}},
        {"kind": "PersistentVolume", "metadata": {"name": "pv-1"}}]}"#;
    check(Format::Kubernetes, &[("a.json", json)], expected);
}

#[test]
fn an_import_is_a_topology_file_too() {
    let bytes = include_bytes!("data/import/kubernetes.json");
    let imported = read(Format::Kubernetes, &[Text { name: "all.json", bytes }], &stamp()).expect("sound");
    let written = quell_formats::topology::encode(&imported.topology);
    assert_eq!(quell_formats::topology::decode(&written), Ok(imported.topology));
    assert_ne!(imported.left_out, []);
    let nothing = read(Format::Kubernetes, &[], &stamp()).expect("nothing is sound");
    assert_eq!(nothing.topology, Topology::default());
}
