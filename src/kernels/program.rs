//! Shader programs as data: parts that are linked by concatenation, and the constants they are compiled with. The WGSL
//! itself is in `shaders/`; compiling it is `gpu`'s.

use std::fmt::{self, Write as _};

/// A WGSL file, with the parts whose declarations it uses.
#[derive(Debug)]
pub(crate) struct Part {
    pub name: &'static str,
    pub source: &'static str,
    pub needs: &'static [&'static Part],
}

macro_rules! parts {
    ($($constant:ident = $path:literal $([$($need:ident),+])?;)+) => {$(
        pub(crate) static $constant: Part = Part {
            name: $path,
            source: include_str!(concat!("../../shaders/", $path)),
            needs: &[$($(&$need),+)?],
        };
    )+};
}

parts! {
    MULTIPLY_WIDE = "lib/multiply_wide.wgsl";
    FLOAT_BITS = "lib/float_bits.wgsl" [MULTIPLY_WIDE];
    NEAREST_STEP = "lib/nearest_step.wgsl" [FLOAT_BITS];
    FLOAT16_BITS = "lib/float16_bits.wgsl";
    LOAD_ELEMENT = "lib/load_element.wgsl";
    REAL_VALUE = "lib/real_value.wgsl" [FLOAT_BITS, TABLES];
    DOT = "lib/dot.wgsl";
    DOT_INT8 = "dot/int8.wgsl";
    DOT_UINT8_LHS = "dot/uint8_lhs.wgsl";
    DOT_UINT8_WEIGHTS = "dot/uint8_weights.wgsl";
    LINEAR_INDEX = "lib/linear_index.wgsl";
    ZERO_POINT = "lib/zero_point.wgsl";
    ENTRIES = "lib/entries.wgsl" [TABLES];
    PIXEL_ROWS = "lib/pixel_rows.wgsl";
    BATCH_ROWS = "lib/batch_rows.wgsl" [OPERAND_ROWS];
    CONV_GEOMETRY = "lib/conv_geometry.wgsl";
    DEPTHWISE_CODES = "lib/depthwise_codes.wgsl";
    PLACE_DENSE = "place/dense.wgsl";
    PLACE_PHASE = "place/phase.wgsl";
    PARAMETER_INDEX = "lib/parameter_index.wgsl";
    REDUCE_RANGE = "lib/reduce_range.wgsl" [FLOAT_BITS];
    RANGE_SCALE = "lib/range_scale.wgsl" [FLOAT_BITS];
    OPERAND_ROWS = "lib/operand_rows.wgsl";
    BROADCAST = "lib/broadcast.wgsl" [OPERAND_ROWS];
    TABLES = "lib/tables.wgsl";
    STORE_CODES = "lib/store_codes.wgsl";
    GUESSED_CODES = "lib/guessed_codes.wgsl";
    FLOAT_MULTIPLE_ADD = "lib/float_multiple_add.wgsl" [FLOAT_BITS];
    ADDITION_QOPERATOR = "addition/qoperator.wgsl" [FLOAT_MULTIPLE_ADD, GUESSED_CODES];
    ADDITION_QDQ = "addition/qdq.wgsl" [NEAREST_STEP];
    MULTIPLICATION_QOPERATOR = "multiplication/qoperator.wgsl" [FLOAT_BITS, GUESSED_CODES, STORE_CODES];
    MULTIPLICATION_QDQ = "multiplication/qdq.wgsl" [NEAREST_STEP, STORE_CODES];
    MULTIPLICATION_INTEGER = "multiplication/integer.wgsl";
    PARAMS_MATMUL = "params/matmul.wgsl";
    PARAMS_CONV = "params/conv.wgsl";
    PARAMS_BINARY = "params/binary.wgsl";
    TILE_ORDER = "lib/tile_order.wgsl";
    WEIGHT_PANELS = "lib/weight_panels.wgsl";
    WEIGHT_INT8 = "weight/int8.wgsl";
    WEIGHT_INT4 = "weight/int4.wgsl";
    WEIGHT_INT2 = "weight/int2.wgsl";
    WEIGHT_WORDS = "weight/words.wgsl";
    ROWS_TABLE = "rows/table.wgsl" [TABLES];
    ROWS_INPUT = "rows/input.wgsl";
    OPERAND_INPUT = "operand/input.wgsl";
    OPERAND_INPUT_IN_PLACE = "operand/input_in_place.wgsl";
    OPERAND_LHS = "operand/lhs.wgsl";
    OPERAND_LHS_IN_PLACE = "operand/lhs_in_place.wgsl";
    OPERAND_RHS = "operand/rhs.wgsl";
    OPERAND_RHS_IN_PLACE = "operand/rhs_in_place.wgsl";
    OPERAND_RESIDUAL = "operand/residual.wgsl";
    OPERAND_RESIDUAL_IN_PLACE = "operand/residual_in_place.wgsl";
    DECODE_INTEGER = "decode/integer.wgsl" [FLOAT_BITS];
    DECODE_FLOAT16 = "decode/float16.wgsl" [FLOAT16_BITS];
    DECODE_MINIFLOAT = "decode/minifloat.wgsl";
    DECODE_FLOAT8E8M0 = "decode/float8e8m0.wgsl";
    DECODE_FLOAT32 = "decode/float32.wgsl";
    ENCODE_INTEGER = "encode/integer.wgsl" [FLOAT_BITS];
    ENCODE_FLOAT16 = "encode/float16.wgsl" [FLOAT16_BITS];
    ENCODE_MINIFLOAT = "encode/minifloat.wgsl";
    ENCODE_FLOAT8E8M0 = "encode/float8e8m0.wgsl";
    ENCODE_FLOAT32 = "encode/float32.wgsl";
    INPUT_NARROW = "input/narrow.wgsl";
    INPUT_INT8 = "input/int8.wgsl";
    INPUT_INT16 = "input/int16.wgsl";
    INPUT_INT32 = "input/int32.wgsl";
    ROUNDING_ONNX = "rounding/onnx.wgsl" [NEAREST_STEP];
    ROUNDING_FIXED_SINGLE = "rounding/fixed_single.wgsl" [MULTIPLY_WIDE, WIDE_SUM];
    ROUNDING_FIXED_DOUBLE = "rounding/fixed_double.wgsl" [MULTIPLY_WIDE];
    ROUNDING_FIXED_WIDE = "rounding/fixed_wide.wgsl" [MULTIPLY_WIDE, WIDE_SUM];
    ROUNDING_WIDE_ONNX = "rounding/wide_onnx.wgsl" [FLOAT_WIDE];
    WIDE_SUM = "lib/wide_sum.wgsl";
    FLOAT_WIDE = "lib/float_wide.wgsl" [FLOAT_BITS, WIDE_SUM];
    SUMS_NARROW = "sums/narrow.wgsl";
    WIDE_REAL_VALUE = "lib/wide_real_value.wgsl" [REAL_VALUE, FLOAT_WIDE];
    OUTPUT_WIDE_REAL = "output/wide_real.wgsl" [WIDE_REAL_VALUE];
    OUTPUT_WIDE_REAL_FLOAT16 = "output/wide_real_float16.wgsl" [WIDE_REAL_VALUE, FLOAT16_BITS];
    OUTPUT_WIDE_REQUANTIZE = "output/wide_requantize.wgsl" [TABLES, WIDE_SUM];
    OUTPUT_CODES16 = "output/codes16.wgsl";
    SPLIT_BYTES = "split_bytes.wgsl" [LINEAR_INDEX];
    COMBINE_BYTES = "combine_bytes.wgsl" [TABLES, LINEAR_INDEX];
    OUTPUT_ACCUMULATOR = "output/accumulator.wgsl" [ENTRIES];
    OUTPUT_REAL = "output/real.wgsl" [REAL_VALUE, ENTRIES];
    OUTPUT_REAL_FLOAT16 = "output/real_float16.wgsl" [REAL_VALUE, FLOAT16_BITS, ENTRIES];
    OUTPUT_REQUANTIZE = "output/requantize.wgsl" [ENTRIES];
    OUTPUT_CODE = "output/code.wgsl" [STORE_CODES];
    POST_OP_NONE = "post_op/none.wgsl";
    POST_OP_TABLE = "post_op/table.wgsl" [TABLES];
    POST_OP_ADD = "post_op/add.wgsl" [TABLES];
    FLOAT16 = "lib/float16.wgsl";
    WEIGHTS = "lib/weights.wgsl" [FLOAT16];
    PLANES = "lib/planes.wgsl";
    PARAMS_LINEAR = "params/linear.wgsl";
    LHS_FLOAT = "lhs/float.wgsl";
    LHS_FLOAT32 = "lhs/float32.wgsl";
    LHS_FLOAT16 = "lhs/float16.wgsl" [FLOAT16];
    LHS_INT8 = "lhs/int8.wgsl" [DOT];
    CODES_INT2 = "codes/int2.wgsl" [PLANES];
    CODES_INT3 = "codes/int3.wgsl" [PLANES];
    CODES_INT4 = "codes/int4.wgsl";
    CODES_INT5 = "codes/int5.wgsl" [PLANES];
    CODES_INT6 = "codes/int6.wgsl" [PLANES];
    CODES_INT8 = "codes/int8.wgsl";
    SMALL_INTEGERS = "lib/small_integers.wgsl";
    CODES_FLOAT4E2M1 = "codes/float4e2m1.wgsl" [PLANES, SMALL_INTEGERS];
    CODES_FLOAT6E2M3 = "codes/float6e2m3.wgsl" [PLANES, SMALL_INTEGERS];
    EXPAND_INTEGER = "expand/integer.wgsl";
    EXPAND_MINIFLOAT = "expand/minifloat.wgsl" [FLOAT16];
    EXPAND_FLOAT8E5M2FNUZ = "expand/float8e5m2fnuz.wgsl";
    CODES_TABLE = "codes/table.wgsl" [PLANES];
    SCALES_F32 = "scales/f32.wgsl" [WEIGHTS];
    SCALES_F16 = "scales/f16.wgsl" [WEIGHTS];
    SCALES_E8M0 = "scales/e8m0.wgsl" [WEIGHTS];
    SCALES_FLOAT8 = "scales/float8.wgsl" [WEIGHTS, FLOAT_BITS];
    SCALES_F32_ZERO = "scales/f32_zero.wgsl" [WEIGHTS];
    SCALES_F16_ZERO = "scales/f16_zero.wgsl" [WEIGHTS];
    SCALES_F32_REAL_ZERO = "scales/f32_real_zero.wgsl" [WEIGHTS];
    SCALES_F32_OFFSET = "scales/f32_offset.wgsl" [WEIGHTS];
    SCALES_F16_OFFSET = "scales/f16_offset.wgsl" [WEIGHTS];
    SCALES_NESTED = "scales/nested.wgsl" [WEIGHTS];
    SCALES_NESTED_OFFSET = "scales/nested_offset.wgsl" [WEIGHTS];
    EXPERT_ONE = "expert/one.wgsl";
    EXPERT_SELECTED = "expert/selected.wgsl";
    BIAS_NONE = "bias/none.wgsl";
    BIAS_TABLE = "bias/table.wgsl";
    SIDE_PARAMETERS = "side/parameters.wgsl";
    SIDE_INDICES = "side/indices.wgsl";
    SIDE_BIAS = "side/bias.wgsl";
    SIDE_JOINED = "side/joined.wgsl";
    WEIGHT_CODE = "lib/weight_code.wgsl" [FLOAT_BITS];
    IMPORTANCE_NONE = "importance/none.wgsl";
    IMPORTANCE_COLUMNS = "importance/columns.wgsl" [FLOAT_BITS];
    GAP_ZERO = "gap/zero.wgsl";
    GAP_ZERO_POINT = "gap/zero_point.wgsl";
    GAP_ZERO_POINT_WORD = "gap/zero_point_word.wgsl";
    GAP_PARAMETER = "gap/parameter.wgsl";
    VALUE_INTEGER = "value/integer.wgsl";
    VALUE_MINIFLOAT = "value/minifloat.wgsl";
    VALUE_TABLE = "value/table.wgsl";
    POSITION_DIRECT = "position/direct.wgsl";
    POSITION_TABLE = "position/table.wgsl";
    OUTPUT_FLOAT32 = "output/float32.wgsl";
    OUTPUT_FLOAT16 = "output/float16.wgsl" [FLOAT16];
    LINEAR = "linear.wgsl" [TILE_ORDER, PARAMS_LINEAR, LINEAR_INDEX, FETCH_ROWS];
    ARRANGE = "arrange.wgsl" [LINEAR_INDEX];
    JOIN = "join.wgsl" [LINEAR_INDEX];
    WEIGHT_GROUPS = "weight_groups.wgsl" [LINEAR_INDEX, FLOAT_BITS, FLOAT16_BITS, WEIGHT_CODE];
    WEIGHT_WORDS_PACKED = "weight_words.wgsl" [LINEAR_INDEX, FLOAT_BITS, FLOAT16_BITS, WEIGHT_CODE];
    UNFOLD = "unfold.wgsl" [CONV_GEOMETRY, LINEAR_INDEX];
    EMBEDDING = "embedding.wgsl" [LINEAR_INDEX, FLOAT_BITS];
    PARAMS_FLOAT_MATMUL = "params/float_matmul.wgsl";
    FLOAT_PRODUCT = "lib/float_product.wgsl" [OPERAND_ROWS];
    FLOAT_MATMUL = "float_matmul.wgsl" [TILE_ORDER, PARAMS_FLOAT_MATMUL, FLOAT_PRODUCT, LINEAR_INDEX, FETCH_ROWS];
    FLOAT_MATMUL_STAGED = "float_matmul_staged.wgsl" [TILE_ORDER, PARAMS_FLOAT_MATMUL, FLOAT_PRODUCT, LINEAR_INDEX];
    PACK_FLOATS = "pack_floats.wgsl" [LINEAR_INDEX, LOAD_ELEMENT];
    SLICES_ONE = "slices/one.wgsl";
    SLICES_SEVERAL = "slices/several.wgsl";
    JOINED_NONE = "joined/none.wgsl";
    JOINED_SUMS = "joined/sums.wgsl";
    SHARE_OWN = "share/own.wgsl";
    SHARE_SUBGROUP = "share/subgroup.wgsl";
    FETCH_ROWS = "lib/fetch_rows.wgsl";
    QUAD_PRODUCTS = "lib/quad_products.wgsl" [TILE_SUMS, WEIGHT_PANELS];
    TILE_SUMS = "lib/tile_sums.wgsl" [ZERO_POINT];
    MATMUL = "matmul.wgsl" [TILE_ORDER, PARAMS_MATMUL, LINEAR_INDEX, FETCH_ROWS, QUAD_PRODUCTS, DOT, BATCH_ROWS, TABLES];
    STAGED_PRODUCTS = "lib/staged_products.wgsl" [TILE_SUMS, WEIGHT_PANELS, DOT];
    MATMUL_STAGED = "matmul_staged.wgsl" [TILE_ORDER, STAGED_PRODUCTS, PARAMS_MATMUL, LINEAR_INDEX, BATCH_ROWS, TABLES];
    MATRIX_8 = "matrix/size8.wgsl";
    MATRIX_16 = "matrix/size16.wgsl";
    MATRIX_TILE = "lib/matrix_tile.wgsl";
    MATMUL_MATRIX = "matmul_matrix.wgsl" [TILE_ORDER, MATRIX_TILE, WEIGHT_PANELS, PARAMS_MATMUL, LINEAR_INDEX, DOT, ZERO_POINT, BATCH_ROWS, TABLES];
    LINEAR_MATRIX = "linear_matrix.wgsl" [TILE_ORDER, MATRIX_TILE, PARAMS_LINEAR, LINEAR_INDEX];
    GATHER = "gather.wgsl" [LINEAR_INDEX];
    PACK_WEIGHTS = "pack_weights.wgsl" [WEIGHT_PANELS, LINEAR_INDEX, DOT, DOT_INT8];
    CONV = "conv.wgsl" [TILE_ORDER, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, QUAD_PRODUCTS, DOT, PIXEL_ROWS];
    CONV_WORDS = "conv_words.wgsl" [TILE_ORDER, TILE_SUMS, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, PIXEL_ROWS, WEIGHT_INT8];
    CONV_STAGED = "conv_staged.wgsl" [TILE_ORDER, STAGED_PRODUCTS, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, PIXEL_ROWS];
    CONV_GROUPED = "conv_grouped.wgsl" [TILE_ORDER, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, ZERO_POINT, WEIGHT_WORDS];
    DEPTHWISE = "depthwise.wgsl" [TILE_ORDER, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, ZERO_POINT, WEIGHT_WORDS, DEPTHWISE_CODES];
    DEPTHWISE_ROW = "depthwise_row.wgsl" [TILE_ORDER, PARAMS_CONV, CONV_GEOMETRY, LINEAR_INDEX, ZERO_POINT, WEIGHT_WORDS, DEPTHWISE_CODES];
    RESCALE = "rescale.wgsl" [PARAMETER_INDEX, LINEAR_INDEX];
    CONVERT = "convert.wgsl" [LINEAR_INDEX, LOAD_ELEMENT];
    CONVERT_NONE = "convert/none.wgsl";
    CONVERT_CAST = "convert/cast.wgsl";
    CONVERT_QUANTIZE = "convert/quantize.wgsl" [FLOAT_BITS];
    CONVERT_QUANTIZE_FLOAT = "convert/quantize_float.wgsl" [FLOAT_BITS];
    CONVERT_DEQUANTIZE = "convert/dequantize.wgsl" [FLOAT_BITS];
    CONVERT_DEQUANTIZE_FLOAT = "convert/dequantize_float.wgsl" [FLOAT_BITS];
    QUOTIENT_FLOAT32 = "quotient/float32.wgsl" [NEAREST_STEP];
    QUOTIENT_FLOAT16 = "quotient/float16.wgsl" [FLOAT_BITS, FLOAT16_BITS];
    PARAMETERS_NONE = "parameters/none.wgsl";
    PARAMETERS_POWER_BLOCKS = "parameters/power_blocks.wgsl" [FLOAT_BITS];
    PARAMETERS_FLOAT8_BLOCKS = "parameters/float8_blocks.wgsl" [FLOAT_BITS];
    BLOCK_SCALES = "block_scales.wgsl" [LINEAR_INDEX, LOAD_ELEMENT];
    BLOCK_SCALE_POWER = "block_scale/power.wgsl";
    BLOCK_SCALE_FLOAT8 = "block_scale/float8.wgsl" [FLOAT_BITS];
    PARAMETERS_TABLE = "parameters/table.wgsl" [PARAMETER_INDEX];
    RANGE = "range.wgsl" [REDUCE_RANGE, LINEAR_INDEX];
    RANGE_PARAMETERS = "range_parameters.wgsl" [REDUCE_RANGE, RANGE_SCALE, LINEAR_INDEX];
    RANGE_ROWS = "range_rows.wgsl" [REDUCE_RANGE, RANGE_SCALE, LINEAR_INDEX];
    ADD = "add.wgsl" [PARAMS_BINARY, BROADCAST, LINEAR_INDEX, STORE_CODES];
    MULTIPLY = "multiply.wgsl" [PARAMS_BINARY, BROADCAST, LINEAR_INDEX];
    SIGMOID = "lib/sigmoid.wgsl";
    FUNCTION_RELU = "function/relu.wgsl";
    FUNCTION_SIGMOID = "function/sigmoid.wgsl" [SIGMOID];
    FUNCTION_TANH = "function/tanh.wgsl";
    FUNCTION_SILU = "function/silu.wgsl" [SIGMOID];
    FUNCTION_GELU = "function/gelu.wgsl";
    FUNCTION_GELU_TANH = "function/gelu_tanh.wgsl" [SIGMOID];
    FLOAT_UNARY = "float_unary.wgsl" [LINEAR_INDEX];
    ARITHMETIC_ADD = "arithmetic/add.wgsl";
    ARITHMETIC_MULTIPLY = "arithmetic/multiply.wgsl";
    FLOAT_BINARY = "float_binary.wgsl" [OPERAND_ROWS, LINEAR_INDEX];
    ROW_LANES = "lib/row_lanes.wgsl";
    SOFTMAX = "softmax.wgsl" [LINEAR_INDEX];
    LAYER_NORM = "layer_norm.wgsl" [LINEAR_INDEX];
    PARAMS_POOL = "params/pool.wgsl";
    POOL = "pool.wgsl" [PARAMS_POOL, CONV_GEOMETRY, LINEAR_INDEX, INPUT_INT8, OPERAND_INPUT];
    POOL_FLOATS = "pool_floats.wgsl" [PARAMS_POOL, CONV_GEOMETRY, LINEAR_INDEX, INPUT_INT8, OPERAND_INPUT, ENTRIES, STORE_CODES, GUESSED_CODES, FLOAT_BITS];
    POOL_PARTIAL = "pool_partial.wgsl" [PARAMS_POOL, CONV_GEOMETRY, LINEAR_INDEX, INPUT_INT8, OPERAND_INPUT];
    POOL_TOTAL = "pool_total.wgsl" [PARAMS_POOL, CONV_GEOMETRY, LINEAR_INDEX];
    TABLE = "table.wgsl" [LINEAR_INDEX];
    PARAMS_REARRANGE = "params/rearrange.wgsl";
    AXIS_MAP_LINE = "axis_map/line.wgsl";
    AXIS_MAP_TABLE = "axis_map/table.wgsl";
    REARRANGE = "rearrange.wgsl" [PARAMS_REARRANGE, LINEAR_INDEX];
    COPY_ROWS = "copy_rows.wgsl" [PARAMS_REARRANGE, LINEAR_INDEX];
    TRANSPOSE_BLOCKS = "transpose_blocks.wgsl" [LINEAR_INDEX];
    RESHAPE = "reshape.wgsl" [LINEAR_INDEX, LOAD_ELEMENT];
    RESIZE = "resize.wgsl" [LINEAR_INDEX, INPUT_INT8, OPERAND_INPUT, STORE_CODES, POST_OP_NONE];
    CONCAT = "concat.wgsl" [LINEAR_INDEX];
    MEMBERS = "lib/members.wgsl";
    ADD_WIDE = "lib/add_wide.wgsl";
    EXTREMES = "lib/extremes.wgsl" [FLOAT_BITS, ADD_WIDE];
    BINS = "lib/bins.wgsl" [FLOAT_BITS];
    REDUCE_SUMS = "lib/reduce_sums.wgsl";
    COUNT_LOCAL = "count/local.wgsl";
    COUNT_DIRECT = "count/direct.wgsl";
    OBSERVE_RANGE = "observe_range.wgsl" [MEMBERS, EXTREMES, LINEAR_INDEX];
    OBSERVE_FOLD = "observe_fold.wgsl" [EXTREMES, LINEAR_INDEX];
    OBSERVE_LEVEL = "observe_level.wgsl" [EXTREMES, BINS, LINEAR_INDEX];
    OBSERVE_COUNT = "observe_count.wgsl" [MEMBERS, BINS, LINEAR_INDEX];
    OBSERVE_REBIN = "observe_rebin.wgsl" [ADD_WIDE, LINEAR_INDEX];
    STEP_FROM_RANGE = "step_from_range.wgsl" [FLOAT_BITS, LINEAR_INDEX];
    GRID_AFFINE = "grid/affine.wgsl" [FLOAT_BITS];
    GRID_STEP = "grid/step.wgsl" [FLOAT_BITS];
    GRID_RANGE = "grid/range.wgsl" [FLOAT_BITS];
    FAKE_QUANTIZE = "fake_quantize.wgsl" [PARAMETER_INDEX, LINEAR_INDEX];
    FAKE_GRADIENT = "fake_gradient.wgsl" [PARAMETER_INDEX, LINEAR_INDEX];
    FAKE_SUM = "fake_sum.wgsl" [MEMBERS, REDUCE_SUMS, LINEAR_INDEX];
    SUM_PARTIALS = "sum_partials.wgsl" [LINEAR_INDEX];
    FLOAT_SQRT = "lib/float_sqrt.wgsl" [FLOAT_BITS];
    STAGE_STEPS = "lib/stage_steps.wgsl" [FLOAT_BITS];
    PARAMS_FLOAT_CONV = "params/float_conv.wgsl";
    FLOAT_CONV = "float_conv.wgsl" [PARAMS_FLOAT_CONV, LINEAR_INDEX];
    FLOAT_CONV_IMAGE = "float_conv_image.wgsl" [PARAMS_FLOAT_CONV, LINEAR_INDEX];
    FLOAT_CONV_WEIGHTS = "float_conv_weights.wgsl" [PARAMS_FLOAT_CONV, LINEAR_INDEX];
    FLOAT_CONV_TOTAL = "float_conv_total.wgsl" [LINEAR_INDEX];
    SCALE_CHANNELS = "scale_channels.wgsl" [FLOAT_BITS, LINEAR_INDEX];
    REQUANT_PARAMS = "requant_params.wgsl" [FLOAT_BITS, LINEAR_INDEX];
    REQUANTIZED_LEVELS = "requantized/levels.wgsl" [STAGE_STEPS];
    REQUANTIZED_REAL = "requantized/real.wgsl" [STAGE_STEPS];
    REQUANTIZED_GRADIENT = "requantized/gradient.wgsl" [STAGE_STEPS];
    FAKE_REQUANTIZE = "fake_requantize.wgsl" [LINEAR_INDEX];
    FAKE_REQUANTIZE_SUM = "fake_requantize_sum.wgsl" [STAGE_STEPS, REDUCE_SUMS, LINEAR_INDEX];
    SUM = "sum.wgsl" [MEMBERS, REDUCE_SUMS, LINEAR_INDEX];
    CROSS_ENTROPY = "cross_entropy.wgsl" [LINEAR_INDEX];
    MOMENTS = "moments.wgsl" [FLOAT_BITS, LINEAR_INDEX];
    OPTIMIZER_STEP = "optimizer_step.wgsl" [FLOAT_SQRT, LINEAR_INDEX];
    PARAMS_PROBE = "params/probe.wgsl";
    PROBE_F32 = "probe/f32.wgsl";
    PROBE_F16 = "probe/f16.wgsl";
    PROBE_FMA = "probe/fma.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_DOT = "probe/dot.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_WORKGROUP = "probe/workgroup.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_FILL = "probe/fill.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_READ = "probe/read.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_COPY = "probe/copy.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_MATRIX = "probe/matrix.wgsl" [PARAMS_PROBE, LINEAR_INDEX];
    PROBE_LAUNCH = "probe/launch.wgsl" [PARAMS_PROBE];
}

/// A number that a program is compiled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Unsigned(u32),
    Signed(i32),
    Bool(bool),
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Signed(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// A linked program: the loop first, so that its line numbers stay true, then the parts it needs, then the constants.
#[derive(Clone)]
pub struct Program {
    parts: Vec<&'static Part>,
    constants: Vec<(&'static str, Value)>,
    /// Slots that are declared `read_write` although the program only reads them.
    writable: Vec<u32>,
}

impl Program {
    /// A loop with its own needs.
    pub(crate) fn new(main: &'static Part) -> Self {
        let mut program = Self { parts: Vec::new(), constants: Vec::new(), writable: Vec::new() };
        program.add(main);
        program
    }

    fn add(&mut self, part: &'static Part) {
        if self.parts.iter().all(|p| p.name != part.name) {
            self.parts.push(part);
            for need in part.needs {
                self.add(need);
            }
        }
    }

    pub(crate) fn with(mut self, part: &'static Part) -> Self {
        self.add(part);
        self
    }

    /// The same program with another part in the place of one that it has.
    pub(crate) fn replacing(mut self, part: &'static Part, by: &'static Part) -> Self {
        for of in self.parts.iter_mut().filter(|p| p.name == part.name) {
            *of = by;
        }
        self
    }

    pub(crate) fn constant(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// The same program with these read bindings declared `read_write`: WebGPU wants that of a buffer that the launch
    /// also writes elsewhere.
    pub(crate) fn with_writable(mut self, slots: Vec<u32>) -> Self {
        self.writable = slots;
        self
    }

    /// The complete WGSL source.
    #[must_use]
    pub fn source(&self) -> String {
        let mut source = String::new();
        for part in &self.parts {
            let _ = writeln!(source, "{}", part.source);
        }
        for slot in &self.writable {
            let declared = |access| format!("@binding({slot}) var<storage, {access}> ");
            source = source.replace(&declared("read"), &declared("read_write"));
        }
        source.push_str("// Constants of this program.\n");
        for (name, value) in &self.constants {
            let _ = match value {
                Value::Unsigned(v) => writeln!(source, "const {name}: u32 = {v}u;"),
                Value::Signed(v) => writeln!(source, "const {name}: i32 = {v};"),
                Value::Bool(v) => writeln!(source, "const {name}: bool = {v};"),
            };
        }
        source
    }

    /// The name of the loop, its parts and constants: equal names are equal programs.
    #[must_use]
    pub fn name(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().filter(|p| !p.name.starts_with("lib/") && !p.name.starts_with("params/"));
        let names: Vec<_> = parts.map(|p| p.name.trim_end_matches(".wgsl")).collect();
        write!(f, "{}", names.join("+"))?;
        for (name, value) in &self.constants {
            match value {
                Value::Unsigned(v) => write!(f, " {name}={v}")?,
                Value::Signed(v) => write!(f, " {name}={v}")?,
                Value::Bool(v) => write!(f, " {name}={v}")?,
            }
        }
        for slot in &self.writable {
            write!(f, " {slot}=writable")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({self})")
    }
}
