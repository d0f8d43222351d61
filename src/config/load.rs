//! Reads a configuration file of either format into a plan.

use std::ops::Range;
use std::path::Path;

use warren_kit::config::{self, Built, ConfigError, Invalid, Role, read};

use super::plan::Plan;
use super::{Vrrp, build, keepalived};

/// The sections a warren.toml may have.
const ROLES: [&str; 3] = ["vrrp", "proxy", "broker"];

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// warren.toml
    Toml,
    /// keepalived.conf
    Keepalived,
}

impl Format {
    /// By the name: `.toml` is ours, everything else keepalived's.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") {
            Self::Toml
        } else {
            Self::Keepalived
        }
    }
}

/// A valid configuration.
pub type Loaded = config::Loaded<Plan, Vrrp>;

/// Reads, checks and plans. `host` is this host's name, whole or short, and selects the `[host.NAME]` overrides.
pub fn load(path: &Path, format: Format, host: &str) -> Result<Loaded, ConfigError> {
    load_as(path, format, host, None)
}

/// The same with the name by which a keepalived.conf selects its `@` lines; the host's unless given.
pub fn load_as(
    path: &Path,
    format: Format,
    host: &str,
    config_id: Option<&str>,
) -> Result<Loaded, ConfigError> {
    match format {
        Format::Toml => config::load(&Toml, &ROLES, read(path)?, host),
        Format::Keepalived => {
            let short_name = host.split('.').next().unwrap_or(host);
            load_keepalived(path, host, config_id.unwrap_or(short_name))
        }
    }
}

/// `[vrrp]` of a warren.toml.
struct Toml;

impl Role for Toml {
    const NAME: &'static str = "vrrp";
    type File = Vrrp;
    type Plan = Plan;

    fn secrets(&self, file: &Vrrp) -> Vec<Range<usize>> {
        passwords(file).collect()
    }

    fn build(&self, file: &Vrrp, host: &str) -> Built<Plan> {
        build(file, host)
    }
}

/// Where the secrets of a file stand.
fn passwords(file: &Vrrp) -> impl Iterator<Item = Range<usize>> {
    file.router
        .values()
        .filter_map(|router| router.password.as_ref())
        .map(toml::Spanned::span)
}

fn load_keepalived(path: &Path, host: &str, config_id: &str) -> Result<Loaded, ConfigError> {
    let imported = keepalived::read(path, config_id)?;
    let (file, mut sources) = (imported.file, imported.sources);
    sources.hide(passwords(&file));
    let mut warnings = match imported.diagnostics {
        Ok(warnings) => warnings,
        Err(diagnostics) => return Err(Invalid::new(sources, diagnostics).into()),
    };
    match build(&file, host) {
        Ok((plan, more)) => {
            warnings.extend(more);
            Ok(Loaded::new(plan, file, warnings, sources))
        }
        Err(diagnostics) => Err(Invalid::new(sources, diagnostics).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, host: &str) -> Result<Loaded, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.toml");
        std::fs::write(&path, text).unwrap();
        load(&path, Format::of(&path), host)
    }

    const PAIR: &str = r#"
[vrrp.router.web]
interface = "eth0"
vrid = 51
addresses = ["192.0.2.1"]

[host.beta.vrrp.router.web]
priority = 200

[host."gamma.example.org".vrrp.router.web]
priority = 150
"#;

    #[test]
    fn a_host_is_known_by_its_whole_name_or_by_the_part_up_to_the_first_dot() {
        for (host, priority) in [
            ("beta", 200),
            ("beta.example.org", 200),
            ("gamma.example.org", 150),
            ("gamma", 254),
            ("alpha.example.org", 254),
        ] {
            let plan = loaded(PAIR, host).unwrap().plan;
            assert_eq!(plan.routers[0].priority, priority, "{host}");
            assert_eq!(plan.router_id, host);
        }
    }

    #[test]
    fn a_mistake_in_the_part_of_another_host_is_found_on_every_host() {
        let text = PAIR.replace("priority = 150", "priority = 300");
        let error = loaded(&text, "alpha").unwrap_err().to_string();
        assert!(error.contains("priority 300 is out of range"), "{error}");
        assert!(
            error.contains("as the host `gamma.example.org` sees it"),
            "{error}"
        );
    }

    #[test]
    fn a_password_is_not_shown_in_messages() {
        let text = PAIR.replace("vrid = 51", "vrid = 51\npassword = \"s3cret\"");
        let error = loaded(&text, "alpha").unwrap_err().to_string();
        assert!(error.contains("password = ********"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_file_without_the_section_says_so() {
        let error = loaded("", "alpha").unwrap_err().to_string();
        assert!(error.contains("has no [vrrp] section"), "{error}");
    }
}
