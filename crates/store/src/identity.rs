//! Who this data directory is: a file that names the node and counts its starts, and the lock that keeps a second process out.

use std::any::Any;
use std::path::Path;

use crate::OpenError;
use crate::checkpoint;
use crate::disk::{Disk, is_full, read_all, replace};
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
    pub(crate) lock: Box<dyn Any + Send + Sync>,
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
    let (node, incarnation) = if new {
        (disk.random().map_err(failed(&path))?, 1)
    } else {
        let file = disk
            .open(&path)
            .and_then(|file| read_all(&*file))
            .map_err(failed(&path))?;
        let (node, incarnation) = read(&path, &file).ok_or_else(|| OpenError::Corrupt {
            path: path.clone(),
            offset: 0,
            what: "it does not name a node".to_owned(),
        })??;
        (node, incarnation + 1)
    };
    let text = format!(
        "warren node\nversion {VERSION}\nid {:032x}\nstarts {incarnation}\n",
        u128::from_be_bytes(node)
    );
    let text = format!("{text}crc {:08x}\n", crc32c::crc32c(text.as_bytes()));
    // On a full disk the room is in the spares.
    let mut spares = names.iter().filter(|name| name.ends_with(".spare"));
    while let Err(error) = replace(disk, directory, NODE, &[text.as_bytes()]) {
        let spare = spares.next().filter(|_| is_full(&error));
        let spare = spare.ok_or_else(|| failed(&path)(error))?;
        disk.remove(&directory.join(spare)).map_err(failed(&path))?;
    }
    let which = disk.which(&path).map_err(failed(&path))?;
    Ok(Identity {
        node,
        incarnation,
        new,
        which,
        lock,
    })
}

type Named = ([u8; 16], u64);

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
    Some(Ok((id.to_be_bytes(), starts)))
}
