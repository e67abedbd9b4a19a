//! Constants in device memory: packed weights and tables, uploaded once per context and shared by all plans that read the
//! same. What they hold is `kernels::constant`'s.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, Weak};

use super::device_tensor::USAGE;
use super::{Context, lock};
use crate::error::Result;
use crate::kernels::{self, Constant};
use crate::ops::Op;

/// What tells two constants apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Weights: their owner's address, the op's name and what else decides the packing, and which part it is. Packing is
    /// not repeated.
    Weights(usize, &'static str, Vec<usize>, Constant),
    /// Anything else, by 128 bits of hash of its words.
    Words(u64, u64),
}

#[derive(Debug)]
struct Entry {
    buffer: Weak<wgpu::Buffer>,
    /// Keeps the address from being used again while the entry lives.
    _owner: Option<Weak<dyn Any + Send + Sync>>,
}

/// The constants of a context that some plan still holds.
#[derive(Debug, Default)]
pub(super) struct Constants(Mutex<HashMap<Key, Entry>>);

impl Constants {
    /// The buffer of a constant that a candidate of this op asks for.
    pub(super) fn get(&self, context: &Context, op: &Op, constant: Constant) -> Result<Arc<wgpu::Buffer>> {
        let words = || kernels::constant(op, constant).expect("candidates ask for their own op's constants");
        let is_weights = matches!(
            constant,
            Constant::Weights { .. }
                | Constant::WordWeights { .. }
                | Constant::PatchWeights { .. }
                | Constant::GroupedWeights(_)
                | Constant::DepthwiseWeights(_)
                | Constant::Panels { .. }
        );
        let upload = |words: &[u32]| -> Result<Arc<wgpu::Buffer>> {
            let label = format!("{}: {constant:?}", op.name());
            Ok(Arc::new(context.buffer(&label, words.len() as u64 * 4, USAGE, words)?))
        };
        if let Some(weights) = op.weight_identity().filter(|_| is_weights) {
            let name = match (op, constant) {
                // These words are the same whatever reads them.
                (_, Constant::Panels { .. }) => "panels",
                (Op::Fused(op), _) => op.first().name(),
                (op, _) => op.name(),
            };
            let address = Arc::as_ptr(&weights.owner).cast::<()>().addr();
            let key = Key::Weights(address, name, weights.packing, constant);
            return self.shared(key, Some(Arc::downgrade(&weights.owner)), || upload(&words()));
        }
        let words = words();
        let hash = |seed: u64| {
            let mut hasher = DefaultHasher::new();
            (seed, &words).hash(&mut hasher);
            hasher.finish()
        };
        self.shared(Key::Words(hash(0), hash(1)), None, || upload(&words))
    }

    fn shared(
        &self,
        key: Key,
        owner: Option<Weak<dyn Any + Send + Sync>>,
        upload: impl FnOnce() -> Result<Arc<wgpu::Buffer>>,
    ) -> Result<Arc<wgpu::Buffer>> {
        if let Some(buffer) = lock(&self.0).get(&key).and_then(|entry| entry.buffer.upgrade()) {
            return Ok(buffer);
        }
        // Uploading takes long and does not hold the lock; of two threads that do, one's buffer stays.
        let uploaded = upload()?;
        let mut entries = lock(&self.0);
        if let Some(buffer) = entries.get(&key).and_then(|entry| entry.buffer.upgrade()) {
            return Ok(buffer);
        }
        if entries.len() == entries.capacity() {
            entries.retain(|_, entry| entry.buffer.strong_count() > 0);
        }
        entries.insert(key, Entry { buffer: Arc::downgrade(&uploaded), _owner: owner });
        Ok(uploaded)
    }
}
