//! A disk in memory for tests that does to unsynced data whatever a real one may do.
//!
//! A write is visible to readers at once and safe only once synced. At a power cut, of what was written since the last sync each
//! sector of 512 octets is kept or lost by itself, in no order; each creation, rename and removal of a directory that was not synced is
//! done or undone, in order. Sectors themselves are atomic, as disks promise.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile};

const SECTOR: usize = 512;

/// When the disk does what. Counts are of operations that change something (creations, writes, syncs, renames, removals).
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// From this operation on everything fails: the power is gone.
    pub power_cut_at: Option<u64>,
    /// This sync and all later ones of the same file fail.
    pub sync_fails_at: Option<u64>,
    /// Octets that files may have together.
    pub capacity: Option<u64>,
    /// Syncs do not return before the weather changes.
    pub syncs_wait: bool,
}

/// See the module. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    weather_changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    /// What programs see.
    names: BTreeMap<PathBuf, Arc<Contents>>,
    /// What is there after a power cut if nothing unsynced survives.
    safe_names: BTreeMap<PathBuf, Arc<Contents>>,
    /// Changes of names that are not safe, in order. Each happens as a whole: a rename is two names.
    unsafe_names: Vec<Vec<(PathBuf, Option<Arc<Contents>>)>>,
    locks: BTreeMap<PathBuf, String>,
    weather: Weather,
    operations: u64,
    syncs: u64,
}

#[derive(Default)]
struct Contents {
    octets: Mutex<Octets>,
}

#[derive(Default, Clone)]
struct Octets {
    now: Vec<u8>,
    /// Safe contents of sectors that were written since the last sync.
    before: BTreeMap<usize, Vec<u8>>,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    contents: Arc<Contents>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(weather: Weather) -> Self {
        let disk = Self::default();
        disk.state.lock().weather = weather;
        disk
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
        self.weather_changed.notify_all();
    }

    /// Operations so far that changed something; to choose where to cut the power.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The disk after a power cut, as a new one that works. `chance` decides for each unsynced sector (and name) whether it was kept.
    pub fn after_power_cut(&self, chance: &mut dyn FnMut() -> bool) -> Self {
        let state = self.state.lock();
        let mut names = state.safe_names.clone();
        // Journals keep the order of names: what survives is a beginning.
        for (path, contents) in state.unsafe_names.iter().take_while(|_| chance()).flatten() {
            match contents {
                Some(contents) => names.insert(path.clone(), contents.clone()),
                None => names.remove(path),
            };
        }
        let mut copies: Vec<(*const Contents, Arc<Contents>)> = Vec::new();
        let survived: BTreeMap<PathBuf, Arc<Contents>> = names
            .into_iter()
            .map(|(path, contents)| {
                let known = copies.iter().find(|(of, _)| *of == Arc::as_ptr(&contents));
                let copy = known
                    .map(|(_, copy)| copy.clone())
                    .unwrap_or_else(|| contents.survived(chance));
                copies.push((Arc::as_ptr(&contents), copy.clone()));
                (path, copy)
            })
            .collect();
        let disk = Self::default();
        disk.state.lock().safe_names.clone_from(&survived);
        disk.state.lock().names = survived;
        disk
    }

    /// The contents of a file, to look at or to damage; every change is safe at once.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let contents = self.state.lock().names[path].clone();
        let mut octets = contents.octets.lock();
        change(&mut octets.now);
        octets.before.clear();
    }

    /// Puts a file there as it is, safe at once.
    pub fn put(&self, path: &Path, octets: Vec<u8>) {
        let contents = Arc::new(Contents {
            octets: Mutex::new(Octets {
                now: octets,
                before: BTreeMap::new(),
            }),
        });
        let mut state = self.state.lock();
        state.safe_names.insert(path.to_owned(), contents.clone());
        state.names.insert(path.to_owned(), contents);
    }

    /// A copy of everything, as it is now.
    pub fn copy(&self) -> Self {
        let state = self.state.lock();
        let disk = Self::default();
        for (path, contents) in &state.names {
            disk.put(path, contents.octets.lock().now.clone());
        }
        disk
    }

    /// Paths of all files with their sizes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state.lock();
        let size = |contents: &Contents| contents.octets.lock().now.len() as u64;
        (state
            .names
            .iter()
            .map(|(path, contents)| (path.clone(), size(contents))))
        .collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        state.operations += 1;
        if state
            .weather
            .power_cut_at
            .is_some_and(|at| state.operations >= at)
        {
            return Err(io::Error::other("the power is gone"));
        }
        change(&mut state)
    }
}

impl State {
    fn name(&mut self, path: &Path, contents: Option<Arc<Contents>>) {
        match &contents {
            Some(contents) => self.names.insert(path.to_owned(), contents.clone()),
            None => self.names.remove(path),
        };
        self.unsafe_names.push(vec![(path.to_owned(), contents)]);
    }

    fn room(&self, size: u64) -> u64 {
        let used: usize = self.names.values().map(|one| one.octets.lock().now.len()).sum();
        let room = self
            .weather
            .capacity
            .map(|capacity| capacity.saturating_sub(used as u64));
        room.unwrap_or(u64::MAX).saturating_sub(size)
    }
}

impl Contents {
    fn survived(&self, chance: &mut dyn FnMut() -> bool) -> Arc<Self> {
        let octets = self.octets.lock();
        let mut now = octets.now.clone();
        for (sector, before) in &octets.before {
            if !chance() {
                let start = sector * SECTOR;
                now[start..start + before.len()].copy_from_slice(before);
            }
        }
        Arc::new(Self {
            octets: Mutex::new(Octets {
                now,
                before: BTreeMap::new(),
            }),
        })
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let contents = self.change(|state| {
            if size > 0 && state.room(0) < size {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let contents = Arc::new(Contents::default());
            contents.octets.lock().now.resize(size as usize, 0);
            state.name(path, Some(contents.clone()));
            Ok(contents)
        })?;
        let disk = self.clone();
        Ok(Arc::new(SimulatedFile { disk, contents }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let contents = self.state.lock().names.get(path).cloned();
        let contents = contents.ok_or_else(|| missing(path))?;
        let disk = self.clone();
        Ok(Arc::new(SimulatedFile { disk, contents }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            let contents = state.names.get(from).cloned().ok_or_else(|| missing(from))?;
            state.names.remove(from);
            state.names.insert(to.to_owned(), contents.clone());
            (state.unsafe_names).push(vec![(to.to_owned(), Some(contents)), (from.to_owned(), None)]);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            if !state.names.contains_key(path) {
                return Err(missing(path));
            }
            state.name(path, None);
            Ok(())
        })
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.change(|state| {
            state.unsafe_names.clear();
            state.safe_names = state.names.clone();
            Ok(())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(self.state.lock().room(0))
    }

    fn lock(
        &self,
        path: &Path,
        holder: &str,
    ) -> Result<Box<dyn Any + Send + Sync>, Result<String, io::Error>> {
        struct Guard(SimulatedDisk, PathBuf);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.state.lock().locks.remove(&self.1);
            }
        }
        let mut state = self.state.lock();
        if let Some(other) = state.locks.get(path) {
            return Err(Ok(other.clone()));
        }
        state.locks.insert(path.to_owned(), holder.to_owned());
        Ok(Box::new(Guard(self.clone(), path.to_owned())))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        Ok(*b"simulated octets")
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // A cut in the middle of a write is a write whose sectors were not kept.
        let mut octets = self.contents.octets.lock();
        let mut at = offset as usize;
        for slice in slices.iter() {
            let end = at + slice.len();
            if end > octets.now.len() {
                octets.now.resize(end, 0);
            }
            for sector in at / SECTOR..end.div_ceil(SECTOR) {
                let start = sector * SECTOR;
                let before = octets.now[start..octets.now.len().min(start + SECTOR)].to_vec();
                octets.before.entry(sector).or_insert(before);
            }
            octets.now[at..end].copy_from_slice(slice);
            at = end;
        }
        drop(octets);
        self.disk.change(|_| Ok(()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let octets = self.contents.octets.lock();
        let start = offset as usize;
        let found = octets.now.get(start..start + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let waits = |state: &mut State| state.weather.syncs_wait;
        self.disk
            .weather_changed
            .wait_while(&mut self.disk.state.lock(), waits);
        self.disk.change(|state| {
            state.syncs += 1;
            if state.weather.sync_fails_at.is_some_and(|at| state.syncs >= at) {
                return Err(io::Error::other("the disk could not write"));
            }
            self.contents.octets.lock().before.clear();
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.contents.octets.lock().now.len() as u64)
    }
}
