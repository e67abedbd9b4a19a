//! Shader programs as data: parts that are linked by concatenation, and the constants they are compiled with. The WGSL
//! itself is in `shaders/`; compiling it is `gpu`'s.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

#[cfg(target_arch = "wasm32")]
use super::compact;

/// A WGSL file. Lines `//# import gemm/dot` in it name the parts whose declarations it uses.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its path in `shaders/`, without the extension.
    pub name: &'static str,
    pub source: &'static str,
    imports: OnceLock<Vec<&'static Part>>,
}

/// Lists the files, by the features that they need: with a name those that Rust chooses, without one those that only imports name.
macro_rules! parts {
    ($(cfg $when:tt { $($($constant:ident =)? $path:literal;)+ })+) => {
        $($($(#[cfg $when] pub(crate) static $constant: Part = part!($path);)?)+)+

        static PARTS: &[&Part] = &[$($(#[cfg $when] parts!(@reference $path $(, $constant)?)),+),+];
    };
    (@reference $path:literal) => {{
        static PART: Part = part!($path);
        &PART
    }};
    (@reference $path:literal, $constant:ident) => {
        &$constant
    };
}

/// Lists files that Rust chooses and none imports. Those that a program doesn't use aren't linked into it.
macro_rules! unimported_parts {
    ($($constant:ident = $path:literal;)+) => {
        $(pub(crate) static $constant: Part = part!($path);)+
    };
}

macro_rules! part {
    ($path:literal) => {{
        const WHOLE: &str = include_str!(concat!("../../../shaders/", $path, ".wgsl"));
        #[cfg(not(target_arch = "wasm32"))]
        let source = WHOLE;
        #[cfg(target_arch = "wasm32")]
        let source = {
            const BYTES: [u8; compact::length(WHOLE)] = compact::bytes(WHOLE);
            compact::text(&BYTES)
        };
        Part { name: $path, source, imports: OnceLock::new() }
    }};
}

impl Part {
    /// The parts that it imports, in the order of its lines.
    fn imports(&self) -> &[&'static Self] {
        self.imports.get_or_init(|| {
            let paths = self.source.lines().filter_map(|line| line.strip_prefix("//# import "));
            let part = |path: &str| PARTS.iter().copied().find(|part| part.name == path);
            paths
                .map(|path| part(path).unwrap_or_else(|| panic!("{} imports {path}, which is no part", self.name)))
                .collect()
        })
    }
}

unimported_parts! {
    PROBE_F32 = "probe/f32";
    PROBE_F16 = "probe/f16";
    PROBE_FMA = "probe/fma";
    PROBE_DOT = "probe/dot";
    PROBE_WORKGROUP = "probe/workgroup";
    PROBE_FILL = "probe/fill";
    PROBE_READ = "probe/read";
    PROBE_COPY = "probe/copy";
    PROBE_MATRIX = "probe/matrix";
    PROBE_LAUNCH = "probe/launch";
    PROBE_UNPACK_F16 = "probe/unpack_f16";
}

parts! {
    cfg(all()) {
        "gemm/dot";
        "gemm/zero_point";
        "gemm/params";
        "gemm/tile_order";
        "gemm/weight_panels";
        WEIGHTS_INT8 = "gemm/weights_int8";
        WEIGHTS_INT4 = "gemm/weights_int4";
        WEIGHTS_INT2 = "gemm/weights_int2";
        ROW_PARAMETERS_TABLE = "gemm/row_parameters_table";
        ROW_PARAMETERS_INPUT = "gemm/row_parameters_input";
        SUMS_I32 = "gemm/sums_i32";
        SPLIT_BYTES = "gemm/split_bytes";
        COMBINE_BYTES = "gemm/combine_bytes";
        SPLIT_K_NONE = "gemm/split_k_none";
        SPLIT_K = "gemm/split_k";
        REDUCE_SPLIT_K_NONE = "gemm/reduce_split_k_none";
        REDUCE_SPLIT_K = "gemm/reduce_split_k";
        ROW_SOURCE_DIRECT = "gemm/row_source_direct";
        ROW_SOURCE_SUBGROUP = "gemm/row_source_subgroup";
        "gemm/fetch_rows";
        "gemm/register_tile";
        "gemm/tile_sums";
        MATMUL = "gemm/matmul";
        "gemm/workgroup_tile";
        MATMUL_WORKGROUP = "gemm/matmul_workgroup";
        COOP_SIZE_8 = "gemm/coop_size_8";
        COOP_SIZE_16 = "gemm/coop_size_16";
        COOP_STAGING_SCALARS = "gemm/coop_staging_scalars";
        COOP_STAGING_VECTORS = "gemm/coop_staging_vectors";
        "gemm/coop_tile";
        MATMUL_COOP = "gemm/matmul_coop";
        COMBINE_TABLES = "gemm/combine_tables";
        PACK_RHS = "gemm/pack_rhs";
        "epilogue/real_value";
        "epilogue/entries";
        "epilogue/tables";
        STORE_CODES = "epilogue/store_codes";
        MEAN = "epilogue/mean";
        ROUNDING_ONNX = "epilogue/rounding_onnx";
        ROUNDING_FIXED_SINGLE = "epilogue/rounding_fixed_single";
        ROUNDING_FIXED_DOUBLE = "epilogue/rounding_fixed_double";
        ROUNDING_FIXED_WIDE = "epilogue/rounding_fixed_wide";
        ROUNDING_WIDE_ONNX = "epilogue/rounding_wide_onnx";
        "epilogue/wide_real_value";
        WIDE_REAL_F32 = "epilogue/wide_real_f32";
        WIDE_REAL_F16 = "epilogue/wide_real_f16";
        WIDE_REQUANTIZE = "epilogue/wide_requantize";
        CODES16 = "epilogue/codes16";
        ACCUMULATOR = "epilogue/accumulator";
        REAL_F32 = "epilogue/real_f32";
        REAL_F16 = "epilogue/real_f16";
        REQUANTIZE = "epilogue/requantize";
        CODE = "epilogue/code";
        POST_OP_NONE = "epilogue/post_op_none";
        POST_OP_TABLE = "epilogue/post_op_table";
        POST_OP_ADD = "epilogue/post_op_add";
        FLOAT_POST_OP_NONE = "epilogue/float_post_op_none";
        FLOAT_POST_OP_UNARY = "epilogue/float_post_op_unary";
        FLOAT_POST_OP_BINARY = "epilogue/float_post_op_binary";
        STORE_F32 = "epilogue/store_f32";
        STORE_F16 = "epilogue/store_f16";
        STORE_TWO = "epilogue/store_two";
        STORE_THREE = "epilogue/store_three";
        "convert/load_element";
        "convert/parameter_index";
        "convert/reduce_range";
        "convert/range_scale";
        DECODE_INTEGER = "convert/decode_integer";
        DECODE_FLOAT16 = "convert/decode_float16";
        DECODE_MINIFLOAT = "convert/decode_minifloat";
        DECODE_FLOAT8E8M0 = "convert/decode_float8e8m0";
        DECODE_FLOAT32 = "convert/decode_float32";
        ENCODE_INTEGER = "convert/encode_integer";
        ENCODE_NARROW = "convert/encode_narrow";
        ENCODE_FLOAT16 = "convert/encode_float16";
        ENCODE_MINIFLOAT = "convert/encode_minifloat";
        ENCODE_FLOAT8E8M0 = "convert/encode_float8e8m0";
        ENCODE_FLOAT32 = "convert/encode_float32";
        "convert/integer_input";
        RESCALE = "convert/rescale";
        CONVERT = "convert/convert";
        STEP_NONE = "convert/step_none";
        STEP_CAST = "convert/step_cast";
        STEP_QUANTIZE = "convert/step_quantize";
        STEP_QUANTIZE_FLOAT = "convert/step_quantize_float";
        STEP_DEQUANTIZE = "convert/step_dequantize";
        STEP_DEQUANTIZE_FLOAT = "convert/step_dequantize_float";
        QUOTIENT_FLOAT32 = "convert/quotient_float32";
        QUOTIENT_TIES_AWAY = "convert/quotient_ties_away";
        QUOTIENT_FLOAT16 = "convert/quotient_float16";
        SCALES_NONE = "convert/scales_none";
        SCALES_BLOCKS = "convert/scales_blocks";
        BLOCK_SCALES = "convert/block_scales";
        BLOCK_SCALE_POWER = "convert/block_scale_power";
        BLOCK_SCALE_FLOAT8 = "convert/block_scale_float8";
        SCALES_TABLE = "convert/scales_table";
        RANGE = "convert/range";
        RANGE_PARAMETERS = "convert/range_parameters";
        "convert/segments";
        SEGMENT_PARAMETERS = "convert/segment_parameters";
        SEGMENT_CODES = "convert/segment_codes";
        RANGE_ROWS = "convert/range_rows";
        PAD_VALUE_ZERO_POINT = "layout/pad_value_zero_point";
        PAD_VALUE_PARAMETER = "layout/pad_value_parameter";
        "layout/params";
        AXIS_MAP_LINE = "layout/axis_map_line";
        AXIS_MAP_TABLE = "layout/axis_map_table";
        REARRANGE = "layout/rearrange";
        COPY_ROWS = "layout/copy_rows";
        TRANSPOSE_BLOCKS = "layout/transpose_blocks";
        RESHAPE = "layout/reshape";
        RESIZE = "layout/resize";
        CONCAT = "layout/concat";
        CONCAT_MOVED = "layout/concat_moved";
        CONCAT_TABLE = "layout/concat_table";
        "elementwise/operand_rows";
        "elementwise/float_steps";
        "elementwise/float_function";
        "elementwise/function_constants";
        "elementwise/float_combine";
        "elementwise/guessed_codes";
        ADDITION_QOPERATOR = "elementwise/addition_qoperator";
        ADDITION_QDQ = "elementwise/addition_qdq";
        ADDITION_INTEGER = "elementwise/addition_integer";
        MULTIPLICATION_QOPERATOR = "elementwise/multiplication_qoperator";
        MULTIPLICATION_QDQ = "elementwise/multiplication_qdq";
        MULTIPLICATION_INTEGER = "elementwise/multiplication_integer";
        "elementwise/params";
        ADD = "elementwise/add";
        MULTIPLY = "elementwise/multiply";
        FLOAT_UNARY = "elementwise/float_unary";
        FLOAT_BINARY = "elementwise/float_binary";
        TABLE = "elementwise/table";
        "math/multiply_wide";
        "math/float_bits";
        "math/nearest_step";
        "math/float16_bits";
        "math/linear_index";
        "math/float_multiple_add";
        "math/wide_sum";
        "math/float_wide";
        "math/float16";
        FLOAT16_INTEGERS = "math/float16_integers";
        FLOAT16_UNPACK = "math/float16_unpack";
        "math/add_wide";
        "math/float_sqrt";
        "probe/params";
    }
    cfg(feature = "convolution") {
        "conv/window";
        "conv/depthwise_codes";
        "conv/params";
        "conv/weights_words";
        UNFOLD = "conv/unfold";
        CONV = "conv/conv";
        CONV_WORDS = "conv/conv_words";
        CONV_WORKGROUP = "conv/conv_workgroup";
        CONV_GROUPED = "conv/conv_grouped";
        DEPTHWISE = "conv/depthwise";
        DEPTHWISE_SUMS_F32 = "conv/depthwise_sums_f32";
        DEPTHWISE_SUMS_I32 = "conv/depthwise_sums_i32";
        DEPTHWISE_ROW = "conv/depthwise_row";
        "elementwise/pool_params";
        "elementwise/pool_taps";
        POOL = "elementwise/pool";
        POOL_FLOATS = "elementwise/pool_floats";
        POOL_PARTIAL = "elementwise/pool_partial";
        POOL_TOTAL = "elementwise/pool_total";
        CHANNEL_GATE = "elementwise/channel_gate";
        CHANNEL_GATE_MEAN = "elementwise/channel_gate_mean";
        CHANNEL_GATE_MEAN_FLOATS = "elementwise/channel_gate_mean_floats";
        CHANNEL_GATE_PIXELS = "elementwise/channel_gate_pixels";
        CHANNEL_GATE_SLICES = "elementwise/channel_gate_slices";
    }
    cfg(feature = "float") {
        LHS_FLOAT32 = "grouped/lhs_float32";
        LHS_FLOAT16 = "grouped/lhs_float16";
        BIAS_NONE = "grouped/bias_none";
        BIAS_TABLE = "grouped/bias_table";
        SMALL_INPUTS_BIAS = "grouped/small_inputs_bias";
        "gemm/float_params";
        FLOAT_MATMUL = "gemm/float_matmul";
        FLOAT_MATMUL_WORKGROUP = "gemm/float_matmul_workgroup";
        PACK_FLOATS = "gemm/pack_floats";
        "gemm/reduce_split_k_floats";
        GATHER = "layout/gather";
        SELECT = "elementwise/select";
        REDUCE = "elementwise/reduce";
        FLOAT_POOL = "elementwise/float_pool";
        ROW_LANES = "elementwise/row_lanes";
        SOFTMAX = "elementwise/softmax";
        QUANTIZED_SOFTMAX = "elementwise/quantized_softmax";
        "elementwise/order_key";
        "elementwise/ranked_pair";
        ARG_MAX = "elementwise/arg_max";
        "elementwise/top_k_params";
        TOP_K = "elementwise/top_k";
        TOP_K_MERGE = "elementwise/top_k_merge";
        TOP_K_ELEMENTS = "elementwise/top_k_elements";
        TOP_K_PAIRS = "elementwise/top_k_pairs";
        TOP_K_KEEP = "elementwise/top_k_keep";
        TOP_K_STORE = "elementwise/top_k_store";
        LAYER_NORM = "elementwise/layer_norm";
        NORMAL_FLOATS = "elementwise/normal_floats";
        NORMAL_CODES = "elementwise/normal_codes";
    }
    cfg(feature = "transformer") {
        SCALE_STREAMS = "grouped/scale_streams";
        "grouped/bit_planes";
        "grouped/params";
        LHS_FLOAT = "grouped/lhs_float";
        LHS_INT8 = "grouped/lhs_int8";
        CODES_INT4 = "grouped/codes_int4";
        CODES_INT8 = "grouped/codes_int8";
        CODES_PLANES = "grouped/codes_planes";
        CODES_SMALL_FLOATS = "grouped/codes_small_floats";
        CODE_VALUES = "grouped/code_values";
        PLACE_VALUES = "grouped/place_values";
        CODES_TABLE = "grouped/codes_table";
        CODES_PLACES = "grouped/codes_places";
        "grouped/table_number";
        SCALES = "grouped/scales";
        SCALES_NESTED = "grouped/scales_nested";
        SCALES_FLOAT8 = "grouped/scales_float8";
        EXPERT_ONE = "grouped/expert_one";
        EXPERT_SELECTED = "grouped/expert_selected";
        SMALL_INPUTS_PARAMETERS = "grouped/small_inputs_parameters";
        SMALL_INPUTS_INDICES = "grouped/small_inputs_indices";
        SMALL_INPUTS_COMBINED = "grouped/small_inputs_combined";
        "grouped/weight_code";
        IMPORTANCE_NONE = "grouped/importance_none";
        IMPORTANCE_COLUMNS = "grouped/importance_columns";
        VALUE_INTEGER = "grouped/value_integer";
        VALUE_MINIFLOAT = "grouped/value_minifloat";
        VALUE_TABLE = "grouped/value_table";
        POSITION_DIRECT = "grouped/position_direct";
        POSITION_TABLE = "grouped/position_table";
        LINEAR = "grouped/linear";
        GATHER_COLUMNS = "grouped/gather_columns";
        COMBINE_INPUTS = "grouped/combine_inputs";
        FIND_SCALES = "grouped/find_scales";
        PACK_CODES = "grouped/pack_codes";
        EMBEDDING = "grouped/embedding";
        LINEAR_COOP = "grouped/linear_coop";
        QUADS_NEIGHBOURING = "grouped/quads_neighbouring";
        QUADS_GATED = "grouped/quads_gated";
        "attention/params";
        ATTENTION = "attention/attention";
        "attention/capped";
        "attention/store";
        ATTENTION_SCORES = "attention/scores";
        ATTENTION_POWERS = "attention/powers";
        ATTENTION_VALUES = "attention/weighted_values";
        ATTENTION_JOIN = "attention/join";
        ATTENTION_JOIN_CODES = "attention/join_codes";
        FINISH_FLOATS = "attention/finish_floats";
        FINISH_CODES = "attention/finish_codes";
        "attention/group_codes";
        "attention/partials";
        SINKS = "attention/sinks";
        SINKS_NONE = "attention/sinks_none";
        KEYS_VEC4 = "attention/keys_vec4";
        KEYS_FLOAT32 = "attention/keys_float32";
        KEYS_FLOAT16 = "attention/keys_float16";
        VALUES_VEC4 = "attention/values_vec4";
        VALUES_FLOAT32 = "attention/values_float32";
        VALUES_FLOAT16 = "attention/values_float16";
        KEYS_INT8 = "attention/keys_int8";
        VALUES_INT8 = "attention/values_int8";
        KEYS_INT4 = "attention/keys_int4";
        VALUES_INT4 = "attention/values_int4";
        "attention/padded_rows";
        "attention/four_codes";
        "attention/pass_rows";
        KEY_SCALES = "attention/key_scales";
        KEY_SCALES_NONE = "attention/key_scales_none";
        VALUE_SCALES = "attention/value_scales";
        VALUE_SCALES_NONE = "attention/value_scales_none";
        MASK = "attention/mask";
        MASK_NONE = "attention/mask_none";
        "layout/append_params";
        APPEND_ROWS_COPIED = "layout/append_rows_copied";
        APPEND_ROWS_FLOATS = "layout/append_rows_floats";
        APPEND_VALUE_DIRECT = "layout/append_value_direct";
        APPEND_VALUE_ROTATED = "layout/append_value_rotated";
        APPEND = "layout/append";
        APPEND_IN_PLACE = "layout/append_in_place";
        "layout/append_quantized_params";
        APPEND_QUANTIZED = "layout/append_quantized";
        APPEND_KEPT_COPIED = "layout/append_kept_copied";
        APPEND_KEPT_IN_PLACE = "layout/append_kept_in_place";
        APPEND_VALUE_ROTATED_BITS = "layout/append_value_rotated_bits";
        APPEND_ROTATION = "layout/append_rotation";
        ROTARY_APPEND = "layout/rotary_append";
        "elementwise/rotated_pair";
        "elementwise/rotate_bits";
        "elementwise/token_position";
        "elementwise/rotate";
        ROTARY = "elementwise/rotary";
    }
    cfg(feature = "calibrate") {
        "calibrate/members";
        "calibrate/extremes";
        "calibrate/batch";
        BINS = "calibrate/bins";
        COUNT_LOCAL = "calibrate/count_local";
        COUNT_DIRECT = "calibrate/count_direct";
        OBSERVE_RANGE = "calibrate/observe_range";
        OBSERVE_FOLD = "calibrate/observe_fold";
        OBSERVE_LEVEL = "calibrate/observe_level";
        OBSERVE_COUNT = "calibrate/observe_count";
        OBSERVE_REBIN = "calibrate/observe_rebin";
        STEP_FROM_RANGE = "calibrate/step_from_range";
    }
    cfg(feature = "train") {
        "train/reduce_sums";
        GRID_AFFINE = "train/grid_affine";
        GRID_STEP = "train/grid_step";
        GRID_RANGE = "train/grid_range";
        "train/fake_params";
        FAKE_QUANTIZE = "train/fake_quantize";
        FAKE_GRADIENT = "train/fake_gradient";
        FAKE_SUM = "train/fake_sum";
        SUM_PARTIALS = "train/sum_partials";
        "train/stage_steps";
        "train/float_conv_params";
        FLOAT_CONV = "train/float_conv";
        FLOAT_CONV_IMAGE = "train/float_conv_image";
        FLOAT_CONV_WEIGHTS = "train/float_conv_weights";
        FLOAT_CONV_TOTAL = "train/float_conv_total";
        SCALE_CHANNELS = "train/scale_channels";
        REQUANT_PARAMS = "train/requant_params";
        REQUANTIZED_OUTPUT = "train/requantized_output";
        REQUANTIZED_GRADIENT = "train/requantized_gradient";
        FAKE_REQUANTIZE = "train/fake_requantize";
        FAKE_REQUANTIZE_SUM = "train/fake_requantize_sum";
        SUM = "train/sum";
        CROSS_ENTROPY = "train/cross_entropy";
        MOMENTS = "train/moments";
        OPTIMIZER_STEP = "train/optimizer_step";
    }
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

/// A part of a program.
#[derive(Debug, Clone, Copy)]
struct Linked {
    part: &'static Part,
    /// True if Rust chose it, false if another part imports it.
    chosen: bool,
}

/// A linked program: the loop first, so that its line numbers stay true, then its other parts, then the constants.
#[derive(Clone)]
pub struct Program {
    parts: Vec<Linked>,
    constants: Vec<(&'static str, Value)>,
    /// Slots that are declared `read_write` although the program only reads them.
    writable: Vec<u32>,
    /// The slot of an input that the program reads from its output.
    overwritten: Option<u32>,
}

impl Program {
    /// A loop with its imports.
    pub(crate) fn new(main: &'static Part) -> Self {
        let mut program = Self { parts: Vec::new(), constants: Vec::new(), writable: Vec::new(), overwritten: None };
        program.add(main, true);
        program
    }

    fn add(&mut self, part: &'static Part, chosen: bool) {
        if let Some(linked) = self.parts.iter_mut().find(|linked| linked.part.name == part.name) {
            linked.chosen |= chosen;
            return;
        }
        self.parts.push(Linked { part, chosen });
        part.imports().iter().for_each(|import| self.add(import, false));
    }

    pub(crate) fn with(mut self, part: &'static Part) -> Self {
        self.add(part, true);
        self
    }

    pub(crate) fn constant(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// This program with these read bindings declared `read_write`: WebGPU wants that of a buffer that the launch
    /// also writes elsewhere.
    pub(crate) fn with_writable(mut self, slots: Vec<u32>) -> Self {
        self.writable = slots;
        self
    }

    /// This program, reading the input at a slot from `output`: each invocation reads the words that it overwrites.
    pub(crate) fn overwriting(mut self, slot: u32) -> Self {
        self.overwritten = Some(slot);
        self
    }

    /// The complete WGSL source.
    #[must_use]
    pub fn source(&self) -> String {
        let mut source = String::new();
        for linked in &self.parts {
            let _ = writeln!(source, "{}", linked.part.source);
        }
        for slot in &self.writable {
            let declared = |access| format!("@binding({slot}) var<storage, {access}> ");
            source = source.replace(&declared("read"), &declared("read_write"));
        }
        if let Some(slot) = self.overwritten {
            source = read_from_output(&source, slot);
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

    /// The names of the loop and of the parts chosen for it, and the constants: equal names are equal programs.
    #[must_use]
    pub fn name(&self) -> String {
        self.to_string()
    }
}

/// The source without the binding at a slot. Its elements, `name[…]`, become those of `output`.
fn read_from_output(source: &str, slot: u32) -> String {
    let declaration = format!("@group(0) @binding({slot}) var<storage, read> ");
    let (before, after) = source.split_once(&declaration).unwrap_or_else(|| panic!("nothing is read at slot {slot}"));
    let (declared, after) = after.split_once('\n').unwrap_or((after, ""));
    let element = format!("{}[", declared.split(':').next().unwrap_or_default());
    let mut replaced = String::with_capacity(source.len());
    for piece in before.split_inclusive(&element).chain(after.split_inclusive(&element)) {
        match piece.strip_suffix(&element) {
            Some(start) if !start.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                replaced += start;
                replaced += "output[";
            }
            _ => replaced += piece,
        }
    }
    replaced
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = self.parts.iter().filter(|linked| linked.chosen);
        let names: Vec<_> = chosen.map(|linked| linked.part.name).collect();
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
        if let Some(slot) = self.overwritten {
            write!(f, " {slot}=overwritten")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({self})")
    }
}
