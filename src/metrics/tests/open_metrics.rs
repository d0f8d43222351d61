//! A strict reader of OpenMetrics text: refuses what the format forbids, not only what a server would stumble over.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

type Sample = (String, Labels, f64);

#[derive(Debug, Default)]
pub(super) struct Family {
    kind: String,
    /// Keywords of its comments.
    described: BTreeSet<String>,
    pub(super) samples: Vec<Sample>,
}

/// All families of a text, or why it is not OpenMetrics text.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the last line is not ended".into());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        let refused = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(keyword), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else {
                return Err(refused("nothing said"));
            };
            if name != current && families.contains_key(name) {
                return Err(refused("the family comes twice"));
            }
            name.clone_into(&mut current);
            let family = families.entry(current.clone()).or_default();
            family.describe(name, keyword, value).map_err(refused)?;
        } else {
            let family = families
                .get_mut(&current)
                .ok_or_else(|| refused("of no family"))?;
            let sample = sample(line).ok_or_else(|| refused("no sample"))?;
            family.add(&current, sample).map_err(refused)?;
        }
    }
    for (name, family) in &families {
        label_names(name, family)?;
        if family.kind == "histogram" {
            histogram(name, family)?;
        }
    }
    Ok(families)
}

impl Family {
    /// Takes a line that is no sample.
    fn describe(&mut self, name: &str, keyword: &str, value: &str) -> Result<(), &'static str> {
        if !self.samples.is_empty() {
            return Err("after a sample");
        }
        if !self.described.insert(keyword.to_owned()) {
            return Err("said twice");
        }
        match keyword {
            "HELP" => {}
            "TYPE" => value.clone_into(&mut self.kind),
            "UNIT" if name.ends_with(&format!("_{value}")) => {}
            _ => return Err("not allowed"),
        }
        Ok(())
    }

    fn add(&mut self, own_name: &str, sample: Sample) -> Result<(), &'static str> {
        if !(self.described.contains("HELP") && self.described.contains("TYPE")) {
            return Err("before HELP and TYPE");
        }
        let suffixes: &[&str] = match self.kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => return Err("unknown type"),
        };
        let (name, labels, value) = &sample;
        if !suffixes
            .iter()
            .any(|suffix| *name == format!("{own_name}{suffix}"))
        {
            return Err("not a name that the family and its type allow");
        }
        if self.kind != "gauge" && !(*value >= 0.0 && value.is_finite()) {
            return Err("below zero or endless");
        }
        if self.samples.iter().any(|it| it.0 == *name && it.1 == *labels) {
            return Err("twice");
        }
        self.samples.push(sample);
        Ok(())
    }
}

/// `name{label="value",...} number`
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    is_name(name).then_some(())?;
    let mut labels = Labels::new();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            let (label, quoted) = list.split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            (is_name(label) && labels.insert(label.to_owned(), value).is_none()).then_some(())?;
            if let Some(end) = after.strip_prefix('}') {
                rest = end;
                break;
            }
            list = after.strip_prefix(',')?;
        }
    }
    let number = rest.strip_prefix(' ')?;
    let plain = number
        .bytes()
        .all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it));
    plain.then_some(())?;
    Some((name.to_owned(), labels, number.parse().ok()?))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// What stands before the closing quote, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            _ => value.push(letter),
        }
    }
    None
}

/// Every sample of a family has the same labels.
fn label_names(name: &str, family: &Family) -> Result<(), String> {
    let names = |labels: &Labels| -> Vec<String> {
        let own = labels.keys().filter(|label| *label != "le");
        own.cloned().collect()
    };
    let kinds: BTreeSet<Vec<String>> = family.samples.iter().map(|it| names(&it.1)).collect();
    match kinds.len() {
        0 => Err(format!("{name} has no samples")),
        1 => Ok(()),
        _ => Err(format!("{name} has different labels: {kinds:?}")),
    }
}

/// Bounds rise to +Inf, counts never fall, and the last is the count. One histogram per family is all we have.
fn histogram(name: &str, family: &Family) -> Result<(), String> {
    let one = |suffix: &str| {
        let found = family.samples.iter().find(|it| it.0 == format!("{name}{suffix}"));
        found
            .map(|it| it.2)
            .ok_or_else(|| format!("{name}{suffix} is missing"))
    };
    one("_sum")?;
    let count = one("_count")?;
    let mut last = (f64::NEG_INFINITY, 0.0);
    for (_, labels, value) in family.samples.iter().filter(|it| it.0.ends_with("_bucket")) {
        let bound = labels
            .get("le")
            .ok_or_else(|| format!("{name} has a bucket without le"))?;
        let bound: f64 = bound.parse().map_err(|_| format!("{name}: bound {bound}"))?;
        if bound <= last.0 || *value < last.1 {
            return Err(format!("{name}: bucket {bound} {value} after {last:?}"));
        }
        last = (bound, *value);
    }
    if last == (f64::INFINITY, count) {
        Ok(())
    } else {
        Err(format!("{name}: last bucket {last:?}, count {count}"))
    }
}

#[test]
fn what_is_not_open_metrics_is_refused() {
    let gauge = "# HELP a x\n# TYPE a gauge\n";
    let counter = "# HELP a x\n# TYPE a counter\n";
    let histogram = "# HELP a x\n# TYPE a histogram\na_sum 1\na_count 1\n";
    for good in [
        format!("{gauge}a 1\n# EOF\n"),
        format!("{gauge}a{{b=\"\\\"\\\\\\n}}\"}} 1e-5\n# EOF\n"),
        format!("{counter}a_total 1\n# EOF\n"),
        format!("{histogram}a_bucket{{le=\"0.1\"}} 0\na_bucket{{le=\"+Inf\"}} 1\n# EOF\n"),
        "# EOF\n".to_owned(),
    ] {
        read(&good).unwrap_or_else(|error| panic!("{error}: {good}"));
    }
    for bad in [
        format!("{gauge}a 1\n"),
        format!("{gauge}a 1\n# EOF"),
        format!("{gauge}a 1\n# EOF\na 2\n"),
        "a 1\n# EOF\n".to_owned(),
        "# TYPE a gauge\na 1\n# EOF\n".to_owned(),
        format!("{gauge}# EOF\n"),
        format!("{gauge}# TYPE a gauge\na 1\n# EOF\n"),
        format!("{gauge}a 1\n# TYPE a gauge\n# EOF\n"),
        format!("{gauge}b 1\n# EOF\n"),
        format!("{gauge}# UNIT a seconds\na 1\n# EOF\n"),
        format!("{gauge}a_total 1\n# EOF\n"),
        format!("{gauge}a 1\na 1\n# EOF\n"),
        format!("{gauge}a{{}} 1\n# EOF\n"),
        format!("{gauge}a{{b=\"1\"}} 1\na{{c=\"1\"}} 1\n# EOF\n"),
        format!("{gauge}a{{b=\"1\",b=\"2\"}} 1\n# EOF\n"),
        format!("{gauge}a{{b=\"\"\"}} 1\n# EOF\n"),
        format!("{gauge}a{{b=\"\\x\"}} 1\n# EOF\n"),
        format!("{gauge}a inf\n# EOF\n"),
        format!("{gauge}a  1\n# EOF\n"),
        format!("{gauge}\na 1\n# EOF\n"),
        format!("{counter}a 1\n# EOF\n"),
        format!("{counter}a_total -1\n# EOF\n"),
        format!("{gauge}a 1\n# HELP b x\n# TYPE b gauge\nb 1\n# HELP a x\n# EOF\n"),
        format!("{histogram}# EOF\n"),
        format!("{histogram}a_bucket{{le=\"0.1\"}} 1\n# EOF\n"),
        format!("{histogram}a_bucket{{le=\"+Inf\"}} 2\n# EOF\n"),
        format!("{histogram}a_bucket{{le=\"0.1\"}} 2\na_bucket{{le=\"+Inf\"}} 1\n# EOF\n"),
    ] {
        assert!(read(&bad).is_err(), "{bad}");
    }
}
