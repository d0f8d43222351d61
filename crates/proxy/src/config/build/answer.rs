//! What the proxy itself says: `http-request return`, and what it says instead of its own pages of errors.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::actions::{header_name, status, template, template_of};
use super::line;
use crate::config::file::Section;
use crate::config::words::Word;
use crate::logs::{Format, read_lines};
use crate::plan::{Answer, ErrorPage, PageContent};

/// Statuses a page may be given for.
const STATUSES: [u16; 17] = [
    200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504,
];
/// HAProxy needs a page to fit into its buffer.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// `return [status N] [content-type TYPE] [string|lf-string|file|lf-file TEXT] [hdr NAME VALUE]`
pub(super) fn answer<'w>(
    report: &mut Report,
    words: &'w [Word],
    default: u16,
) -> Option<(Answer, &'w [Word])> {
    const OPTIONS: [&str; 7] = [
        "status",
        "content-type",
        "string",
        "lf-string",
        "file",
        "lf-file",
        "hdr",
    ];
    let (status, mut rest) = status(report, words, default, &["status"])?;
    let (mut content_type, mut content, mut headers) = (String::new(), None, Vec::new());
    while let [option, value, more @ ..] = rest {
        rest = more;
        match option.text.as_str() {
            "content-type" => content_type.clone_from(&value.text),
            "string" => content = Some(Arc::new(Format::plain(&value.text))),
            "lf-string" => content = Some(template(report, value)?),
            kind @ ("file" | "lf-file") => {
                let text = match read_lines(Path::new(&value.text)) {
                    Ok(text) => text,
                    Err(error) => {
                        report.error(value.span.clone(), error, "name a file of text");
                        return None;
                    }
                };
                content = Some(if kind == "file" {
                    Arc::new(Format::plain(&text))
                } else {
                    let word = Word {
                        text,
                        ..value.clone()
                    };
                    template(report, &word)?
                });
            }
            "hdr" => {
                let name = header_name(report, option, std::slice::from_ref(value))?;
                let (value, more) = template_of(report, option, rest)?;
                headers.push((name, value));
                rest = more;
            }
            "if" | "unless" => {
                rest = words.get(words.len() - more.len() - 2..).unwrap_or_default();
                break;
            }
            other => {
                report.error(
                    option.span.clone(),
                    format!("`{other}` is not supported after `return`"),
                    suggestion(other, OPTIONS.into_iter()),
                );
                return None;
            }
        }
    }
    let answer = Answer {
        status,
        content_type: if content_type.is_empty() && content.is_some() {
            "text/plain".to_owned()
        } else {
            content_type
        },
        content: content.unwrap_or_else(|| Arc::new(Format::plain(""))),
        headers,
    };
    Some((answer, rest))
}

/// `errorfile`, `errorloc`, `http-error`. The files are read now, so that a response does not wait for a disk.
pub(super) fn error_pages(report: &mut Report, section: &Section) -> Vec<ErrorPage> {
    let mut pages = Vec::new();
    for (status, file) in &section.error_files {
        let Some(status) = status_of_ours(report, status, file.span()) else {
            continue;
        };
        pages.extend(whole(report, status, file.get_ref(), file.span()));
    }
    for (status, to) in &section.error_redirects {
        let Some(status) = status_of_ours(report, status, to.span()) else {
            continue;
        };
        let content = PageContent::Whole(redirection(to.get_ref()).into());
        pages.push(ErrorPage { status, content });
    }
    for line in &section.http_error {
        if let Some(words) = line::words(report, line) {
            pages.extend(http_error(report, line, &words));
        }
    }
    pages
}

fn status_of_ours(report: &mut Report, status: &str, span: Range<usize>) -> Option<u16> {
    let found = status.parse().ok().filter(|status| STATUSES.contains(status));
    if found.is_none() {
        report.error(
            span,
            format!("no page can be given for the status {status}"),
            format!(
                "write one of {}",
                STATUSES.map(|status| status.to_string()).join(", ")
            ),
        );
    }
    found
}

fn whole(report: &mut Report, status: u16, path: &Path, span: Range<usize>) -> Option<ErrorPage> {
    match page(path) {
        Ok(content) => Some(ErrorPage {
            status,
            content: PageContent::Whole(content),
        }),
        Err(error) => {
            report.error(
                span,
                format!("{}: {error}", path.display()),
                "name a file that holds a whole response, head and all",
            );
            None
        }
    }
}

/// `[303 ]URL`, as HAProxy sends it.
fn redirection(to: &str) -> Vec<u8> {
    let (line, url) = match to.split_once(' ') {
        Some(("303", url)) => ("303 See Other", url),
        Some(("302", url)) => ("302 Found", url),
        _ => ("302 Found", to),
    };
    format!("HTTP/1.1 {line}\r\nCache-Control: no-cache\r\nContent-length: 0\r\nLocation: {url}\r\n\r\n")
        .into_bytes()
}

/// `status N [default-errorfiles | errorfile FILE | ...]`, where the rest is as after `http-request return`.
fn http_error(report: &mut Report, line: &Spanned<String>, words: &[Word]) -> Option<ErrorPage> {
    let status = match words {
        [word, status, ..] if word.text == "status" => {
            status_of_ours(report, &status.text, status.span.clone())?
        }
        _ => {
            report.error(
                line.span(),
                "a response without a status",
                "begin it with `status 503`",
            );
            return None;
        }
    };
    match words.get(2..).unwrap_or_default() {
        [word] if word.text == "default-errorfiles" => None,
        [word, file] if word.text == "errorfile" => {
            whole(report, status, Path::new(&file.text), file.span.clone())
        }
        [word, ..] if word.text == "errorfiles" => {
            report.error(
                word.span.clone(),
                "`errorfiles` is not supported here",
                "write `errorfile` and the page's file",
            );
            None
        }
        rest => {
            let (answer, after) = answer(report, words, status)?;
            if let Some(word) = after.first() {
                report.error(
                    word.span.clone(),
                    format!("unexpected `{}`", word.text),
                    "responses for errors have no condition: use http-request return",
                );
            }
            let typed = rest.iter().any(|word| word.text == "content-type");
            if !typed && answer.content.constant() != Some("") {
                report.error(
                    line.span(),
                    "a content without a type",
                    "write such as `content-type text/plain` before it",
                );
            }
            let content = PageContent::Made(Arc::new(answer));
            Some(ErrorPage { status, content })
        }
    }
}

fn page(path: &Path) -> std::io::Result<Arc<[u8]>> {
    // How one says that clients are to be told nothing.
    if path == Path::new("/dev/null") {
        return Ok(Arc::default());
    }
    let mut content = Vec::new();
    // Whoever opens a pipe may wait for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, PAGE_BYTES_MAX + 1), &mut content)?;
    if content.len() as u64 > PAGE_BYTES_MAX {
        return Err(std::io::Error::other("larger than a page may be"));
    }
    Ok(content.into())
}
