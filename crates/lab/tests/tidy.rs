//! The repository itself: what its documents promise about its structure holds, and nothing points outside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the repository that is text, with its path from the root. Build products and `.git` are not part of it.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut open = vec![root()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !["target", ".git"].contains(&name.as_str()) {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                texts.push((name, text));
            }
        }
    }
    texts.retain(|(name, _)| name != ".git");
    assert!(texts.len() > 100, "only {} files found", texts.len());
    texts
}

/// The lines of a fenced block of ARCHITECTURE.md, `name -> one, two` or `name -> nothing`.
fn block(kind: &str) -> BTreeMap<String, BTreeSet<String>> {
    let page = read("ARCHITECTURE.md");
    let fence = format!("```{kind}\n");
    let (_, rest) = page
        .split_once(&fence)
        .unwrap_or_else(|| panic!("ARCHITECTURE.md has no block {kind}"));
    let (block, _) = rest.split_once("```").unwrap();
    block
        .lines()
        .map(|line| {
            let (from, to) = line.split_once("->").unwrap_or_else(|| panic!("{line}"));
            let to = to.split(',').map(|one| one.trim().to_owned());
            (
                from.trim().to_owned(),
                to.filter(|one| one != "nothing").collect(),
            )
        })
        .collect()
}

/// Every package of the workspace with the packages it needs to be built (not those of its tests).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let needed = list(&package["dependencies"])
                .iter()
                // Kind is null for what the product itself needs; tests of netns-tests are the package itself.
                .filter(|one| one["kind"].is_null() || package["name"] == "netns-tests")
                .map(|one| short(one["name"].as_str().unwrap()))
                .collect();
            (short(package["name"].as_str().unwrap()), needed)
        })
        .collect()
}

fn short(package: &str) -> String {
    package.strip_prefix("warren-").unwrap_or(package).to_owned()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let dependencies = dependencies();
    let actual: BTreeMap<_, BTreeSet<_>> = dependencies
        .iter()
        .map(|(name, needed)| {
            let inside = needed.iter().filter(|one| dependencies.contains_key(*one));
            (name.clone(), inside.cloned().collect())
        })
        .collect();
    assert_eq!(
        block("arrows"),
        actual,
        "left: ARCHITECTURE.md, right: cargo metadata"
    );
}

#[test]
fn pure_crates_need_nothing_that_can_do_input_or_output() {
    let dependencies = dependencies();
    let pure = block("pure");
    assert!(!pure.is_empty());
    for (name, allowed) in pure {
        let extra: Vec<_> = dependencies[&name].difference(&allowed).collect();
        assert!(
            extra.is_empty(),
            "{name} also needs {extra:?}, which ARCHITECTURE.md does not allow"
        );
    }
}

#[test]
fn the_code_map_names_every_file_of_the_daemon_and_every_crate() {
    let page = read("ARCHITECTURE.md");
    let (_, map) = page.split_once("## Code map").expect("a code map");
    let mut missing = Vec::new();
    for directory in ["src", "crates", "scripts"] {
        for entry in fs::read_dir(root().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // A directory beside a file of the same name is that file's inside.
            if !path.with_extension("rs").is_file() || path.is_file() {
                missing.extend((!map.contains(&format!("`{name}`"))).then(|| format!("{directory}/{name}")));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not tell what these are: {missing:?}"
    );
    let gone: Vec<_> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.ends_with(".rs") && !name.contains(' '))
        .filter(|name| !root().join("src").join(name).exists() && !root().join(name).exists())
        .collect();
    assert!(
        gone.is_empty(),
        "ARCHITECTURE.md speaks of files that do not exist: {gone:?}"
    );
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in texts().into_iter().filter(|(name, _)| name.ends_with(".md")) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let outside = link.contains("://") || link.starts_with("mailto:");
            if !outside && !file.is_empty() && !root().join(&page).with_file_name(file).exists() {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What is between two of these marks.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// The names that calls of a macro list.
fn listed<'a>(text: &'a str, call: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(call)
        .skip(1)
        .filter_map(|list| list.split(['}', ']', ')']).next())
        .flat_map(|list| list.split([',', '{', '[', '(']))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The names of functions that a test is made of: marked as one, or listed to be called by several.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let marked = text.lines().scan(false, |marked, line| {
        let name = line
            .split_once("fn ")
            .and_then(|(_, rest)| rest.split('(').next());
        let found = name.filter(|_| *marked);
        *marked = name.is_none() && (*marked || line.contains("#[test]") || line.contains("#[tokio::test"));
        Some(found)
    });
    let lists = ["for_both!", "words::scenarios!"].into_iter();
    marked.flatten().chain(lists.flat_map(|call| listed(text, call)))
}

/// A page of rules, each with what would fail if it were otherwise: `names` of tests, and "titles" of others.
struct Rules<'a> {
    page: &'a str,
    titles: BTreeSet<&'a str>,
    /// Tests that have to be on it.
    tests: BTreeSet<&'a str>,
}

impl Rules<'_> {
    fn check(mut self, sources: &[(String, String)]) {
        let known: BTreeSet<&str> = sources.iter().flat_map(|(_, text)| tests(text)).collect();
        let text = read(self.page);
        let rules = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .filter_map(|line| {
                let (rule, shown) = line.strip_suffix(" |")?.rsplit_once(" | ")?;
                (shown != "shown by").then_some((rule, shown))
            });
        let titles = self.titles.clone();
        let mut wrong = Vec::new();
        for (rule, shown) in rules {
            let (names, asked): (Vec<_>, Vec<_>) =
                (between(shown, '`').collect(), between(shown, '"').collect());
            if names.is_empty() && asked.is_empty() {
                wrong.push(format!("nothing shows: {rule}"));
            }
            let unknown = names.iter().filter(|name| !known.contains(**name));
            wrong.extend(unknown.map(|name| format!("no test is called {name}")));
            let unknown = asked.iter().filter(|title| !titles.contains(**title));
            wrong.extend(unknown.map(|title| format!("there is no \"{title}\"")));
            self.tests.retain(|test| !names.contains(test));
            self.titles.retain(|title| !asked.contains(title));
        }
        assert!(wrong.is_empty(), "{}: {wrong:#?}", self.page);
        let (titles, tests) = (self.titles, self.tests);
        assert!(
            titles.is_empty() && tests.is_empty(),
            "not in {}: {titles:#?} {tests:#?}",
            self.page
        );
    }
}

fn sources() -> Vec<(String, String)> {
    let rust = |(name, _): &(String, String)| name.ends_with(".rs");
    texts().into_iter().filter(rust).collect()
}

#[test]
fn rules_of_amqp_are_shown_by_tests_that_exist() {
    let recorded = read("crates/broker/recorded/reply-texts.txt");
    let requests = recorded
        .lines()
        .filter_map(|line| Some(line.split_once(" -> ")?.0));
    let sources = sources();
    let compared = sources
        .iter()
        .filter(|(name, _)| name.starts_with("crates/broker/tests/"))
        .flat_map(|(_, text)| listed(text, "words::scenarios!"));
    let rules = Rules {
        page: "docs/amqp.md",
        titles: requests.collect(),
        tests: compared.collect(),
    };
    assert!(
        rules.titles.len() > 100 && rules.tests.len() > 100,
        "lists of tests were not found"
    );
    rules.check(&sources);
}

#[test]
fn rules_of_the_proxy_are_shown_by_tests_that_exist() {
    let browser = ["page", "amqp"].map(|name| read(&format!("tests/browser/{name}.test.mjs")));
    let titles = browser
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("test(\"")?.split('"').next());
    let sources = sources();
    let whole = sources
        .iter()
        .filter(|(name, _)| name.starts_with("netns-tests/tests/proxy/"))
        .flat_map(|(_, text)| tests(text));
    let rules = Rules {
        page: "docs/proxy.md",
        titles: titles.collect(),
        tests: whole.collect(),
    };
    assert!(
        rules.titles.len() > 10 && rules.tests.len() > 50,
        "lists of tests were not found"
    );
    rules.check(&sources);
}

#[test]
fn rules_of_the_broker_are_shown_by_tests_that_exist() {
    let sources = sources();
    let whole = [
        "crates/broker/tests/backlog.rs",
        "crates/broker/tests/conversation.rs",
        "crates/broker/tests/crash/",
        "crates/cluster/tests/",
        "crates/store/src/simulation.rs",
        "crates/store/tests/",
        "netns-tests/tests/broker/",
        "tests/broker",
    ];
    let whole = sources
        .iter()
        .filter(|(name, _)| whole.iter().any(|place| name.starts_with(place)))
        .flat_map(|(_, text)| tests(text))
        // Not a test but the way to make the files that one reads.
        .filter(|name| !name.starts_with("write_"));
    let rules = Rules {
        page: "docs/broker.md",
        titles: BTreeSet::new(),
        tests: whole.collect(),
    };
    assert!(rules.tests.len() > 100, "lists of tests were not found");
    rules.check(&sources);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<_> = texts()
        .into_iter()
        // The tests of a file are explained by their names, and by the file.
        .filter(|(name, text)| {
            name.ends_with(".rs") && !name.ends_with("/tests.rs") && !text.starts_with("//!")
        })
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "without //! at the top: {silent:?}");
}

#[test]
fn nothing_points_outside_the_repository() {
    // Spelled in pieces, so that this file passes its own test.
    let outside = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
    ];
    let mut found = Vec::new();
    // The tutorials' files are kept as their readers type them.
    let ours = |name: &str| !name.contains("fixtures/seed-");
    for (name, text) in texts().into_iter().filter(|(name, _)| ours(name)) {
        for (number, line) in text.lines().enumerate() {
            // "network/…" and addresses on the web are no paths of a machine.
            let path = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric());
            if outside
                .iter()
                .any(|part| line.match_indices(part).any(|(at, _)| path(at)))
            {
                found.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_left_to_do_has_an_owner() {
    let (task, owned) = (concat!("TO", "DO"), concat!("TO", "DO("));
    let mut found = Vec::new();
    for (name, text) in texts() {
        let lines = text.lines().enumerate();
        let orphans = lines.filter(|(_, line)| line.contains(task) && !line.contains(owned));
        found.extend(orphans.map(|(number, line)| format!("{name}:{}: {line}", number + 1)));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_ignored_test_says_why() {
    let (bare, mark) = (concat!("#[ign", "ore]"), concat!("#![cfg(an", "y())]"));
    let found: Vec<_> = texts()
        .into_iter()
        .filter(|(name, text)| name.ends_with(".rs") && (text.contains(bare) || text.contains(mark)))
        .map(|(name, _)| name)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn banned_packages_are_neither_locked_nor_needed() {
    let policy = read(".cargo/deny.toml");
    let (_, rest) = policy.split_once("\ndeny = [").expect("a list of bans");
    let (list, _) = rest.split_once("\n]").expect("the list ends");
    let bans: Vec<(&str, bool)> = list
        .lines()
        .filter_map(|line| {
            let name = line.split_once("crate = \"")?.1.split('"').next()?;
            Some((name, line.contains("wrappers")))
        })
        .collect();
    assert!(bans.len() >= 5, "{bans:?}");
    let lock = read("Cargo.lock");
    let needed: BTreeSet<String> = dependencies().into_values().flatten().collect();
    for (name, tolerated_below_others) in bans {
        assert!(!needed.contains(name), "{name} is banned in .cargo/deny.toml");
        let locked = lock.contains(&format!("name = \"{name}\"\n"));
        assert!(
            !locked || tolerated_below_others,
            "a dependency brings {name}, banned in .cargo/deny.toml"
        );
    }
}
