//! Streams by their numbers, of which a picture costs next to nothing.
//!
//! A checkpoint wants all of them as they are at one moment, while the writer goes on. So they are in groups that both share; whoever
//! changes a stream afterwards copies its group first, and of a long stream only the piece ([`super::spans`]) that changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Stream;
use super::hash::ByNumber;
use crate::StreamId;

/// Streams with successive numbers in one group.
const GROUP: u64 = 64;

type Group = HashMap<StreamId, Stream, ByNumber>;

/// Clones are pictures.
#[derive(Debug, Default, Clone)]
pub(crate) struct Streams(HashMap<u64, Arc<Group>, ByNumber>);

impl Streams {
    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.0.get(&(id.0 / GROUP))?.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let group = self.0.get_mut(&(id.0 / GROUP))?;
        // Nothing is copied for one that is not there.
        group
            .contains_key(&id)
            .then(|| Arc::make_mut(group).get_mut(&id))?
    }

    /// One that is made if it is not there.
    pub(crate) fn of(&mut self, id: StreamId) -> &mut Stream {
        let group = self.0.entry(id.0 / GROUP).or_default();
        Arc::make_mut(group).entry(id).or_default()
    }

    pub(crate) fn insert(&mut self, id: StreamId, stream: Stream) {
        *self.of(id) = stream;
    }

    pub(crate) fn remove(&mut self, id: StreamId) {
        let number = id.0 / GROUP;
        if let Some(group) = self.0.get_mut(&number)
            && group.contains_key(&id)
        {
            let group = Arc::make_mut(group);
            group.remove(&id);
            if group.is_empty() {
                self.0.remove(&number);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(|group| group.len()).sum()
    }

    /// In no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        let all = self.0.values().flat_map(|group| group.iter());
        all.map(|(id, stream)| (*id, stream))
    }

    /// Groups, and those of them that another has, too.
    #[cfg(test)]
    pub(super) fn shared(&self, other: &Self) -> (usize, usize) {
        let same = |(number, group): &(&u64, &Arc<Group>)| {
            let other = other.0.get(*number);
            other.is_some_and(|other| Arc::ptr_eq(group, other))
        };
        (self.0.len(), self.0.iter().filter(same).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_very_many_streams_shares_all_but_the_groups_that_change() {
        const COUNT: u64 = 100_000;
        let mut streams = Streams::default();
        (0..COUNT).for_each(|number| streams.of(StreamId(number)).next = number);
        let picture = streams.clone();
        streams.of(StreamId(77)).next = 1;
        streams.remove(StreamId(5 * GROUP));
        assert!(streams.get_mut(StreamId(COUNT * 2)).is_none());
        streams.remove(StreamId(COUNT * 2));
        let (groups, shared) = streams.shared(&picture);
        assert_eq!((groups as u64, groups - shared), (COUNT.div_ceil(GROUP), 2));
        assert_eq!(picture.get(StreamId(77)).map(|stream| stream.next), Some(77));
        assert_eq!((picture.len() as u64, streams.len() as u64), (COUNT, COUNT - 1));
        (0..COUNT).for_each(|number| streams.remove(StreamId(number)));
        assert_eq!((streams.iter().count(), streams.shared(&picture).0), (0, 0));
        assert_eq!(picture.iter().count() as u64, COUNT);
    }
}
