//! What clients are told instead of a response. Of one status, the last line counts, whatever its kind.

use std::path::PathBuf;

use toml::Spanned;

use super::keyword::Arguments;
use super::proxy::Draft;
use crate::config::file::Section;

/// `errorfile STATUS FILE`
pub(super) fn errorfile(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some((status, file)) = pair(arguments, "a file") else {
        return;
    };
    forget(&mut draft.section, &status);
    let file = Spanned::new(file.span(), PathBuf::from(file.into_inner()));
    draft.section.error_files.insert(status, file);
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
