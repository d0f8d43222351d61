//! What clients are told instead of a response. Of one status, the last line counts, whatever its kind.
//!
//! A section `http-errors` has to stand above the proxies that name it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::keyword::{Arguments, Entry, Keyword, Places, Statement};
use super::proxy::Draft;
use crate::config::file::Section;

/// By section and status.
pub(super) type Pages = BTreeMap<String, BTreeMap<String, Spanned<PathBuf>>>;

/// All sections `http-errors` so far, and which one is being read.
#[derive(Default)]
pub(in crate::config) struct Errors {
    pub(super) pages: Arc<Pages>,
    current: String,
}

impl Errors {
    pub(super) fn begin(&mut self, report: &mut Report, statement: &Statement) {
        let Some(name) = statement.words.get(1) else {
            report.error(
                statement.whole(),
                "`http-errors` needs a name",
                "write `http-errors NAME`",
            );
            return;
        };
        let pages = Arc::make_mut(&mut self.pages);
        if pages.insert(name.text.clone(), BTreeMap::new()).is_some() {
            report.error(
                name.span.clone(),
                format!("the http-errors section `{}` is defined twice", name.text),
                "give one of them another name",
            );
        }
        self.current.clone_from(&name.text);
    }
}

/// Its keywords.
pub(in crate::config) const ERRORS: &[Entry<Errors>] = &[(
    "errorfile",
    Places::ALL,
    Keyword::Read(|errors, arguments| {
        if let Some((status, file)) = pair(arguments, "a file") {
            let pages = Arc::make_mut(&mut errors.pages);
            let own = pages.entry(errors.current.clone()).or_default();
            own.insert(status, path(file));
        }
    }),
)];

fn path(file: Spanned<String>) -> Spanned<PathBuf> {
    Spanned::new(file.span(), PathBuf::from(file.into_inner()))
}

/// `errorfiles SECTION [STATUS ...]`
pub(super) fn errorfiles(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(name) = arguments.text("the name of a section http-errors") else {
        return;
    };
    let wanted = arguments.rest_words();
    let pages = Arc::clone(&draft.pages);
    let Some(own) = pages.get(name.get_ref()) else {
        arguments.report.error(
            name.span(),
            format!("there is no `http-errors {}` above", name.get_ref()),
            suggestion(name.get_ref(), pages.keys().map(String::as_str)),
        );
        return;
    };
    for word in wanted {
        if !own.contains_key(&word.text) {
            arguments.report.warn(
                word.span.clone(),
                format!("`http-errors {}` has no page for {}", name.get_ref(), word.text),
                "remove it here, or add an errorfile there",
            );
        }
    }
    let is_wanted = |status: &&String| wanted.is_empty() || wanted.iter().any(|word| word.text == **status);
    for (status, file) in own.iter().filter(|(status, _)| is_wanted(status)) {
        forget(&mut draft.section, status);
        draft.section.error_files.insert(status.clone(), file.clone());
    }
}

/// `errorfile STATUS FILE`
pub(super) fn errorfile(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some((status, file)) = pair(arguments, "a file") else {
        return;
    };
    forget(&mut draft.section, &status);
    draft.section.error_files.insert(status, path(file));
}

/// `errorloc STATUS URL`, `errorloc302 STATUS URL`
pub(super) fn errorloc(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    redirection(draft, arguments, "");
}

/// `errorloc303 STATUS URL`
pub(super) fn errorloc303(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    redirection(draft, arguments, "303 ");
}

fn redirection(draft: &mut Draft, arguments: &mut Arguments<'_, '_>, code: &str) {
    let Some((status, url)) = pair(arguments, "a URL") else {
        return;
    };
    forget(&mut draft.section, &status);
    let url = Spanned::new(url.span(), format!("{code}{}", url.get_ref()));
    draft.section.error_redirects.insert(status, url);
}

/// `http-error status STATUS ...`
pub(super) fn http_error(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(rest) = arguments.rest() else {
        arguments.required("a status");
        return;
    };
    if let Some(status) = status_of(rest.get_ref()) {
        let status = status.to_owned();
        forget(&mut draft.section, &status);
    }
    draft.section.http_error.push(rest);
}

fn pair(arguments: &mut Arguments<'_, '_>, what: &str) -> Option<(String, Spanned<String>)> {
    let (status, value) = (arguments.text("a status")?, arguments.text(what)?);
    let span = status.span().start..value.span().end;
    Some((status.into_inner(), Spanned::new(span, value.into_inner())))
}

fn status_of(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "status");
    words.nth(1)
}

fn forget(section: &mut Section, status: &str) {
    section.error_files.remove(status);
    section.error_redirects.remove(status);
    section
        .http_error
        .retain(|line| status_of(line.get_ref()) != Some(status));
}
