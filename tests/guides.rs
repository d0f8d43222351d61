//! What the operator guide and the README show must work: every configuration loads, every command line is understood.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use warren::config::{self, Format};
use warren_broker::config as broker;
use warren_proxy::config as proxy;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The chapters of one language, and the README.
fn pages(language: &str) -> BTreeMap<PathBuf, String> {
    std::fs::read_dir(root().join("docs/guide").join(language))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .chain([root().join("README.md")])
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// The blocks that are marked as `kind`.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.any(|line| line == fence) {
        let block = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(block.fold(String::new(), |block, line| block + line + "\n"));
    }
    blocks
}

#[test]
fn every_configuration_in_the_guides_loads_on_both_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.toml");
    let mut count = 0;
    for (path, page) in ["en", "zh"].into_iter().flat_map(pages) {
        for block in blocks(&page, "toml") {
            std::fs::write(&file, &block).unwrap();
            for host in ["alpha", "beta"] {
                let place = format!("{}, as {host} sees it", path.display());
                if block.contains("[vrrp") {
                    let loaded = config::load(&file, Format::Toml, host);
                    let loaded = loaded.unwrap_or_else(|error| panic!("{place}:\n{error}"));
                    assert_eq!(loaded.render_warnings(false), "", "{place}");
                }
                if block.contains("[proxy") {
                    let loaded = proxy::load(&file, proxy::Format::Toml, host);
                    let loaded = loaded.unwrap_or_else(|error| panic!("{place}:\n{error}"));
                    assert_eq!(loaded.render_warnings(false), "", "{place}");
                }
                if block.contains("[broker") {
                    let machine = broker::Machine {
                        host: host.to_owned(),
                        data: directory.path().into(),
                    };
                    let loaded = broker::load_toml(&file, &machine);
                    let loaded = loaded.unwrap_or_else(|error| panic!("{place}:\n{error}"));
                    assert_eq!(loaded.render_warnings(false), "", "{place}");
                }
            }
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} configurations found");
}

#[test]
fn every_command_line_in_the_guides_is_understood() {
    let mut count = 0;
    for (path, page) in ["en", "zh"].into_iter().flat_map(pages) {
        let commands = blocks(&page, "console").concat();
        for line in commands.lines() {
            let Some(words) = line
                .strip_prefix(['$', '#'])
                .map(str::trim)
                .filter(|it| it.starts_with("warren "))
            else {
                continue;
            };
            if let Err(error) = warren::cli::Cli::try_parse_from(words.split_whitespace()) {
                panic!("{}: {line}\n{error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} commands found");
}

#[test]
fn both_languages_show_the_same() {
    let bare = |block: String| -> Vec<String> {
        block
            .lines()
            .filter(|line| {
                !line.starts_with("# ") || line.starts_with("# warren") || line.starts_with("# systemctl")
            })
            .map(str::to_owned)
            .collect()
    };
    for entry in std::fs::read_dir(root().join("docs/guide/en")).unwrap() {
        let english = entry.unwrap().path();
        let chinese = root().join("docs/guide/zh").join(english.file_name().unwrap());
        let [english, chinese] = [english, chinese].map(|path| std::fs::read_to_string(path).unwrap());
        for kind in ["toml", "console", "sh", "text"] {
            let [english, chinese] = [&english, &chinese].map(|page| {
                let blocks: Vec<Vec<String>> = blocks(page, kind).into_iter().map(bare).collect();
                blocks
            });
            assert_eq!(english, chinese, "blocks of {kind}");
        }
        let sections = |page: &str| page.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(sections(&english), sections(&chinese));
    }
}
