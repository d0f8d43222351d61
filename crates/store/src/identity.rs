//! Who this data directory is: a file that names the node, counts its starts and knows the newest segment, and the lock that keeps a second
//! process out.
//!
//! Of a segment behind the checkpoint nothing else tells that it was ever there: when the newest one is lost, recovery finds a log that ends
//! earlier. So the file says which segment has something that was synced, before that is reported; once for each segment. It has less than
//! a sector, and is written in place, so that this needs no room.

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::OpenError;
use crate::checkpoint;
use crate::disk::{Disk, DiskFile, is_full, read_all, replace};
use crate::format::VERSION;

pub(crate) const NODE: &str = "node";
const LOCK: &str = "lock";

/// A data directory that is ours.
pub(crate) struct Identity {
    pub(crate) node: [u8; 16],
    /// One more with every start.
    pub(crate) incarnation: u64,
    /// There was nothing here before.
    pub(crate) new: bool,
    /// The numbers of the file that says so.
    pub(crate) which: (u64, u64),
    /// What was promised before this start.
    pub(crate) promised: Promised,
    pub(crate) file: Arc<NodeFile>,
    pub(crate) lock: Box<dyn Any + Send + Sync>,
}

/// The newest segment with something in it that was synced, and how many batches had been by then: so many have to be there. Nothing in a
/// directory that is new, or was last used by a program that did not write this down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Promised {
    pub(crate) segment: u32,
    pub(crate) batches: u64,
}

/// The file that says all this.
pub(crate) struct NodeFile {
    file: Arc<dyn DiskFile>,
    node: [u8; 16],
    incarnation: u64,
}

impl NodeFile {
    /// Writes a promise down, and returns when that is durable.
    pub(crate) fn promise(&self, promised: Promised) -> io::Result<()> {
        let text = text(self.node, self.incarnation, promised);
        self.file.write_at(0, &mut [IoSlice::new(text.as_bytes())])?;
        self.file.sync()
    }
}

/// As long for any promise.
fn text(node: [u8; 16], incarnation: u64, promised: Promised) -> String {
    let text = format!(
        "warren node\nversion {VERSION}\nid {:032x}\nstarts {incarnation}\nsynced {:08x} {:016x}\n",
        u128::from_be_bytes(node),
        promised.segment,
        promised.batches
    );
    format!("{text}crc {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// Locks the directory, creating it, and starts the next incarnation of the node that lives in it.
pub(crate) fn take(disk: &dyn Disk, directory: &Path) -> Result<Identity, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Disk { path, source }
    };
    disk.create_directory(directory).map_err(failed(directory))?;
    let host = rustix::system::uname();
    let holder = format!(
        "pid {} on {}\n",
        std::process::id(),
        host.nodename().to_string_lossy()
    );
    let path = directory.join(LOCK);
    let lock = disk.lock(&path, &holder).map_err(|why| match why {
        Ok(holder) => OpenError::Locked {
            path: directory.to_owned(),
            holder: if holder.is_empty() {
                "another process".to_owned()
            } else {
                holder
            },
        },
        Err(error) => failed(&path)(error),
    })?;
    let names = disk.list(directory).map_err(failed(directory))?;
    let path = directory.join(NODE);
    let new = !names.iter().any(|name| name == NODE);
    let mut others = names.iter();
    if new && others.any(|name| name == checkpoint::NAME || name.ends_with(".segment")) {
        let needed_by = "the log beside it";
        return Err(OpenError::Missing { path, needed_by });
    }
    let (node, incarnation, promised) = if new {
        (disk.random().map_err(failed(&path))?, 1, Promised::default())
    } else {
        let file = disk
            .open(&path)
            .and_then(|file| read_all(&*file))
            .map_err(failed(&path))?;
        let (node, starts, promised) = read(&path, &file).ok_or_else(|| OpenError::Corrupt {
            path: path.clone(),
            offset: 0,
            what: "it does not name a node".to_owned(),
        })??;
        (node, starts + 1, promised)
    };
    let text = text(node, incarnation, promised);
    // On a full disk the room is in the spares.
    let mut spares = names.iter().filter(|name| name.ends_with(".spare"));
    while let Err(error) = replace(disk, directory, NODE, &[text.as_bytes()]) {
        let spare = spares.next().filter(|_| is_full(&error));
        let spare = spare.ok_or_else(|| failed(&path)(error))?;
        disk.remove(&directory.join(spare)).map_err(failed(&path))?;
    }
    let which = disk.which(&path).map_err(failed(&path))?;
    let file = disk.open(&path).map_err(failed(&path))?;
    Ok(Identity {
        node,
        incarnation,
        new,
        which,
        promised,
        file: Arc::new(NodeFile {
            file,
            node,
            incarnation,
        }),
        lock,
    })
}

type Named = ([u8; 16], u64, Promised);

fn read(path: &Path, text: &[u8]) -> Option<Result<Named, OpenError>> {
    let text = str::from_utf8(text).ok()?;
    let (summed, crc) = text.split_once("crc ")?;
    if u32::from_str_radix(crc.strip_suffix('\n')?, 16).ok()? != crc32c::crc32c(summed.as_bytes()) {
        return None;
    }
    let mut lines = summed.lines();
    let mut value = |key| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
    value("warren")?;
    let found = value("version")?.parse().ok()?;
    if found > VERSION {
        return Some(Err(OpenError::Version {
            path: path.to_owned(),
            found,
            known: VERSION,
        }));
    }
    let id = u128::from_str_radix(value("id")?, 16).ok()?;
    let starts = value("starts")?.parse().ok()?;
    let promised = match value("synced") {
        Some(said) => {
            let (segment, batches) = said.split_once(' ')?;
            Promised {
                segment: u32::from_str_radix(segment, 16).ok()?,
                batches: u64::from_str_radix(batches, 16).ok()?,
            }
        }
        None => Promised::default(),
    };
    Some(Ok((id.to_be_bytes(), starts, promised)))
}
