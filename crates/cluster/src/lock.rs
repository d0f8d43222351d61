//! Locks that know their place in the one order in which they may be taken: [`CHANGE`], [`METADATA`], [`PLACEMENT`], [`QUEUE`], [`OUTPUT`].
//!
//! A build with debug assertions panics where a thread takes a lock that does not come after all that it holds, which the lock of a
//! second queue does not either, and where it is about to wait while it holds one ([`waits`]). So every test shows that there is no such
//! path among those it goes. A build without them knows nothing of it: the locks are parking_lot's.
//!
//! That nobody holds one across an await needs no check: guards stay on their thread, and a task that has one would not be one for
//! [`tokio::spawn`].
//!
//! ```compile_fail,E0277
//! fn moves<T: Send>(_: T) {}
//! let lock = warren_cluster::lock::Mutex::<{ warren_cluster::lock::QUEUE }, ()>::new(());
//! moves(lock.lock());
//! ```

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use parking_lot::{Condvar, MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use tokio::runtime::{Handle, RuntimeFlavor};

/// A change of the metadata, from its check to the last who is told. Changes wait for their turn at the log while they hold it, and
/// nothing else does.
pub const CHANGE: u8 = 0;
/// The metadata.
pub const METADATA: u8 = 1;
/// Where queues are.
pub const PLACEMENT: u8 = 2;
/// A queue.
pub const QUEUE: u8 = 3;
/// What waits for a client.
pub const OUTPUT: u8 = 4;

const NAMES: [&str; 5] = [
    "the order of changes",
    "the metadata",
    "the placement",
    "a queue",
    "an output",
];

thread_local! {
    /// One bit for each place.
    static HELD: Cell<u8> = const { Cell::new(0) };
}

/// This thread may be about to wait for the disk, or for somebody else.
#[inline]
pub fn waits() {
    if cfg!(debug_assertions) {
        assert_none("waits", HELD.get());
    }
}

/// The same for who may be changing the metadata meanwhile.
#[inline]
pub(crate) fn change_waits() {
    if cfg!(debug_assertions) {
        assert_none("waits", HELD.get() & !(1 << CHANGE));
    }
}

/// Waits for the disk, or for who does. Other tasks of this thread go on elsewhere meanwhile, if there is an elsewhere.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    change_waits();
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

/// Messages from which on what is done to all of them is much: about a millisecond.
const MANY: usize = 2048;

/// What is to be done to so many messages. If they are many, other tasks of this thread do not wait for it.
pub fn at_length<T>(messages: usize, work: impl FnOnce() -> T) -> T {
    match messages > MANY {
        true => blocking(work),
        false => work(),
    }
}

/// # Panics
/// There is something.
fn assert_none(does: &str, held: u8) {
    let held = || (0..).zip(NAMES).filter(move |(place, _)| held >> place & 1 == 1);
    let names: Vec<&str> = held().map(|(_, name)| name).collect();
    assert!(
        names.is_empty(),
        "{does} with the lock of {}",
        names.join(" and of ")
    );
}

/// That this thread has the lock at a place.
#[derive(Debug)]
struct Held<const PLACE: u8>;

impl<const PLACE: u8> Held<PLACE> {
    #[inline]
    fn new() -> Self {
        if cfg!(debug_assertions) {
            let held = HELD.get();
            assert_none(
                "takes the lock of a place before or at it",
                held >> PLACE << PLACE,
            );
            HELD.set(held | 1 << PLACE);
        }
        Self
    }
}

impl<const PLACE: u8> Drop for Held<PLACE> {
    #[inline]
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() & !(1 << PLACE));
        }
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Guard<const PLACE: u8, G> {
    guard: G,
    _held: Held<PLACE>,
}

impl<const PLACE: u8, G> Guard<PLACE, G> {
    #[inline]
    fn new(lock: impl FnOnce() -> G) -> Self {
        // Said before it is taken: who would wait for ever is told.
        let _held = Held::new();
        Self { guard: lock(), _held }
    }
}

impl<const PLACE: u8, G: Deref> Deref for Guard<PLACE, G> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<const PLACE: u8, G: DerefMut> DerefMut for Guard<PLACE, G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl<const PLACE: u8, T> Guard<PLACE, MutexGuard<'_, T>> {
    /// Waits without the lock until somebody notifies, or until then, which it says. Nothing else may be locked.
    pub(crate) fn wait_until(&mut self, condition: &Condvar, until: Instant) -> bool {
        if cfg!(debug_assertions) {
            assert_none("waits", HELD.get() & !(1 << PLACE));
        }
        !condition.wait_until(&mut self.guard, until).timed_out()
    }
}

impl<const PLACE: u8, T> Guard<PLACE, RwLockWriteGuard<'_, T>> {
    /// Gives the lock to who has waited longest.
    pub(crate) fn unlock_fair(self) {
        RwLockWriteGuard::unlock_fair(self.guard);
    }
}

/// [`parking_lot::Mutex`] at a place.
#[derive(Debug, Default)]
pub struct Mutex<const PLACE: u8, T>(parking_lot::Mutex<T>);

impl<const PLACE: u8, T> Mutex<PLACE, T> {
    /// One that nobody has.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Takes it.
    ///
    /// # Panics
    /// With debug assertions, if what this thread holds does not come before it.
    #[inline]
    pub fn lock(&self) -> Guard<PLACE, MutexGuard<'_, T>> {
        Guard::new(|| self.0.lock())
    }
}

impl<T> Mutex<CHANGE, T> {
    /// Takes it, unless somebody has it.
    pub(crate) fn try_lock(&self) -> Option<Guard<CHANGE, MutexGuard<'_, T>>> {
        let _held = Held::new();
        let guard = self.0.try_lock()?;
        Some(Guard { guard, _held })
    }
}

/// [`parking_lot::RwLock`] at a place. Who reads does not read again: if somebody waits for writing in between, both wait for ever.
#[derive(Debug, Default)]
pub(crate) struct RwLock<const PLACE: u8, T>(parking_lot::RwLock<T>);

impl<const PLACE: u8, T> RwLock<PLACE, T> {
    #[inline]
    pub(crate) fn read(&self) -> Guard<PLACE, RwLockReadGuard<'_, T>> {
        Guard::new(|| self.0.read())
    }

    #[inline]
    pub(crate) fn write(&self) -> Guard<PLACE, RwLockWriteGuard<'_, T>> {
        Guard::new(|| self.0.write())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// What somebody says who panics over something. It is as before then.
    fn refused(what: impl FnOnce()) -> Option<String> {
        let before = HELD.get();
        let panic = catch_unwind(AssertUnwindSafe(what)).err()?;
        assert_eq!(HELD.get(), before);
        panic.downcast_ref::<String>().cloned()
    }

    #[test]
    fn locks_are_taken_in_their_order_and_never_two_of_one_place() {
        let metadata = RwLock::<METADATA, _>::default();
        let (queue, another) = (Mutex::<QUEUE, _>::new(1), Mutex::<QUEUE, _>::new(2));
        let output = Mutex::<OUTPUT, _>::new(3);
        {
            let (a, b, c): (Guard<_, RwLockReadGuard<'_, i32>>, _, _) =
                (metadata.read(), queue.lock(), output.lock());
            assert_eq!(*a + *b + *c, 4);
            // Whatever goes first.
            drop(a);
            drop(c);
            drop(output.lock());
            let said = refused(|| drop(another.lock())).unwrap();
            assert!(said.ends_with("with the lock of a queue"), "{said}");
            assert!(refused(|| drop(metadata.read())).is_some());
        }
        drop(another.lock());
        drop(metadata.write());
        let _output = output.lock();
        assert!(refused(|| drop(queue.lock())).is_some());
    }

    #[test]
    fn who_reads_does_not_read_again() {
        let metadata = RwLock::<METADATA, i32>::default();
        let _read = metadata.read();
        assert!(refused(|| drop(metadata.read())).is_some());
    }

    #[test]
    fn nobody_waits_with_a_lock() {
        let (change, queue) = (Mutex::<CHANGE, _>::new(()), Mutex::<QUEUE, _>::new(()));
        waits();
        let changing = change.lock();
        change_waits();
        assert!(refused(waits).is_some());
        let until = Instant::now();
        let said = refused(|| assert!(!queue.lock().wait_until(&Condvar::new(), until))).unwrap();
        assert_eq!(said, "waits with the lock of the order of changes");
        drop(changing);
        let mut queue = queue.lock();
        assert!(!queue.wait_until(&Condvar::new(), until));
        let said = refused(change_waits).unwrap();
        assert_eq!(said, "waits with the lock of a queue");
    }
}
