//! Definitions that are added at the start, and when the configuration is read again.

use std::path::{Path, PathBuf};

use warren_model::definitions::Definitions;

use super::DaemonError;
use crate::node::Node;

/// A file that has been read.
pub(super) struct File {
    path: PathBuf,
    definitions: Definitions,
}

/// Reads those of a file, or of all `.json` files of a directory in the order of their names. Nothing is added if one cannot be
/// read.
pub(super) fn read(node: &Node, path: Option<&Path>) -> Result<Vec<File>, DaemonError> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let read = text.and_then(|text| {
            node.read_definitions(&text, None)
                .map_err(|error| error.to_string())
        });
        match read {
            Ok(definitions) => Ok(File { path, definitions }),
            Err(reason) => Err(DaemonError::Definitions { path, reason }),
        }
    };
    files(path)?.into_iter().map(read).collect()
}

impl File {
    /// Adds them. What the node does not take is logged.
    pub(super) fn add(self, node: &Node) {
        let imported = node.add_definitions(self.definitions);
        tracing::info!(
            file = %self.path.display(),
            taken = imported.done,
            refused = imported.refused.len(),
            "definitions were added"
        );
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, DaemonError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| DaemonError::Definitions {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Settings;

    #[test]
    fn all_files_of_a_directory_are_added_and_a_wrong_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("1.json", r#"{"vhosts": [{"name": "one"}]}"#);
        write("2.json", r#"{"vhosts": [{"name": "two"}]}"#);
        write("notes.txt", "no JSON");
        let node = Node::new("rabbit@test".to_owned(), Settings::default());
        for file in read(&node, Some(directory.path())).unwrap() {
            file.add(&node);
        }
        let vhosts = node.read(|meta| meta.vhosts().count());
        assert_eq!(vhosts, 3);
        write("3.json", "{");
        let Err(error) = read(&node, Some(directory.path())) else {
            panic!("no JSON")
        };
        assert!(error.to_string().contains("3.json"), "{error}");
        assert!(read(&node, Some(Path::new("/nowhere/x.json"))).is_err());
    }
}
