//! What is tracked: `vrrp_script`, `vrrp_track_process`, `track_file`, and the `track_*` blocks that use them.
//!
//! keepalived keeps a namespace for each kind; here all are checks, so a name that two kinds share gets the kind
//! added. A tracker that is used but not defined is an error, where keepalived logs a line and runs without it.

use std::collections::BTreeMap;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};
use warren_kit::duration::HumanDuration;

use super::keyword::{Arguments, Keyword, Table, read_block, spanned_text};
use super::notify;
use super::tree::Statement;
use crate::config::{Check, CheckUse, CheckUseTable, Command};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Script,
    Process,
    File,
    Interface,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Process => "process",
            Self::File => "file",
            Self::Interface => "interface",
        }
    }
}

/// One line of a `track_*` block.
#[derive(Debug)]
pub(super) struct Use {
    kind: Kind,
    name: Spanned<String>,
    weight: Option<Spanned<i64>>,
    reverse: Option<bool>,
}

/// Every tracker of a file, by kind and name.
#[derive(Debug, Default)]
pub(super) struct Trackers {
    checks: BTreeMap<(Kind, String), (Spanned<String>, Check)>,
}

impl Trackers {
    pub(super) fn define(&mut self, report: &mut Report, kind: Kind, name: Spanned<String>, check: Check) {
        let key = (kind, name.get_ref().clone());
        if let Some((first, _)) = self.checks.get(&key) {
            report.conflict(
                name.span(),
                format!("the {} \"{}\" is defined twice", kind.word(), name.get_ref()),
                first.span(),
                "first defined here",
                "give one of them another name",
            );
            return;
        }
        self.checks.insert(key, (name, check));
    }

    /// Interfaces need no definition: every one that is used becomes a check.
    pub(super) fn define_interfaces<'u>(&mut self, uses: impl Iterator<Item = &'u Use>) {
        for used in uses.filter(|used| used.kind == Kind::Interface) {
            let key = (Kind::Interface, used.name.get_ref().clone());
            self.checks.entry(key).or_insert_with(|| {
                let check = Check {
                    interface: Some(used.name.clone()),
                    ..Check::default()
                };
                (used.name.clone(), check)
            });
        }
    }

    /// What a use becomes. `weights_count` is false for members of sync groups, whose weights keepalived sets to 0.
    pub(super) fn resolve(
        &self,
        report: &mut Report,
        used: &Use,
        weights_count: bool,
    ) -> Option<Spanned<CheckUse>> {
        let name = used.name.get_ref();
        let Some((_, check)) = self.checks.get(&(used.kind, name.clone())) else {
            let known = self
                .checks
                .keys()
                .filter(|(kind, _)| *kind == used.kind)
                .map(|(_, name)| name.as_str());
            report.error(
                used.name.span(),
                format!("there is no {} \"{name}\" to track", used.kind.word()),
                suggestion(name, known),
            );
            return None;
        };
        let own_weight = used
            .weight
            .as_ref()
            .or(check.weight.as_ref())
            .map_or(0, |weight| *weight.get_ref());
        let mut weight = used.weight.as_ref().map(|weight| *weight.get_ref());
        if own_weight != 0 && !weights_count {
            report.warn(
                used.name.span(),
                "in a sync group the weight does not count: a failure releases the role",
                "as keepalived does; write weight 0, or sync_group_tracking_weight in the group",
            );
            weight = Some(0);
        }
        let reverse = used
            .reverse
            .filter(|reverse| *reverse != check.reverse)
            .map(|_| true);
        let check = self.check_name(used.kind, name);
        let resolved = match (weight, reverse) {
            (None, None) => CheckUse::Short(check),
            (weight, reverse) => CheckUse::Long(CheckUseTable {
                check,
                weight,
                reverse,
            }),
        };
        Some(Spanned::new(used.name.span(), resolved))
    }

    /// Whether a use has a weight other than 0.
    pub(super) fn has_weight(&self, used: &Use) -> bool {
        let default = self.checks.get(&(used.kind, used.name.get_ref().clone()));
        let weight = used
            .weight
            .as_ref()
            .or_else(|| default.and_then(|(_, check)| check.weight.as_ref()));
        weight.is_some_and(|weight| *weight.get_ref() != 0)
    }

    pub(super) fn into_checks(self) -> BTreeMap<Spanned<String>, Check> {
        let named: Vec<_> = self
            .checks
            .iter()
            .map(|((kind, name), (written, check))| {
                (
                    Spanned::new(written.span(), self.check_name(*kind, name)),
                    check.clone(),
                )
            })
            .collect();
        named.into_iter().collect()
    }

    /// The name as it is, unless an earlier kind has it too.
    fn check_name(&self, kind: Kind, name: &str) -> String {
        let kinds = [Kind::Script, Kind::Process, Kind::File, Kind::Interface];
        let taken = |name: &str| {
            kinds
                .iter()
                .take_while(|earlier| **earlier < kind)
                .any(|earlier| self.checks.contains_key(&(*earlier, name.to_owned())))
        };
        if taken(name) {
            format!("{}-{name}", kind.word())
        } else {
            name.to_owned()
        }
    }
}

/// The lines of a `track_*` block.
pub(super) fn uses(report: &mut Report, kind: Kind, block: &[Statement]) -> Vec<Use> {
    let mut uses = Vec::new();
    for statement in block {
        let Some((name, options)) = statement.words.split_first() else {
            continue;
        };
        let mut used = Use {
            kind,
            name: spanned_text(name),
            weight: None,
            reverse: None,
        };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.text.as_str() {
                "weight" => {
                    let number = options.next();
                    let weight = number
                        .and_then(|word| Some(Spanned::new(word.span.clone(), word.text.parse().ok()?)));
                    if weight.is_none() {
                        report.error(
                            option.span.clone(),
                            "`weight` needs a number",
                            "write e.g. `weight -20`",
                        );
                    }
                    used.weight = weight;
                }
                "reverse" => used.reverse = Some(true),
                "noreverse" | "no_reverse" => used.reverse = Some(false),
                other => report.error(
                    option.span.clone(),
                    format!("unexpected `{other}`"),
                    "a line is NAME [weight NUMBER] [reverse|noreverse]: put each name on a line of its own",
                ),
            }
        }
        if statement.block.is_some() {
            report.error(
                statement.span(),
                format!("\"{}\" has no block", name.text),
                "remove the braces",
            );
        }
        uses.push(used);
    }
    uses
}

pub(super) fn script(report: &mut Report, name: &Spanned<String>, block: &[Statement]) -> Check {
    let mut check = Check::default();
    read_block(report, block, SCRIPT, &mut check);
    demand(report, name, check.script.is_some(), "script");
    check
}

pub(super) fn process(report: &mut Report, name: &Spanned<String>, block: &[Statement]) -> Check {
    let mut draft = ProcessDraft::default();
    read_block(report, block, PROCESS, &mut draft);
    demand(report, name, draft.check.process.is_some(), "process");
    let mut check = draft.check;
    let by_arguments = draft.words.len() > 1 || draft.words.first().is_some_and(|word| word.contains('/'));
    if draft.full_command || by_arguments {
        check.command_line = Some(draft.words);
    }
    check
}

pub(super) fn file(report: &mut Report, name: &Spanned<String>, block: &[Statement]) -> Check {
    // keepalived multiplies the number in the file by 1 unless told otherwise.
    let mut check = Check {
        weight: Some(Spanned::new(name.span(), 1)),
        ..Check::default()
    };
    read_block(report, block, FILE, &mut check);
    demand(report, name, check.file.is_some(), "file");
    check
}

fn demand(report: &mut Report, name: &Spanned<String>, present: bool, keyword: &str) {
    if !present {
        report.error(
            name.span(),
            format!("\"{}\" has no `{keyword}`", name.get_ref()),
            format!("add a line `{keyword} ...`"),
        );
    }
}

pub(super) const SCRIPT: &Table<Check> = &[
    (
        "script",
        Keyword::Read(|check, arguments| check.script = command(arguments)),
    ),
    (
        "interval",
        Keyword::Read(|check, arguments| check.interval = arguments.seconds()),
    ),
    (
        "timeout",
        Keyword::Read(|check, arguments| check.timeout = timeout(arguments)),
    ),
    ("weight", Keyword::Read(weight)),
    (
        "rise",
        Keyword::Read(|check, arguments| check.rise = arguments.number()),
    ),
    (
        "fall",
        Keyword::Read(|check, arguments| check.fall = arguments.number()),
    ),
    (
        "user",
        Keyword::Read(|check, arguments| check.user = notify::user(arguments)),
    ),
    ("init_fail", Keyword::Read(|check, _| check.start_failed = true)),
];

/// A quoted command is one word with blanks; an unquoted one is several words.
fn command(arguments: &mut Arguments<'_, '_>) -> Option<Spanned<Command>> {
    let first = arguments.required("a command")?;
    let rest = arguments.rest();
    let Some(last) = rest.last() else {
        return Some(Spanned::new(
            first.span.clone(),
            Command::Line(first.text.clone()),
        ));
    };
    let span = first.span.start..last.span.end;
    arguments.report.warn(
        span.clone(),
        "keepalived runs an unquoted command without its arguments; here they count",
        "put the command in quotes",
    );
    let words = std::iter::once(first)
        .chain(rest)
        .map(|word| word.text.clone())
        .collect();
    Some(Spanned::new(span, Command::Words(words)))
}

/// 0 is keepalived's way to say "the interval".
fn timeout(arguments: &mut Arguments<'_, '_>) -> Option<Spanned<HumanDuration>> {
    arguments
        .seconds()
        .filter(|timeout| !timeout.get_ref().get().is_zero())
}

fn weight(check: &mut Check, arguments: &mut Arguments<'_, '_>) {
    check.weight = arguments.number();
    check.reverse = arguments.optional_word("reverse");
}

#[derive(Default)]
pub(super) struct ProcessDraft {
    check: Check,
    words: Vec<String>,
    full_command: bool,
}

pub(super) const PROCESS: &Table<ProcessDraft> = &[
    ("process", Keyword::Read(process_name)),
    (
        "weight",
        Keyword::Read(|draft, arguments| weight(&mut draft.check, arguments)),
    ),
    (
        "quorum",
        Keyword::Read(|draft, arguments| draft.check.least = arguments.number()),
    ),
    ("quorum_max", Keyword::Read(quorum_max)),
    (
        "fork_delay",
        Keyword::Read(|draft, arguments| draft.check.up_delay = arguments.seconds()),
    ),
    (
        "terminate_delay",
        Keyword::Read(|draft, arguments| draft.check.down_delay = arguments.seconds()),
    ),
    ("delay", Keyword::Read(delay)),
    (
        "full_command",
        Keyword::Read(|draft, _| draft.full_command = true),
    ),
    (
        "param_match",
        Keyword::Refused("name the whole command line, or leave the parameters out"),
    ),
];

fn process_name(draft: &mut ProcessDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(first) = arguments.required("the name of a process") else {
        return;
    };
    draft.words = std::iter::once(first)
        .chain(arguments.rest())
        .map(|word| word.text.clone())
        .collect();
    // The kernel's name of a process is the last part of its path.
    let name = first.text.rsplit('/').next().unwrap_or(&first.text).to_owned();
    draft.check.process = Some(Spanned::new(first.span.clone(), name));
}

/// "At most none" asks for a process that must not run.
fn quorum_max(draft: &mut ProcessDraft, arguments: &mut Arguments<'_, '_>) {
    draft.check.most = arguments.number();
    let none = draft.check.most.as_ref().is_some_and(|most| *most.get_ref() == 0);
    if none && draft.check.least.is_none() {
        draft.check.least = Some(Spanned::new(arguments.span(), 0));
    }
}

fn delay(draft: &mut ProcessDraft, arguments: &mut Arguments<'_, '_>) {
    let delay = arguments.seconds();
    draft.check.up_delay = delay.clone();
    draft.check.down_delay = delay;
}

pub(super) const FILE: &Table<Check> = &[
    ("file", Keyword::Read(file_path)),
    ("weight", Keyword::Read(weight)),
    (
        "init_file",
        Keyword::NoEffect("the daemon does not write into the file: create it before, e.g. by tmpfiles.d"),
    ),
];

fn file_path(check: &mut Check, arguments: &mut Arguments<'_, '_>) {
    check.file = arguments
        .text("a path")
        .map(|path| Spanned::new(path.span(), path.into_inner().into()));
}
