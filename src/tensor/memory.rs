//! The elements of a tensor as raw memory of four widths. Moves of elements need nothing but the width. The meaning of the bits is
//! in `numeric`, the packed layout of devices in `pack`.

use std::ops::Range;

use bytemuck::Pod;
use bytemuck::allocation::cast_vec;

/// Elements in memory, each as its Rust type holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Memory {
    Bits8(Vec<u8>),
    Bits16(Vec<u16>),
    Bits32(Vec<u32>),
    Bits64(Vec<[u32; 2]>),
}

/// Evaluates an expression for the elements of any width.
macro_rules! each_width {
    ($memory:expr, $elements:ident => $value:expr) => {
        match $memory {
            $crate::tensor::memory::Memory::Bits8($elements) => $value,
            $crate::tensor::memory::Memory::Bits16($elements) => $value,
            $crate::tensor::memory::Memory::Bits32($elements) => $value,
            $crate::tensor::memory::Memory::Bits64($elements) => $value,
        }
    };
}

impl Memory {
    /// The memory of these elements, not copied.
    pub(super) fn new<T: Pod>(elements: Vec<T>) -> Self {
        match size_of::<T>() {
            1 => Self::Bits8(cast_vec(elements)),
            2 => Self::Bits16(cast_vec(elements)),
            4 => Self::Bits32(cast_vec(elements)),
            _ => Self::Bits64(cast_vec(elements)),
        }
    }

    /// Elements of `bits` bits from words: each is in the low bits of one word, or in two words.
    pub(super) fn from_words(bits: usize, words: impl Iterator<Item = u32>) -> Self {
        match bits {
            ..=8 => Self::Bits8(words.map(|word| word as u8).collect()),
            16 => Self::Bits16(words.map(|word| word as u16).collect()),
            32 => Self::Bits32(words.collect()),
            _ => Self::Bits64(words.collect::<Vec<_>>().as_chunks().0.to_vec()),
        }
    }

    /// The elements as a Rust type of their width.
    pub(super) fn view<T: Pod>(&self) -> &[T] {
        each_width!(self, elements => bytemuck::cast_slice(elements))
    }

    /// The bits of an element of at most 32 bits.
    pub(super) fn word(&self, index: usize) -> u32 {
        match self {
            Self::Bits8(elements) => elements[index].into(),
            Self::Bits16(elements) => elements[index].into(),
            Self::Bits32(elements) => elements[index],
            Self::Bits64(_) => unreachable!("elements of 64 bits are no words"),
        }
    }

    /// A two's complement element of at most 32 bits.
    pub(super) fn signed(&self, index: usize) -> i32 {
        match self {
            Self::Bits8(elements) => (elements[index] as i8).into(),
            Self::Bits16(elements) => (elements[index] as i16).into(),
            Self::Bits32(elements) => elements[index] as i32,
            Self::Bits64(_) => unreachable!("elements of 64 bits are no words"),
        }
    }

    pub(super) fn part(&self, range: Range<usize>) -> Self {
        each_width!(self, elements => Self::new(elements[range].to_vec()))
    }

    /// The concatenation of elements of `bits` bits.
    pub(super) fn joined<'a>(bits: usize, parts: impl Iterator<Item = &'a Self>) -> Self {
        fn join<'a, T: Pod>(parts: impl Iterator<Item = &'a Memory>) -> Memory {
            Memory::new(parts.flat_map(Memory::view::<T>).copied().collect())
        }
        match bits {
            ..=8 => join::<u8>(parts),
            16 => join::<u16>(parts),
            32 => join::<u32>(parts),
            _ => join::<[u32; 2]>(parts),
        }
    }

    /// The elements at these indices. `None` gives the element with the bits `fill`, extended with zeros.
    pub(super) fn gathered(&self, sources: &[Option<usize>], fill: u32) -> Self {
        fn gather<T: Pod>(elements: &[T], sources: &[Option<usize>], fill: T) -> Memory {
            Memory::new(sources.iter().map(|source| source.map_or(fill, |i| elements[i])).collect())
        }
        match self {
            Self::Bits8(elements) => gather(elements, sources, fill as u8),
            Self::Bits16(elements) => gather(elements, sources, fill as u16),
            Self::Bits32(elements) => gather(elements, sources, fill),
            Self::Bits64(elements) => gather(elements, sources, [fill, 0]),
        }
    }
}
