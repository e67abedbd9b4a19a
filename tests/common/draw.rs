//! Random ops of every kind. Most are small and legal, some are nonsense that must be refused, and some have sizes of 0 or of more
//! than any device holds. `tests/draws.rs` plans and runs them.

use half::f16;
use lowbit::numeric::{BlockFormat, BlockRounding, PowerRounding, QuantizationParams};
use lowbit::ops::{
    Add, Append, AppendQuantized, ArgMax, Attention, Bins, BlockDequantize, BlockQuantize, Cast, ChannelGate, Concat,
    Conv, ConvPass, Coordinates, CrossEntropyGradient, Dequantize, DynamicGranularity, DynamicQuantize, Embedding,
    FakeQuantize, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatBinary, FloatConv, FloatMatmul,
    FloatPool, FloatUnary, Function, Fused, Gather, Grid, GridGradient, JointLinear, LayerNorm, Linear, LinearConv,
    Matmul, Multiply, Nearest, ObserveHistogram, ObserveRange, Op, Operand, OptimizerRule, OptimizerStep, Output, Pad,
    PadMode, Padding, Pool, Quantize, QuantizeWeights, QuantizedArithmetic, QuantizedSoftmax, RangeUpdate, Reduce,
    Reduction, RequantParams, Requantization, Requantize, Reshape, Resize, Rotary, RotaryAppend, RotaryPairs, Select,
    Slice, Softmax, StepFromRange, Sum, Table, TopK, Transpose, Unfold, Windows,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, Quantizer, ScaleFormat, Search, WeightFormat};
use lowbit::{DType, Granularity, Multiplier, Quantization, Result, Rounding, Shape, Tensor, TensorType, pack};

use super::{ARITHMETICS, FUNCTIONS, Random};

const FLOATS: [DType; 2] = [DType::Float32, DType::Float16];

/// Largest number of elements of a drawn constant; a small one replaces a larger one.
const LARGEST_CONSTANT: usize = 200_000;

/// Draws ops and tensors.
pub(crate) struct Draw {
    pub(crate) random: Random,
    /// True if some descriptors are nonsense. Otherwise all numbers are moderate, and few ops are refused.
    wild: bool,
}

impl Draw {
    pub(crate) fn new(seed: u64, wild: bool) -> Self {
        Self { random: Random::new(seed), wild }
    }

    fn one_in(&mut self, cases: u64) -> bool {
        self.random.next().is_multiple_of(cases)
    }

    /// True in one of `cases` draws, if nonsense may be drawn.
    fn odd(&mut self, cases: u64) -> bool {
        let odd = self.one_in(cases);
        odd && self.wild
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        self.random.pick(choices)
    }

    fn upto(&mut self, most: usize) -> usize {
        self.random.integer(0, most as i64) as usize
    }

    fn size(&mut self) -> usize {
        if self.odd(64) {
            return self.pick(&[
                300,
                5_000,
                70_000,
                i32::MAX as usize,
                i32::MAX as usize + 1,
                (1u64 << 32) as usize,
                usize::MAX,
            ]);
        }
        match self.random.next() % 16 {
            0 if self.one_in(2) => 0,
            0..3 => self.pick(&[7, 8, 15, 16, 17, 31, 33]),
            _ => self.random.integer(1, 5) as usize,
        }
    }

    /// Length of a reduction, often longer than other sizes.
    fn length(&mut self) -> usize {
        match self.random.next() % 4 {
            0 => self.pick(&[16, 31, 32, 48, 64, 65, 72, 100, 128]),
            _ => self.size(),
        }
    }

    fn sizes(&mut self, rank: usize) -> Vec<usize> {
        let rank = if self.odd(24) { self.upto(9) } else { rank };
        (0..rank).map(|_| self.size()).collect()
    }

    /// Dimensions of any rank up to 4.
    fn dimensions(&mut self) -> Vec<usize> {
        let rank = self.random.integer(1, 4) as usize;
        self.sizes(rank)
    }

    fn scale(&mut self) -> f32 {
        match self.random.next() % 32 {
            0 if self.wild => f32::from_bits(self.random.next() as u32),
            1 if self.wild => self.pick(&[0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX, 1e-45]),
            2 => self.pick(&[1.0, 1e-30, 1e30, f32::MIN_POSITIVE]),
            _ => self.random.scale(),
        }
    }

    fn zero_point(&mut self) -> i32 {
        match self.random.next() % 16 {
            0 if self.wild => self.random.next() as i32,
            1 if self.wild => self.random.integer(-300, 300) as i32,
            2..8 => 0,
            _ => self.random.integer(0, 127) as i32,
        }
    }

    fn format(&mut self) -> DType {
        if self.one_in(8) { self.pick(DType::ALL) } else { self.code_format() }
    }

    fn code_format(&mut self) -> DType {
        self.pick(&[DType::Int8, DType::Uint8])
    }

    fn granularity(&mut self, rank: usize) -> Granularity {
        let axis = if self.odd(16) { usize::MAX } else { self.upto(rank.saturating_sub(1)) };
        match self.random.next() % 4 {
            0 => Granularity::Axis(axis),
            1 => Granularity::Blocks { axis, size: self.size() },
            _ => Granularity::Tensor,
        }
    }

    fn quantization(&mut self, dtype: DType, dims: &[usize]) -> Quantization {
        let granularity = self.granularity(dims.len());
        let fitting = Shape::new(dims).and_then(|shape| granularity.parameters(&shape)).unwrap_or(1);
        let fitting = if fitting > 100_000 || self.odd(16) { self.upto(4) } else { fitting };
        let scales: Vec<f32> = (0..fitting).map(|_| self.scale()).collect();
        let symmetric = dtype == DType::Int16 || dtype.range().is_none();
        let zero_points = self.pick(&[fitting, 1, 0]);
        let range = dtype.range().unwrap_or((0, 0));
        let zero_point = |draw: &mut Self| {
            let zero_point = draw.zero_point();
            if symmetric && !draw.wild { 0 } else { zero_point.clamp(range.0.min(-1), range.1.max(1)) }
        };
        Quantization::new(granularity, scales, (0..zero_points).map(|_| zero_point(self)).collect::<Vec<_>>())
    }

    fn typed(&mut self, dtype: DType, dims: &[usize]) -> Result<TensorType> {
        let plain = TensorType::new(dtype, dims)?;
        if self.one_in(4) { Ok(plain) } else { plain.quantized(self.quantization(dtype, dims)) }
    }

    /// Codes with one scale, which every op accepts.
    fn simple(&mut self, dims: &[usize]) -> Result<TensorType> {
        let format = self.code_format();
        let zero_point = self.random.zero_point(format);
        TensorType::new(format, dims)?.quantized(Quantization::tensor(self.random.scale(), zero_point))
    }

    fn tensor_type(&mut self, dims: &[usize]) -> Result<TensorType> {
        if self.one_in(2) {
            return self.simple(dims);
        }
        let dtype = self.format();
        self.typed(dtype, dims)
    }

    /// A tensor of this type with any bits; of another type if it would be large.
    pub(crate) fn tensor(&mut self, tensor_type: &TensorType) -> Result<Tensor> {
        if tensor_type.shape().elements() > LARGEST_CONSTANT {
            return Tensor::new([1], vec![0i8]);
        }
        let words = tensor_type.device_bytes() as usize / 4;
        pack::tensor(tensor_type, &(0..words).map(|_| self.random.next() as u32).collect::<Vec<_>>())
    }

    /// A tensor of ordinary values for ops: reals of moderate size, positive scales, small indices, any codes.
    pub(crate) fn input(&mut self, tensor_type: &TensorType) -> Result<Tensor> {
        let count = tensor_type.shape().elements();
        let dims = tensor_type.dims().to_vec();
        match tensor_type.dtype() {
            DType::Float32 => Tensor::new(dims, (0..count).map(|_| self.random.real()).collect::<Vec<_>>()),
            DType::Float16 => {
                let values: Vec<f16> = (0..count).map(|_| f16::from_f32(self.random.real())).collect();
                Tensor::new(dims, values)
            }
            DType::Parameters => {
                // Codes without zero points are what some ops take.
                let most = if self.one_in(2) { 0 } else { 127 };
                let mut params = || QuantizationParams::new(self.random.scale(), self.random.integer(0, most) as i32);
                Tensor::new(dims, (0..count).map(|_| params()).collect::<Vec<_>>())
            }
            DType::Int32 if tensor_type.quantization().is_none() => {
                Tensor::new(dims, (0..count).map(|_| self.random.integer(-1, 6) as i32).collect::<Vec<_>>())
            }
            _ => self.tensor(tensor_type),
        }
    }

    fn reals(&mut self, dims: &[usize]) -> Result<Tensor> {
        let real = TensorType::new(DType::Float32, dims)?;
        if self.odd(8) || real.shape().elements() > LARGEST_CONSTANT { self.tensor(&real) } else { self.input(&real) }
    }

    fn stage(&mut self) -> Result<Requantization> {
        let dtype = if self.one_in(8) { DType::Int16 } else { self.format() };
        let zero_point = if dtype == DType::Int16 { 0 } else { self.zero_point() };
        let mut stage = Requantization::new(dtype, self.scale(), zero_point)?;
        let roundings = [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble, Rounding::FixedWide];
        stage = stage.rounding(self.pick(&roundings));
        if self.one_in(4) {
            stage = stage.clamp(self.zero_point(), self.zero_point())?;
        }
        if self.odd(8) {
            let multiplier = match self.random.next() % 2 {
                0 => Multiplier::float(self.scale())?,
                _ => Multiplier::fixed(self.random.next() as i32 & i32::MAX, self.random.integer(-33, 32) as i32)?,
            };
            stage = stage.multipliers(vec![multiplier; self.upto(5)]);
        }
        Ok(match self.random.next() % 3 {
            0 => stage,
            1 => stage.relu(),
            _ => stage.relu6(),
        })
    }

    fn output(&mut self) -> Result<Output> {
        Ok(match self.random.next() % 6 {
            0 => Output::Accumulator,
            1 => Output::real(),
            2 => Output::float16(),
            3 if self.one_in(2) => Output::Real { low: -self.scale(), high: self.scale() },
            3 => Output::Float16 { low: -self.scale(), high: self.scale() },
            _ => self.stage()?.into(),
        })
    }

    /// A bias for `outputs` outputs.
    fn bias(&mut self, outputs: usize) -> Result<Tensor> {
        if self.odd(4) {
            let (rank, format) = (self.upto(2), self.pick(&[DType::Int32, DType::Float32, DType::Int8]));
            let bias = TensorType::new(format, self.sizes(rank))?;
            return self.tensor(&bias);
        }
        let outputs = outputs.min(LARGEST_CONSTANT);
        let large = self.one_in(4);
        if self.one_in(4) {
            return self.reals(&[outputs]);
        }
        let mut word = || if large { self.random.next() as i32 } else { self.random.integer(-9_999, 9_999) as i32 };
        Tensor::new([outputs], (0..outputs).map(|_| word()).collect::<Vec<_>>())
    }

    fn padding(&mut self, rank: usize) -> Padding {
        match self.random.next() % 4 {
            0 => {
                let mut pads = || (0..rank).map(|_| self.upto(3)).collect::<Vec<_>>();
                let (begin, end) = (pads(), pads());
                Padding::Explicit { begin, end }
            }
            1 => Padding::SameUpper,
            2 => Padding::SameLower,
            _ => Padding::None,
        }
    }

    fn steps(&mut self, rank: usize) -> Vec<usize> {
        if self.odd(8) { self.sizes(rank) } else { (0..rank).map(|_| 1 + self.upto(2)).collect() }
    }

    fn matmul(&mut self) -> Result<Op> {
        let rank = self.random.integer(2, 4) as usize;
        let mut lhs = self.sizes(rank);
        if let Some(k) = lhs.last_mut() {
            *k = self.length();
        }
        let k = lhs.last().copied().unwrap_or(1);
        let n = self.length();
        let mut rhs = vec![if self.odd(8) { self.upto(9) } else { k }, n];
        let transposed = self.one_in(4);
        if transposed {
            rhs.reverse();
        }
        if rank > 2 && self.one_in(2) {
            rhs = [&lhs[..lhs.len().saturating_sub(2)], &rhs].concat();
        }
        let wide = self.one_in(6);
        let lhs = match wide {
            true => TensorType::new(DType::Int16, lhs)?.quantized(Quantization::tensor(self.random.scale(), 0))?,
            false => self.tensor_type(&lhs)?,
        };
        let rhs = match self.random.next() % 3 {
            0 => {
                let dtype = self.pick(&super::dtypes(DType::is_narrow_integer));
                TensorType::new(dtype, rhs)?.quantized(Quantization::tensor(self.random.scale(), 0))?
            }
            _ => self.tensor_type(&rhs)?,
        };
        let constant = self.one_in(2) || wide;
        let rhs: Operand = if constant { self.tensor(&rhs)?.into() } else { rhs.into() };
        let mut matmul = Matmul::new(lhs, rhs).output(self.output()?);
        if transposed {
            matmul = matmul.transposed();
        }
        if self.one_in(6) {
            matmul = matmul.dynamic_lhs(self.pick(&[DynamicGranularity::Tensor, DynamicGranularity::Row]));
        }
        match self.random.next() % 6 {
            0 | 1 => matmul = matmul.bias(self.bias(n)?),
            2 if wide => {
                let shift = self.upto(45) as u32;
                let bias: Vec<i64> =
                    (0..n.min(LARGEST_CONSTANT)).map(|_| self.random.integer(-1, 1) << shift).collect();
                matmul = matmul.wide_bias(bias);
            }
            _ => {}
        }
        Ok(matmul.build()?.into())
    }

    /// Dimensions of an image with `groups · channels` channels, and of a window.
    fn window(&mut self, groups: usize, channels: usize) -> (Vec<usize>, Vec<usize>, usize) {
        let rank = self.random.integer(1, 3) as usize;
        let image = [vec![self.size().min(4)], self.sizes(rank), vec![groups * channels]].concat();
        let kernel = if self.odd(8) { self.sizes(rank) } else { (0..rank).map(|_| 1 + self.upto(2)).collect() };
        (image, kernel, rank)
    }

    fn groups(&mut self) -> (usize, usize, usize) {
        let groups = self.pick(&[1, 1, 1, 2, 3, 4, 8]);
        let channels = if self.one_in(24) { 0 } else { self.pick(&[1, 1, 2, 3, 4, 5, 16, 20, 32]) };
        let outputs = if self.one_in(24) { 0 } else { self.pick(&[1, 1, 2, 3, 4, 5, 8, 16, 17]) };
        (groups, channels, groups * outputs)
    }

    fn conv(&mut self) -> Result<Op> {
        let (groups, channels, outputs) = self.groups();
        let (image, kernel, rank) = self.window(groups, channels);
        let kernel = [&[outputs][..], &kernel, &[channels]].concat();
        let image = match self.random.next() % 6 {
            0 => TensorType::new(DType::Int16, image)?.quantized(Quantization::tensor(self.random.scale(), 0))?,
            1 => self.tensor_type(&image)?,
            _ => self.simple(&image)?,
        };
        let kernel = if self.one_in(3) { self.tensor_type(&kernel)? } else { self.simple(&kernel)? };
        let mut conv = Conv::new(image, self.tensor(&kernel)?).groups(groups).output(self.output()?);
        conv = conv.padding(self.padding(rank));
        if self.one_in(3) {
            conv = conv.stride(self.steps(rank));
        }
        if self.one_in(4) {
            conv = conv.dilation(self.steps(rank));
        }
        if self.odd(8) {
            conv = conv.groups(self.size());
        }
        if self.one_in(4) {
            conv = conv.transposed();
            if self.one_in(2) {
                conv = conv.output_padding((0..rank).map(|_| self.upto(1)).collect::<Vec<_>>());
            }
        }
        if self.odd(12) {
            conv = conv.output_size(self.sizes(rank));
        }
        if self.one_in(8) {
            conv = conv.dynamic_lhs();
        }
        if self.one_in(3) {
            conv = conv.bias(self.bias(outputs)?);
        }
        Ok(conv.build()?.into())
    }

    fn gate(&mut self) -> Result<Op> {
        let (image, _, _) = self.window(1, 3);
        let channels = self.size();
        let image = self.simple(&[&image[..image.len() - 1], &[channels]].concat())?;
        let stage = self.stage()?;
        let pool =
            Pool::global_average(image).output(stage.clone()).arithmetic(QuantizedArithmetic::Integer).build()?;
        let (mut made, mut layers) = (Op::from(pool.clone()).outputs()[0].clone(), Vec::new());
        for _ in 0..=self.upto(2) {
            let (outputs, inputs) = (self.size(), made.shape().row_length());
            let kernel = vec![1; made.shape().rank().saturating_sub(2)];
            let weights = self.simple(&[&[outputs], &kernel[..], &[inputs]].concat())?;
            let mut conv = Conv::new(made, self.tensor(&weights)?).output(stage.clone());
            if self.one_in(2) {
                conv = conv.bias(self.bias(outputs)?);
            }
            let layer = conv.build()?;
            made = Op::from(layer.clone()).outputs()[0].clone();
            layers.push(layer);
        }
        Ok(ChannelGate::new(pool, layers)?.into())
    }

    fn pool(&mut self) -> Result<Op> {
        let (image, kernel, rank) = self.window(1, 3);
        let image = [&image[..image.len() - 1], &[self.size()]].concat();
        if self.one_in(3) {
            return self.float_pool(TensorType::float32(image)?, kernel, rank);
        }
        let image = if self.one_in(4) { self.tensor_type(&image)? } else { self.simple(&image)? };
        let mut pool = match self.random.next() % 6 {
            0 => Pool::global_average(image),
            1 => Pool::global_max(image),
            2 | 3 => Pool::max(image, kernel),
            _ => Pool::average(image, kernel),
        };
        pool = pool.padding(self.padding(rank));
        if self.one_in(3) {
            pool = pool.stride(self.steps(rank)).dilation(self.steps(rank));
        }
        if self.one_in(4) {
            pool = pool.round_up();
        }
        if self.one_in(3) {
            pool = pool.output(self.stage()?);
        }
        if self.one_in(4) {
            pool = pool.count_padding();
        }
        if self.one_in(6) {
            pool = pool.arithmetic(QuantizedArithmetic::Codes);
        }
        Ok(pool.build()?.into())
    }

    fn float_pool(&mut self, image: TensorType, kernel: Vec<usize>, rank: usize) -> Result<Op> {
        let mut pool = match self.random.next() % 6 {
            0 => FloatPool::global_average(image),
            1 => FloatPool::global_max(image),
            2 | 3 => FloatPool::max(image, kernel),
            _ => FloatPool::average(image, kernel).count_padding(),
        };
        pool = pool.padding(self.padding(rank));
        if self.one_in(3) {
            pool = pool.stride(self.steps(rank)).dilation(self.steps(rank)).round_up();
        }
        Ok(pool.build()?.into())
    }

    /// Weights in groups, with codes and scales of any format.
    fn weight_format(&mut self) -> WeightFormat {
        let codes = self.pick(&[
            Codes::INT2,
            Codes::INT3,
            Codes::INT4,
            Codes::INT4,
            Codes::INT5,
            Codes::INT6,
            Codes::INT8,
            Codes::UINT2,
            Codes::UINT3,
            Codes::UINT4,
            Codes::UINT5,
            Codes::UINT6,
            Codes::UINT8,
            Codes::of_float(DType::Float8E4M3Fn).unwrap(),
            Codes::of_float(DType::Float8E5M2).unwrap(),
            Codes::of_float(DType::Float6E3M2).unwrap(),
            Codes::of_float(DType::Float6E2M3).unwrap(),
            Codes::of_float(DType::Float4E2M1).unwrap(),
            Codes::IQ4_NL,
            Codes::NF4,
            Codes::of_numbers(&[-0.875, 0.125, 1.125, 0.0, -1.125, -0.125, 0.875, 0.0]).unwrap(),
            Codes::of_numbers(&[-1.0, 0.0, 1.0, 2.0]).unwrap(),
        ]);
        let scales = self.scales();
        let group = if self.odd(8) { self.size() } else { self.pick(&[16, 32, 64, 128]) };
        WeightFormat::new(codes, group, scales)
    }

    fn weights(&mut self, dims: [usize; 3]) -> Result<PackedWeights> {
        let format = self.weight_format();
        self.weights_of(format, dims)
    }

    fn weights_of(&mut self, format: WeightFormat, dims: [usize; 3]) -> Result<PackedWeights> {
        let WeightFormat { codes, group, scales, .. } = format;
        // Large weights are replaced before they are built.
        if PackedWeights::packed_bytes(format, dims)? > 4 << 20 {
            return PackedWeights::build(WeightFormat::new(codes, group, scales), [1, 4, 64], |_, _, _, _| Ok(()));
        }
        let words = PackedWeights::packed_bytes(format, dims)? / 4;
        if self.one_in(8) {
            let words = (0..words).map(|_| self.random.next() as u32).collect();
            return PackedWeights::from_words(format, dims, words);
        }
        let (seed, (low, high)) = (self.random.next(), codes.range());
        let fill = |row: usize, codes: &mut [i8], groups: &mut [GroupParams], outer: &mut [GroupParams]| {
            let mut random = Random::new(seed.wrapping_add(row as u64));
            codes.fill_with(|| random.integer(low.into(), high.into()) as i8);
            groups.fill_with(|| GroupParams::scale(if scales == ScaleFormat::E8M0 { 0.125 } else { 0.25 }));
            outer.fill_with(|| GroupParams::scale(0.5));
            Ok(())
        };
        if self.one_in(8) {
            let index: Vec<u32> = (0..dims[2]).map(|l| (l % dims[2].div_ceil(group.max(1)).max(1)) as u32).collect();
            return PackedWeights::build_indexed(format, dims, &index, fill);
        }
        PackedWeights::build(format, dims, fill)
    }

    fn scales(&mut self) -> ScaleFormat {
        self.pick(&[
            ScaleFormat::F32,
            ScaleFormat::F16,
            ScaleFormat::F16,
            ScaleFormat::E8M0,
            ScaleFormat::F32Zero,
            ScaleFormat::F16Zero,
            ScaleFormat::F32RealZero,
            ScaleFormat::F32Offset,
            ScaleFormat::F16Offset,
            ScaleFormat::Nested(2),
            ScaleFormat::NestedOffset(2),
        ])
    }

    fn linear(&mut self) -> Result<Op> {
        let experts = if self.one_in(4) { 1 + self.upto(3) } else { 1 };
        let (m, n, k) = (self.size(), self.length(), self.length());
        let weights_k = if self.odd(12) { self.size() } else { k };
        let mut weights = self.weights([experts, n, weights_k])?;
        if self.one_in(6) {
            weights = PackedWeights::bound(*weights.format(), weights.dims())?;
        }
        let dynamic = self.one_in(4);
        let lhs = match self.random.next() % 4 {
            _ if dynamic => TensorType::new(self.code_format(), [m, k])?,
            0 => TensorType::new(DType::Float32, [m, k])?,
            1 => TensorType::new(DType::Float16, [m, k])?,
            2 => self.simple(&[m, k])?,
            _ => self.tensor_type(&[m, k])?,
        };
        let mut linear = Linear::new(lhs, weights);
        if dynamic {
            linear = linear.dynamic_lhs(self.pick(&[DynamicGranularity::Tensor, DynamicGranularity::Row]));
        }
        if self.one_in(3) {
            linear = linear.bias(self.reals(&[n.min(LARGEST_CONSTANT)])?);
        }
        if self.one_in(4) {
            linear = linear.clamp(-self.scale(), self.scale());
        }
        if self.one_in(3) {
            linear = linear.output(self.pick(&FLOATS));
        }
        if experts > 1 || self.odd(8) {
            linear = linear.experts(self.random.integer(i64::from(!self.wild), 2) as usize);
        }
        Ok(linear.build()?.into())
    }

    fn joint_linear(&mut self) -> Result<Op> {
        let (m, k) = (self.size(), self.length());
        let lhs = if self.one_in(2) { TensorType::new(self.pick(&FLOATS), [m, k])? } else { self.simple(&[m, k])? };
        let format = self.weight_format();
        let is_gate = self.one_in(2);
        let count = if is_gate { 2 } else { 2 + usize::from(self.one_in(2)) };
        let mut layer = |last: bool| -> Result<Linear> {
            let n = if self.odd(12) || (last && !is_gate) { self.size() } else { 64 };
            Linear::new(lhs.clone(), self.weights_of(format, [1, n, k])?).build()
        };
        let joint = JointLinear::new((1..=count).map(|i| layer(i == count)).collect::<Result<Vec<_>>>()?)?;
        Ok(if is_gate { joint.gated(self.pick(&FUNCTIONS))? } else { joint }.into())
    }

    fn linear_conv(&mut self) -> Result<Op> {
        let (groups, channels, outputs) = self.groups();
        let (image, kernel, rank) = self.window(groups, channels);
        let taps = kernel.iter().fold(channels, |k, &tap| k.saturating_mul(tap));
        let weights = self.weights([groups, outputs / groups, taps])?;
        let dynamic = self.one_in(6);
        let image = match self.random.next() % 3 {
            _ if dynamic => TensorType::new(self.code_format(), image)?,
            0 => TensorType::new(self.pick(&FLOATS), image)?,
            1 => self.simple(&image)?,
            _ => self.tensor_type(&image)?,
        };
        let mut conv = LinearConv::new(image, weights, kernel).padding(self.padding(rank));
        if dynamic {
            conv = conv.dynamic_image();
        }
        if self.one_in(3) {
            conv = conv.stride(self.steps(rank)).dilation(self.steps(rank));
        }
        if self.one_in(4) {
            conv = conv.transposed();
        }
        if self.one_in(3) {
            conv = conv.bias(self.reals(&[outputs])?).clamp(-self.scale(), self.scale());
        }
        if self.one_in(3) {
            conv = conv.output(self.pick(&FLOATS));
        }
        Ok(conv.build()?.into())
    }

    fn unfold(&mut self) -> Result<Op> {
        let (groups, channels, _) = self.groups();
        let (image, kernel, rank) = self.window(groups, channels);
        let dynamic = self.one_in(6);
        let image = if dynamic { TensorType::new(self.code_format(), image)? } else { self.tensor_type(&image)? };
        let mut unfold = Unfold::new(image, kernel).groups(groups).padding(self.padding(rank));
        if dynamic {
            unfold = unfold.dynamic_image();
        }
        if self.one_in(3) {
            unfold = unfold.stride(self.steps(rank)).dilation(self.steps(rank));
        }
        if self.one_in(4) {
            unfold = unfold.transposed();
        }
        Ok(unfold.build()?.into())
    }

    fn float_matmul(&mut self) -> Result<Op> {
        let (m, n, k) = (self.size(), self.length(), self.length());
        let batch = if self.one_in(3) { vec![self.size()] } else { vec![] };
        let (transposed_lhs, transposed_rhs) = (self.one_in(3), self.one_in(3));
        let turned =
            |(rows, columns): (usize, usize), turned: bool| if turned { [columns, rows] } else { [rows, columns] };
        let lhs = [&batch[..], &turned((m, k), transposed_lhs)].concat();
        let shared = if self.one_in(2) { &batch[..] } else { &[] };
        let rhs = [shared, &turned((if self.odd(8) { self.size() } else { k }, n), transposed_rhs)].concat();
        let (lhs, rhs) = (TensorType::new(self.pick(&FLOATS), lhs)?, TensorType::new(self.pick(&FLOATS), rhs)?);
        let constant = self.one_in(3) && rhs.dtype() == DType::Float32;
        let rhs: Operand = if constant { self.reals(rhs.dims())?.into() } else { rhs.into() };
        let mut matmul = FloatMatmul::new(lhs, rhs);
        if transposed_lhs {
            matmul = matmul.transposed_lhs();
        }
        if transposed_rhs {
            matmul = matmul.transposed_rhs();
        }
        match self.random.next() % 4 {
            0 => matmul = matmul.bias(self.reals(&[n.min(LARGEST_CONSTANT)])?),
            1 => matmul = matmul.bias(TensorType::new(DType::Float32, [n])?),
            _ => {}
        }
        if self.one_in(4) {
            matmul = matmul.clamp(-self.scale(), self.scale());
        }
        if self.one_in(3) {
            matmul = matmul.output(self.pick(&FLOATS));
        }
        Ok(matmul.build()?.into())
    }

    fn float_conv(&mut self) -> Result<Op> {
        let (groups, channels, outputs) = self.groups();
        let image = [self.size().min(4), self.size(), self.size(), groups * channels];
        let weights = [outputs, 1 + self.upto(2), 1 + self.upto(2), channels];
        let windows = Windows::default()
            .with_stride([1 + self.upto(1), 1 + self.upto(1)])
            .with_padding(std::array::from_fn(|_| self.upto(2)))
            .with_groups(if self.odd(8) { self.size() } else { groups });
        let pass = self.pick(&[ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient]);
        Ok(FloatConv::new(TensorType::float32(image)?, TensorType::float32(weights)?, windows)
            .pass(pass)
            .build()?
            .into())
    }

    fn binary(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        let other = match self.random.next() % 4 {
            0 => dims.iter().map(|&extent| if self.one_in(2) { 1 } else { extent }).collect(),
            1 => dims[dims.len().min(1)..].to_vec(),
            2 if self.wild => self.sizes(2),
            _ => dims.clone(),
        };
        if self.one_in(3) {
            let arithmetic = self.pick(&ARITHMETICS);
            let real = |dimensions| TensorType::new(DType::Float32, dimensions);
            if self.one_in(3) {
                let condition = self.pick(&[DType::Float32, DType::Uint8, DType::Int8]);
                let of = if self.one_in(2) { dims.clone() } else { other.clone() };
                let chosen = self.pick(&[DType::Float32, DType::Int32]);
                let (a, b) = (self.typed(chosen, &dims)?, self.typed(chosen, &other)?);
                let condition = self.typed(condition, &of)?;
                return Ok(Select::new(condition, a, b)?.into());
            }
            return Ok(FloatBinary::new(real(dims)?, real(other)?, arithmetic)?.into());
        }
        let (lhs, rhs) = match self.one_in(6) {
            true => (self.tensor_type(&dims)?, self.tensor_type(&other)?),
            false => (self.simple(&dims)?, self.simple(&other)?),
        };
        Ok(match self.one_in(2) {
            true => {
                let add = Add::new(lhs, rhs, self.stage()?);
                if self.one_in(4) { add.subtract() } else { add }.build()?.into()
            }
            false => Multiply::new(lhs, rhs, self.stage()?).build()?.into(),
        })
    }

    fn concat(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        let axis = if self.odd(8) { self.upto(9) } else { self.upto(dims.len().saturating_sub(1)) };
        let mut inputs = Vec::new();
        for _ in 0..self.random.integer(i64::from(!self.wild), 4) {
            let mut input = dims.clone();
            if let Some(extent) = input.get_mut(axis) {
                *extent = self.size();
            }
            inputs.push(if self.odd(6) { self.tensor_type(&input)? } else { self.simple(&input)? });
        }
        if self.one_in(3) {
            let dtype = self.pick(DType::ALL);
            let inputs = inputs.iter().map(|input| TensorType::new(dtype, input.dims())).collect::<Result<Vec<_>>>()?;
            return Ok(Concat::new(inputs, axis).build()?.into());
        }
        Ok(Concat::new(inputs, axis).output(self.stage()?).build()?.into())
    }

    /// Ops that only move elements.
    fn moved(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        let rank = dims.len();
        let input = match self.one_in(2) {
            true => self.tensor_type(&dims)?,
            false => TensorType::new(self.pick(DType::ALL), &dims[..])?,
        };
        Ok(match self.random.next() % 7 {
            6 => {
                let axis = if self.odd(12) { self.size() } else { self.upto(rank.saturating_sub(1)) };
                let rank = self.upto(2);
                let indices = TensorType::int32(self.sizes(rank))?;
                let data = if self.one_in(3) { input } else { TensorType::new(input.dtype(), dims)? };
                Gather::new(data, axis, indices)?.into()
            }
            0 => {
                let mut order: Vec<usize> = (0..rank).collect();
                for i in (1..rank).rev() {
                    order.swap(i, self.upto(i));
                }
                if self.odd(12) {
                    order = self.sizes(rank);
                }
                Transpose::new(input, order)?.into()
            }
            1 => {
                let begin: Vec<usize> = dims.iter().map(|&extent| self.upto(extent.min(9))).collect();
                let sizes = dims.iter().zip(&begin).map(|(&extent, &begin)| self.upto((extent - begin).min(9)));
                let sizes: Vec<usize> = sizes.collect();
                match self.random.next() % 3 {
                    0 => Slice::new(input, begin, sizes).build()?.into(),
                    1 => {
                        let steps = (0..rank).map(|_| self.pick(&[1, 1, 2, -1, 3])).collect::<Vec<isize>>();
                        Slice::new(input, begin, sizes).steps(steps).build()?.into()
                    }
                    _ => {
                        let axis = self.upto(rank.saturating_sub(1));
                        let extent = dims.get(axis).copied().unwrap_or(1);
                        let count = self.size().min(70_000);
                        let indices: Vec<usize> = (0..count).map(|_| self.upto(extent.max(1) - 1)).collect();
                        Slice::take(input, axis, indices)?.into()
                    }
                }
            }
            2 => {
                let mode = self.pick(&[PadMode::Zero, PadMode::Code(1), PadMode::Edge, PadMode::Reflect]);
                let mut pads = || (0..rank).map(|_| if self.odd(24) { self.size() } else { self.upto(3) }).collect();
                let (begin, end): (Vec<usize>, Vec<usize>) = (pads(), pads());
                Pad::new(input, begin, end, mode)?.into()
            }
            3 => {
                let mut to = dims.clone();
                let (from, into) = (self.upto(rank.max(1) - 1), self.upto(rank.max(1) - 1));
                if from != into && !self.odd(4) {
                    to[into] = to[into].saturating_mul(to[from]);
                    to[from] = 1;
                } else if self.one_in(2) {
                    to.insert(0, 1);
                }
                Reshape::new(input, to)?.into()
            }
            _ => {
                let rank = self.random.integer(1, 3) as usize;
                let image = [&self.sizes(1)[..], &self.sizes(rank), &self.sizes(1)].concat();
                let sizes = self.sizes(rank);
                let coordinates = self.pick(&[
                    Coordinates::Asymmetric,
                    Coordinates::HalfPixel,
                    Coordinates::PytorchHalfPixel,
                    Coordinates::AlignCorners,
                ]);
                let rounding = self.pick(&[Nearest::PreferFloor, Nearest::PreferCeil, Nearest::Floor, Nearest::Ceil]);
                let resize = match self.one_in(2) {
                    true => Resize::nearest(self.tensor_type(&image)?, sizes).rounding(rounding),
                    false => Resize::linear(self.simple(&image)?, sizes),
                };
                let resize = if self.one_in(4) { resize.ten_bits() } else { resize };
                resize.coordinates(coordinates).build()?.into()
            }
        })
    }

    /// Ops that change the dtype of elements.
    fn converted(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        Ok(match self.random.next() % 7 {
            0 => Requantize::new(self.tensor_type(&dims)?, self.stage()?)?.into(),
            1 => {
                let format = self.pick(DType::ALL);
                let codes = self.typed(format, &dims)?;
                let float = if self.one_in(3) { self.pick(&FLOATS) } else { DType::Float32 };
                let mut quantize = Quantize::new(TensorType::new(float, codes.dims())?, codes);
                if self.one_in(4) {
                    quantize = quantize.precision(self.pick(&FLOATS));
                }
                if self.one_in(4) {
                    quantize = quantize.ties_away();
                }
                if self.one_in(4) { quantize.non_saturating() } else { quantize }.build()?.into()
            }
            2 => {
                let format = self.pick(DType::ALL);
                let dequantize = Dequantize::new(self.typed(format, &dims)?);
                if self.one_in(3) { dequantize.output(self.pick(&FLOATS)) } else { dequantize }.build()?.into()
            }
            3 => {
                let granularity = self.pick(&[DynamicGranularity::Tensor, DynamicGranularity::Row]);
                let op = DynamicQuantize::new(TensorType::float32(dims)?, self.code_format(), granularity);
                if self.one_in(3) { op.symmetric() } else { op }.build()?.into()
            }
            4 => {
                let cast = Cast::new(TensorType::new(self.pick(DType::ALL), dims)?, self.pick(DType::ALL));
                let cast = if self.one_in(4) { cast.non_saturating() } else { cast };
                if self.one_in(4) { cast.rounding(PowerRounding::Nearest) } else { cast }.build()?.into()
            }
            block => {
                let rounding = self.pick(&[BlockRounding::Floor, BlockRounding::Ceil]);
                let format = match self.random.next() % 3 {
                    0 => BlockFormat::nvfp4(self.scale())?,
                    _ => BlockFormat::mx(self.pick(DType::ALL), rounding)?,
                };
                match block {
                    5 => BlockQuantize::new(TensorType::new(self.pick(&FLOATS), dims)?, format)?.into(),
                    _ => BlockDequantize::new(TensorType::new(format.element(), dims)?, format)
                        .output(self.pick(&FLOATS))
                        .build()?
                        .into(),
                }
            }
        })
    }

    /// Ops over floats, and ops of training.
    fn floats(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        let rank = dims.len();
        Ok(match self.random.next() % 20 {
            19 => {
                let reductions =
                    [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::L1, Reduction::L2];
                let axes: Vec<usize> = (0..rank).filter(|_| self.one_in(2)).collect();
                let axes = if self.odd(9) { self.sizes(1) } else { axes };
                Reduce::new(TensorType::float32(dims)?, axes, self.pick(&reductions))?.into()
            }
            18 => {
                let dtype = self.pick(&FLOATS);
                let cache = TensorType::new(dtype, [&dims[..], &[self.size()]].concat())?;
                let rows = [&[self.upto(cache.dims()[0])], &cache.dims()[1..]].concat();
                let queries = TensorType::float32([rows[0], self.size(), cache.shape().row_length()])?;
                let table = TensorType::float32([7, 4])?;
                let pairs = self.pick(&[RotaryPairs::Halves, RotaryPairs::Interleaved]);
                let values = Append::new(cache, TensorType::float32(rows)?)?;
                let keys = values.clone().rotated(table.clone(), pairs)?;
                RotaryAppend::new(Rotary::new(queries, table, pairs)?, keys, values)?.into()
            }
            17 => {
                let dtype = self.pick(&[DType::Int8, DType::Int4]);
                let cache = TensorType::new(dtype, [&dims[..], &[12]].concat())?.with_dynamic_scales();
                let rows = [&[self.upto(cache.dims()[0])], &cache.dims()[1..]].concat();
                let scales = self.pick(&[DynamicGranularity::Row, DynamicGranularity::Group(8)]);
                let append = AppendQuantized::new(cache, TensorType::float32(rows)?, scales)?;
                match self.one_in(2) {
                    true => append.rotated(TensorType::float32([7, 4])?, RotaryPairs::Interleaved)?.into(),
                    false => append.into(),
                }
            }
            13 => {
                let dtype = self.pick(&[DType::Float32, DType::Int32, DType::Int8, DType::Float16]);
                let cache = TensorType::new(dtype, [&dims[..], &[5]].concat())?;
                let mut rows = cache.dims().to_vec();
                rows[0] = self.random.integer(0, cache.dims()[0] as i64) as usize;
                let rounded = dtype == DType::Float16 && self.one_in(2);
                let rows = TensorType::new(if rounded { DType::Float32 } else { dtype }, rows)?;
                let append = Append::new(cache, rows)?;
                match self.one_in(3) {
                    true => append.rotated(TensorType::float32([7, 4])?, RotaryPairs::Halves)?.into(),
                    false => append.into(),
                }
            }
            14 => {
                let input = TensorType::float32([&dims[..], &[6]].concat())?;
                let table = TensorType::float32([7, 2 * self.random.integer(0, 3) as usize])?;
                Rotary::new(input, table, self.pick(&[RotaryPairs::Halves, RotaryPairs::Interleaved]))?.into()
            }
            15 => {
                let (heads, d) = (self.pick(&[1, 2, 3]), self.pick(&[1, 4, 6]));
                let dtype = self.pick(&[DType::Float32, DType::Float16, DType::Int8, DType::Int4]);
                let cache = TensorType::new(dtype, [self.pick(&[1, 40, 200]), heads, d])?;
                let cache = if dtype.range().is_some() { cache.with_dynamic_scales() } else { cache };
                let query = TensorType::float32([self.pick(&[1, 3, 9]), heads * self.pick(&[1, 2]), d])?;
                let attention = Attention::new(query, cache.clone(), cache);
                let options = [attention.clone(), attention.clone().causal(), attention.window(20).soft_cap(2.0)];
                options[self.random.integer(0, 2) as usize].clone().build()?.into()
            }
            16 => {
                let dtype = self.pick(&[DType::Float32, DType::Float16, DType::Int32, DType::Int8, DType::Uint8]);
                let n = dims.last().copied().unwrap_or(1);
                let k = if self.odd(8) { self.size() } else { 1 + self.upto(n.saturating_sub(1)) };
                let top = TopK::new(self.typed(dtype, &dims)?, k);
                if self.one_in(2) { top.least() } else { top }.build()?.into()
            }
            12 => {
                let dtype = self.pick(&[DType::Float32, DType::Int32, DType::Int8, DType::Uint8, DType::Float16]);
                ArgMax::new(self.typed(dtype, &dims)?)?.into()
            }
            0 => FloatUnary::new(TensorType::float32(dims)?, self.pick(&FUNCTIONS))?.into(),
            1 => {
                let softmax = Softmax::new(TensorType::float32(dims)?);
                if self.one_in(3) { softmax.scaled(self.scale()) } else { softmax }.build()?.into()
            }
            2 => {
                let last = dims.last().map_or(1, |&last| last.min(LARGEST_CONSTANT));
                let mut norm = LayerNorm::new(TensorType::float32(dims)?, self.reals(&[last])?, 1e-5);
                if self.one_in(2) {
                    norm = norm.shift(self.reals(&[last])?);
                }
                if self.one_in(3) { norm.without_mean() } else { norm }.build()?.into()
            }
            3 => Sum::new(TensorType::float32(dims)?, self.granularity(rank))?.into(),
            4 => CrossEntropyGradient::new(TensorType::float32([self.size(), self.size()])?)?.into(),
            5 => {
                let rule = match self.random.next() % 3 {
                    0 => OptimizerRule::adam(),
                    1 if self.wild => OptimizerRule::Sgd { momentum: self.scale() },
                    _ => OptimizerRule::Sgd { momentum: 0.9 },
                };
                let optimize = OptimizerStep::new(TensorType::float32(dims)?, rule);
                if self.one_in(4) { optimize.at_least(self.scale()) } else { optimize }.build()?.into()
            }
            6 => StepFromRange::new(TensorType::int32([self.size(), 6])?, self.bounds())?.into(),
            7 => {
                let rule = match self.one_in(2) {
                    true => RangeUpdate::MinMax,
                    false => RangeUpdate::MovingAverage { constant: if self.odd(4) { self.scale() } else { 0.1 } },
                };
                ObserveRange::new(TensorType::float32(dims)?, self.granularity(rank), rule)?.into()
            }
            8 => {
                let count = if self.odd(8) { self.size() } else { self.pick(&[16, 64, 2_048]) };
                let bins = if self.one_in(2) { Bins::new(count)? } else { Bins::of_width(count, self.scale())? };
                ObserveHistogram::new(TensorType::float32(dims)?, self.granularity(rank), bins)?.into()
            }
            9 => RequantParams::new(TensorType::float32([self.size()])?)?.into(),
            10 => {
                let makes = [
                    FakeRequantizeOutput::Levels,
                    FakeRequantizeOutput::Real,
                    FakeRequantizeOutput::Gradient,
                    FakeRequantizeOutput::StepGradient,
                ];
                FakeRequantize::new(TensorType::float32(dims)?, self.pick(&makes), self.bounds()).build()?.into()
            }
            _ => {
                let grid = self.pick(&[Grid::Affine, Grid::Step, Grid::Range]);
                let mut op = FakeQuantize::new(TensorType::float32(dims)?, grid, self.granularity(rank), self.bounds());
                if self.one_in(4) {
                    op = op.levels();
                }
                let op = op.build()?;
                match self.random.next() % 3 {
                    0 => op.into(),
                    1 => FakeQuantizeGradient::new(op)?.into(),
                    _ => GridGradient::new(op, self.scale())?.into(),
                }
            }
        })
    }

    /// Least and greatest code of a grid.
    fn bounds(&mut self) -> (i32, i32) {
        if self.odd(8) {
            return (self.random.next() as i32, self.random.next() as i32);
        }
        self.pick(&[(0, 255), (-128, 127), (-127, 127), (0, 15), (-8, 7), (0, 3)])
    }

    /// Ops that quantize or read packed weights.
    fn weight_op(&mut self) -> Result<Op> {
        let (n, k) = (self.length(), self.length());
        if self.one_in(2) {
            let weights = self.weights([1, n, k])?;
            let indices = self.dimensions();
            return Ok(Embedding::new(TensorType::int32(indices)?, weights).output(self.pick(&FLOATS)).build()?.into());
        }
        let codes = self.pick(&[Codes::INT2, Codes::INT3, Codes::INT4, Codes::UINT4, Codes::INT6, Codes::INT8]);
        let mut quantizer = Quantizer::new(WeightFormat::new(codes, self.pick(&[16, 32, 64]), self.scales()))?;
        if self.one_in(3) {
            quantizer = quantizer.search(Search::default().with_steps(3))?;
        }
        if self.one_in(4) {
            let importance: Vec<f32> = (0..k.min(LARGEST_CONSTANT)).map(|_| self.random.real().abs()).collect();
            quantizer = quantizer.importance(&importance)?;
        }
        Ok(QuantizeWeights::new(TensorType::float32([n, k])?, quantizer)?.into())
    }

    fn table(&mut self) -> Result<Op> {
        let dims = self.dimensions();
        let input = if self.odd(4) { self.tensor_type(&dims)? } else { self.simple(&dims)? };
        Ok(match self.random.next() % 4 {
            0 => Table::leaky_relu(input, self.scale(), self.stage()?)?.into(),
            1 => Table::sigmoid(input, self.stage()?)?.into(),
            2 => QuantizedSoftmax::new(input, self.stage()?.rounding(Rounding::Onnx))?.into(),
            _ => {
                let mut entries = [0; 256];
                entries.fill_with(|| self.random.next() as u8);
                Table::from_bytes(input.clone(), input, entries)?.into()
            }
        })
    }

    /// An op fused with a table, a conversion or a residual sum.
    fn fused(&mut self) -> Result<Op> {
        let first = match self.random.next() % 6 {
            0 => self.matmul()?,
            1 => self.conv()?,
            2 => self.binary()?,
            3 => self.pool()?,
            4 => self.moved()?,
            _ => return self.fused_floats(),
        };
        let output = first.outputs()[0].clone();
        let then: Op = match self.random.next() % 4 {
            0 => Table::sigmoid(output, self.stage()?)?.into(),
            1 => Quantize::new(output.clone(), self.simple(output.dims())?).build()?.into(),
            2 => Dequantize::new(output).build()?.into(),
            _ => Add::new(output.clone(), self.simple(output.dims())?, self.stage()?).build()?.into(),
        };
        Ok(Fused::new(first, then, 0)?.into())
    }

    /// An op that makes floats, fused with a function, a sum or a product.
    fn fused_floats(&mut self) -> Result<Op> {
        if self.one_in(4) {
            let dims = [self.size(), self.length()];
            let scales = self.reals(&[dims[1].min(LARGEST_CONSTANT)])?;
            let norm = LayerNorm::new(TensorType::float32(dims)?, scales, 1e-5);
            let norm = if self.one_in(2) { norm.without_mean() } else { norm }.build()?;
            let granularity =
                self.pick(&[DynamicGranularity::Row, DynamicGranularity::Group(8), DynamicGranularity::Group(6)]);
            let codes =
                DynamicQuantize::new(TensorType::float32(dims)?, DType::Int8, granularity).symmetric().build()?;
            return Ok(Fused::new(norm.into(), codes.into(), 0)?.into());
        }
        let first = match self.random.next() % 3 {
            0 => self.linear()?,
            1 => self.float_matmul()?,
            _ => FloatUnary::new(TensorType::float32(self.dimensions())?, Function::Silu)?.into(),
        };
        let output = first.outputs()[0].clone();
        let then: Op = match self.one_in(2) {
            true => FloatUnary::new(output, self.pick(&FUNCTIONS))?.into(),
            false => {
                let arithmetic = self.pick(&ARITHMETICS);
                let residual = if self.odd(6) { self.dimensions() } else { output.dims().to_vec() };
                FloatBinary::new(output, TensorType::float32(residual)?, arithmetic)?.into()
            }
        };
        Ok(Fused::new(first, then, 0)?.into())
    }

    /// An op of any kind, or the reason why it is refused.
    pub(crate) fn op(&mut self) -> Result<Op> {
        match self.random.next() % 20 {
            0 | 1 => self.matmul(),
            2 | 3 => self.conv(),
            4 if self.one_in(3) => self.gate(),
            4 => self.pool(),
            5 => self.linear(),
            6 if self.one_in(2) => self.joint_linear(),
            6 => self.linear(),
            7 => self.linear_conv(),
            8 => self.unfold(),
            9 => self.float_matmul(),
            10 => self.float_conv(),
            11 => self.binary(),
            12 => self.concat(),
            13 => self.moved(),
            14 => self.converted(),
            15 | 16 => self.floats(),
            17 => self.weight_op(),
            18 => self.table(),
            _ => self.fused(),
        }
    }
}
