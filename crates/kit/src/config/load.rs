//! From a role's section to its plan, as every host of the file sees it.

use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::{Config, ConfigError, Invalid, Sources};
use crate::diagnostics::{Diagnostic, SourceFile};

/// What stands for the hosts without overrides where only one has some.
const OTHER_HOSTS: &str = "other hosts";

/// A plan and what is doubtful about it, or everything that is wrong, in the order of the file.
pub type Built<Plan> = Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>>;

/// One section of warren.toml and what becomes of it.
pub trait Role {
    /// The section's name.
    const NAME: &'static str;

    /// The section as it is written.
    type File: DeserializeOwned;

    /// What is made of it.
    type Plan;

    /// Where its secrets stand: no message shows them.
    fn secrets(&self, file: &Self::File) -> Vec<Range<usize>>;

    /// Applies the rules to the section as `host` sees it.
    ///
    /// # Errors
    /// At least one of the diagnostics is an error.
    fn build(&self, file: &Self::File, host: &str) -> Built<Self::Plan>;
}

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded<Plan, File> {
    /// What is to be done.
    pub plan: Plan,
    /// What the file says, for `import` and for those who ask where a value comes from.
    pub file: File,
    /// What was accepted and may not be meant.
    pub warnings: Vec<Diagnostic>,
    /// What the warnings point into.
    pub sources: Sources,
    /// The plan of every host the file speaks of, to be compared with each other.
    pub hosts: Vec<(String, Plan)>,
}

impl<Plan, File> Loaded<Plan, File> {
    /// A configuration that speaks of one host.
    #[must_use]
    pub fn new(plan: Plan, file: File, mut warnings: Vec<Diagnostic>, sources: Sources) -> Self {
        warnings.sort_by_key(|warning| warning.span.start);
        Self {
            plan,
            file,
            warnings,
            sources,
            hosts: Vec::new(),
        }
    }

    /// What came of reading files of another format (its warnings, or what is wrong with it) and of planning what was read.
    ///
    /// # Errors
    /// One of the two went wrong.
    pub fn concluded(
        read: Result<Vec<Diagnostic>, Vec<Diagnostic>>,
        built: Built<Plan>,
        file: File,
        sources: Sources,
    ) -> Result<Self, ConfigError> {
        let found = match (read, built) {
            (Ok(mut warnings), Ok((plan, more))) => {
                warnings.extend(more);
                return Ok(Self::new(plan, file, warnings, sources));
            }
            (Ok(mut found), Err(more)) => {
                found.extend(more);
                found
            }
            // Warnings about what was read in part would be echoes.
            (Err(mut found), built) => {
                found.extend(built.err().into_iter().flatten().filter(Diagnostic::is_error));
                found
            }
        };
        Err(Invalid::new(sources, found).into())
    }

    /// The warnings with carets; empty if there are none.
    #[must_use]
    pub fn render_warnings(&self, colour: bool) -> String {
        self.sources.render(&self.warnings, colour)
    }

    /// The warnings on one line each, for logs.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| self.sources.line(warning))
    }

    /// The file translated to TOML, `document`, with the warnings above it as comments: what was dropped or needs a look.
    #[must_use]
    pub fn commented(&self, document: Result<String, impl Display>) -> String {
        let mut text = String::new();
        for warning in self.warning_lines() {
            text += "# ";
            text += &warning.replace('\n', "\n# ");
            text.push('\n');
        }
        if !text.is_empty() {
            text.push('\n');
        }
        match document {
            Ok(document) => text + &document,
            // Every value of the file types has a form in TOML; a failure would be a mistake in those types.
            Err(error) => format!("{text}# this configuration has no TOML form: {error}\n"),
        }
    }
}

/// Reads, checks and plans a warren.toml. `sections` are all that it may have; `host` is this host's name, whole or short,
/// and selects the `[host.NAME]` overrides. The other hosts' views are built too: a mistake there is found now, not when
/// such a host starts.
///
/// # Errors
/// The section is missing, or anything in it or in a host's overrides is wrong.
pub fn load<R: Role>(
    role: &R,
    sections: &[&str],
    source: SourceFile,
    host: &str,
) -> Result<Loaded<R::Plan, R::File>, ConfigError> {
    let config = Config::parse(&source, sections)?;
    let Some(file) = config.section::<R::File>(R::NAME, config.host_called(host))? else {
        return Err(ConfigError::NoSection {
            path: PathBuf::from(&source.name),
            section: R::NAME,
        });
    };
    let mut sources = Sources::single(source.clone());
    sources.hide(role.secrets(&file).into_iter());
    let mut complaints = Vec::new();
    let built = role.build(&file, host).map_err(|found| complaints.extend(found));
    let mut hosts = Vec::new();
    for other in hosts_of(&config) {
        let Some(view) = config.section::<R::File>(R::NAME, other)? else {
            continue;
        };
        sources.hide(role.secrets(&view).into_iter());
        match role.build(&view, other) {
            Ok((plan, _)) => hosts.push((other.to_owned(), plan)),
            Err(found) => add_complaints_of_host(&mut complaints, other, found),
        }
    }
    match built {
        Ok((plan, warnings)) if complaints.is_empty() => Ok(Loaded {
            hosts,
            ..Loaded::new(plan, file, warnings, sources)
        }),
        _ => Err(Invalid::new(sources, complaints).into()),
    }
}

/// Hosts with overrides; one alone is compared with those that have none.
fn hosts_of<'a>(config: &'a Config<'_>) -> Vec<&'a str> {
    let mut hosts: Vec<&str> = config.hosts().collect();
    if hosts.len() == 1 {
        hosts.push(OTHER_HOSTS);
    }
    hosts
}

fn add_complaints_of_host(complaints: &mut Vec<Diagnostic>, host: &str, found: Vec<Diagnostic>) {
    for mut complaint in found.into_iter().filter(Diagnostic::is_error) {
        let known = complaints
            .iter()
            .any(|known| known.span == complaint.span && known.message == complaint.message);
        if !known {
            complaint
                .label
                .get_or_insert_with(|| format!("as the host `{host}` sees it"));
            complaints.push(complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use toml::Spanned;

    use super::*;
    use crate::config::Report;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pigeon {
        #[serde(default)]
        secret: Option<Spanned<String>>,
        #[serde(default)]
        flights: Option<Spanned<i64>>,
    }

    struct Loft;

    impl Role for Loft {
        const NAME: &'static str = "pigeon";
        type File = Pigeon;
        type Plan = (String, u8);

        fn secrets(&self, file: &Pigeon) -> Vec<Range<usize>> {
            file.secret.iter().map(Spanned::span).collect()
        }

        fn build(&self, file: &Pigeon, host: &str) -> Built<(String, u8)> {
            let mut report = Report::default();
            let flights = report.number("flights", file.flights.as_ref(), 1..=9, 1);
            if let Some(secret) = &file.secret {
                report.warn(secret.span(), "a secret is no secret", "leave it out");
            }
            Ok(((host.to_owned(), flights), report.finish()?))
        }
    }

    fn loaded(text: &str, host: &str) -> Result<Loaded<(String, u8), Pigeon>, ConfigError> {
        load(
            &Loft,
            &["pigeon", "parrot"],
            SourceFile::new("warren.toml", text),
            host,
        )
    }

    const TWO: &str =
        "[pigeon]\nflights = 3\n[host.beta.pigeon]\nflights = 4\n[host.gamma.pigeon]\nflights = 5\n";

    #[test]
    fn every_host_of_the_file_gets_its_plan() {
        let loaded = loaded(TWO, "beta.example.org").unwrap();
        assert_eq!(loaded.plan, ("beta.example.org".to_owned(), 4));
        assert_eq!(loaded.file.flights.unwrap().into_inner(), 4);
        let hosts: Vec<_> = loaded
            .hosts
            .iter()
            .map(|(host, (_, flights))| (host.as_str(), *flights))
            .collect();
        assert_eq!(hosts, [("beta", 4), ("gamma", 5)]);
    }

    #[test]
    fn one_host_with_overrides_is_compared_with_those_that_have_none() {
        let text = "[pigeon]\nflights = 30\n[host.beta.pigeon]\nflights = 4\n";
        let error = loaded(text, "beta").unwrap_err().to_string();
        assert!(error.contains("flights 30 is out of range"), "{error}");
        assert!(error.contains("as the host `other hosts` sees it"), "{error}");
    }

    #[test]
    fn a_mistake_of_another_host_is_found_and_one_of_all_is_told_once() {
        let error = loaded(&TWO.replace('5', "50").replace('3', "30"), "alpha").unwrap_err();
        let error = error.to_string();
        assert_eq!(error.matches("out of range").count(), 2, "{error}");
        assert!(error.find("flights 30") < error.find("flights 50"), "{error}");
        assert!(error.contains("as the host `gamma` sees it"), "{error}");
        let everywhere = loaded(
            "[pigeon]\nflights = 30\n[host.beta.pigeon]\n[host.gamma.pigeon]\n",
            "alpha",
        );
        let everywhere = everywhere.unwrap_err().to_string();
        assert_eq!(everywhere.matches("out of range").count(), 1, "{everywhere}");
    }

    #[test]
    fn no_message_shows_a_secret() {
        let text = "[pigeon]\nflights = 3\nsecret = \"s3cret\"\n";
        let accepted = loaded(text, "alpha").unwrap();
        let drawn = accepted.render_warnings(false);
        assert!(drawn.contains("secret = ********\n"), "{drawn}");
    }

    #[test]
    fn a_file_that_is_not_for_this_role_says_so() {
        let error = loaded("[parrot]\n", "alpha").unwrap_err().to_string();
        assert_eq!(
            error,
            "warren.toml has no [pigeon] section; add one, or name another file"
        );
    }
}
