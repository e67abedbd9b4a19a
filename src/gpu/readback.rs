//! Reading words of the device back to the host.

use std::sync::{Arc, Mutex};

use super::device_tensor::Temporary;
use super::wait::map;
use super::{Context, lock};
use crate::error::{Error, Result};

/// Bytes that are mapped at a time.
const PART: u64 = 16 << 20;

/// Bytes that are copied at a time from mapped memory: in a browser each view of it is a copy.
const VIEW: u64 = 4 << 20;

/// The buffer of a context that is mapped for reading, kept between readbacks: a browser frees the memory of such a buffer late, also
/// when it is destroyed. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Readable(Arc<Mutex<Option<Temporary>>>);

impl Readable {
    /// A buffer of at least so many bytes. Until it is put back, others get another one.
    fn take(&self, context: &Context, bytes: u64) -> Result<Temporary> {
        let kept = lock(&self.0).take().filter(|kept| kept.size() >= bytes);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        kept.map_or_else(|| context.temporary("readback", bytes.next_power_of_two(), usage), Ok)
    }

    fn put_back(&self, buffer: Temporary) {
        let mut kept = lock(&self.0);
        if kept.as_ref().is_none_or(|kept| kept.size() < buffer.size()) {
            *kept = Some(buffer);
        }
    }
}

/// `bytes` bytes of a buffer from byte `offset` on, as they are after the submissions so far: more than one part is copied on the
/// device first. The first poll submits that copy.
pub(super) async fn words(context: &Context, source: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u32>> {
    let readable = context.readable.take(context, bytes.min(PART))?;
    let mut words = vec![0; (bytes / 4) as usize];
    if bytes <= PART {
        copy(context, source, offset, &readable, bytes)?;
        read(context, &readable, &mut words).await?;
    } else {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let copied = context.temporary("a copy to be read back", bytes, usage)?;
        copy(context, source, offset, &copied, bytes)?;
        for (part, words) in words.chunks_mut((PART / 4) as usize).enumerate() {
            copy(context, &copied, part as u64 * PART, &readable, 4 * words.len() as u64)?;
            read(context, &readable, words).await?;
        }
    }
    context.readable.put_back(readable);
    Ok(words)
}

fn copy(context: &Context, source: &wgpu::Buffer, offset: u64, target: &wgpu::Buffer, bytes: u64) -> Result<()> {
    context.scoped(|| {
        let mut encoder = context.device().create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, offset, target, 0, Some(bytes));
        context.queue().submit([encoder.finish()]);
    })
}

/// The first words of a buffer that can be mapped.
pub(super) async fn read(context: &Context, readable: &wgpu::Buffer, words: &mut [u32]) -> Result<()> {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
    map(context, readable, bytes.len() as u64).await?;
    for (view, bytes) in bytes.chunks_mut(VIEW as usize).enumerate() {
        let start = view as u64 * VIEW;
        let mapped = readable.get_mapped_range(start..start + bytes.len() as u64);
        bytes.copy_from_slice(&mapped.map_err(|error| Error::Device(format!("reading from the device: {error}")))?);
    }
    context.scoped(|| readable.unmap())
}
