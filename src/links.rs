//! `warren links DIR`: the names of the programs that this one replaces.
//!
//! Links are relative, so that a directory tree can be packed and moved. Nothing that is not such a link is ever
//! touched, and either all links are made or none.

use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

/// Names this program answers to.
const NAMES: [&str; 8] = [
    "haproxy",
    "keepalived",
    "rabbitmq-diagnostics",
    "rabbitmq-plugins",
    "rabbitmq-queues",
    "rabbitmq-server",
    "rabbitmq-upgrade",
    "rabbitmqctl",
];

/// Name of the program itself, by which a link is known as ours.
const PROGRAM: &str = "warren";

#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    #[error("{path}: {source}; name a directory that exists", path = path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("{path} exists and is no link of ours; remove it, or the package it belongs to, first", path = .0.display())]
    Foreign(PathBuf),
    #[error("{link} leads to {target}, another copy of this program; --force replaces it", link = link.display(), target = target.display())]
    Other { link: PathBuf, target: PathBuf },
    #[error("{path}: {source}", path = path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("the output was cut: {0}")]
    Output(#[from] io::Error),
}

/// Makes the links in `directory` to `program` and says which.
pub fn make(program: &Path, directory: &Path, force: bool, out: &mut dyn Write) -> Result<(), LinksError> {
    let unusable = |path: &Path, source| LinksError::Directory {
        path: path.into(),
        source,
    };
    let place = directory
        .canonicalize()
        .map_err(|source| unusable(directory, source))?;
    let program = program
        .canonicalize()
        .map_err(|source| unusable(program, source))?;
    let target = relative(&place, &program);
    let mut missing = Vec::new();
    for name in NAMES {
        let link = directory.join(name);
        match std::fs::read_link(&link) {
            Ok(found) if found == target => {
                writeln!(out, "{} -> {} (was there)", link.display(), target.display())?
            }
            Ok(found) if is_ours(&found) && force => missing.push(link),
            Ok(found) if is_ours(&found) => return Err(LinksError::Other { link, target: found }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(link),
            // A link elsewhere, or no link at all.
            Ok(_) | Err(_) => return Err(LinksError::Foreign(link)),
        }
    }
    for link in missing {
        place_link(&target, &link).map_err(|source| LinksError::Make {
            path: link.clone(),
            source,
        })?;
        writeln!(out, "{} -> {}", link.display(), target.display())?;
    }
    Ok(())
}

fn is_ours(target: &Path) -> bool {
    target.file_name().is_some_and(|name| name == PROGRAM)
}

/// Made under another name and moved, so that the old link serves until the new one does.
fn place_link(target: &Path, link: &Path) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(link.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = link.with_file_name(name);
    symlink(target, &temporary)?;
    std::fs::rename(&temporary, link).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// The way from a directory to a file, both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        root: tempfile::TempDir,
        program: PathBuf,
        sbin: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let (bin, sbin) = (root.path().join("bin"), root.path().join("sbin"));
            std::fs::create_dir(&bin).unwrap();
            std::fs::create_dir(&sbin).unwrap();
            let program = bin.join(PROGRAM);
            std::fs::write(&program, "").unwrap();
            Self { root, program, sbin }
        }

        fn make(&self, force: bool) -> Result<String, LinksError> {
            let mut out = Vec::new();
            make(&self.program, &self.sbin, force, &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        }

        fn link(&self) -> PathBuf {
            self.sbin.join("keepalived")
        }
    }

    #[test]
    fn links_are_relative_and_made_once() {
        let place = Place::new();
        assert!(
            place
                .make(false)
                .unwrap()
                .ends_with("rabbitmqctl -> ../bin/warren\n")
        );
        assert_eq!(
            std::fs::read_link(place.link()).unwrap(),
            Path::new("../bin/warren")
        );
        assert!(place.link().canonicalize().unwrap().ends_with("bin/warren"));
        assert!(place.make(false).unwrap().ends_with("(was there)\n"));
        assert_eq!(std::fs::read_dir(&place.sbin).unwrap().count(), NAMES.len());
        drop(place.root);
    }

    #[test]
    fn beside_the_program_the_link_is_its_bare_name() {
        assert_eq!(
            relative(Path::new("/usr/bin"), Path::new("/usr/bin/warren")),
            Path::new("warren")
        );
    }

    #[test]
    fn what_is_not_ours_is_never_replaced() {
        let place = Place::new();
        std::fs::write(place.link(), "the original").unwrap();
        for force in [false, true] {
            assert!(matches!(place.make(force), Err(LinksError::Foreign(_))));
        }
        assert_eq!(std::fs::read_to_string(place.link()).unwrap(), "the original");
        std::fs::remove_file(place.link()).unwrap();
        symlink("/usr/sbin/original", place.link()).unwrap();
        assert!(matches!(place.make(true), Err(LinksError::Foreign(_))));
    }

    #[test]
    fn a_link_to_another_copy_is_replaced_only_by_force() {
        let place = Place::new();
        symlink("/opt/old/warren", place.link()).unwrap();
        let refused = place.make(false).unwrap_err().to_string();
        assert!(refused.ends_with("--force replaces it"), "{refused}");
        place.make(true).unwrap();
        assert_eq!(
            std::fs::read_link(place.link()).unwrap(),
            Path::new("../bin/warren")
        );
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let place = Place::new();
        let error = make(&place.program, Path::new("/nonexistent"), false, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent: "), "{error}");
    }
}
