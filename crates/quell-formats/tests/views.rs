//! What is shown: incidents and alerts, notices, and the lines of an alerts file.

use quell_domain::{
    Alert, AlertId, AlertState, Binding, BlastRadius, Cause, CauseVerdict, CiId, Criticality, Ending, Fingerprint,
    Impact, Incident, IncidentId, IncidentState, Labels, Notice, Position, Priority, Reason, ServiceAtRisk, Severity,
    Source, TimelineEntry, Timestamp, Transition, Urgency,
};
use quell_formats::views::incident_json;
use quell_formats::{notice, replay};
use serde_json::json;

const AT: Timestamp = Timestamp::from_seconds(1_767_225_600);
const ID: IncidentId = IncidentId { shard: 0, number: 7 };

fn reason() -> Reason {
    Reason::new("same_ci", "on {ci}, {apart_seconds} s apart").text("ci", "db").number("apart_seconds", 1.0 / 3.0)
}

fn alert(state: AlertState) -> Alert {
    Alert {
        id: AlertId(3),
        fingerprint: Fingerprint(0xfeed),
        source: Source::PagerDuty,
        state,
        severity: Severity::Error,
        labels: Labels::new([("b", "2"), ("a", "1")]),
        annotations: Labels::new([("summary", "Disk full")]),
        content: 1,
        binding: Some(Binding { ci: CiId::new("db"), confidence: 0.9, reason: reason() }),
        unbound: None,
        incident: Some(ID),
        membership: Some(reason()),
        twin_of: Some(AlertId(5)),
        starts_at: AT,
        ends_at: Some(AT + std::time::Duration::from_millis(1_500)),
        ending: Ending::Explicit,
        timed_out: false,
        count: 4,
        first_seen: AT,
        began_at: AT,
        last_seen: AT,
        opened_position: Position(1),
        opened_ordinal: 0,
        closed_position: None,
        folded_through: Position(1),
    }
}

fn incident() -> Incident {
    Incident {
        id: ID,
        state: IncidentState::Open,
        title: "Disk full on db".into(),
        priority: Priority::new(2).expect("1 to 5"),
        impact: Impact::High,
        urgency: Urgency::Medium,
        opened_position: Position(1),
        opened_ordinal: 0,
        opened_at: AT,
        started_at: AT,
        last_fired_at: AT,
        resolved_at: None,
        resolved_by: None,
        acknowledged_at: Some(AT),
        acknowledged_by: Some("ann".into()),
        reopened: 1,
        alerts: 2,
        firing: 1,
        causes: vec![Cause { ci: CiId::new("db"), score: 2.0 / 3.0, evidence: vec![reason()] }],
        blast_radius: BlastRadius {
            cis: 5,
            services: vec![
                ServiceAtRisk {
                    ci: CiId::new("shop"),
                    name: "The shop".into(),
                    criticality: Criticality::Critical,
                    owner: Some("team-shop".into()),
                }
                .into(),
            ],
            partial: false,
            stale_relationships: 1,
            oldest_seen: Some(AT),
        },
        review_at: None,
        transitions: 2,
        merged_into: Some(IncidentId { number: 8, ..ID }),
        moved: vec![],
        split_from: Some(IncidentId { number: 9, ..ID }),
        verdicts: vec![CauseVerdict {
            ci: CiId::new("db"),
            right: true,
            actor: "cy".into(),
            at: AT,
            command: Position(3),
        }],
        acts: vec![],
        held_apart: false,
        looked_at: 0,
    }
}

#[test]
fn an_incident_has_the_agreed_shape() {
    let timeline = [TimelineEntry { incident: ID, at: AT, actor: "quell".into(), reason: reason() }];
    let shown = incident_json(&incident(), &[alert(AlertState::Firing), alert(AlertState::Ended)], &timeline);
    let reason = json!({
        "code": "same_ci", "text": "on db, 0.33 s apart", "facts": {"ci": "db", "apart_seconds": 0.333333},
    });
    let at = "2026-01-01T00:00:00Z";
    let alert = |state: &str, ends_at: Option<&str>| {
        json!({
            "id": 3, "receipt": "R-1", "item": 0, "fingerprint": "0000000000000000000000000000feed", "source": "pagerduty", "name": "Disk full",
            "state": state, "severity": "error", "labels": {"a": "1", "b": "2"},
            "annotations": {"summary": "Disk full"}, "ci": "db",
            "binding": {"ci": "db", "confidence": 0.9, "reason": reason}, "unbound": null, "incident": "INC-7",
            "reason": reason, "twin_of": 5, "starts_at": at, "ends_at": ends_at, "count": 4, "first_seen": at, "last_seen": at,
        })
    };
    let expected = json!({
        "id": "INC-7", "state": "open", "title": "Disk full on db", "priority": "P2", "impact": "high",
        "urgency": "medium", "opened_position": 1, "opened_ordinal": 0, "opened_at": at, "started_at": at, "last_fired_at": at, "resolved_at": null,
        "resolved_by": null, "acknowledged_at": at, "acknowledged_by": "ann", "reopened": 1, "alerts_total": 2,
        "alerts_firing": 1, "merged_into": "INC-8", "split_from": "INC-9",
        "merged": [], "split": [],
        "verdicts": [{"ci": "db", "right": true, "by": "cy", "at": at}],
        "alerts": [alert("firing", None), alert("ended", Some("2026-01-01T00:00:01.5Z"))],
        "causes": [{"ci": "db", "score": 0.666667, "evidence": [reason]}],
        "blast_radius": {
            "cis": 5, "partial": false, "stale_relationships": 1, "oldest_seen": at,
            "services": [{"ci": "shop", "name": "The shop", "criticality": "critical", "owner": "team-shop"}],
        },
        "timeline": [
            {"at": at, "actor": "quell", "kind": "same_ci", "text": "on db, 0.33 s apart", "reason": reason},
        ],
    });
    assert_eq!(serde_json::to_value(&shown).expect("JSON"), expected);
}

#[test]
fn a_notice_names_itself_and_its_incident() {
    let told = Notice {
        incident: ID,
        number: 2,
        transition: Transition::Resolved,
        at: AT,
        title: "Disk full on db".into(),
        priority: Priority::new(2).expect("1 to 5"),
        cause: Some(CiId::new("db")),
        alerts: 2,
        reason: reason(),
    };
    let body: serde_json::Value = serde_json::from_slice(&notice::encode("d-1", &told)).expect("JSON");
    let expected = json!({
        "version": "1", "id": "d-1", "event": "incident.resolved", "incident": "INC-7", "number": 2,
        "transition": "resolved", "at": "2026-01-01T00:00:00Z", "title": "Disk full on db", "priority": "P2",
        "cause": "db", "alerts": 2,
        "reason": {"code": "same_ci", "text": "on db, 0.33 s apart", "facts": {"ci": "db", "apart_seconds": 0.333333}},
    });
    assert_eq!(body, expected);
}

#[test]
fn a_line_of_an_alerts_file_keeps_its_body_to_the_byte() {
    let text = r#"{"received_at":"2026-01-01T00:00:00Z","source":"alertmanager","payload": [ {"labels":{"a":"b"} } ]}"#;
    let recorded = replay::line(1, text).expect("valid").expect("not blank");
    assert_eq!((recorded.received_at, recorded.source), (AT, Source::AlertmanagerApi));
    assert_eq!(recorded.payload, br#"[ {"labels":{"a":"b"} } ]"#);
    assert_eq!(replay::line(1, " \r\n"), Ok(None));
}

#[test]
fn a_wrong_line_says_which_one() {
    let check = |text: &str, expected: &str| {
        let mistake = replay::line(7, text).expect_err("wrong").to_string();
        assert_eq!(mistake, expected);
    };
    check(
        r#"{"received_at":"noon","source":"alertmanager","payload":[]}"#,
        "line 7, received_at: found \"noon\"; allowed: a time in RFC 3339, as 2026-01-31T08:00:00Z",
    );
    check(
        r#"{"received_at":"2026-01-01T00:00:00Z","source":"nagios","payload":[]}"#,
        "line 7, source: found \"nagios\"; allowed: one of alertmanager, alertmanager-webhook, pagerduty, pagerduty-change",
    );
    check(
        r#"{"received_at":"2026-01-01T00:00:00Z","source":"pagerduty"}"#,
        "line 7: found no such object: missing field `payload` at line 1 column 59; allowed: an object with \
         `received_at`, `source` and `payload`",
    );
}
