//! The pages and the forms on them.

use axum::http::{Method, StatusCode};
use quell_api::ports::{Health, Refusal};
use quell_domain::{CommandKind, IncidentId, IncidentState, Verdict};

use crate::script::{NASTY, Script, ask, get};

#[tokio::test]
async fn nothing_from_outside_becomes_markup() {
    let script = Script::new().set(|state| {
        state.incidents = vec![incident()];
        state.alerts = vec![crate::script::unbound(3)];
    });
    for path in ["/", "/incidents/INC-7", "/hygiene"] {
        let page = get(&script.router(), path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text.contains("<script>alert"), "{path}: {}", page.text);
        assert!(page.text.contains("&#60;script&#62;"), "{path}: the text is there, escaped");
        assert!(!page.text.contains("href=\"javascript:"), "{path}");
        assert!(!page.text.contains(" style=") && !page.text.contains(" onclick"), "{path}: nothing is inline");
    }
    let page = get(&script.router(), "/incidents/INC-7").await.text;
    assert!(page.contains("href=\"https://runbooks.example/x?y=1\" rel=\"noopener noreferrer nofollow\""), "{page}");
    let refused = get(&script.router(), &format!("/?state={}", "%3Cscript%3Ealert%28%27x%27%29%3C/script%3E")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(!refused.text.contains("<script>alert"), "{}", refused.text);
}

fn incident() -> quell_store::IncidentDetail {
    crate::script::incident(7, IncidentState::Open)
}

#[tokio::test]
async fn pages_carry_the_headers_that_lock_them_down() {
    let script = Script::new().set(|state| state.incidents = vec![incident()]);
    for path in ["/", "/incidents/INC-7", "/incidents/INC-8", "/api/v1/incidents", "/assets/app.js"] {
        let page = get(&script.router(), path).await;
        let csp = page.header("content-security-policy");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {csp}");
        assert!(csp.contains("frame-ancestors 'none'"), "{path}: {csp}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value, "{path}");
        }
        let cache = page.header("cache-control");
        assert_eq!(cache == "no-store", !path.starts_with("/assets"), "{path}: {cache}");
    }
}

#[tokio::test]
async fn pages_have_one_heading_landmarks_and_labelled_fields() {
    let script = Script::new().set(|state| state.incidents = vec![incident()]);
    for path in ["/", "/hygiene", "/?state=resolved", "/incidents/INC-7", "/incidents/INC-8"] {
        let page = get(&script.router(), path).await.text;
        assert_eq!(page.matches("<h1>").count(), 1, "{path}");
        for part in ["<html lang=\"en\">", "<main id=\"main\"", "href=\"#main\"", "<nav aria-label=", "<footer>"] {
            assert!(page.contains(part), "{path} lacks {part}");
        }
        let (inputs, labels) = (page.matches("<input").count(), page.matches("<label>").count());
        assert_eq!(inputs, labels, "{path}");
    }
}

#[tokio::test]
async fn a_blast_radius_on_stale_relationships_says_so() {
    let script = Script::new().set(|state| state.incidents = vec![incident()]);
    let page = get(&script.router(), "/incidents/INC-7").await.text;
    assert!(page.contains("2 relationships, one of them last seen <time"), "{page}");
    assert!(page.contains(">40 days ago</time>"), "{page}");
    let mut one = incident();
    one.incident.blast_radius.stale_relationships = 1;
    let page = get(&script.set(|state| state.incidents = vec![one]).router(), "/incidents/INC-7").await.text;
    assert!(page.contains("This rests on a relationship last seen <time"), "{page}");
}

#[tokio::test]
async fn an_empty_list_teaches_the_next_step() {
    let page = get(&Script::new().router(), "/").await.text;
    assert!(page.contains("curl -sS") && page.contains("http://localhost:9099/api/v2/alerts"), "{page}");
}

#[tokio::test]
async fn trouble_of_quell_itself_is_on_every_page() {
    let script = Script::new().set(|state| {
        state.health = Health {
            not_ready: vec!["the disk is full".into()],
            degraded: vec!["slow".into()],
            lag_records: 5_000,
            role: None,
        };
    });
    let page = get(&script.router(), "/").await.text;
    for word in ["Alerts are refused: the disk is full", "slow", "5000 requests are safe but not yet decided"] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[tokio::test]
async fn forms_of_the_page_act_and_lead_back() {
    let script = Script::new().set(|state| state.incidents = vec![incident()]);
    let own = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost:9099")];
    for (act, form) in [("ack", "by=Ana"), ("resolve", "by=Ana&note=new+disk"), ("comment", "by=Ana&text=a%26b")] {
        let path = format!("/api/v1/incidents/INC-7/{act}");
        let answer = ask(&script.router(), Method::POST, &path, &own, form).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/incidents/INC-7"), "{act}");
    }
    let kinds =
        script.get(|state| state.commands.iter().map(|c| (c.actor.clone(), c.kind.clone())).collect::<Vec<_>>());
    let ana = || "Ana".to_owned();
    assert_eq!(
        kinds,
        [
            (ana(), CommandKind::Acknowledge),
            (ana(), CommandKind::Resolve { note: Some("new disk".into()) }),
            (ana(), CommandKind::Comment { text: "a&b".into() }),
        ]
    );
}

#[tokio::test]
async fn the_page_shows_lineage_and_offers_to_mend_it() {
    let id = |number| IncidentId { shard: 0, number };
    let mut seven = incident();
    (seven.merged, seven.split, seven.incident.alerts) = (vec![id(4)], vec![id(9)], 2);
    let mut eight = crate::script::incident(8, IncidentState::Resolved);
    (eight.incident.merged_into, eight.incident.split_from) = (Some(id(7)), Some(id(3)));
    let script = Script::new().set(|state| state.incidents = vec![seven, eight]);
    let page = get(&script.router(), "/incidents/INC-7").await.text;
    for part in [
        "href=\"/incidents/INC-4\"",
        "href=\"/incidents/INC-9\"",
        "action=\"/api/v1/incidents/INC-7/merge\"",
        "action=\"/api/v1/incidents/INC-7/split\"",
        "action=\"/api/v1/incidents/INC-7/wrong-cause\"",
        "type=\"checkbox\" name=\"alerts\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("INC-7/undo"), "there is nothing to take back: {page}");
    let page = get(&script.router(), "/incidents/INC-8").await.text;
    assert!(page.contains("href=\"/incidents/INC-7\"") && page.contains("href=\"/incidents/INC-3\""), "{page}");
    assert!(page.contains("INC-8/undo") && !page.contains("INC-8/merge"), "{page}");
}

#[tokio::test]
async fn a_form_that_is_refused_says_so_on_a_page() {
    let script = Script::new().set(|state| {
        state.incidents = vec![incident()];
        state.verdict = Some(Verdict::Refused);
    });
    let own = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://localhost:9099")];
    let answer = ask(&script.router(), Method::POST, "/api/v1/incidents/INC-7/split", &own, "alerts=3&alerts=4").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("nothing was changed"), "{}", answer.text);
}

#[tokio::test]
async fn forms_of_other_origins_do_nothing() {
    let script = Script::new().set(|state| state.incidents = vec![incident()]);
    let form = ("content-type", "application/x-www-form-urlencoded");
    for proof in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"), ("x-none", "")] {
        let answer = ask(&script.router(), Method::POST, "/api/v1/incidents/INC-7/ack", &[form, proof], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{proof:?}");
    }
    script.get(|state| assert!(state.commands.is_empty()));
}

#[tokio::test]
async fn a_form_that_fails_says_so_on_a_page() {
    let script = Script::new().set(|state| {
        state.incidents = vec![incident()];
        state.refusal = Some(Refusal::Overloaded);
    });
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let answer = ask(&script.router(), Method::POST, "/api/v1/incidents/INC-7/ack", &headers, "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("content-type").starts_with("text/html") && answer.text.contains("role=\"alert\""));
    assert!(!answer.text.contains(NASTY));
}
