//! `warren check`: everything that can be said about configuration files before they run.
//!
//! Each file by itself with the rules of `build`, the hosts of one file or of several together with `lint`, and a
//! file that is meant for this host against the system it will run on.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use warren_kit::config::finding::{self, Finding};
use warren_kit::report::Code;

use super::lint;
use super::load::{Format, Loaded, load};
use super::plan::Plan;
use super::{host_name, system};
use crate::program::ProgramPolicy;
use crate::{notify, track};

/// Checks files, one for each host or one for all, and prints to `out`: `Code::Success` if all is right (warnings
/// allowed), `Code::Usage` without a file, `Code::Config` if something cannot be run.
pub fn check(
    paths: &[PathBuf],
    host: Option<&str>,
    format: Option<Format>,
    out: &mut dyn Write,
    color: bool,
) -> io::Result<Code> {
    if paths.is_empty() {
        writeln!(out, "error: no file to check; name one or more")?;
        return Ok(Code::Usage);
    }
    let own = host_name();
    let mut code = Code::Success;
    let mut loaded = Vec::new();
    for path in paths {
        match load(
            path,
            format.unwrap_or_else(|| Format::of(path)),
            host.unwrap_or(&own),
        ) {
            Ok(one) => loaded.push((path, one)),
            Err(error) => {
                code = Code::Config;
                out.write_all(error.render(color).as_bytes())?;
            }
        }
    }
    for (path, one) in &loaded {
        describe(out, path, one, color)?;
    }
    let mut findings = lint::compare(&hosts(&loaded));
    // What is meant for this host is held against this system.
    if let ([(_, one)], None) = (loaded.as_slice(), host) {
        findings.extend(system::check(&one.plan));
        findings.extend(programs(&one.plan));
    }
    // The worst last, where the eye is.
    findings.sort_by_key(|finding| finding.severity);
    if finding::print(&findings, color, out)? {
        code = Code::Config;
    }
    Ok(code)
}

/// Programs that this host does not have, or not the user they are to run as. Whether the daemon's own user may run them
/// is for the daemon to say.
fn programs(plan: &Plan) -> Vec<Finding> {
    let policy = ProgramPolicy::of(plan);
    let checks = track::problems(&plan.checks, &policy).into_iter();
    let checks = checks.map(|(name, problem)| {
        (
            format!("check {name}"),
            problem,
            "it counts as failed until it can run",
        )
    });
    let told = notify::problems(plan, &policy).into_iter();
    let told = told.map(|(name, problem)| {
        (
            format!("notify of {name}"),
            problem,
            "nobody is told until it can run",
        )
    });
    let missing = checks.chain(told).filter(|(_, problem, _)| problem.is_missing());
    missing
        .map(|(name, problem, help)| Finding::warning(format!("{name}: {problem}"), help))
        .collect()
}

fn describe(out: &mut dyn Write, path: &Path, loaded: &Loaded, color: bool) -> io::Result<()> {
    let warnings = loaded.render_warnings(color);
    if !warnings.is_empty() {
        writeln!(out, "{warnings}")?;
    }
    let routers = loaded.plan.routers.len();
    let plural = if routers == 1 { "" } else { "s" };
    writeln!(out, "{}: right, {routers} virtual router{plural}", path.display())
}

/// Several files are several hosts; one file may speak of several.
fn hosts(loaded: &[(&PathBuf, Loaded)]) -> Vec<(String, Plan)> {
    if let [(_, one)] = loaded {
        return one.hosts.clone();
    }
    let short: Vec<String> = loaded.iter().map(|(path, _)| short_name(path)).collect();
    let distinct = short.iter().collect::<BTreeSet<_>>().len() == short.len();
    let name = |path: &Path, short: String| {
        if distinct {
            short
        } else {
            path.display().to_string()
        }
    };
    loaded
        .iter()
        .zip(short)
        .map(|((path, one), short)| (name(path, short), one.plan.clone()))
        .collect()
}

/// Files are called after hosts (`alpha.conf`) or lie in directories called after them (`alpha/keepalived.conf`).
fn short_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let directory = path.parent().and_then(Path::file_name);
    match directory {
        Some(directory) if ["keepalived", "warren"].contains(&stem.as_str()) => {
            directory.to_string_lossy().into_owned()
        }
        _ => stem,
    }
}
