use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::duration::HumanDuration;

const ROLES: [&str; 2] = ["pigeon", "snail"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pigeon {
    #[serde(default)]
    interval: Option<Spanned<HumanDuration>>,
    #[serde(default)]
    colour: Colour,
    #[serde(default)]
    nest: BTreeMap<Spanned<String>, Nest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nest {
    eggs: Spanned<u8>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    #[default]
    Grey,
    White,
}

fn file(text: &str) -> SourceFile {
    SourceFile::new("warren.toml", text)
}

fn section(text: &str, host: &str) -> Result<Option<Pigeon>, Invalid> {
    Config::parse(&file(text), &ROLES)?.section("pigeon", host)
}

/// The complaints as (line of the file, text under the caret, message, label, help).
fn complaints(text: &str, host: &str) -> Vec<(usize, String, String, String, String)> {
    let invalid = section(text, host).expect_err("the file is wrong");
    let source = file(text);
    let lines = |diagnostic: &Diagnostic| {
        let (line, _) = source.position(diagnostic.span.start);
        let under = source.text[diagnostic.span.clone()].to_owned();
        let label = diagnostic.label.clone().unwrap_or_default();
        (
            line,
            under,
            diagnostic.message.clone(),
            label,
            diagnostic.help.clone().unwrap_or_default(),
        )
    };
    invalid.diagnostics.iter().map(lines).collect()
}

fn complaint(
    line: usize,
    under: &str,
    message: &str,
    label: &str,
    help: &str,
) -> (usize, String, String, String, String) {
    (line, under.into(), message.into(), label.into(), help.into())
}

const TWO_HOSTS: &str = r#"
[pigeon]
interval = "100ms"
nest.roof = { eggs = 1, names = ["a", "b"] }

[pigeon.nest.tree]
eggs = 2

[host.alpha]

[host.beta.pigeon]
colour = "white"
nest.roof.eggs = 7

[host.beta.pigeon.nest.cellar]
eggs = 9
names = ["z"]
"#;

#[test]
fn a_host_without_overrides_sees_the_plain_section() {
    for host in ["alpha", "unheard-of"] {
        let pigeon = section(TWO_HOSTS, host).unwrap().unwrap();
        assert_eq!(pigeon.colour, Colour::Grey);
        assert_eq!(pigeon.nest.len(), 2);
        assert_eq!(*pigeon.nest["roof"].eggs.get_ref(), 1);
    }
    let file = file(TWO_HOSTS);
    let config = Config::parse(&file, &ROLES).unwrap();
    assert_eq!(config.hosts().collect::<Vec<_>>(), ["alpha", "beta"]);
}

#[test]
fn tables_merge_and_everything_else_is_replaced() {
    let pigeon = section(TWO_HOSTS, "beta").unwrap().unwrap();
    assert_eq!(pigeon.colour, Colour::White);
    assert_eq!(
        pigeon.interval.unwrap().into_inner(),
        HumanDuration::from_millis(100)
    );
    assert_eq!(
        pigeon
            .nest
            .keys()
            .map(|key| key.get_ref().as_str())
            .collect::<Vec<_>>(),
        ["cellar", "roof", "tree"]
    );
    assert_eq!(*pigeon.nest["roof"].eggs.get_ref(), 7);
    assert_eq!(
        pigeon.nest["roof"].names.len(),
        2,
        "keys that are not overridden stay"
    );
    let text = "[pigeon.nest.a]\neggs = 1\nnames = ['x', 'y']\n[host.h.pigeon.nest.a]\nnames = ['z']\n";
    let pigeon = section(text, "h").unwrap().unwrap();
    assert_eq!(pigeon.nest["a"].names.len(), 1, "lists are replaced, not joined");
}

#[test]
fn spans_of_values_and_keys_point_at_the_line_that_counts() {
    let pigeon = section(TWO_HOSTS, "beta").unwrap().unwrap();
    let at = |span: Range<usize>| {
        let (line, _) = SourceFile::new("", TWO_HOSTS).position(span.start);
        (line, &TWO_HOSTS[span])
    };
    assert_eq!(at(pigeon.interval.unwrap().span()), (3, "\"100ms\""));
    assert_eq!(at(pigeon.nest["roof"].eggs.span()), (13, "7"));
    assert_eq!(at(pigeon.nest["roof"].names[1].span()), (4, "\"b\""));
    assert_eq!(at(pigeon.nest["cellar"].eggs.span()), (16, "9"));
    let keys: Vec<_> = pigeon.nest.keys().map(|key| at(key.span())).collect();
    assert_eq!(keys, [(15, "cellar"), (4, "roof"), (6, "tree")]);
}

#[test]
fn an_unknown_key_is_refused_with_a_caret_and_a_suggestion() {
    let invalid = section("[pigeon]\nintreval = \"1s\"\n", "a").unwrap_err();
    let expected = "\
error: unknown key `intreval`
 --> warren.toml:2:1
  |
2 | intreval = \"1s\"
  | ^^^^^^^^
  |
  = help: did you mean `interval`?
";
    assert_eq!(invalid.render(false), expected);
    assert_eq!(invalid.to_string(), expected.trim_end());
}

#[test]
fn all_mistakes_of_a_section_are_reported_at_once() {
    let text = "\
[pigeon]
interval = 100
colour = \"grei\"
[pigeon.nest.a]
eggs = 300
egs = 1
[pigeon.nest.b]
names = []
[pigeon.nest.c]
eggs = 3
names = [\"x\", 4]
";
    let duration = "expected a duration in quotes with its unit, such as \"100ms\" or \"1.5s\"";
    assert_eq!(
        complaints(text, "h"),
        [
            complaint(2, "100", "invalid type: integer `100`", duration, ""),
            complaint(3, "\"grei\"", "unknown value `grei`", "", "did you mean `grey`?"),
            complaint(
                5,
                "300",
                "invalid value: integer `300`",
                "expected a whole number from 0 to 255",
                ""
            ),
            complaint(6, "egs", "unknown key `egs`", "", "did you mean `eggs`?"),
            complaint(
                7,
                "[pigeon.nest.b]",
                "the key `eggs` is missing",
                "",
                "write `eggs = ...` in this section"
            ),
            complaint(11, "4", "invalid type: integer `4`", "expected a string", ""),
        ]
    );
}

#[test]
fn the_override_of_another_host_is_checked_too() {
    let text = "\
[pigeon]
[host.other.pigeon]
colour = \"whit\"
nest.a.names = []
[host.third.pigeon]
flies = true
";
    assert_eq!(
        complaints(text, "me"),
        [
            complaint(
                3,
                "\"whit\"",
                "unknown value `whit`",
                "as the host `other` sees it",
                "did you mean `white`?"
            ),
            complaint(
                4,
                "a",
                "the key `eggs` is missing",
                "as the host `other` sees it",
                "write `eggs = ...` in this section"
            ),
            complaint(
                6,
                "flies",
                "unknown key `flies`",
                "as the host `third` sees it",
                "the known keys are: interval, colour, nest"
            ),
        ]
    );
}

#[test]
fn a_mistake_that_every_host_shares_is_reported_once() {
    let text = "[pigeon]\nx = 1\n[host.a.pigeon]\n[host.b.pigeon]\n";
    assert_eq!(complaints(text, "a").len(), 1);
}

#[test]
fn what_only_the_overrides_give_is_not_missing() {
    let text = "[pigeon.nest.n]\n[host.a.pigeon.nest.n]\neggs = 1\n[host.b.pigeon.nest.n]\neggs = 2\n";
    assert_eq!(*section(text, "b").unwrap().unwrap().nest["n"].eggs.get_ref(), 2);
    assert_eq!(complaints(text, "c")[0].2, "the key `eggs` is missing");
}

#[test]
fn an_unknown_section_is_refused_at_the_top_and_under_a_host() {
    let text = "[pigoen]\n[host.a.snial]\n[host.b]\npigeon = 3\n[host]\nc = 1\n[snail]\n";
    assert_eq!(
        complaints(text, "me"),
        [
            complaint(
                1,
                "pigoen",
                "unknown section `pigoen`",
                "",
                "did you mean `pigeon`?"
            ),
            complaint(2, "snial", "unknown section `snial`", "", "did you mean `snail`?"),
            complaint(
                4,
                "pigeon",
                "`pigeon` is a section, not a value",
                "",
                "write [pigeon] on a line of its own and its keys below it"
            ),
            complaint(
                6,
                "c",
                "`host.c` is not a section",
                "",
                "overrides are written [host.NAME.pigeon]"
            ),
        ]
    );
}

#[test]
fn a_role_may_be_absent_or_given_by_a_host_alone() {
    assert!(section("", "a").unwrap().is_none());
    let text = "[host.a.pigeon]\ncolour = 'white'\n";
    assert!(section(text, "b").unwrap().is_none());
    assert_eq!(section(text, "a").unwrap().unwrap().colour, Colour::White);
}

#[test]
fn a_syntax_error_points_at_its_place() {
    let complaints = complaints("[pigeon]\ncolour = \n[pigeon]\n", "a");
    assert_eq!(complaints[0].0, 2, "{complaints:?}");
    assert!(
        complaints.iter().any(|complaint| complaint.0 == 3),
        "the second mistake too: {complaints:?}"
    );
}

#[test]
fn an_unreadable_file_is_named() {
    let error = read(Path::new("/nonexistent/warren.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/warren.toml: No such file"),
        "{error}"
    );
}

#[test]
fn a_file_without_end_is_refused_after_its_limit() {
    let error = read(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge(_)), "{error}");
}
