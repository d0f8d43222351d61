//! Targets of all bindings that say the same: mostly one, and sometimes those of every client there is.

use super::Target;
use super::fanout::Fanout;

/// Each target once, however many bindings lead to it.
#[derive(Debug, Default)]
pub(super) enum Targets {
    #[default]
    None,
    One(Target),
    Many(Box<Fanout>),
}

impl Targets {
    pub(super) fn add(&mut self, target: &Target) {
        match self {
            Self::None => *self = Self::One(target.clone()),
            Self::One(one) => {
                let mut many = Box::<Fanout>::default();
                many.add(one);
                many.add(target);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.add(target),
        }
    }

    pub(super) fn remove(&mut self, target: &Target) {
        match self {
            Self::One(one) if one == target => *self = Self::None,
            Self::Many(many) => {
                many.remove(target);
                if many.targets().is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => {}
        }
    }

    pub(super) fn as_slice(&self) -> &[Target] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.targets(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}
