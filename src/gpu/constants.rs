//! Constants in device memory: packed weights and tables, uploaded once per context and shared by all plans that read equal words.
//! The words are those of `kernels::Constant`.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, Weak};

use super::device_tensor::USAGE;
use super::{Context, lock};
use crate::error::Result;
use crate::kernels::{Constant, WordsInTurn};

/// Tells two constants apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The addresses of the owners of packed words, and the label. They are not packed again.
    Packed(Vec<usize>, String),
    /// 128 bits of hash of all other words.
    Words(u64, u64),
}

#[derive(Debug)]
struct Entry {
    buffer: Weak<wgpu::Buffer>,
    /// Keep the addresses from being used again while the entry lives.
    _owners: Vec<Weak<dyn Any + Send + Sync>>,
}

/// The constants of a context that some plan still holds.
#[derive(Debug, Default)]
pub(super) struct Constants(Mutex<HashMap<Key, Entry>>);

impl Constants {
    /// The buffers of constants.
    pub(super) fn of(&self, context: &Context, constants: &[Constant]) -> Result<Vec<Arc<wgpu::Buffer>>> {
        let mut words = WordsInTurn::default();
        constants.iter().map(|constant| self.get(context, constant, &mut words)).collect()
    }

    fn get(&self, context: &Context, constant: &Constant, words: &mut WordsInTurn) -> Result<Arc<wgpu::Buffer>> {
        let owners = constant.owners();
        if !owners.is_empty() {
            let addresses = owners.iter().map(|owner| Arc::as_ptr(owner).cast::<()>().addr()).collect();
            let key = Key::Packed(addresses, constant.label().to_string());
            let upload = || {
                let buffer = context.buffer(constant.label(), constant.count() * 4, USAGE, &[])?;
                let mut written = 0;
                words.next(constant, |part| {
                    context.write(constant.label(), &buffer, written, part)?;
                    written += part.len() as u64 * 4;
                    Ok(())
                })?;
                assert_eq!(written, constant.count() * 4, "words of {}", constant.label());
                Ok(Arc::new(buffer))
            };
            return self.shared(key, owners.iter().map(Arc::downgrade).collect(), upload);
        }
        let words = constant.words()?;
        let hash = |seed: u64| {
            let mut hasher = DefaultHasher::new();
            (seed, &words[..]).hash(&mut hasher);
            hasher.finish()
        };
        let upload = || Ok(Arc::new(context.buffer(constant.label(), words.len() as u64 * 4, USAGE, &words)?));
        self.shared(Key::Words(hash(0), hash(1)), Vec::new(), upload)
    }

    fn shared(
        &self,
        key: Key,
        owners: Vec<Weak<dyn Any + Send + Sync>>,
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
        entries.insert(key, Entry { buffer: Arc::downgrade(&uploaded), _owners: owners });
        Ok(uploaded)
    }
}
