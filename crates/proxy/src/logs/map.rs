//! Map files: a key and what it stands for on each line, as HAProxy reads them. Read with the configuration, and again at
//! every reload; nothing changes them in between.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use crate::session::condition::within;

/// The most octets of a file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Exact(HashMap<Vec<u8>, String>),
    Other(How, Vec<(String, String)>),
    Network(Vec<(IpAddr, u8, String)>),
    Regex(Vec<(super::convert::Expression, String)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Prefix,
    Suffix,
    Substring,
    Directory,
    Domain,
}

impl Map {
    /// `how` is what follows `map` in the converter's name. `None`: there is no such way to look something up.
    pub(super) fn read(path: &Path, how: &str) -> Option<Result<Self, String>> {
        let how = match how {
            "" | "_str" => Wanted::Exact,
            "_beg" => Wanted::Other(How::Prefix),
            "_end" => Wanted::Other(How::Suffix),
            "_sub" => Wanted::Other(How::Substring),
            "_dir" => Wanted::Other(How::Directory),
            "_dom" => Wanted::Other(How::Domain),
            "_ip" => Wanted::Network,
            "_reg" => Wanted::Regex,
            _ => return None,
        };
        Some(Self::parse(path, how))
    }

    fn parse(path: &Path, how: Wanted) -> Result<Self, String> {
        let entries = entries(path)?;
        let wrong = |what: &str, key: &str| format!("{}: \"{key}\" is no {what}", path.display());
        let kind = match how {
            Wanted::Exact => {
                // Of several lines with one key, the first holds.
                let mut map = HashMap::new();
                for (key, value) in entries {
                    map.entry(key.into_bytes()).or_insert(value);
                }
                Kind::Exact(map)
            }
            Wanted::Other(how) => Kind::Other(how, entries),
            Wanted::Network => {
                let mut networks = Vec::new();
                for (key, value) in entries {
                    let (ip, length) = crate::config::network(&key).ok_or_else(|| wrong("network", &key))?;
                    networks.push((ip, length, value));
                }
                // The narrowest network that fits is the one that is meant.
                networks.sort_by_key(|(_, length, _)| std::cmp::Reverse(*length));
                Kind::Network(networks)
            }
            Wanted::Regex => {
                let mut expressions = Vec::new();
                for (key, value) in entries {
                    let regex =
                        regex::bytes::Regex::new(&key).map_err(|_| wrong("regular expression", &key))?;
                    expressions.push((super::convert::Expression(regex), value));
                }
                Kind::Regex(expressions)
            }
        };
        Ok(Self { kind })
    }

    /// What this stands for.
    pub(super) fn find(&self, key: &[u8]) -> Option<&String> {
        match &self.kind {
            Kind::Exact(map) => map.get(key),
            Kind::Other(how, entries) => entries
                .iter()
                .filter(|(pattern, _)| how.fits(pattern, key))
                // The last of the greatest would win.
                .rev()
                .max_by_key(|(pattern, _)| how.length(pattern))
                .map(|(_, value)| value),
            Kind::Network(networks) => {
                let address = str::from_utf8(key).ok()?.parse().ok()?;
                let mut found = networks
                    .iter()
                    .filter(|(ip, length, _)| within(address, *ip, *length));
                found.next().map(|(_, _, value)| value)
            }
            Kind::Regex(expressions) => {
                let mut found = expressions.iter().filter(|(regex, _)| regex.0.is_match(key));
                found.next().map(|(_, value)| value)
            }
        }
    }
}

enum Wanted {
    Exact,
    Other(How),
    Network,
    Regex,
}

impl How {
    fn fits(self, pattern: &str, key: &[u8]) -> bool {
        use crate::plan::Pattern;
        use crate::session::condition::matches_text;
        let pattern = pattern.to_owned();
        let pattern = match self {
            Self::Prefix => Pattern::Prefix(pattern),
            Self::Suffix => Pattern::Suffix(pattern),
            Self::Substring => Pattern::Substring(pattern),
            Self::Directory => Pattern::Directory(pattern),
            Self::Domain => Pattern::Domain(pattern),
        };
        matches_text(&pattern, key, false)
    }

    /// HAProxy keeps prefixes in a tree and finds the longest; of the others it takes the first in the file.
    fn length(self, pattern: &str) -> usize {
        if matches!(self, Self::Prefix) {
            pattern.len()
        } else {
            0
        }
    }
}

/// The lines that are neither empty nor comments, as key and value.
fn entries(path: &Path) -> Result<Vec<(String, String)>, String> {
    let text = read_lines(path)?;
    let mut entries = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        entries.push((key.to_owned(), value.trim().to_owned()));
    }
    Ok(entries)
}

/// The text of a file of lines, which has to be one and no larger than such files are.
pub(crate) fn read_lines(path: &Path) -> Result<String, String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let facts = std::fs::metadata(path).map_err(said)?;
    if !facts.is_file() {
        return Err(format!("{}: not a file", path.display()));
    }
    if facts.len() > FILE_BYTES_MAX {
        return Err(format!("{}: larger than {FILE_BYTES_MAX} octets", path.display()));
    }
    std::fs::read_to_string(path).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(how: &str, text: &str) -> Result<Map, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Map::read(file.path(), how).unwrap()
    }

    #[track_caller]
    fn finds(how: &str, text: &str, key: &str, value: Option<&str>) {
        let map = map(how, text).unwrap();
        assert_eq!(map.find(key.as_bytes()).map(String::as_str), value, "{key}");
    }

    #[test]
    fn keys_are_found_as_the_name_of_the_converter_says() {
        let hosts = "# of the site\n\n  a.example   web  \nb.example api two\na.example late\n";
        finds("", hosts, "a.example", Some("web"));
        finds("_str", hosts, "b.example", Some("api two"));
        finds("", hosts, "A.example", None);
        finds("_beg", "/ root\n/api api\n", "/api/x", Some("api"));
        finds("_beg", "/ root\n/api api\n", "/other", Some("root"));
        finds("_end", ".png image\n", "/x.png", Some("image"));
        finds("_sub", "b one\nab two\n", "xabx", Some("one"));
        finds("_dir", "img image\n", "/a/img/b", Some("image"));
        finds("_dom", "example site\n", "www.example.com", Some("site"));
        finds("_reg", "^/v[0-9] old\n^/ any\n", "/v2/x", Some("old"));
        finds(
            "_ip",
            "10.0.0.0/8 wide\n10.1.0.0/16 near\n",
            "10.1.2.3",
            Some("near"),
        );
        finds("_ip", "10.0.0.0/8 wide\n", "11.1.2.3", None);
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        assert!(
            map("_ip", "10.0.0.300 x\n")
                .unwrap_err()
                .contains("\"10.0.0.300\" is no network")
        );
        assert!(
            map("_reg", "( x\n")
                .unwrap_err()
                .contains("\"(\" is no regular expression")
        );
    }
}
