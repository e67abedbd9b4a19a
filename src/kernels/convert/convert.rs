//! The loop of casts, quantization and dequantization, `shaders/convert/convert.wgsl`. It is linked with
//! `shaders/convert/decode_*.wgsl` and `shaders/convert/encode_*.wgsl` for its two formats, with `shaders/convert/step_*.wgsl` for
//! the conversion between, and with `shaders/convert/scales_*.wgsl` for the scales. `block`, `cast` and `quantize` use it.

use super::granularity;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Resource, line_groups, parameters};
use crate::numeric::{BlockFormat, DType, Encoding, Minifloat, PowerRounding};
use crate::ops::Cast;
use crate::tensor::{Granularity, TensorType};

parameters! {
    /// `shaders/convert/convert.wgsl`.
    struct Params {
        index_sizes: [u32; 4],
        index_strides: [u32; 4],
        n: u32,
        input_words: u32,
        output_words: u32,
        row_units: u32,
        units: u32,
        low: i32,
        high: i32,
        scale_words: u32,
        unit: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

/// The buffer of the scales and zero points of elements.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scales {
    /// A table of pairs, of this granularity.
    Table(Resource, Granularity),
    /// A tensor of small floats, one per block of a row.
    Blocks { scales: Resource, format: BlockFormat },
}

/// A conversion of the elements of a tensor.
pub(crate) struct Conversion<'a> {
    pub name: &'static str,
    pub input: DType,
    pub output: &'a TensorType,
    /// The loop, linked with the files for both formats and the conversion between.
    pub program: Program,
    /// The scales and zero points, if there are any.
    pub scales: Option<Scales>,
    /// The least and greatest code, if they are not those of the output's format.
    pub range: Option<(i32, i32)>,
}

impl Conversion<'_> {
    pub(crate) fn candidates(&self, constants: &[Constant], caps: &DeviceCaps) -> Vec<Candidate> {
        let candidate = |group: u32| Candidate {
            label: format!("{}, groups of {group}", self.name),
            dispatches: self.launch(group, caps).into_iter().collect(),
            constants: constants.to_vec(),
            scratch: Vec::new(),
        };
        line_groups(caps).map(candidate).collect()
    }

    /// The launch that converts the first input to the first output; `None` if the output is empty.
    pub(crate) fn launch(&self, group: u32, caps: &DeviceCaps) -> Option<Dispatch> {
        let (input, output, shape) = (self.input, self.output.dtype(), self.output.shape());
        let elements = shape.elements();
        if elements == 0 {
            return None;
        }
        let (granularity, block, unit_scale) = match self.scales {
            None => (Granularity::Tensor, None, 1.0),
            Some(Scales::Table(_, granularity)) => (granularity, None, 1.0),
            Some(Scales::Blocks { format, .. }) => (Granularity::Tensor, Some(format), format.unit()),
        };
        // Rows without padding that share all parameters are treated as one row.
        let dense = |dtype: DType| dtype.row_words(shape.row_length()) * 32 == shape.row_length() * dtype.bits();
        let flat = granularity == Granularity::Tensor && block.is_none() && dense(input) && dense(output);
        let (rows, n) = if flat { (1, elements) } else { (shape.rows(), shape.row_length()) };
        let unit = 32 / input.bits().min(output.bits()).min(32);
        let (input_words, output_words) = (input.row_words(n), output.row_words(n));
        let row_units = (output_words * (32 / output.bits())).div_ceil(unit);
        let (index_sizes, index_strides) = granularity::strides(granularity, shape);
        let (low, high) = self.range.or(output.range()).unwrap_or_default();
        let params = Params {
            index_sizes,
            index_strides,
            n: n as u32,
            input_words: input_words as u32,
            output_words: output_words as u32,
            row_units: row_units as u32,
            units: (rows * row_units) as u32,
            low,
            high,
            scale_words: block.map_or(0, |block| block.scale().row_words(n.div_ceil(block.size())) as u32),
            unit: unit_scale.to_bits(),
            ..Params::default()
        };
        let program = self.program.clone().constant("GROUP_X", group);
        let whole = |dtype: DType, words: usize| row_units * unit * dtype.bits() / 32 <= words;
        let program = program
            .constant("UNIT", unit as u32)
            .constant("ONE_ROW", rows == 1)
            .constant("WHOLE_INPUT", whole(input, input_words))
            .constant("WHOLE_OUTPUT", whole(output, output_words));
        let (program, scales) = match self.scales {
            None => (program.with(&program::SCALES_NONE), None),
            Some(Scales::Table(table, _)) => {
                let program = program
                    .with(&program::SCALES_TABLE)
                    .constant("ROW_PARAMETERS", index_strides[..3] != [0; 3])
                    .constant("COLUMN_PARAMETERS", index_strides[3] != 0)
                    .constant("COLUMN_BLOCKS", index_strides[3] != 0 && index_sizes[3] != 1);
                (program, Some(table))
            }
            Some(Scales::Blocks { scales, format }) => {
                let program = program
                    .with(&program::SCALES_BLOCKS)
                    .constant("BLOCK", format.size() as u32)
                    .constant("E4M3", format.scale() != DType::Float8E8M0);
                (program, Some(scales))
            }
        };
        let bindings = [
            Some(Binding::read(1, Resource::Input(0))),
            scales.map(|scales| Binding::read(3, scales)),
            Some(Binding::write(6, Resource::Output(0))),
        ];
        let groups = (rows * row_units).div_ceil(group as usize);
        let launch = Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().flatten(), groups, caps);
        Some(launch.operations([elements]))
    }
}

/// Adds the conversion of a format's elements to float32.
pub(crate) fn link_decode(program: Program, dtype: DType) -> Program {
    let program = program.constant("INPUT_BITS", dtype.bits() as u32);
    match dtype.encoding() {
        Encoding::Signed(_) | Encoding::Unsigned(_) => {
            program.with(&program::DECODE_INTEGER).constant("INPUT_SIGNED", dtype.is_signed())
        }
        Encoding::Minifloat(layout) => link_minifloat(program, layout),
        Encoding::PowerOfTwo => program.with(&program::DECODE_FLOAT8E8M0),
        Encoding::Float16 => program.with(&program::DECODE_FLOAT16),
        Encoding::Float32 => program.with(&program::DECODE_FLOAT32),
        Encoding::Parameters => unreachable!("{dtype} are no numbers"),
    }
}

/// Adds the conversion of small floats to float32.
pub(crate) fn link_minifloat(program: Program, layout: Minifloat) -> Program {
    program
        .with(&program::DECODE_MINIFLOAT)
        .constant("INPUT_WIDTH", layout.width)
        .constant("INPUT_MANTISSA", layout.mantissa)
        .constant("INPUT_BIAS", layout.bias)
        .constant("INPUT_FIRST_NAN", layout.first_nan())
        .constant("INPUT_INFINITY", layout.infinity.unwrap_or(1 << layout.width))
        .constant("INPUT_UNSIGNED_ZERO", layout.unsigned_zero)
}

/// Adds the conversion of float32 to a format's elements.
pub(crate) fn link_encode(program: Program, dtype: DType, saturate: bool, rounding: PowerRounding) -> Program {
    let program = program.constant("BITS", dtype.bits() as u32);
    match dtype.encoding() {
        Encoding::Signed(bits) | Encoding::Unsigned(bits) if bits < dtype.bits() as u32 => {
            debug_assert!(Cast::rounds(dtype), "the part rounds");
            program.with(&program::ENCODE_NARROW).constant("CODE_BITS", bits).constant("CODE_SIGNED", dtype.is_signed())
        }
        Encoding::Signed(_) | Encoding::Unsigned(_) => {
            program.with(&program::ENCODE_INTEGER).constant("ROUNDED", Cast::rounds(dtype))
        }
        Encoding::Float32 => program.with(&program::ENCODE_FLOAT32),
        Encoding::Float16 => program.with(&program::ENCODE_FLOAT16),
        Encoding::PowerOfTwo => {
            let rounding = match rounding {
                PowerRounding::Up => 0u32,
                PowerRounding::Down => 1,
                PowerRounding::Nearest => 2,
            };
            let overflow = if saturate { 254u32 } else { 255 };
            let program = program.with(&program::ENCODE_FLOAT8E8M0);
            program.constant("POWER_ROUNDING", rounding).constant("POWER_OVERFLOW", overflow)
        }
        Encoding::Minifloat(layout) => program
            .with(&program::ENCODE_MINIFLOAT)
            .constant("WIDTH", layout.width)
            .constant("MANTISSA", layout.mantissa)
            .constant("BIAS", layout.bias)
            .constant("GREATEST", layout.greatest)
            .constant("OVERFLOW", layout.overflow(saturate))
            .constant("NAN_CODE", layout.nan)
            .constant("UNSIGNED_ZERO", layout.unsigned_zero),
        Encoding::Parameters => unreachable!("{dtype} are no numbers"),
    }
}
