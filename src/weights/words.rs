//! The packed words of weights: in memory, or made anew whenever they are needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::PackedWeights;
use crate::error::{Error, Result, refuse};

/// The packed words of weights.
#[derive(Clone)]
pub(super) enum Words {
    Held(Arc<Vec<u32>>),
    Deferred(Arc<Deferred>),
    /// Those of an op's input.
    Bound,
    /// Those of several weights, one after the other.
    Joined(Arc<Joined>),
}

/// Words that are made when they are needed, and shared by all who need them at a time.
pub(super) struct Deferred {
    make: Box<dyn Fn() -> Result<PackedWeights> + Send + Sync>,
    made: Mutex<Weak<Vec<u32>>>,
}

impl Words {
    pub(super) fn joined(parts: &[Arc<PackedWeights>]) -> Self {
        Self::Joined(Arc::new(Joined { parts: parts.to_vec(), made: Mutex::default() }))
    }

    pub(super) fn deferred(make: impl Fn() -> Result<PackedWeights> + Send + Sync + 'static) -> Self {
        Self::Deferred(Arc::new(Deferred { make: Box::new(make), made: Mutex::default() }))
    }

    /// The words. Deferred ones are made, unless somebody still holds them; `check` judges the weights that they come from.
    pub(super) fn get(&self, check: impl FnOnce(&PackedWeights) -> Result<()>) -> Result<Arc<Vec<u32>>> {
        match self {
            Self::Held(words) => Ok(words.clone()),
            Self::Deferred(deferred) => {
                if let Some(words) = deferred.lock().upgrade() {
                    return Ok(words);
                }
                // Without the lock: a thread that makes them in parallel may come here again. Two who come at once both make them.
                let weights = (deferred.make)()?;
                check(&weights)?;
                // Weights may be deferred by weights that are deferred themselves.
                let words = weights.words()?;
                let mut made = deferred.lock();
                if let Some(words) = made.upgrade() {
                    return Ok(words);
                }
                *made = Arc::downgrade(&words);
                Ok(words)
            }
            Self::Bound => refuse!("the words of these weights are an input of their op: read them there"),
            Self::Joined(joined) => joined.get(),
        }
    }
}

/// The words of several weights, one after the other. They are put together when they are needed, and shared by all who need them at a
/// time.
pub(super) struct Joined {
    parts: Vec<Arc<PackedWeights>>,
    made: Mutex<Weak<Vec<u32>>>,
}

impl Joined {
    pub(super) fn parts(&self) -> &[Arc<PackedWeights>] {
        &self.parts
    }

    /// The words of each part are in memory beside all of them, one part at a time.
    fn get(&self) -> Result<Arc<Vec<u32>>> {
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = lock().upgrade() {
            return Ok(words);
        }
        // Without the lock, as deferred words are made.
        let mut words = Vec::new();
        let count = self.parts.iter().map(|part| part.layout().words()).sum();
        reserve(&mut words, count)?;
        for part in &self.parts {
            words.extend_from_slice(&part.words()?);
        }
        let words = Arc::new(words);
        *lock() = Arc::downgrade(&words);
        Ok(words)
    }
}

/// Reserves memory for packed words.
///
/// # Errors
/// If there is not enough.
pub(super) fn reserve(words: &mut Vec<u32>, count: usize) -> Result<()> {
    words.try_reserve_exact(count).map_err(|_| {
        Error::Request(format!("{} MiB of packed weights don't fit into memory: load fewer at a time", count >> 18))
    })
}

impl Deferred {
    fn lock(&self) -> MutexGuard<'_, Weak<Vec<u32>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
