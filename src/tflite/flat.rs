//! A reader of FlatBuffers: tables, vectors and strings of a file whose offsets may be wrong. Their meaning is in `schema`.
//!
//! It is written here because the readers that `flatc` and `planus` generate contain `unsafe` code, and a network needs few fields.
//!
//! ```text
//! file     u32 position of the root table, 4 bytes of identifier, …
//! table    i32 distance back to its vtable, fields
//! vtable   u16 bytes of the vtable, u16 bytes of the table, u16 distance of each field from the table, 0 for an absent one
//! field    a number, or the u32 distance from itself to a table, a vector or a string
//! vector   u32 count, elements
//! ```
//!
//! Every position is compared with the end of the file before it is read. Vectors of a file share a budget of elements, so that
//! vectors that overlap can't multiply the memory.

use std::cell::Cell;
use std::ops::Range;

use crate::error::{Error, Result, require};

/// The bytes of a file, with the number of elements that may still be read from its vectors.
pub(super) struct Flat<'a> {
    bytes: &'a [u8],
    budget: Cell<usize>,
}

fn damaged(what: &str) -> Error {
    Error::Request(format!("the tflite file is damaged ({what}): download or convert it again"))
}

impl<'a> Flat<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // No byte belongs to two vectors of a sound file.
        Self { bytes, budget: Cell::new(bytes.len()) }
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let bytes = at.checked_add(N).and_then(|end| self.bytes.get(at..end)).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| damaged("a position lies behind its end"))
    }

    /// The table at a position.
    pub(super) fn table(&self, at: usize) -> Result<Table<'_, 'a>> {
        let back = i64::from(i32::from_le_bytes(self.array(at)?));
        let vtable = usize::try_from(at as i64 - back).map_err(|_| damaged("a table has no vtable"))?;
        let size = usize::from(u16::from_le_bytes(self.array(vtable)?));
        require!(size >= 4, "the tflite file is damaged (a vtable has {size} bytes): download or convert it again");
        Ok(Table { file: self, at, vtable, fields: (size - 4) / 2 })
    }

    /// The first table of the file.
    pub(super) fn root(&self) -> Result<Table<'_, 'a>> {
        self.table(self.target(0)?)
    }

    /// The position that the offset at a position leads to.
    fn target(&self, at: usize) -> Result<usize> {
        let distance = u32::from_le_bytes(self.array(at)?);
        at.checked_add(distance as usize).ok_or_else(|| damaged("an offset is too large"))
    }

    /// The bytes of a vector whose elements have this size.
    fn vector(&self, at: usize, size: usize) -> Result<Range<usize>> {
        let count = u32::from_le_bytes(self.array(at)?) as usize;
        let end = count.checked_mul(size).and_then(|bytes| bytes.checked_add(at + 4));
        let end = end.filter(|&end| end <= self.bytes.len());
        Ok(at + 4..end.ok_or_else(|| damaged("a vector reaches beyond its end"))?)
    }

    /// Takes elements off the budget.
    fn spend(&self, count: usize) -> Result<()> {
        let left = self.budget.get().checked_sub(count);
        self.budget.set(left.ok_or_else(|| damaged("its vectors overlap"))?);
        Ok(())
    }
}

/// A table of a file.
#[derive(Clone, Copy)]
pub(super) struct Table<'f, 'a> {
    file: &'f Flat<'a>,
    at: usize,
    vtable: usize,
    fields: usize,
}

impl<'f, 'a> Table<'f, 'a> {
    /// The position of the table.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The position of a field; `None` if it is absent.
    fn field(&self, index: usize) -> Result<Option<usize>> {
        if index >= self.fields {
            return Ok(None);
        }
        let distance = u16::from_le_bytes(self.file.array(self.vtable + 4 + 2 * index)?);
        Ok((distance > 0).then_some(self.at + usize::from(distance)))
    }

    fn number<const N: usize, T>(&self, index: usize, default: T, read: fn([u8; N]) -> T) -> Result<T> {
        self.field(index)?.map_or(Ok(default), |at| self.file.array(at).map(read))
    }

    pub(super) fn i8(&self, index: usize) -> Result<i8> {
        self.number(index, 0, i8::from_le_bytes)
    }

    pub(super) fn bool(&self, index: usize) -> Result<bool> {
        Ok(self.i8(index)? != 0)
    }

    pub(super) fn i32(&self, index: usize, default: i32) -> Result<i32> {
        self.number(index, default, i32::from_le_bytes)
    }

    pub(super) fn u32(&self, index: usize) -> Result<u32> {
        self.number(index, 0, u32::from_le_bytes)
    }

    pub(super) fn u64(&self, index: usize) -> Result<u64> {
        self.number(index, 0, u64::from_le_bytes)
    }

    pub(super) fn f32(&self, index: usize, default: f32) -> Result<f32> {
        self.number(index, default, f32::from_le_bytes)
    }

    pub(super) fn table(&self, index: usize) -> Result<Option<Table<'f, 'a>>> {
        self.field(index)?.map(|at| self.file.table(self.file.target(at)?)).transpose()
    }

    /// The place of a vector of bytes in the file; empty if the field is absent.
    pub(super) fn bytes(&self, index: usize) -> Result<Range<usize>> {
        self.field(index)?.map_or(Ok(0..0), |at| self.file.vector(self.file.target(at)?, 1))
    }

    /// The numbers of a vector; none if the field is absent.
    pub(super) fn numbers<const N: usize, T>(&self, index: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let Some(at) = self.field(index)? else { return Ok(Vec::new()) };
        let range = self.file.vector(self.file.target(at)?, N)?;
        self.file.spend(range.len() / N)?;
        Ok(self.file.bytes[range].as_chunks::<N>().0.iter().map(|&bytes| read(bytes)).collect())
    }

    /// The tables of a vector; none if the field is absent.
    pub(super) fn tables(&self, index: usize) -> Result<Vec<Table<'f, 'a>>> {
        let Some(at) = self.field(index)? else { return Ok(Vec::new()) };
        let range = self.file.vector(self.file.target(at)?, 4)?;
        self.file.spend(range.len() / 4)?;
        range.step_by(4).map(|at| self.file.table(self.file.target(at)?)).collect()
    }

    /// A string; bytes that are no UTF-8 are replaced.
    pub(super) fn string(&self, index: usize) -> Result<String> {
        let range = self.bytes(index)?;
        self.file.spend(range.len())?;
        Ok(String::from_utf8_lossy(&self.file.bytes[range]).into_owned())
    }
}
