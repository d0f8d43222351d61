//! What must hold for whatever somebody calls haproxy.cfg. Shared by the fuzz target and by the test that replays its corpus.

use std::num::NonZeroUsize;

use warren_kit::diagnostics::SourceFile;
use warren_proxy::config::{Machine, load_haproxy_text, load_toml_text, translate};

/// Whether it can be run.
///
/// Panics if complaints cannot be shown, or if the warren.toml it means does not mean the same.
pub(crate) fn accepted(octets: &[u8]) -> bool {
    let machine = Machine {
        host: "alpha".to_owned(),
        processors: NonZeroUsize::MIN,
        open_files: 10_000,
    };
    let text = String::from_utf8_lossy(octets).into_owned();
    let first = match load_haproxy_text(SourceFile::new("haproxy.cfg", text), &machine) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(error.render(false).contains("error"), "{error:?}");
            return false;
        }
    };
    let _ = first.render_warnings(true);
    let toml = translate(&first);
    let second = load_toml_text(SourceFile::new("warren.toml", toml.clone()), &machine)
        .unwrap_or_else(|error| panic!("an import is valid: {error}\n{toml}"));
    let plan =
        |plan: &warren_proxy::plan::Plan| format!("{plan:?}").replace("origin: Haproxy", "origin: Toml");
    assert_eq!(plan(&first.plan), plan(&second.plan), "{toml}");
    true
}
