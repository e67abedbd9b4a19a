//! Tensors in device memory, in the crate's or the caller's buffers. The layout is in `pack`.

use std::ops::Deref;

use super::context::Counting;
use super::{Context, readback};
use crate::error::{Result, require};
use crate::tensor::{Tensor, TensorType, pack};

/// A tensor in device memory, in rows packed as [`DType::row_words`](crate::DType::row_words) documents.
///
/// Kernels write zeros as padding. The padding of their inputs may hold anything.
#[derive(Debug, Clone)]
pub struct DeviceTensor {
    tensor_type: TensorType,
    buffer: wgpu::Buffer,
    offset: u64,
    /// The id of the context that made the buffer; `None` for a caller's buffer.
    context: Option<u64>,
}

/// Storage that can be uploaded to and read back.
pub(super) const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// The finest alignment of the offset of a storage binding that wgpu lets a device require.
const LEAST_ALIGNMENT: u64 = 32;

impl DeviceTensor {
    /// A tensor in the caller's buffer, from byte `offset`. Tensors may share a buffer; an output overlaps no other tensor.
    /// A buffer that is read back has COPY_SRC.
    ///
    /// The offset is a multiple of the device's `min_storage_buffer_offset_alignment`, which is checked when the tensor is
    /// bound. 256 suits every device.
    ///
    /// The buffer must be of the device of the context that uses it. Calls with a buffer of another device fail with
    /// [`Error::Validation`](crate::Error::Validation). wgpu can't identify a buffer of another *instance*: it looks up a buffer
    /// with this number in its own instance, and panics if there is none. The panic is caught and becomes this error (unless the
    /// program is built with `panic = "abort"`). If there is one, it is used instead.
    ///
    /// # Errors
    /// If the buffer lacks the STORAGE usage, the offset is not a multiple of 32, or the tensor does not fit.
    pub fn from_buffer(tensor_type: TensorType, buffer: wgpu::Buffer, offset: u64) -> Result<Self> {
        require!(
            buffer.usage().contains(wgpu::BufferUsages::STORAGE),
            "the buffer has usage {:?}, but a tensor needs STORAGE",
            buffer.usage()
        );
        require!(
            offset.is_multiple_of(LEAST_ALIGNMENT),
            "the offset is {offset}, but it must be a multiple of {LEAST_ALIGNMENT} on every device, and of 256 on some"
        );
        let needed = tensor_type.device_bytes();
        require!(
            offset.checked_add(needed).is_some_and(|end| end <= buffer.size()),
            "{tensor_type} takes {needed} bytes from offset {offset}, but the buffer has {}",
            buffer.size()
        );
        Ok(Self { tensor_type, buffer, offset, context: None })
    }

    pub(super) fn upload(context: &Context, tensor: &Tensor) -> Result<Self> {
        let words = pack::borrowed_words(tensor);
        let tensor_type = tensor.tensor_type().clone();
        let buffer = context.buffer(&tensor_type.to_string(), tensor_type.device_bytes(), USAGE, &words)?;
        Ok(Self { tensor_type, buffer, offset: 0, context: Some(context.id()) })
    }

    /// A tensor of this type with unspecified contents, in a buffer with usages STORAGE, COPY_SRC and COPY_DST.
    ///
    /// # Errors
    /// If it exceeds a limit of the device, or the device fails.
    pub fn allocate(context: &Context, tensor_type: TensorType) -> Result<Self> {
        let buffer = context.buffer(&tensor_type.to_string(), tensor_type.device_bytes(), USAGE, &[])?;
        Ok(Self { tensor_type, buffer, offset: 0, context: Some(context.id()) })
    }

    /// The type of the tensor.
    #[must_use]
    pub fn tensor_type(&self) -> &TensorType {
        &self.tensor_type
    }

    /// The buffer that holds the tensor.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The start of the tensor in the buffer, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// True if both have bytes in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let bytes = |tensor: &Self| tensor.offset..tensor.offset + tensor.tensor_type.device_bytes();
        let (a, b) = (bytes(self), bytes(other));
        self.buffer == other.buffer && a.start < b.end && b.start < a.end
    }

    /// Refuses a tensor of another context, because its buffer is of another device.
    pub(super) fn check_context(&self, context: &Context) -> Result<()> {
        require!(
            self.context.is_none_or(|id| id == context.id()),
            "the tensor {} was made by another context: upload it with the one that uses it",
            self.tensor_type
        );
        Ok(())
    }

    /// Gives the memory of the tensor back at once: its buffer is destroyed, and calls with the tensor, its clones or other tensors in
    /// the buffer fail. Otherwise memory comes back when the last clone is dropped; in a browser only when its collector runs, which
    /// doesn't know how much device memory a buffer holds.
    pub fn destroy(self) {
        self.buffer.destroy();
    }

    /// Refuses an offset at which this device can't bind a buffer.
    pub(super) fn check_offset(&self, context: &Context) -> Result<()> {
        let alignment = u64::from(context.device().limits().min_storage_buffer_offset_alignment);
        require!(
            self.offset.is_multiple_of(alignment),
            "the tensor {} begins at byte {} of its buffer, but this device binds storage at multiples of {alignment}",
            self.tensor_type,
            self.offset
        );
        Ok(())
    }

    pub(super) async fn download(&self, context: &Context) -> Result<Tensor> {
        context.check_alive()?;
        self.check_context(context)?;
        require!(
            self.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC),
            "the buffer has usage {:?}, but reading a tensor back needs COPY_SRC",
            self.buffer.usage()
        );
        let bytes = self.tensor_type.device_bytes();
        let words = readback::words(context, &self.buffer, self.offset, bytes).await;
        Counting::count(&context.counting.submissions);
        Counting::count(&context.counting.readbacks);
        // A destroyed device frees its buffers, so the words may be anything; and in a browser a refused call leaves zeros.
        context.check().await?;
        pack::owned_tensor(&self.tensor_type, words?)
    }
}

/// A buffer that nobody else holds. Submissions that use it still run.
#[derive(Debug)]
pub(super) struct Temporary(pub(super) wgpu::Buffer);

impl Deref for Temporary {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.0.destroy();
    }
}
