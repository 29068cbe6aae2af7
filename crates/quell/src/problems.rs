//! `quell problems`: what keeps coming back, as a running quell tells it.
//!
//! Absent on purpose: ranking; `quell-api` does it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::import::Running;

/// Asks; what to print.
///
/// # Errors
/// Whatever the running quell says.
pub(crate) async fn run(url: &str, list: u32) -> anyhow::Result<String> {
    let body = Running::at(url)?.get(&format!("/api/v1/problems?order=cost&limit={list}")).await?;
    Ok(tell(&serde_json::from_slice(&body)?))
}

fn tell(told: &Value) -> String {
    let problems = told["items"].as_array().map_or(&[][..], Vec::as_slice);
    if problems.is_empty() {
        return "Nothing recurs, as far as quell has seen.\n".to_owned();
    }
    let mut report = String::new();
    for problem in problems {
        let text = |field: &str| problem[field].as_str().unwrap_or_default();
        let cost = &problem["cost"];
        _ = write!(
            report,
            "{} {} ({}): {} incidents, open for {} min together",
            text("id"),
            text("title"),
            text("state").replace('_', " "),
            cost["incidents"],
            cost["open_minutes"]
        );
        let forecast = &problem["forecast"];
        if let (Some(chance), Some(minutes)) = (forecast["probability"].as_f64(), forecast["expected_minutes"].as_f64())
        {
            _ = write!(report, "; within a week again with {:.0} %, {minutes:.0} min expected", chance * 100.0);
        }
        if let Some(owner) = problem["owner"].as_str() {
            _ = write!(report, "; {owner} has it");
        }
        report.push('\n');
    }
    report
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_line_says_what_a_problem_costs_and_what_is_expected_of_it() {
        let problem = |owner: Value, forecast: Value| {
            json!({"id": "PRB-1", "title": "Down on db-1", "state": "known_error", "owner": owner, "forecast": forecast,
                "cost": {"incidents": 3, "open_minutes": 60.5, "alerts": 6}})
        };
        let forecast = json!({"probability": 0.724, "expected_minutes": 15.2});
        let told = json!({"items": [problem("ana".into(), forecast), problem(Value::Null, Value::Null)]});
        assert_eq!(
            tell(&told),
            "PRB-1 Down on db-1 (known error): 3 incidents, open for 60.5 min together; within a week again with 72 %, \
             15 min expected; ana has it\nPRB-1 Down on db-1 (known error): 3 incidents, open for 60.5 min together\n"
        );
        assert_eq!(tell(&json!({"items": []})), "Nothing recurs, as far as quell has seen.\n");
    }
}
