//! Definitions that are added at the start.

use std::path::{Path, PathBuf};

use super::DaemonError;
use crate::node::Node;

/// Adds those of a file, or of all `.json` files of a directory in the order of their names. What the node does not take is
/// logged and is no reason not to start; a file that cannot be read is.
pub(super) fn load(node: &Node, path: &Path) -> Result<(), DaemonError> {
    for file in files(path)? {
        let failed = |reason: String| DaemonError::Definitions {
            path: file.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        let imported = node
            .import_definitions(&text, None)
            .map_err(|error| failed(error.to_string()))?;
        tracing::info!(
            file = %file.display(),
            taken = imported.done,
            refused = imported.refused.len(),
            "definitions were added"
        );
    }
    Ok(())
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
        load(&node, directory.path()).unwrap();
        let vhosts = node.read(|meta| meta.vhosts().count());
        assert_eq!(vhosts, 3);
        write("3.json", "{");
        let error = load(&node, directory.path()).unwrap_err().to_string();
        assert!(error.contains("3.json"), "{error}");
        assert!(load(&node, Path::new("/nowhere/x.json")).is_err());
    }
}
