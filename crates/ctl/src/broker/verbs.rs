//! All verbs: what each is called, takes and does.

mod accounts;
mod checks;
mod clustering;
mod configuration;
mod diagnostics;
mod limits;
mod lists;
mod maintenance;
mod node;
mod operations;
mod parameters;
mod plugins;
mod policies;
mod quorum;
mod topics;

use warren_api::broker::Listing;

use super::Tool;
use super::failure::Failure;
use super::session::Session;

/// A verb.
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) usage: &'static str,
    /// For people.
    pub(super) summary: &'static str,
    pub(super) section: &'static str,
    /// How many arguments, at least and at most.
    pub(super) arguments: (usize, usize),
    /// Options beside those that all verbs take.
    pub(super) options: &'static [&'static str],
    /// No broker is asked.
    pub(super) alone: bool,
    pub(super) run: fn(&mut Session<'_, '_>) -> Result<(), Failure>,
}

impl Verb {
    const fn new(
        name: &'static str,
        usage: &'static str,
        summary: &'static str,
        arguments: (usize, usize),
        run: fn(&mut Session<'_, '_>) -> Result<(), Failure>,
    ) -> Self {
        Self {
            name,
            usage,
            summary,
            section: "",
            arguments,
            options: &[],
            alone: false,
            run,
        }
    }

    const fn options(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    const fn of(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    /// The columns of a listing.
    pub(super) fn columns(&self) -> Option<&'static [&'static str]> {
        let vhost = None;
        Some(match self.name {
            "list_queues" => Listing::Queues { vhost }.columns(),
            "list_exchanges" => Listing::Exchanges { vhost }.columns(),
            "list_bindings" => Listing::Bindings { vhost }.columns(),
            "list_consumers" => Listing::Consumers { vhost }.columns(),
            "list_connections" => Listing::Connections {}.columns(),
            "list_channels" => Listing::Channels {}.columns(),
            "list_vhosts" => Listing::Vhosts {}.columns(),
            _ => return None,
        })
    }
}

/// Any number.
const MANY: usize = usize::MAX;

/// A group of verbs, and under which names of the program they are found.
struct Group {
    tools: &'static [Tool],
    verbs: &'static [Verb],
}

static GROUPS: &[Group] = &[
    Group {
        tools: &[
            Tool::Ctl,
            Tool::Diagnostics,
            Tool::Queues,
            Tool::Upgrade,
            Tool::Warren,
        ],
        verbs: &node::HELP,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &node::NODES,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &clustering::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &accounts::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &limits::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &topics::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &parameters::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Diagnostics, Tool::Warren],
        verbs: &lists::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Diagnostics, Tool::Warren],
        verbs: &node::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &operations::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &policies::VERBS,
    },
    Group {
        tools: &[Tool::Diagnostics, Tool::Queues, Tool::Warren],
        verbs: &checks::VERBS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &configuration::SETTINGS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Diagnostics, Tool::Warren],
        verbs: &configuration::REPORTS,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &maintenance::LISTENERS,
    },
    Group {
        tools: &[Tool::Upgrade, Tool::Warren],
        verbs: &maintenance::UPGRADES,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Diagnostics, Tool::Warren],
        verbs: &diagnostics::BOTH,
    },
    Group {
        tools: &[Tool::Ctl, Tool::Warren],
        verbs: &diagnostics::CTL,
    },
    Group {
        tools: &[Tool::Diagnostics, Tool::Warren],
        verbs: &diagnostics::VERBS,
    },
    Group {
        tools: &[Tool::Diagnostics, Tool::Queues, Tool::Warren],
        verbs: &quorum::STATUS,
    },
    Group {
        tools: &[Tool::Queues, Tool::Warren],
        verbs: &quorum::VERBS,
    },
    Group {
        tools: &[Tool::Plugins],
        verbs: &plugins::VERBS,
    },
];

/// The verbs that there are under this name of the program.
pub(super) fn of(tool: Tool) -> impl Iterator<Item = &'static Verb> {
    let groups = GROUPS.iter().filter(move |group| group.tools.contains(&tool));
    groups.flat_map(|group| group.verbs)
}

/// A verb by its name.
pub(super) fn find(tool: Tool, name: &str) -> Option<&'static Verb> {
    of(tool).find(|verb| verb.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::command_line::CommandLine;

    #[test]
    fn no_two_verbs_of_a_program_have_the_same_name() {
        for tool in [
            Tool::Ctl,
            Tool::Diagnostics,
            Tool::Plugins,
            Tool::Queues,
            Tool::Upgrade,
            Tool::Warren,
        ] {
            let mut names: Vec<&str> = of(tool).map(|verb| verb.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{tool:?}");
        }
    }

    #[test]
    fn every_option_that_a_usage_names_is_taken() {
        for verb in of(Tool::Warren).chain(of(Tool::Plugins)) {
            let words = verb
                .usage
                .split(|c: char| c.is_whitespace() || "[]|()".contains(c));
            for option in words.filter(|word| word.starts_with("--")) {
                let words = [verb.name, option, "1"].map(str::to_owned);
                let line = CommandLine::read(&words);
                let taken = line.check(verb).map_err(|failure| format!("{failure:?}"));
                let wrong = taken.err().filter(|text| text.contains("Invalid options"));
                assert_eq!(wrong, None, "{} {option}", verb.name);
            }
        }
    }

    #[test]
    fn every_verb_is_explained_and_has_a_section() {
        for verb in of(Tool::Warren).chain(of(Tool::Plugins)) {
            assert!(
                !verb.summary.is_empty() && !verb.section.is_empty(),
                "{}",
                verb.name
            );
            assert!(verb.arguments.0 <= verb.arguments.1, "{}", verb.name);
        }
    }
}
