//! What every file keeps, so that nobody has to say it in a review.
//!
//! Absent on purpose: whatever rustfmt, clippy or the compiler already say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that take values and give values.
const PURE: &[&str] = &["quell-domain", "quell-cmdb", "quell-engine", "quell-formats", "quell-forecast"];
/// Endings of the files that are read as text.
const TEXT: &[&str] =
    &["rs", "md", "toml", "yaml", "yml", "json", "html", "css", "js", "mjs", "sql", "txt", "sh", "LICENSE", "dev"];
const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is two folders up")
}

/// Every text file of the project with its path from the root, in order. What tools make and hidden folders are left out.
fn files() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        let entries = fs::read_dir(folder).expect("a folder of the project can be listed");
        for path in entries.map(|entry| entry.expect("an entry of the project can be read").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') || ["target", "node_modules"].contains(&name) {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
                continue;
            }
            let in_scripts = path.parent() == Some(&root.join("scripts"));
            if in_scripts || TEXT.contains(&name.rsplit('.').next().unwrap_or_default()) {
                let short = path.strip_prefix(root).expect("the walk began at the root");
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| format!("cannot be read as text: {error} "));
                found.push((short.to_string_lossy().into_owned(), text));
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    assert!(found.len() > 30, "the walk found only {} files", found.len());
    found
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Text that would be found in this very file if it were written in one piece.
fn pieces(parts: &[&str]) -> String {
    parts.concat()
}

/// What is wrong with one Rust file.
fn rust_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}: does not open with `//!` and what it is"));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{path}: {lines} lines; allowed: {LONGEST_FILE}"));
    }
    let in_tests = path.contains("/tests/") || path.contains("/benches/") || path.ends_with("tests.rs");
    let everywhere = [pieces(&["#[", "ignore"]), pieces(&["todo", "!("]), pieces(&["unimplemented", "!("])];
    let unwrap = pieces(&[".unwrap", "()"]);
    let mut tests_begun = in_tests;
    for (number, line) in (1..).zip(text.lines()) {
        tests_begun |= line.trim() == "#[cfg(test)]";
        if line.trim_start().starts_with("//") {
            continue;
        }
        for word in everywhere.iter().filter(|word| line.contains(word.as_str())) {
            faults.push(format!("{path}:{number}: {word}"));
        }
        if !tests_begun && line.contains(&unwrap) {
            faults.push(format!("{path}:{number}: {unwrap}; say with expect why it holds, or return the error"));
        }
    }
    faults
}

/// What is wrong with the blanks of a file.
fn blank_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults: Vec<String> = (1..)
        .zip(text.split('\n'))
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(number, _)| format!("{path}:{number}: ends in a blank"))
        .collect();
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        faults.push(format!("{path}: does not end in one line break"));
    }
    faults
}

/// Links of a Markdown file to files that are not there. Links within a file and to the web are not followed.
fn link_faults(path: &str, text: &str) -> Vec<String> {
    let folder = root().join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut faults = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if !link.is_empty() && !link.contains("://") && !folder.join(link).exists() {
                faults.push(format!("{path}: links to {link}, which is not there"));
            }
        }
    }
    faults
}

/// What is wrong with the names of the decision records.
fn numbering_faults(names: &[String]) -> Vec<String> {
    let records: Vec<&String> = names.iter().filter(|name| *name != "README.md").collect();
    let wanted = (1..).map(|number: u32| format!("{number:04}-"));
    let wrong = records.iter().zip(wanted).filter(|(name, number)| !name.starts_with(number.as_str()));
    wrong.map(|(name, number)| format!("docs/decisions/{name}: expected {number}…")).collect()
}

/// The paths that a clippy.toml bans.
fn bans(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.split("path = \"").nth(1)?.split('"').next()).collect()
}

/// The names in a table of a Cargo.toml.
fn table<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| *line != name).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter_map(|line| Some(line.split_once(" = ")?.0)).collect()
}

#[test]
fn rust_files_keep_the_house_rules() {
    let faults: Vec<_> = files()
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, text)| rust_faults(path, text))
        .collect();
    assert_none(&faults);
}

#[test]
fn no_line_ends_in_a_blank() {
    assert_none(&files().iter().flat_map(|(path, text)| blank_faults(path, text)).collect::<Vec<_>>());
}

#[test]
fn documents_link_to_what_is_there() {
    let faults: Vec<_> = files()
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
        .flat_map(|(path, text)| link_faults(path, text))
        .collect();
    assert_none(&faults);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let folder = root().join("docs/decisions");
    let entries = fs::read_dir(folder).expect("docs/decisions is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() > 2, "only {names:?}");
    assert_none(&numbering_faults(&names));
}

#[test]
fn the_changelog_knows_this_version() {
    let text = file("CHANGELOG.md");
    let current = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(
        text.lines().any(|line| line.starts_with("## [Unreleased]") || line.starts_with(&current)),
        "CHANGELOG.md has neither `## [Unreleased]` nor `{current}`"
    );
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let manifests: Vec<_> = files().into_iter().filter(|(path, _)| path.ends_with("/Cargo.toml")).collect();
    assert!(manifests.len() > 9, "only {} crates", manifests.len());
    for (path, text) in manifests {
        assert!(text.contains("[lints]\nworkspace = true\n"), "{path}: lacks `[lints]` with `workspace = true`");
        for (name, line) in text.lines().filter_map(|line| Some((line.split_once(" = ")?.0, line))) {
            assert!(!line.contains("version = \""), "{path}: {name} belongs into the workspace's Cargo.toml");
        }
    }
}

#[test]
fn pure_crates_keep_out_clocks_and_chance() {
    let above = file("clippy.toml");
    let first = file(&format!("crates/{}/clippy.toml", PURE[0]));
    let missing: Vec<_> = bans(&above).difference(&bans(&first)).map(ToString::to_string).collect();
    assert!(missing.is_empty(), "clippy does not merge its files, so the pure ones repeat the root's: {missing:?}");
    for name in PURE.iter().filter(|name| root().join("crates").join(name).is_dir()) {
        assert_eq!(file(&format!("crates/{name}/clippy.toml")), first, "crates/{name}/clippy.toml differs");
        let lib = file(&format!("crates/{name}/src/lib.rs"));
        let wanted = "deny(clippy::iter_over_hash_type)";
        assert!(lib.contains(wanted), "crates/{name}/src/lib.rs: lacks {wanted}");
    }
}

#[test]
fn every_dependency_is_argued_for() {
    let manifest = file("Cargo.toml");
    let record = file("docs/decisions/0002-dependencies.md");
    let foreign: Vec<&str> =
        table(&manifest, "[workspace.dependencies]").into_iter().filter(|name| !name.starts_with("quell")).collect();
    assert!(foreign.len() > 20, "only {foreign:?}");
    for name in foreign {
        assert!(record.contains(&format!("| `{name}` |")), "docs/decisions/0002-dependencies.md: no line for `{name}`");
    }
}

#[test]
fn crates_come_from_the_one_registry() {
    let lock = file("Cargo.lock");
    let sources: BTreeSet<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), [registry]);
}

#[test]
fn the_rules_find_what_they_forbid() {
    let check = |path: &str, text: &str, wanted: &[&str]| assert_eq!(rust_faults(path, text), wanted);
    let unwrap = pieces(&["let a = b.unwrap", "();"]);
    let complaint = pieces(&["src/a.rs:2: .unwrap", "(); say with expect why it holds, or return the error"]);
    check("src/a.rs", "fn a() {}\n", &["src/a.rs: does not open with `//!` and what it is"]);
    check("src/a.rs", &format!("//! A.\n{unwrap}\n"), &[&complaint]);
    check("src/a.rs", &format!("//! A.\n#[cfg(test)]\nmod tests {{\n{unwrap}\n"), &[]);
    check("a/tests/a.rs", &format!("//! A.\n{unwrap}\n// {unwrap}\n"), &[]);
    check("src/a.rs", &pieces(&["//! A.\n#[", "ignore]\n"]), &[&pieces(&["src/a.rs:2: #[", "ignore"])]);
    check("src/a.rs", &"//! A.\n".repeat(501), &["src/a.rs: 501 lines; allowed: 500"]);

    assert_eq!(blank_faults("a.md", "a \nb\n"), ["a.md:1: ends in a blank"]);
    assert_eq!(blank_faults("a.md", "a\n\n"), ["a.md: does not end in one line break"]);
    assert_eq!(blank_faults("a.md", "a\n"), [""; 0]);

    let names = ["0001-a.md", "0003-b.md", "README.md"].map(String::from);
    assert_eq!(numbering_faults(&names), ["docs/decisions/0003-b.md: expected 0002-…"]);
    assert_eq!(
        link_faults("README.md", "[a](Cargo.toml#x) [b](gone.md)\n"),
        ["README.md: links to gone.md, which is not there"]
    );
    assert_eq!(bans("x = [\n  { path = \"a::b\", reason = \"c\" },\n]\n").into_iter().collect::<Vec<_>>(), ["a::b"]);
    assert_eq!(table("[a]\nb = 1\n\n[c]\nd = 2\n", "[a]"), ["b"]);
}
