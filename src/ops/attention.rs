//! Attention over a cache of keys and values. The meaning is `reference/attention.rs`, the GPU programs are
//! `kernels/attention/attention.rs`.

use std::sync::Arc;

use super::{DynamicGranularity, OpDef, check_pair, position_type, require_float32};
use crate::error::{Result, refuse, require};
use crate::numeric::{DType, QuantizationParams};
use crate::tensor::{Tensor, TensorType};

/// The greatest capacity and window: kernels count positions in i32.
const MOST_POSITIONS: usize = 1 << 29;

/// Softmax attention of queries over the keys and values of a cache, whose length the device knows.
///
/// Query t of n is at position p + t. With g = ⌊h · kv_heads / heads⌋ the head of the cache that head h reads,
///
/// ```text
/// length  = clamp(p + n, 0, capacity)                      positions of the cache that are valid
/// score_j = cap(scale · Σ_i query[t, h, i] · keys[j, g, i]) + mask[h, t, j]
///           0 ≤ j < length, causal: j ≤ p + t, window w: j > p + t − w
/// share_j = e^score_j / (Σ_j e^score_j + e^sink_h)
/// out[t, h, i] = Σ_j share_j · values[j, g, i]
/// ```
///
/// * `query`: float32 `[n, heads, d]`. n may be dynamic.
/// * `keys`: float32, float16, int8 or int4 `[capacity, kv_heads, d]`; `values`: the same with a d of their own, and int8 or int4 if
///   the keys are one of these. heads is a multiple of kv_heads.
/// * `position`: int32 `[1]`, p: the number of positions in the cache before these queries' own. Their own keys and values are in
///   the cache already (see [`Append`](super::Append)). For attention over a whole cache of L positions without a causal mask, p is
///   L − n.
/// * `key_scales`, `value_scales`: only with caches of int8 or int4, [`DType::Parameters`] of the type that
///   [`DynamicGranularity::of_cache`] tells: `[capacity, kv_heads]`, or with groups ([`scales`](AttentionBuilder::scales)) one more
///   dimension. Then keys[j, g, i] is key_scales[j, g] · code[j, g, i], and values likewise. The types of such caches have
///   [dynamic scales](TensorType::with_dynamic_scales). [`AppendQuantized`](super::AppendQuantized) fills them. There are no zero
///   points, and devices don't read them.
/// * `mask`: only with [`mask`](AttentionBuilder::mask), the last input, float32 `[n, capacity]` or `[heads, n, capacity]`, where 1
///   may stand for heads and n. −∞ and numbers of −10³⁸ or less hide a position.
/// * Output: float32 `[n, heads, d of the values]`. A query that sees no position has zeros.
///
/// Options: [`causal`](AttentionBuilder::causal), [`window`](AttentionBuilder::window), [`scaled`](AttentionBuilder::scaled) (1 /
/// √d by default), [`soft_cap`](AttentionBuilder::soft_cap) (cap(s) = c · tanh(s / c)), [`sinks`](AttentionBuilder::sinks),
/// [`mask`](AttentionBuilder::mask).
///
/// The time follows the length, not the capacity: nothing is planned again as a cache grows. Each element of the cache is read
/// once for a block of queries that share it. Positions from `length` on, their scales and their mask, may hold anything.
///
/// A key of d int8 codes takes d + 8 bytes, if d is a multiple of 16; one of float16 takes 2 · d; one of int4 codes d / 2 + 8, or
/// with a scale for each 32 codes 3 · d / 4, if d is a multiple of 32. A scale is multiplied with the sum of products of its key's
/// codes, and with the share of its value. Zero scales, NaN or zero points at valid positions are refused by
/// [`reference::run`](crate::reference::run); a device computes with the scales that it finds.
///
/// Let u = 2⁻²³, and for each visible position e_j = 2 · u · (d + 4) · |scale| · Σ_i |q_i · k_i| (plus 24 · u · c with a soft cap),
/// z_j = 4 · u · min(m − score_j, 128) with m the greatest score, and E the mean of e_j + z_j weighted by the shares. The error of
/// an output is at most
///
/// ```text
/// 1.25 · Σ_j share_j · |value_j| · (exp(e_j) − 1 + z_j + exp(E) − 1 + u · (3 · length + 32)) + 2⁻¹⁰⁰ · (1 + max_j |value_j|)
/// ```
///
/// if all numbers on the way are finite. With caches of int8, k_i is a scale times a code. The scale is one more factor: d + 5 stands
/// for d + 4, and 3 · length + 34 for 3 · length + 32. Where the share times the scale is subnormal, codes of up to 128 may be lost:
/// 2⁻¹¹⁸ · length is added. With G groups of a key, their sums are added: d + 4 + G stands for d + 5. With a mask, a sum is rounded
/// once more: e_j grows by u · (|score_j| + |mask_j|). A mask that holds NaN or +∞ at a visible position, or makes a score leave
/// ±2.9 · 10³⁸, has no bound.
///
/// Source: ONNX Attention (opset 24, with the soft cap before the mask as corrected in 2026), with the lengths of its past in a
/// buffer, and zeros for a query all of whose positions are hidden; sinks as in gpt-oss; Milakov and Gimelshein, Online
/// normalizer calculation for softmax, 2018, for the order of the sums.
///
/// ```
/// use lowbit::{Tensor, ops::Attention, reference};
/// let query = Tensor::new([1, 1, 2], vec![0.0f32, 0.0])?; // equal scores
/// let keys = Tensor::new([4, 1, 2], vec![1.0f32; 8])?;
/// let values = Tensor::new([4, 1, 2], vec![1.0f32, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 80.0])?;
/// let types = [&query, &keys, &values].map(|t| t.tensor_type().clone());
/// let [q, k, v] = types;
/// let op = Attention::new(q, k, v).causal().build()?;
/// let position = Tensor::new([1], vec![1i32])?; // one position before this query's own
/// let out = reference::run(&op.into(), &[&query, &keys, &values, &position])?;
/// assert_eq!(out[0].values::<f32>()?, [2.0, 3.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
///
/// The same over codes:
///
/// ```
/// # use lowbit::{DType, Tensor, TensorType, numeric::QuantizationParams, ops::Attention, reference};
/// # let query = Tensor::new([1, 1, 2], vec![0.0f32, 0.0])?;
/// # let position = Tensor::new([1], vec![1i32])?;
/// let keys = Tensor::new([4, 1, 2], vec![100i8; 8])?;
/// let values = Tensor::new([4, 1, 2], vec![10i8, 20, 60, 80, 5, 6, 7, 8])?;
/// let scale = |scale| QuantizationParams::new(scale, 0);
/// let key_scales = Tensor::new([4, 1], vec![scale(0.01); 4])?;
/// let value_scales = Tensor::new([4, 1], vec![scale(0.1), scale(0.05), scale(0.0), scale(0.0)])?; // two positions are empty
/// let cache = TensorType::new(DType::Int8, [4, 1, 2])?.with_dynamic_scales();
/// let op = Attention::new(query.tensor_type().clone(), cache.clone(), cache).causal().build()?;
/// let out = reference::run(&op.into(), &[&query, &keys, &values, &position, &key_scales, &value_scales])?;
/// assert_eq!(out[0].values::<f32>()?, [2.0, 3.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Attention {
    query: TensorType,
    keys: TensorType,
    values: TensorType,
    output: TensorType,
    options: Options,
}

/// A cache that an [`Attention`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Keys,
    Values,
}

/// The options of an [`Attention`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The scale of scores; `None` for 1 / √d.
    scale: Option<f32>,
    pub causal: bool,
    /// The number of positions that a query sees, its own included.
    pub window: Option<usize>,
    pub soft_cap: Option<f32>,
    /// A score per head that takes part in the sum only.
    pub sinks: Option<Arc<Tensor>>,
    /// The codes that share a scale: rows if there is none.
    granularity: Option<DynamicGranularity>,
    /// The type of the mask.
    mask: Option<TensorType>,
}

/// Describes an [`Attention`]; made by [`Attention::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AttentionBuilder {
    query: TensorType,
    keys: TensorType,
    values: TensorType,
    options: Options,
}

impl AttentionBuilder {
    /// A query sees no later position.
    pub fn causal(mut self) -> Self {
        self.options.causal = true;
        self
    }

    /// A query sees the last `positions` positions only, its own included. It implies [`causal`](Self::causal).
    pub fn window(mut self, positions: usize) -> Self {
        self.options.window = Some(positions);
        self.causal()
    }

    /// Multiplies scores by this instead of 1 / √d.
    pub fn scaled(mut self, scale: f32) -> Self {
        self.options.scale = Some(scale);
        self
    }

    /// Replaces each score s by c · tanh(s / c).
    pub fn soft_cap(mut self, cap: f32) -> Self {
        self.options.soft_cap = Some(cap);
        self
    }

    /// Adds a score per head, float32 `[heads]`, that takes a share but has no value.
    pub fn sinks(mut self, scores: impl Into<Arc<Tensor>>) -> Self {
        self.options.sinks = Some(scores.into());
        self
    }

    /// The codes of a key, and of a value, that share a scale: all of them ([`Row`](DynamicGranularity::Row), the default), or
    /// [`Group`](DynamicGranularity::Group)s of them. Only for caches of int8 and int4.
    ///
    /// ```
    /// use lowbit::{DType, TensorType, ops::{Attention, DynamicGranularity, Op}};
    /// let cache = TensorType::new(DType::Int4, [1024, 3, 64])?.with_dynamic_scales();
    /// let query = TensorType::float32([1, 9, 64])?;
    /// let op: Op = Attention::new(query, cache.clone(), cache).scales(DynamicGranularity::Group(32)).causal().build()?.into();
    /// assert_eq!(op.inputs()[4].dims(), [1024, 3, 2]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn scales(mut self, granularity: DynamicGranularity) -> Self {
        self.options.granularity = Some(granularity);
        self
    }

    /// Adds a mask of this type to scores, the last input: float32 `[n, capacity]` or `[heads, n, capacity]`, where 1 may stand for
    /// heads and n. It is added after the soft cap. −∞ and numbers of −10³⁸ or less hide a position. If n is dynamic, so is the
    /// first dimension of a mask `[n, capacity]`; a mask `[heads, n, capacity]` with n > 1 is for one n.
    ///
    /// ```
    /// use lowbit::{Tensor, ops::Attention, reference};
    /// let query = Tensor::new([1, 1, 2], vec![0.0f32, 0.0])?; // equal scores
    /// let cache = Tensor::new([3, 1, 2], vec![1.0f32, 2.0, 3.0, 4.0, 50.0, 60.0])?;
    /// let mask = Tensor::new([1, 3], vec![0.0f32, f32::NEG_INFINITY, 0.0])?;
    /// let [q, kv, m] = [&query, &cache, &mask].map(|tensor| tensor.tensor_type().clone());
    /// let op = Attention::new(q, kv.clone(), kv).mask(m).build()?;
    /// let inputs = [&query, &cache, &cache, &Tensor::new([1], vec![2i32])?, &mask];
    /// assert_eq!(reference::run(&op.into(), &inputs)?[0].values::<f32>()?, [25.5, 31.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn mask(mut self, mask: TensorType) -> Self {
        self.options.mask = Some(mask);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If shapes or data types don't fit, the scale is not finite, the window is empty, the cap is not positive, or as for
    /// [`DynamicGranularity::of_cache`].
    pub fn build(self) -> Result<Attention> {
        let Self { query, keys, values, options } = self;
        require_float32("attention", "the query", &query)?;
        for (name, cache) in [("keys", &keys), ("values", &values)] {
            require!(
                matches!(cache.dtype(), DType::Float32 | DType::Float16 | DType::Int8 | DType::Int4),
                "the {name} are {cache}, but attention reads caches of float32, float16, or int8 and int4 with dynamic scales: dequantize \
                 them"
            );
            require!(
                cache.dtype().range().is_none() || cache.has_dynamic_scales(),
                "the {name} are {cache} with {}, but attention takes the scales of positions and heads as two more inputs: give the \
                 type TensorType::with_dynamic_scales, and the parameters of a DynamicQuantize",
                cache.describe_scales()
            );
        }
        require!(
            keys.dtype() == values.dtype() || (keys.has_dynamic_scales() && values.has_dynamic_scales()),
            "the keys are {keys} and the values {values}, but attention reads caches of one data type, or of int8 and int4: store both alike"
        );
        let three = [&query, &keys, &values].iter().all(|t| t.shape().rank() == 3);
        require!(three, "{query}, {keys} and {values} have other than 3 dimensions: [tokens, heads, d] each");
        let ([_, heads, d], [capacity, kv_heads, key_d]) = (dims(&query), dims(&keys));
        require!(d == key_d, "a query has {d} elements and a key {key_d}: they are multiplied, so make them equal");
        require!(d > 0, "the query {query} is empty, so that every score is 0: give it elements");
        require!(
            dims(&values)[..2] == [capacity, kv_heads],
            "the keys are {keys} and the values {values}: capacity and number of heads are equal"
        );
        require!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "the query has {heads} heads and the cache {kv_heads}: the first is a multiple of the second"
        );
        let scale = options.scale.unwrap_or(1.0);
        require!(scale.is_finite(), "the scale is {scale}, but it must be finite");
        require!(options.window != Some(0), "the window is 0, so that a query sees nothing: give it at least 1");
        let most = capacity.max(options.window.unwrap_or(0));
        require!(
            most <= MOST_POSITIONS,
            "the capacity is {capacity} and the window {:?}, but both are at most {MOST_POSITIONS}",
            options.window
        );
        if let Some(cap) = options.soft_cap {
            require!(cap.is_finite() && cap > 0.0, "the soft cap is {cap}, but it must be finite and positive");
        }
        if let Some(sinks) = &options.sinks {
            let sinks = sinks.tensor_type();
            require!(
                sinks.dtype() == DType::Float32 && sinks.dims() == [heads],
                "the sinks are {sinks}, but they are float32[{heads}], one for each head"
            );
        }
        if keys.has_dynamic_scales() {
            let granularity = options.granularity.unwrap_or(DynamicGranularity::Row);
            [&keys, &values].into_iter().try_for_each(|cache| granularity.of_cache(cache).map(drop))?;
        } else if let Some(granularity) = options.granularity {
            refuse!("the caches are {keys}, which have no scales, but {granularity:?} scales were asked for");
        }
        if let Some(mask) = &options.mask {
            require_float32("attention", "the mask's type", mask)?;
            let n = dims(&query)[0];
            let fits = |[mask_heads, tokens, positions]: [usize; 3]| {
                [1, heads].contains(&mask_heads) && [1, n].contains(&tokens) && positions == capacity
            };
            require!(
                mask_dims(mask).is_some_and(fits),
                "the mask is {mask}, but it is [{n}, {capacity}] or [{heads}, {n}, {capacity}], where 1 may stand for queries and heads"
            );
        }
        let output = TensorType::new(DType::Float32, [dims(&query)[0], heads, dims(&values)[2]])?;
        Ok(Attention { query, keys, values, output, options })
    }
}

/// Heads, tokens and positions of a mask; `None` if it has other than two or three dimensions.
fn mask_dims(mask: &TensorType) -> Option<[usize; 3]> {
    match *mask.dims() {
        [tokens, positions] => Some([1, tokens, positions]),
        [heads, tokens, positions] => Some([heads, tokens, positions]),
        _ => None,
    }
}

fn dims(tensor_type: &TensorType) -> [usize; 3] {
    tensor_type.dims().try_into().expect("three dimensions")
}

impl Attention {
    /// A builder for the attention of queries of type `query` over caches of types `keys` and `values`.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(query: TensorType, keys: TensorType, values: TensorType) -> AttentionBuilder {
        AttentionBuilder { query, keys, values, options: Options::default() }
    }

    /// Queries, their heads, and the elements of each.
    pub(crate) fn query_dims(&self) -> [usize; 3] {
        dims(&self.query)
    }

    /// Positions of the cache, its heads, and the elements of a value.
    pub(crate) fn value_dims(&self) -> [usize; 3] {
        dims(&self.values)
    }

    /// The type of a cache.
    pub(crate) fn cache(&self, cache: Cache) -> &TensorType {
        match cache {
            Cache::Keys => &self.keys,
            Cache::Values => &self.values,
        }
    }

    /// The input that holds the scales of a cache, if it holds codes.
    pub(crate) fn scales(&self, cache: Cache) -> Option<usize> {
        let input = match cache {
            Cache::Keys => 4,
            Cache::Values => 5,
        };
        self.keys.has_dynamic_scales().then_some(input)
    }

    /// The elements of a key or value.
    fn width(&self, cache: Cache) -> usize {
        match cache {
            Cache::Keys => self.query_dims()[2],
            Cache::Values => self.value_dims()[2],
        }
    }

    /// The elements of a key or value that share a scale; all of them if there are no scales.
    pub(crate) fn group_size(&self, cache: Cache) -> usize {
        let width = self.width(cache).max(1);
        match self.options.granularity {
            Some(DynamicGranularity::Group(size)) => size.min(width),
            _ => width,
        }
    }

    /// The groups of a key or value.
    pub(crate) fn groups(&self, cache: Cache) -> usize {
        self.width(cache).div_ceil(self.group_size(cache)).max(1)
    }

    /// The input that is the mask, and its type.
    pub(crate) fn mask(&self) -> Option<(usize, &TensorType)> {
        let input = if self.keys.has_dynamic_scales() { 6 } else { 4 };
        Some((input, self.options.mask.as_ref()?))
    }

    /// Numbers of the mask from one head to the next, and from one query to the next; 0 if they share it.
    pub(crate) fn mask_strides(&self) -> [usize; 2] {
        let dims = self.mask().and_then(|(_, mask)| mask_dims(mask));
        let own = |count: usize, stride: usize| if count == 1 { 0 } else { stride };
        dims.map_or([0; 2], |[heads, tokens, positions]| [own(heads, tokens * positions), own(tokens, positions)])
    }

    /// The type of a cache's scales, if it holds codes.
    fn scales_type(&self, cache: &TensorType) -> Option<TensorType> {
        let granularity = self.options.granularity.unwrap_or(DynamicGranularity::Row);
        self.keys.has_dynamic_scales().then(|| granularity.of_cache(cache).expect("checked when built"))
    }

    /// The number of positions that are valid, when the first query has this one.
    pub(crate) fn length(&self, position: i32) -> usize {
        let ([tokens, ..], [capacity, ..]) = (self.query_dims(), self.value_dims());
        (i64::from(position) + tokens as i64).clamp(0, capacity as i64) as usize
    }

    /// Refuses scales of valid positions that no symmetric quantization could have given.
    pub(super) fn check_parameters(&self, inputs: &[&Tensor]) -> Result<()> {
        let [_, kv_heads, _] = self.value_dims();
        let length = self.length(inputs[3].values::<i32>()?[0]);
        for cache in [Cache::Keys, Cache::Values] {
            let Some(input) = self.scales(cache) else { continue };
            let valid = &inputs[input].values::<QuantizationParams>()?[..length * kv_heads * self.groups(cache)];
            valid.iter().try_for_each(|pair| check_pair(self.cache(cache).dtype(), *pair))?;
            let odd = valid.iter().find(|pair| pair.zero_point != 0).map(|pair| pair.zero_point);
            require!(
                odd.is_none(),
                "a cache of attention has the zero point {}, but its codes have none: quantize them with \
                 DynamicQuantizeBuilder::symmetric",
                odd.unwrap_or(0)
            );
        }
        Ok(())
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn scale(&self) -> f32 {
        self.options.scale.unwrap_or_else(|| (1.0 / (self.query_dims()[2] as f64).sqrt()) as f32)
    }
}

impl OpDef for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let mut inputs = vec![self.query.clone(), self.keys.clone(), self.values.clone(), position_type()];
        inputs.extend([&self.keys, &self.values].into_iter().filter_map(|cache| self.scales_type(cache)));
        inputs.extend(self.options.mask.clone());
        inputs
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let [query, keys, values] = [0, 1, 2].map(|i| inputs[i].clone());
        let mask = self.mask().map(|(input, _)| inputs[input].clone());
        AttentionBuilder { query, keys, values, options: Options { mask, ..self.options.clone() } }.build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // The position of a query follows from its index.
        None
    }
}
