//! Small folders whose scores are known by hand, through files, engine and table.

use std::io::Write as _;

use super::*;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let path = std::env::temp_dir().join(format!("quell-quality-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        for (file, text) in files {
            let mut bytes = text.as_bytes().to_vec();
            if file.ends_with(".gz") {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packer.write_all(&bytes).expect("memory can be written");
                bytes = packer.finish().expect("memory can be written");
            }
            std::fs::write(path.join(file), bytes).expect("a file can be written");
        }
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const GRAPH: &str = r#"{"nodes":[{"id":"web","type":"Service"},{"id":"db","type":"Database"},{"id":"h1","type":"Host"},
  {"id":"wiki","type":"Service"},{"id":"h2","type":"Host"}],
  "edges":[{"source":"web","target":"db","label":"data_flow"},{"source":"db","target":"h1","label":"hosted_on"},
  {"source":"wiki","target":"h2","label":"hosted_on"}]}"#;

fn measured(folder: &Folder) -> Result<Vec<(String, Scored)>, FolderFault> {
    measure(&folder.0, None, &replay::Variant::shipped())
}

#[test]
fn two_faults_apart_on_the_graph_are_two_incidents() {
    let alerts = "alert_id,ts_s,entity,kind,name,caller,system,incident\n\
        0,10,h1,metric,HostDown,,a,one\n1,12,h2,metric,HostDown,,a,two\n2,15,db,metric,DbDown,,a,one\n\
        3,16,wiki,metric,Errors,,a,two\n4,20,web,metric,Errors,,a,one\n5,25,h1,metric,HostDown,,a,one\n";
    let incidents = "incident,system,root_cause,fault_type,start_s,end_s,alerts\none,a,h1,x,0,1,4\ntwo,a,h2,x,0,1,2\n";
    let files = [("alerts.csv.gz", alerts), ("incidents.csv", incidents), ("topology.json", GRAPH)];
    let scored = measured(&Folder::new("apart", &files)).expect("a whole folder");
    let [(_, Scored::Correlation(found))] = scored.as_slice() else { panic!("one correlation: {scored:?}") };
    assert_eq!((found.alerts, found.faults), (6, 2));
    assert_eq!((found.last.rows.ari, found.last.rows.pair_f1, found.last.rows.incidents_per_fault), (1.0, 1.0, 1.0));
    assert_eq!(found.at_arrival.ari, 1.0);
    // By time alone all of them are one: 7 pairs of 15 are of one fault.
    let gap = found.baselines.iter().find(|(name, _)| *name == "time gap 60 s").expect("a baseline").1.rows;
    assert!((gap.precision - 7.0 / 15.0).abs() < 1e-9 && gap.ari.abs() < 1e-9, "{gap:?}");
    let causes = found.causes.expect("both roots are told");
    assert_eq!((causes.faults, causes.at[0]), (2, 1.0));
    let shown = table::json(&scored);
    assert_eq!(shown["sets"][0]["task"], "correlation");
    assert_eq!((&shown["sets"][0]["ari"], &shown["sets"][0]["ac1"]), (&1.0.into(), &1.0.into()));
    assert_eq!(shown["sets"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_alert_told_again_counts_once_and_a_fault_in_another_ones_incident_has_no_cause() {
    // All but one are told of h1, and the second fault has no place of its own.
    let mut alerts = "alert_id,ts_s,entity,name,incident\n".to_owned();
    for at in 0..10 {
        alerts += &format!("{at},{},h1,HostDown,one\n", 10 + at);
    }
    alerts += "10,25,db,DbDown,one\n11,26,h1,HostDown,two\n";
    let incidents = "incident,root_cause\none,h1\ntwo,h1\nthree,\n";
    let files = [("alerts.csv.gz", &*alerts), ("incidents.csv", incidents), ("topology.json", GRAPH)];
    let scored = measured(&Folder::new("again", &files)).expect("a whole folder");
    let [(_, Scored::Correlation(found))] = scored.as_slice() else { panic!("one correlation: {scored:?}") };
    assert_eq!((found.alerts, found.faults), (12, 3));
    // All are in one incident: of 12 rows 11 are the first fault's, and of 3 episodes 2.
    let precision = |one: f64, two: f64| (one * one + two * two) / (one + two) / (one + two);
    let f1 = |precision: f64| 2.0 * precision / (1.0 + precision);
    let (rows, episodes) = (found.last.rows.b3, found.last.episodes.b3);
    assert!((rows - f1(precision(11.0, 1.0))).abs() < 1e-9, "{rows}");
    assert!((episodes - f1(precision(2.0, 1.0))).abs() < 1e-9, "{episodes}");
    let causes = found.causes.expect("two roots are told");
    assert_eq!(causes.faults, 2);
    // The first is named; of the second nobody says more of its root than of the other four.
    assert!((causes.at[0] - (1.0 + 0.2) / 2.0).abs() < 1e-9, "{causes:?}");
}

#[test]
fn what_parts_are_worth_is_told_by_set() {
    let alerts = "ts_s,entity,name,incident\n10,h1,HostDown,one\n12,h2,HostDown,two\n15,db,DbDown,one\n";
    let files =
        [("alerts.csv.gz", alerts), ("incidents.csv", "incident,root_cause\none,h1\n"), ("topology.json", GRAPH)];
    let folder = Folder::new("parts", &files);
    let whole = measured(&folder).expect("a whole folder");
    let shipped = replay::Variant::shipped();
    let parts = shipped.without_each();
    let without: Vec<_> =
        parts.map(|(part, variant)| (part, measure(&folder.0, None, &variant).expect("a whole folder"))).collect();
    let text = table::ablation(&whole, &without);
    let figures = |of: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(of)).expect("a line");
        line.split_whitespace().rev().take(8).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(text.lines().count(), 2 + without.len(), "{text}");
    assert_eq!(figures("with all parts")[6], "1.000", "{text}");
    assert_eq!(figures("without the graph")[5], "1.500", "of two faults one is in two incidents: {text}");
}

#[test]
fn the_dependency_that_alerts_first_is_the_cause() {
    let alerts = "alert_id,fault_id,ts_ms,kind,entity,caller,host,name,detail,count\n\
        0,f,1600000000000,metric,h1,,,HostDown,up,1\n1,f,1600000005000,metric,db,,,DbDown,up,1\n\
        2,f,1600000009000,metric,web,,,Errors,up,1\n";
    let faults = "fault_id,start_ms,end_ms,level,root_cause,fault_type,augmented\n\
        f,1600000000000,1600000600000,host,h1,x,False\ng,1500000000000,1500000600000,host,h2,x,False\n\
        h,1500000000000,1500000600000,host,h2,x,True\n";
    let files = [("alerts.csv.gz", alerts), ("faults.csv", faults), ("topology.json", GRAPH)];
    let scored = measured(&Folder::new("cause", &files)).expect("a whole folder");
    let [(_, Scored::Cause(found))] = scored.as_slice() else { panic!("one cause: {scored:?}") };
    // The copy is left out; of the one without alerts each of the five candidates is as likely as the other.
    assert_eq!(found.faults, 2);
    let service = &found.levels[0];
    assert_eq!((service.level, service.candidates), (cause::Level::Service, 5));
    assert!((service.score.at[0] - (1.0 + 0.2) / 2.0).abs() < 1e-9, "{:?}", service.score);
    assert_eq!(table::json(&scored)["sets"][0]["level"], "service");
}

#[test]
fn the_deepest_stray_is_the_cause_of_an_issue_of_latency() {
    let mut metrics = "scenario,split,issue,ts,node,metric,stat,value\n".to_owned();
    let mut row = |split: &str, issue: &str, at: usize, node: &str, metric: &str, value: f64| {
        metrics += &format!("s,{split},{issue},{at},{node},{metric},Average,{value}\n");
    };
    for (at, node) in (0..20).flat_map(|n| ["web", "api", "db"].map(|node| (n * 300, node))) {
        row("normal", "noissue", at, node, "latency", if at % 600 == 0 { 1.0 } else { 1.1 });
        row("normal", "noissue", at, node, "availability", 100.0);
    }
    for (node, value) in [("web", 2.0), ("api", 3.0), ("db", 9.0)] {
        row("test", "i", 9_000, node, "latency", value);
        // Better than usual, or of another metric than the objective's: no alert.
        row("test", "i", 9_300, node, "latency", 0.1);
        row("test", "i", 9_300, node, "availability", 20.0);
    }
    let issues = "scenario,split,issue,target_node,target_metric,target_agg,target_ts,root_cause,root_metric,how\n\
        s,test,i,web,latency,Average,9100,db,,\n";
    let graph = "scenario,caller,callee\ns,web,api\ns,api,db\n";
    let files = [("metrics.csv.gz", &*metrics), ("issues.csv", issues), ("graph.csv", graph)];
    let scored = measured(&Folder::new("issue", &files)).expect("a whole folder");
    let [(_, Scored::Petshop(found))] = scored.as_slice() else { panic!("one set of issues: {scored:?}") };
    assert_eq!((found.candidates, found.alone.faults), (3, 1));
    assert_eq!((found.alone.at[0], found.with_target.at[2]), (1.0, 1.0));
    let by =
        |name: &str| found.baselines.iter().chain(&found.target_baselines).find(|(n, _)| *n == name).map(|b| b.1.at[0]);
    assert_eq!((by("most alerts"), by("max z"), by("traversal")), (Some(1.0 / 3.0), Some(1.0), Some(1.0)));
    let shown = table::json(&scored);
    assert_eq!((&shown["sets"][0]["task"], &shown["sets"][0]["level"]), (&"cause".into(), &"service".into()));
}

#[test]
fn what_cannot_be_scored_is_said() {
    let check = |name: &str, files: &[(&str, &str)], expected: &str| {
        let fault = measured(&Folder::new(name, files)).expect_err("not a whole folder").to_string();
        assert!(fault.contains(expected), "{fault}");
    };
    check("empty", &[("alerts.csv.gz", "a\n")], "holds nothing to score");
    let rest = [("incidents.csv", "incident\none\n"), ("topology.json", GRAPH)];
    let with = |alerts| [&[("alerts.csv.gz", alerts)], &rest[..]].concat();
    check("short", &with("ts_s,entity\n1\n"), "line 2: 1 fields; allowed: 2 fields");
    check("late", &with("ts_s,entity,name,incident\nnoon,h1,x,one\n"), "ts_s is \"noon\"; allowed: a number");
    check("lost", &with("ts_s,entity,incident\n1,h1,one\n"), "no such column; allowed: name");
}
