//! Model files whose layout is not known in advance: what is in them, and their layers by name. The layouts are in the other modules.

use serde_json::Value;

use super::awq::Awq;
use super::bitsandbytes::{FourBit, Int8};
use super::compressed_tensors::{CompressedTensors, Scheme};
use super::float4::Float4;
use super::float8::Float8;
use super::gguf::{GgufModel, GgufTensor};
use super::gptq::{self, Gptq, ZeroPoints};
use super::hqq::Hqq;
use super::marlin::Marlin;
use super::mlx::{Mlx, Mode};
use super::quanto::Quanto;
use super::torchao::TorchAo;
use super::{Activations, Array, ElementType, Safetensors, quoted};
use crate::error::{Error, Result, refuse, require};
use crate::numeric::DType;
use crate::weights::PackedWeights;

/// The longest configuration that is read, in bytes.
const MOST_SAID: usize = 1_000_000;

/// A model in one or several files, GGUF or safetensors, with its configuration.
///
/// ```no_run
/// use lowbit::import;
/// // SAFETY: nobody changes the files meanwhile.
/// let files = unsafe { import::open("models/a-model")? };
/// let model = files.model()?;
/// for layer in model.layers() {
///     println!("{} {} {:?} {:.3} bits per weight", layer.name, layer.format, layer.shape, layer.bits_per_weight());
/// }
/// let layer = model.layer("model.layers.0.mlp.down_proj")?;
/// let (weights, activations) = (layer.weights()?, layer.activations()?);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug)]
pub struct Model<'a> {
    contents: Contents<'a>,
    config: Value,
}

#[derive(Debug)]
enum Contents<'a> {
    Gguf(GgufModel<'a>),
    Safetensors(Safetensors<'a>),
}

/// A tensor with the arrays that quantize it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Layer<'a> {
    /// The name in the file, without `.weight` if scales stand beside it.
    pub name: String,
    /// The format: method and bits, or the type of plain numbers.
    pub format: String,
    /// Outputs and inputs, with experts before them; of plain arrays, their dimensions; empty if the file doesn't tell.
    pub shape: Vec<usize>,
    /// Codes along k that share a scale; `None` if it is the whole row, not known before the import, or there are no scales.
    pub group: Option<usize>,
    /// Bytes of all arrays of the layer.
    pub bytes: usize,
    source: Source<'a>,
}

#[derive(Debug, Clone)]
enum Source<'a> {
    Gguf(GgufTensor<'a>),
    Gptq(Gptq<'a>),
    Awq(Awq<'a>),
    FourBit(Box<FourBit<'a>>),
    Int8(Int8<'a>),
    CompressedTensors(Box<CompressedTensors<'a>>),
    Float8(Float8<'a>, Activations),
    Float4(Float4<'a>, Activations),
    Marlin(Marlin<'a>),
    Mlx(Mlx<'a>),
    Hqq(Hqq<'a>),
    Quanto(Quanto<'a>),
    TorchAo(TorchAo<'a>),
    /// Numbers without codes.
    Plain,
    /// A reason.
    Unknown(Error),
}

impl Layer<'_> {
    /// Bits of the file per weight; 0 if the shape is not known or empty.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let weights = self.shape.iter().fold(1usize, |product, &d| product.saturating_mul(d));
        if self.shape.is_empty() || weights == 0 { 0.0 } else { self.bytes as f64 * 8.0 / weights as f64 }
    }

    /// True if the layer has codes; false for plain numbers, such as norms.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        !matches!(self.source, Source::Plain)
    }

    /// The packed matrices for [`Linear`](crate::ops::Linear).
    ///
    /// # Errors
    /// If the layer has no codes, its format is not known, or as the importer of the format.
    pub fn weights(&self) -> Result<PackedWeights> {
        match &self.source {
            Source::Gguf(tensor) => tensor.weights(),
            Source::Gptq(layer) => layer.weights(),
            Source::Awq(layer) => layer.weights(),
            Source::FourBit(layer) => layer.weights(),
            Source::Int8(layer) => layer.weights(),
            Source::CompressedTensors(layer) => layer.weights(),
            Source::Float8(layer, _) => layer.weights(),
            Source::Float4(layer, _) => layer.weights(),
            Source::Marlin(layer) => layer.weights(),
            Source::Mlx(layer) => layer.weights(),
            Source::Hqq(layer) => layer.weights(),
            Source::Quanto(layer) => layer.weights(),
            Source::TorchAo(layer) => layer.weights(),
            Source::Plain => refuse!("{} holds {}, not codes: read it as an array", quoted(&self.name), self.format),
            Source::Unknown(error) => Err(error.clone()),
        }
    }

    /// The quantization of the layer's input.
    ///
    /// # Errors
    /// If inputs are quantized in a way that is not known.
    pub fn activations(&self) -> Result<Activations> {
        match &self.source {
            Source::CompressedTensors(layer) => layer.activations(),
            Source::Float8(_, activations) | Source::Float4(_, activations) => Ok(*activations),
            _ => Ok(Activations::Float),
        }
    }
}

impl<'a> Model<'a> {
    /// The model of these files, all GGUF or all safetensors. `config` is the text of `config.json`, of its
    /// `quantization_config`, of `quantize_config.json` (GPTQ), `quant_config.json` (AWQ) or `hf_quant_config.json` (ModelOpt), or
    /// empty: GGUF, HQQ and torchao need none.
    ///
    /// # Errors
    /// If there are no files, a file is damaged, or the configuration is no JSON or larger than 1 MB.
    pub fn parse(files: &[&'a [u8]], config: &str) -> Result<Self> {
        require!(!files.is_empty(), "there are no files: give those of a model, GGUF or safetensors");
        require!(config.len() <= MOST_SAID, "the configuration has {} bytes, but at most 1 MB is read", config.len());
        let mut config: Value = match config.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|error| {
                Error::Request(format!("the configuration is no JSON ({error}): download it again"))
            })?,
        };
        let key = ["quantization_config", "compression_config", "quantization"]
            .into_iter()
            .find(|key| config.get(key).is_some());
        if let Some(inner) = key.and_then(|key| config.get_mut(key)) {
            config = inner.take();
        }
        let contents = match files.iter().all(|bytes| bytes.starts_with(b"GGUF")) {
            true => Contents::Gguf(GgufModel::parse(files)?),
            false => Contents::Safetensors(Safetensors::parse_parts(files)?),
        };
        Ok(Self { contents, config })
    }

    /// The quantization method that the files name: `GGUF`, `quant_method` of the configuration, or `none`.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.contents {
            Contents::Gguf(_) => "GGUF",
            Contents::Safetensors(_) if self.config.get("quant_algo").is_some() => "modelopt",
            Contents::Safetensors(_) => self.text("quant_method").unwrap_or(match self.config.get("bits") {
                Some(_) => "mlx or gptq",
                None => "none",
            }),
        }
    }

    /// All layers, in the order of their names (in a GGUF file, of the tensors). Each is made when it is asked for.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'a>> {
        let (gguf, arrays) = match &self.contents {
            Contents::Gguf(model) => (Some(model.tensors().map(of_gguf)), None),
            Contents::Safetensors(file) => {
                let layer = |array: &str| Some(self.of_arrays(file, layer_of(array, file)?));
                (None, Some(file.names().filter_map(layer)))
            }
        };
        gguf.into_iter().flatten().chain(arrays.into_iter().flatten())
    }

    /// The layer of this name, with or without `.weight`.
    ///
    /// # Errors
    /// If there is none.
    pub fn layer(&self, name: &str) -> Result<Layer<'a>> {
        match &self.contents {
            Contents::Gguf(model) => model.tensor(name).map(of_gguf),
            Contents::Safetensors(file) => {
                let bare = name.strip_suffix(".weight").unwrap_or(name);
                let with_suffix = |base: &str| SUFFIXES.map(|suffix| format!("{base}{suffix}"));
                let torchao = name.rsplit_once('.').map(|(module, weight)| format!("{module}._{weight}_qdata"));
                let arrays =
                    with_suffix(bare).into_iter().chain(with_suffix(name)).chain(torchao).chain([name.to_string()]);
                let found = arrays.filter(|array| file.contains(array)).find_map(|array| layer_of(&array, file));
                match found {
                    Some(layer) => Ok(self.of_arrays(file, layer)),
                    None => refuse!("the files have no layer {}: take a name of Model::layers", quoted(name)),
                }
            }
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }

    fn number(&self, layer: &str, key: &str) -> Option<usize> {
        // MLX and AutoRound say more about single layers.
        let of_layer = self.config.get(layer).or_else(|| self.config.get("extra_config")?.get(layer));
        let value = of_layer.and_then(|of| of.get(key)).or_else(|| self.config.get(key))?.as_i64()?;
        // −1 is one group for the whole row.
        Some(usize::try_from(value).unwrap_or(usize::MAX))
    }

    fn needed(&self, layer: &str, keys: &[&str]) -> Result<usize> {
        let found = keys.iter().find_map(|key| self.number(layer, key));
        found.ok_or_else(|| {
            Error::Request(format!(
                "the configuration doesn't say {} of {}: give the model's config.json",
                keys.first().unwrap_or(&""),
                quoted(layer)
            ))
        })
    }

    fn of_arrays(&self, file: &Safetensors<'a>, (name, kind): (String, Kind)) -> Layer<'a> {
        // Their arrays alone don't tell compressed-tensors from others, but its configuration does.
        let kind = match kind {
            Kind::Float8 | Kind::Float4 if self.config.get("config_groups").is_some() => Kind::CompressedTensors,
            kind => kind,
        };
        let prefix = format!("{name}.");
        let parts = match kind {
            Kind::Plain => vec![&name[..]],
            Kind::TorchAo => {
                let (module, weight) = name.rsplit_once('.').unwrap_or(("", &name));
                let own = format!("{module}._{weight}_");
                file.names().filter(|array| array.starts_with(&own)).collect()
            }
            _ => file.names_from(&prefix).filter(|array| !array.ends_with(".bias")).collect(),
        };
        let bytes = parts.iter().filter_map(|array| file.array(array).ok()).map(|array| array.bytes().len()).sum();
        let unknown = |error| (kind.name().to_string(), Vec::new(), None, Source::Unknown(error));
        let (format, shape, group, source) = self.source(file, &name, kind).unwrap_or_else(unknown);
        Layer { name, format, shape, group: group.filter(|&group| group < usize::MAX), bytes, source }
    }

    fn source(
        &self,
        file: &Safetensors<'a>,
        name: &str,
        kind: Kind,
    ) -> Result<(String, Vec<usize>, Option<usize>, Source<'a>)> {
        let bits_of = |bits: usize| format!("{}, {bits} bits", kind.name());
        Ok(match kind {
            Kind::Plain => {
                let array = file.array(name)?;
                (format!("{:?}", array.element_type()), array.shape().to_vec(), None, Source::Plain)
            }
            Kind::Words if self.is_awq() => {
                let group = self.needed(name, &["group_size", "q_group_size"])?;
                let layer = Awq::read(file, name, group)?;
                let shape = matrix(&layer.qweight).map(|[k, words]| vec![words.saturating_mul(8), k]);
                ("AWQ, 4 bits".to_string(), shape.unwrap_or_default(), Some(group), Source::Awq(layer))
            }
            Kind::Words => {
                let (bits, group) = (self.needed(name, &["bits"])?, self.needed(name, &["group_size"])?);
                let form = self.text("checkpoint_format").or(self.text("packing_format")).unwrap_or("gptq");
                let (zeros, packing) = match form {
                    "gptq" | "auto_round:auto_gptq" | "auto_round:gptq" => (ZeroPoints::LessOne, gptq::Packing::Stream),
                    "gptq_v2" | "auto_round" | "auto_round:gptqmodel" | "auto_round:exllamav2" => {
                        (ZeroPoints::AsIs, gptq::Packing::Stream)
                    }
                    "gptq_p" => (ZeroPoints::AsIs, gptq::Packing::Planes),
                    other => {
                        refuse!("the checkpoint format is {}, but gptq, gptq_v2 and gptq_p are known", quoted(other))
                    }
                };
                let layer = Gptq::read(file, name, bits, group, zeros)?.with_packing(packing);
                let shape = matrix(&layer.qweight).map(|[words, n]| vec![n, words.saturating_mul(32) / bits.max(1)]);
                (format!("GPTQ, {bits} bits"), shape.unwrap_or_default(), Some(group), Source::Gptq(layer))
            }
            Kind::FourBit => {
                let layer = FourBit::read(file, &format!("{name}.weight"))?;
                (bits_of(4), layer.shape.clone(), Some(layer.block), Source::FourBit(Box::new(layer)))
            }
            Kind::Int8 => {
                let layer = Int8::read(file, name)?;
                (bits_of(8), layer.weight.shape().to_vec(), None, Source::Int8(layer))
            }
            Kind::CompressedTensors => {
                let scheme = self.scheme(name)?;
                let (bits, float, group) = (scheme.bits, scheme.float, scheme.group);
                let layer = CompressedTensors::read(file, name, scheme)?;
                let mut shape = layer.shape.clone().unwrap_or_else(|| layer.weight.shape().to_vec());
                if let (true, 4, Some(last)) = (float, bits, shape.last_mut()) {
                    *last = last.saturating_mul(2);
                }
                let what = if float { "float" } else { "int" };
                let group = group.or(layer.scheme.block.map(|[_, g]| g));
                (format!("compressed-tensors, {what}{bits}"), shape, group, Source::CompressedTensors(Box::new(layer)))
            }
            Kind::Float8 => {
                let block = self
                    .config
                    .get("weight_block_size")
                    .and_then(|block| Some([block.get(0)?.as_u64()? as usize, block.get(1)?.as_u64()? as usize]));
                let layer = Float8::read(file, name, block)?;
                let activations = self.eight_bits(file, name, block)?;
                let format = format!("FP8, {:?}", layer.weight.element_type());
                (format, layer.weight.shape().to_vec(), block.map(|[_, g]| g), Source::Float8(layer, activations))
            }
            Kind::Float4 => {
                let layer = Float4::read(file, name)?;
                let mut shape = layer.weight.shape().to_vec();
                if let Some(last) = shape.last_mut() {
                    *last = last.saturating_mul(2);
                }
                let powers = layer.scale.element_type() != ElementType::Float8E4M3;
                let (format, group) = if powers { ("MXFP4", 32) } else { ("NVFP4", 16) };
                let dynamic = Activations::Dynamic { dtype: DType::Float4E2M1, group, symmetric: true };
                let has_inputs = file.contains(&format!("{name}.input_scale"));
                let activations = if has_inputs { dynamic } else { Activations::Float };
                (format.to_string(), shape, Some(group), Source::Float4(layer, activations))
            }
            Kind::Marlin => {
                let layer = Marlin::read(file, name)?;
                let [n, k] = layer.shape()?;
                let groups = matrix(&layer.scales).map_or(1, |[groups, _]| groups);
                (bits_of(4), vec![n, k], k.checked_div(groups), Source::Marlin(layer))
            }
            Kind::Mlx => {
                let of_layer = self.config.get(name).and_then(|of| of.get("mode")).and_then(Value::as_str);
                let mode = match of_layer.or(self.text("mode")).unwrap_or("affine") {
                    "mxfp4" => Mode::Mxfp4,
                    "mxfp8" => Mode::Mxfp8,
                    "nvfp4" => Mode::Nvfp4,
                    "affine" => {
                        Mode::Affine { bits: self.needed(name, &["bits"])?, group: self.needed(name, &["group_size"])? }
                    }
                    other => refuse!("the mode is {}, but affine, mxfp4, mxfp8 and nvfp4 are known", quoted(other)),
                };
                let layer = Mlx::read(file, name, mode)?;
                let (bits, group) = match mode {
                    Mode::Affine { bits, group } => (bits, group),
                    Mode::Mxfp4 => (4, 32),
                    Mode::Mxfp8 => (8, 32),
                    Mode::Nvfp4 => (4, 16),
                };
                let mut shape = layer.weight.shape().to_vec();
                if let Some(last) = shape.last_mut() {
                    *last = last.saturating_mul(32) / bits.max(1);
                }
                (bits_of(bits), shape, Some(group), Source::Mlx(layer))
            }
            Kind::Hqq => {
                let layer = Hqq::read(file, name)?;
                let (bits, shape, group) = (layer.bits, layer.shape.to_vec(), layer.group);
                (bits_of(bits), shape, Some(group), Source::Hqq(layer))
            }
            Kind::Quanto => {
                let data = file.array(&format!("{name}.weight._data")).map_err(|_| {
                    Error::Request(format!(
                        "the files don't have the outputs and inputs of {}: call Quanto::read with them",
                        quoted(name)
                    ))
                })?;
                let shape = matrix(&data).ok_or_else(|| {
                    Error::Request(format!("{name}.weight._data is {:?}, but must have two dimensions", data.shape()))
                })?;
                let layer = Quanto::read(file, name, shape)?;
                (bits_of(data.element_type().bits()), shape.to_vec(), None, Source::Quanto(layer))
            }
            Kind::TorchAo => {
                let layer = TorchAo::read(file, name)?;
                let format = format!("torchao, {:?}", layer.class);
                let group = layer.block_size.last().copied();
                (format, Vec::new(), group, Source::TorchAo(layer))
            }
        })
    }

    fn is_awq(&self) -> bool {
        let packing = self.text("packing_format").is_some_and(|packing| packing.contains("awq"));
        packing || self.text("quant_method") == Some("awq") || self.config.get("q_group_size").is_some()
    }

    /// The inputs of an FP8 layer.
    fn eight_bits(&self, file: &Safetensors<'a>, name: &str, block: Option<[usize; 2]>) -> Result<Activations> {
        let dtype = DType::Float8E4M3Fn;
        if let Some(scale) = file.optional(&format!("{name}.input_scale"))? {
            scale.expect_type("input_scale", &super::FLOATS)?;
            require!(scale.len() == 1, "input_scale has {} numbers, but inputs have one scale", scale.len());
            return Ok(Activations::Static { dtype, scale: scale.float(0), zero_point: 0 });
        }
        let dynamic = self.text("activation_scheme") == Some("dynamic");
        let group = block.map_or(usize::MAX, |[_, g]| g);
        Ok(if dynamic { Activations::Dynamic { dtype, group, symmetric: true } } else { Activations::Float })
    }

    /// The scheme of a layer of compressed-tensors, by the targets of `config_groups`.
    fn scheme(&self, layer: &str) -> Result<Scheme> {
        let groups = self.config.get("config_groups").and_then(Value::as_object);
        let Some(groups) = groups.filter(|groups| !groups.is_empty()) else {
            refuse!(
                "the configuration has no config_groups, which say the bits of {}: give config.json",
                quoted(layer)
            );
        };
        if let (1, Some(group)) = (groups.len(), groups.values().next()) {
            return Scheme::parse(&group.to_string());
        }
        // Names go before patterns, and patterns before classes.
        let mut best: Option<(usize, &Value)> = None;
        for group in groups.values() {
            for target in group.get("targets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                let rank = match target.strip_prefix("re:") {
                    Some(pattern) => match matches(pattern, layer) {
                        Some(true) => 2,
                        Some(false) => 0,
                        None => refuse!(
                            "the targets of config_groups hold {}, but of patterns only letters, . and .* are understood: call \
                             CompressedTensors::read with the scheme",
                            quoted(target)
                        ),
                    },
                    None if target == layer => 3,
                    None if target == "Linear" => 1,
                    None => 0,
                };
                if rank > best.map_or(0, |(rank, _)| rank) {
                    best = Some((rank, group));
                }
            }
        }
        match best {
            Some((_, group)) => Scheme::parse(&group.to_string()),
            None => refuse!(
                "no target of config_groups names {}: call CompressedTensors::read with its scheme",
                quoted(layer)
            ),
        }
    }
}

/// True if a pattern of a regular expression begins the name; `None` if it has more than letters, `.` and `.*`.
fn matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let literals: Vec<String> = pattern.split(".*").map(|literal| literal.replace("\\.", ".")).collect();
    if literals.iter().any(|literal| literal.contains(|c: char| "\\*+?()[]{}|^$".contains(c))) {
        return None;
    }
    let (first, rest) = literals.split_first()?;
    let Some(mut left) = name.strip_prefix(first.as_str()) else { return Some(false) };
    for (i, literal) in rest.iter().enumerate() {
        if whole && i + 1 == rest.len() {
            return Some(left.ends_with(literal.as_str()));
        }
        match left.split_once(literal.as_str()) {
            Some((_, after)) => left = after,
            None => return Some(false),
        }
    }
    Some(!whole || left.is_empty())
}

/// The kind of a layer, by the names and types of its arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `qweight`: GPTQ and AWQ.
    Words,
    /// NF4 and FP4 of bitsandbytes.
    FourBit,
    /// LLM.int8 of bitsandbytes.
    Int8,
    CompressedTensors,
    Float8,
    Float4,
    Marlin,
    Mlx,
    Hqq,
    Quanto,
    TorchAo,
    Plain,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Words => "GPTQ or AWQ",
            Self::FourBit | Self::Int8 => "bitsandbytes",
            Self::CompressedTensors => "compressed-tensors",
            Self::Float8 => "FP8",
            Self::Float4 => "FP4",
            Self::Marlin => "Marlin",
            Self::Mlx => "MLX",
            Self::Hqq => "HQQ",
            Self::Quanto => "Quanto",
            Self::TorchAo => "torchao",
            Self::Plain => "plain",
        }
    }
}

/// The arrays that stand for layers.
const SUFFIXES: [&str; 7] =
    [".qweight", ".weight_packed", ".W_q", ".B", ".weight._data", ".weight._data._data", ".weight"];

/// The name and kind of the layer that an array stands for; `None` for arrays beside it.
fn layer_of(array: &str, file: &Safetensors<'_>) -> Option<(String, Kind)> {
    let Some((layer, last)) = array.rsplit_once('.') else { return Some((array.to_string(), Kind::Plain)) };
    let has = |name: &str| file.contains(&format!("{layer}.{name}"));
    let of = |kind| Some((layer.to_string(), kind));
    // bitsandbytes names the arrays beside a weight after it.
    if last.starts_with(STATE) || is_four_bits(file, layer) {
        return None;
    }
    match last {
        "qweight" => return of(Kind::Words),
        "weight_packed" => return of(Kind::CompressedTensors),
        "W_q" => return of(Kind::Hqq),
        "B" if has("s") => return of(Kind::Marlin),
        "_data" => {
            let layer = layer.strip_suffix("._data").unwrap_or(layer);
            if let Some(layer) = layer.strip_suffix(".weight") {
                return Some((layer.to_string(), Kind::Quanto));
            }
        }
        "weight" if is_four_bits(file, array) => return of(Kind::FourBit),
        "weight" => {
            let element_type = file.array(array).map(|array| array.element_type());
            return match element_type {
                Ok(ElementType::Int32) if has("scales") => of(Kind::Mlx),
                Ok(ElementType::Float8E4M3) if has("weight_scale") && has_bytes(file, layer) => {
                    of(Kind::CompressedTensors)
                }
                Ok(ElementType::Float8E4M3 | ElementType::Float8E5M2)
                    if has("weight_scale_inv") || has("weight_scale") =>
                {
                    of(Kind::Float8)
                }
                Ok(ElementType::Uint8 | ElementType::Float4E2M1) if has("weight_scale") => of(Kind::Float4),
                Ok(ElementType::Int8) if has("SCB") => of(Kind::Int8),
                Ok(ElementType::Int8) if has("weight_scale") => of(Kind::CompressedTensors),
                _ => Some((array.to_string(), Kind::Plain)),
            };
        }
        _ => {}
    }
    if let Some(weight) = last.strip_prefix('_').and_then(|last| last.strip_suffix("_qdata")) {
        return Some((format!("{layer}.{weight}"), Kind::TorchAo));
    }
    let quantized =
        ["qweight", "weight_packed", "W_q", "weight._data", "weight._data._data"].iter().any(|name| has(name));
    let beside_weight =
        has("weight") && layer_of(&format!("{layer}.weight"), file).is_some_and(|(_, kind)| kind != Kind::Plain);
    let beside = last.starts_with('_') || (has("B") && has("s") && matches!(last, "s" | "workspace"));
    (last == "bias" || !(quantized || beside_weight || beside)).then(|| (array.to_string(), Kind::Plain))
}

/// The last part of the name of the array that describes a weight of bitsandbytes, without its format.
const STATE: &str = "bitsandbytes__";

/// True if a weight has a description of bitsandbytes beside it.
fn is_four_bits(file: &Safetensors<'_>, weight: &str) -> bool {
    ["nf4", "fp4"].iter().any(|format| file.contains(&format!("{weight}.quant_state.{STATE}{format}")))
}

/// True if the layer's scales are powers of two in bytes, as compressed-tensors has them.
fn has_bytes(file: &Safetensors<'_>, layer: &str) -> bool {
    file.array(&format!("{layer}.weight_scale")).is_ok_and(|scale| scale.element_type() == ElementType::Uint8)
}

fn matrix(array: &Array<'_>) -> Option<[usize; 2]> {
    <[usize; 2]>::try_from(array.shape()).ok()
}

fn of_gguf(tensor: GgufTensor<'_>) -> Layer<'_> {
    let known = tensor.gguf_type();
    let floats = tensor.tensor_type().is_some() && known.is_none();
    let name = tensor.name().to_string();
    let bytes = tensor.bytes().map_or(0, <[u8]>::len);
    let (format, shape, group) = (tensor.type_name(), tensor.shape(), known.map(|known| known.format().group));
    Layer { name, format, shape, group, bytes, source: if floats { Source::Plain } else { Source::Gguf(tensor) } }
}

/// The mapped files of a model, and the text of its configuration.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub struct Files {
    maps: Vec<memmap2::Mmap>,
    config: String,
}

#[cfg(not(target_arch = "wasm32"))]
impl Files {
    /// The model of these files.
    ///
    /// # Errors
    /// As [`Model::parse`].
    pub fn model(&self) -> Result<Model<'_>> {
        let bytes: Vec<&[u8]> = self.maps.iter().map(|map| &map[..]).collect();
        Model::parse(&bytes, &self.config)
    }
}

/// Maps the files of a model into memory: of a GGUF file all its parts, of a safetensors file the file, of a folder those that
/// `model.safetensors.index.json` names, or else all of the kind that is in it. The configuration is `config.json`,
/// `quantize_config.json`, `quant_config.json` or `hf_quant_config.json` beside them, whichever says something of quantization.
///
/// # Errors
/// If there is no such file, none in the folder, or a file can't be read.
///
/// # Safety
/// Until the result is dropped, nobody may change or truncate the files, because the program treats their bytes as ordinary memory.
#[cfg(not(target_arch = "wasm32"))]
#[allow(unsafe_code, reason = "the caller vouches for the files")]
pub unsafe fn open(path: impl AsRef<std::path::Path>) -> Result<Files> {
    let path = path.as_ref();
    let failed = |what: &std::path::Path, error: &dyn std::fmt::Display| {
        Error::Request(format!("{} can't be read: {error}", what.display()))
    };
    let (folder, names) = if path.is_dir() {
        (path.to_path_buf(), of_folder(path).map_err(|error| failed(path, &error))??)
    } else {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let split = super::gguf::part_names(&name);
        let folder = path.parent().unwrap_or(std::path::Path::new("")).to_path_buf();
        (folder, if split.is_empty() { vec![name] } else { split })
    };
    let mut maps = Vec::new();
    for name in &names {
        // SAFETY: the caller guarantees it, as the documentation demands.
        maps.push(unsafe { super::map(folder.join(name))? });
    }
    let mut config = String::new();
    for (name, key) in [
        ("config.json", Some("\"quantization")),
        ("config.json", Some("\"compression_config")),
        ("quantize_config.json", None),
        ("quant_config.json", None),
        ("hf_quant_config.json", None),
    ] {
        let file = folder.join(name);
        if !file.is_file() || names.iter().any(|name| name.ends_with(".gguf")) {
            continue;
        }
        let size = file.metadata().map_or(0, |about| about.len());
        require!(size <= MOST_SAID as u64, "{} has {size} bytes, but at most 1 MB is read", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))?;
        if key.is_none_or(|key| text.contains(key)) {
            config = text;
            break;
        }
    }
    Ok(Files { maps, config })
}

/// The names of a folder's model files.
#[cfg(not(target_arch = "wasm32"))]
fn of_folder(folder: &std::path::Path) -> std::io::Result<Result<Vec<String>>> {
    let index = folder.join("model.safetensors.index.json");
    if index.is_file() {
        let text = std::fs::read_to_string(&index)?;
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let parsed: serde_json::Result<Index> = serde_json::from_str(&text);
        return Ok(match parsed {
            Err(error) => Err(Error::Request(format!("{} is damaged ({error}): download it again", index.display()))),
            Ok(index) => {
                let names: std::collections::BTreeSet<String> = index.weight_map.into_values().collect();
                let odd = names.iter().find(|name| name.contains(['/', '\\']) || name.starts_with('.'));
                match odd {
                    Some(odd) => {
                        Err(Error::Request(format!("the index names {}, which is not a file beside it", quoted(odd))))
                    }
                    None => Ok(names.into_iter().collect()),
                }
            }
        });
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for extension in [".safetensors", ".gguf"] {
        let found: Vec<String> = names.iter().filter(|name| name.ends_with(extension)).cloned().collect();
        if !found.is_empty() {
            return Ok(Ok(found));
        }
    }
    Ok(Err(Error::Request(format!(
        "{} has no .safetensors and no .gguf: give the folder of a model",
        folder.display()
    ))))
}
