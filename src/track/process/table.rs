//! Processes as /proc shows them, and what a check's process looks like.
//!
//! A name or command line is only read if somebody asks, and once for all who do.

use std::fs::File;
use std::io::{self, Read};

use crate::config::plan::ProcessPlan;

/// Bytes of a name the kernel keeps.
const COMM_MAX: usize = 15;
/// No command line that somebody configured is longer; the kernel hands out so much at once.
const COMMAND_LINE_MAX: usize = 4096;

/// What a matching process looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The kernel's name, and the whole name where that is longer.
    Name {
        kept: Vec<u8>,
        whole: Option<Vec<u8>>,
    },
    CommandLine(Vec<Vec<u8>>),
}

impl Pattern {
    pub(super) fn new(plan: &ProcessPlan) -> Self {
        if let Some(words) = &plan.command_line {
            return Self::CommandLine(words.iter().map(|word| word.clone().into_bytes()).collect());
        }
        let name = file_name(plan.name.as_bytes()).to_vec();
        if name.len() <= COMM_MAX {
            Self::Name {
                kept: name,
                whole: None,
            }
        } else {
            Self::Name {
                kept: name[..COMM_MAX].to_vec(),
                whole: Some(name),
            }
        }
    }

    pub(super) fn matches(&self, glimpse: &mut Glimpse) -> bool {
        match self {
            Self::Name { kept, whole: None } => glimpse.name() == kept.as_slice(),
            Self::Name {
                kept,
                whole: Some(whole),
            } => {
                // A script's interpreter comes first, the script itself second.
                glimpse.name() == kept.as_slice()
                    && glimpse
                        .words()
                        .take(2)
                        .any(|word| file_name(word) == whole.as_slice())
            }
            Self::CommandLine(wanted) => {
                let mut words = glimpse.words();
                let first = words.next().zip(wanted.first());
                let program = first.is_some_and(|(word, wanted)| {
                    word == wanted.as_slice()
                        || (!wanted.contains(&b'/') && file_name(word) == wanted.as_slice())
                });
                program && words.eq(wanted.iter().skip(1).map(Vec::as_slice))
            }
        }
    }
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// A process as /proc shows it, read as far as somebody asks.
pub(super) struct Glimpse {
    process: i32,
    name: Option<Vec<u8>>,
    command_line: Option<Vec<u8>>,
    /// Something may not be read (hidepid).
    pub(super) hidden: bool,
}

impl Glimpse {
    pub(super) fn new(process: i32) -> Self {
        Self {
            process,
            name: None,
            command_line: None,
            hidden: false,
        }
    }

    fn name(&mut self) -> &[u8] {
        if self.name.is_none() {
            let mut name = self.read("comm", 64);
            name.pop_if(|last| *last == b'\n');
            self.name = Some(name);
        }
        self.name.as_deref().unwrap_or_default()
    }

    fn words(&mut self) -> impl Iterator<Item = &[u8]> {
        if self.command_line.is_none() {
            let mut line = self.read("cmdline", COMMAND_LINE_MAX);
            line.pop_if(|last| *last == 0);
            self.command_line = Some(line);
        }
        self.command_line
            .as_deref()
            .unwrap_or_default()
            .split(|&byte| byte == 0)
    }

    /// Not a zombie. `PID (NAME) STATE ...`, where the name may contain anything.
    pub(super) fn running(&mut self) -> bool {
        let status = self.read("stat", 1024);
        let state = status
            .iter()
            .rposition(|&byte| byte == b')')
            .and_then(|end| status.get(end + 2));
        state.is_some_and(|state| !b"ZXx".contains(state))
    }

    /// Empty if the process is gone meanwhile. All but command lines come with one call.
    fn read(&mut self, file: &str, bytes_max: usize) -> Vec<u8> {
        let mut bytes = vec![0; bytes_max];
        let opened = File::open(format!("/proc/{}/{file}", self.process));
        let count = opened
            .and_then(|mut file| file.read(&mut bytes))
            .unwrap_or_else(|error| {
                self.hidden |= error.kind() == io::ErrorKind::PermissionDenied;
                0
            });
        bytes.truncate(count);
        bytes
    }
}

pub(super) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
