//! Training of a quantized network on a device. One graph holds a step: forward pass, backward pass and parameter updates. All
//! steps of an epoch are recorded at once. The meaning of steps and codes is in `network` and `convert`.

use super::convert::LayerValues;
use super::network::{Layer, Quantized, Random};
use crate::error::{Result, require};
use crate::gpu::{Bindings, Context, DeviceTensor, Plan};
use crate::numeric::DType;
use crate::ops::{
    ConvPass, CrossEntropyGradient, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatConv,
    GridGradient, ObserveRange, OptimizerRule, OptimizerStep, RangeUpdate, StepFromRange, Sum,
};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Tensor, TensorType};
use crate::tune::Tuner;

/// Options of training.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Images per step.
    pub batch: usize,
    /// Number of passes over all images.
    pub epochs: usize,
    /// The initial learning rate of weights and biases. It falls to zero along a cosine over all epochs.
    pub rate: f64,
    /// The learning rate of quantization steps, relative to `rate`.
    pub step_rate: f64,
    /// The optimizer.
    pub rule: OptimizerRule,
    /// The source of the activations' steps.
    pub activations: ActivationSteps,
    /// Seed of the order of images.
    pub seed: u64,
}

impl Default for Options {
    /// 20 epochs of batches of 120 with Adam at 0.002; the rate of steps is a twentieth of that.
    fn default() -> Self {
        Self {
            batch: 120,
            epochs: 20,
            rate: 2e-3,
            step_rate: 0.05,
            rule: OptimizerRule::adam(),
            activations: ActivationSteps::Learned,
            seed: 0,
        }
    }
}

impl Options {
    /// These options with this number of images per step.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// These options with this number of passes over all images.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// These options with this initial learning rate.
    #[must_use]
    pub fn with_rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// These options with this relative learning rate of quantization steps.
    #[must_use]
    pub fn with_step_rate(mut self, step_rate: f64) -> Self {
        self.step_rate = step_rate;
        self
    }

    /// These options with this optimizer.
    #[must_use]
    pub fn with_rule(mut self, rule: OptimizerRule) -> Self {
        self.rule = rule;
        self
    }

    /// These options with this source of the activations' steps.
    #[must_use]
    pub fn with_activations(mut self, activations: ActivationSteps) -> Self {
        self.activations = activations;
        self
    }

    /// These options with this seed of the order of images.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// The source of the activations' steps during training. The steps of weights are always learned; the step of the images stays
/// constant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum ActivationSteps {
    /// Steps follow their gradients, as weights do.
    #[default]
    Learned,
    /// Steps cover a moving average of the activations' ranges ([`RangeUpdate::MovingAverage`]). Each batch updates the
    /// average, which gives the step for the next batch. The first batch gives the first average.
    MovingAverage {
        /// The weight of a new batch, above 0 and at most 1.
        constant: f32,
    },
}

/// A trained parameter: its layer, its kind, and the source of its updates.
#[derive(Debug, Clone, Copy)]
struct Trained {
    layer: usize,
    which: Which,
    follows: Follows,
}

/// The source of a parameter's updates.
#[derive(Debug, Clone, Copy)]
enum Follows {
    Gradient(Value),
    /// The range of activations, for codes from 0 to `high`.
    Range {
        activations: Value,
        high: i32,
        constant: f32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Step,
    Weights,
    Bias,
    WeightSteps,
}

impl LayerValues {
    fn get(&self, which: Which) -> Value {
        match which {
            Which::Step => self.step,
            Which::Weights => self.weights,
            Which::Bias => self.bias,
            Which::WeightSteps => self.weight_steps,
        }
    }
}

/// The graph of one step. Inputs: images, labels, the rates of weights and of steps, the tensors of all layers, and the
/// optimizer's state of each trained tensor. Outputs: the next value of each trained tensor, then the next optimizer states.
struct Step {
    graph: Graph,
    trained: Vec<(usize, Which)>,
    memory: Vec<TensorType>,
}

impl Quantized {
    /// Adds the gradients of all trained parameters.
    fn backward(
        &self,
        graph: &mut Graph,
        batch: usize,
        images: Value,
        labels: Value,
        layers: &[LayerValues],
        activations: ActivationSteps,
    ) -> Result<Vec<Trained>> {
        let (made, logits) = self.forward(graph, batch, images, layers)?;
        let classes = graph.tensor_type(logits)?.dims()[1];
        let dy = graph.add(CrossEntropyGradient::new(graph.tensor_type(logits)?.clone())?, &[logits, labels])?;
        let mut dy = graph.reshape(dy, [batch, 1, 1, classes])?;
        let mut trained = Vec::new();
        for i in (0..layers.len()).rev() {
            let (layer, made) = (layers[i], made[i]);
            let sums = graph.tensor_type(made.sums)?.clone();
            // `dy` becomes the gradient of the real sums, through the quantization of the next layer's input.
            if i + 1 < layers.len() {
                let codes = self.bits[i + 1].activation_codes();
                let follows = match activations {
                    ActivationSteps::Learned => {
                        let n = sums.shape().elements();
                        let scale = (1.0 / (n as f64 * f64::from(codes.1)).sqrt()) as f32;
                        let step = FakeRequantize::new(sums.clone(), FakeRequantizeOutput::StepGradient, codes);
                        let step = step.gradient_scale(scale).build()?;
                        Follows::Gradient(graph.add(step, &[made.sums, made.table, dy])?)
                    }
                    ActivationSteps::MovingAverage { constant } => {
                        let real = FakeRequantize::new(sums.clone(), FakeRequantizeOutput::Real, (0, 1)).build()?;
                        let activations = graph.add(real, &[made.sums, made.table])?;
                        Follows::Range { activations, high: codes.1, constant }
                    }
                };
                trained.push(Trained { layer: i + 1, which: Which::Step, follows });
                let pass = FakeRequantize::new(sums.clone(), FakeRequantizeOutput::Gradient, codes).build()?;
                dy = graph.add(pass, &[made.sums, made.table, dy])?;
            }
            let (windows, shape) = self.conv(i);
            let image = graph.tensor_type(made.input)?.clone();
            let conv = FloatConv::new(image, TensorType::float32(shape)?, windows);
            let grid = self.weight_grid(i)?.build()?;
            if let Layer::Conv { .. } = self.network.layers[i] {
                let bias = graph.add(Sum::new(sums, Granularity::Axis(3))?, &[dy])?;
                let real =
                    graph.add(conv.clone().pass(ConvPass::WeightGradient).build()?, &[made.input, dy, layer.step])?;
                let inputs = [layer.weights, layer.weight_steps, real];
                let weights = graph.add(FakeQuantizeGradient::new(grid.clone())?, &inputs)?;
                let steps = graph.add(GridGradient::new(grid.clone(), GridGradient::lsq_scale(&grid))?, &inputs)?;
                for (which, gradient) in [(Which::Weights, weights), (Which::Bias, bias), (Which::WeightSteps, steps)] {
                    trained.push(Trained { layer: i, which, follows: Follows::Gradient(gradient) });
                }
            }
            if i > 0 {
                let weights = graph.add(grid, &[layer.weights, layer.weight_steps])?;
                dy = graph.add(conv.pass(ConvPass::ImageGradient).build()?, &[dy, weights])?;
            }
        }
        Ok(trained)
    }

    /// A graph of the gradients of the mean cross-entropy: by weights, bias and weight steps of each layer, and by the input
    /// steps of all layers but the first. Inputs: those of [`fake`](Self::fake), with int32 labels `[batch]` after the images.
    /// The names of the outputs come with the graph, such as `weights of layer 0`.
    ///
    /// # Errors
    /// If the batch is too large for a tensor.
    pub fn gradients(&self, batch: usize) -> Result<(Graph, Vec<String>)> {
        let mut graph = Graph::new();
        let (images, labels) = self.data(&mut graph, batch)?;
        let layers = self.declare(&mut graph)?;
        let mut names = Vec::new();
        let learned = ActivationSteps::Learned;
        for Trained { layer, which, follows } in self.backward(&mut graph, batch, images, labels, &layers, learned)? {
            let Follows::Gradient(gradient) = follows else { continue };
            graph.output(gradient);
            let which = match which {
                Which::Step => "step of the input",
                Which::Weights => "weights",
                Which::Bias => "bias",
                Which::WeightSteps => "steps of weights",
            };
            names.push(format!("{which} of layer {layer}"));
        }
        Ok((graph, names))
    }

    fn data(&self, graph: &mut Graph, batch: usize) -> Result<(Value, Value)> {
        let [height, width, channels] = self.network.image;
        let images = graph.input(TensorType::new(DType::Float32, [batch, height, width, channels])?);
        let labels = graph.input(TensorType::new(DType::Int32, [batch])?);
        Ok((images, labels))
    }

    fn step(&self, batch: usize, rule: OptimizerRule, activations: ActivationSteps) -> Result<Step> {
        let mut graph = Graph::new();
        let (images, labels) = self.data(&mut graph, batch)?;
        let rates = [0, 1].map(|_| TensorType::new(DType::Float32, [1]));
        let [rate, step_rate] = rates;
        let rates = [graph.input(rate?), graph.input(step_rate?)];
        let layers = self.declare(&mut graph)?;
        let trained = self.backward(&mut graph, batch, images, labels, &layers, activations)?;
        let (mut next, mut kept, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for Trained { layer, which, follows } in &trained {
            let parameter = layers[*layer].get(*which);
            let gradient = match *follows {
                Follows::Gradient(gradient) => gradient,
                Follows::Range { activations, high, constant } => {
                    let rule = RangeUpdate::MovingAverage { constant };
                    let seen = graph.tensor_type(activations)?.clone();
                    let observe = ObserveRange::new(seen, Granularity::Tensor, rule)?;
                    memory.push(observe.state().clone());
                    let step = StepFromRange::new(observe.state().clone(), (0, high))?;
                    let state = graph.input(observe.state().clone());
                    let state = graph.add(observe, &[activations, state])?;
                    next.push(graph.add(step, &[state, parameter])?);
                    kept.push(state);
                    continue;
                }
            };
            let mut op = OptimizerStep::new(graph.tensor_type(parameter)?.clone(), rule);
            let is_step = matches!(which, Which::Step | Which::WeightSteps);
            if is_step {
                op = op.at_least(1e-6);
            }
            let op = op.build()?;
            let of = crate::ops::Op::from(op.clone()).inputs().swap_remove(2);
            let moments = graph.input(of.clone());
            let outputs = graph.add_all(op, &[parameter, gradient, moments, rates[usize::from(is_step)]])?;
            next.push(outputs[0]);
            kept.push(outputs[1]);
            memory.push(of);
        }
        next.into_iter().chain(kept).for_each(|value| graph.output(value));
        Ok(Step { graph, trained: trained.iter().map(|t| (t.layer, t.which)).collect(), memory })
    }
}

/// A network in training on a device.
#[derive(Debug)]
pub struct Trainer {
    quantized: Quantized,
    options: Options,
    plan: Plan,
    /// Trained tensors, then the optimizer's states of them. A step reads one set and writes the other.
    sets: [Vec<DeviceTensor>; 2],
    trained: Vec<(usize, Which)>,
    /// One for each batch of an epoch. Odd batches read the second set.
    bindings: Vec<Bindings>,
    images: wgpu::Buffer,
    labels: wgpu::Buffer,
    rates: wgpu::Buffer,
    pixels: Vec<f32>,
    classes: Vec<i32>,
    order: Random,
    epoch: usize,
    steps: u32,
}

/// Bytes from one rate to the next in `rates`. Offsets of bindings must be multiples of this.
const RATE_BYTES: u64 = 256;

impl Trainer {
    /// A trainer of a quantized network, for these images and the class of each.
    ///
    /// # Errors
    /// If there are no images, the number of labels differs, a label is not a class, options are out of range, or the device
    /// can't run the graph.
    pub fn new(
        context: &Context,
        quantized: Quantized,
        images: &Tensor,
        labels: &[usize],
        options: Options,
    ) -> Result<Self> {
        let images_count = quantized.network.check(images)?.dims()[0];
        let classes = quantized.network.shapes[quantized.network.layers.len()][2];
        require!(
            images_count > 0 && labels.len() == images_count,
            "there are {images_count} images and {} labels: give one to each, and at least one",
            labels.len()
        );
        let odd = labels.iter().find(|&&label| label >= classes);
        require!(odd.is_none(), "a label is {}, but the network has {classes} classes", odd.unwrap_or(&0));
        let Options { batch, rate, step_rate, .. } = options;
        require!(
            batch > 0 && rate.is_finite() && rate >= 0.0 && step_rate.is_finite() && step_rate >= 0.0,
            "a batch of {batch} images at a rate of {rate} and {step_rate} of it: a batch has at least one, and rates are \
             finite and not negative"
        );
        let Step { graph, trained, memory } = quantized.step(batch, options.rule, options.activations)?;
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        // The number of batches is even, so that a batch reads the same set in every epoch.
        let batches = images_count.div_ceil(batch).next_multiple_of(2);
        let buffer = |bytes: u64| {
            context.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("training data"),
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let stride = |of: &TensorType| of.device_bytes().next_multiple_of(RATE_BYTES);
        let types: Vec<TensorType> = graph.input_types().cloned().collect();
        let all = batches as u64;
        let (image_buffer, label_buffer) = (buffer(all * stride(&types[0])), buffer(all * stride(&types[1])));
        let rate_buffer = buffer(all * 2 * RATE_BYTES);

        let tensors: Vec<Tensor> = (0..quantized.network.layers.len())
            .map(|layer| quantized.layer_tensors(layer))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let fixed: Vec<DeviceTensor> = tensors.iter().map(|t| context.upload(t)).collect::<Result<_>>()?;
        let position = |&(layer, which): &(usize, Which)| 4 * layer + which as usize;
        let set = || -> Result<Vec<DeviceTensor>> {
            let parameters = trained.iter().map(|t| context.upload(&tensors[position(t)]));
            let zeros = memory.iter().map(|of| {
                let count = of.shape().elements();
                context.upload(&match of.dtype() {
                    DType::Int32 => Tensor::new(of.dims(), vec![0i32; count])?,
                    _ => Tensor::new(of.dims(), vec![0.0f32; count])?,
                })
            });
            parameters.chain(zeros).collect()
        };
        let sets = [set()?, set()?];
        let part = |of: &TensorType, buffer: &wgpu::Buffer, offset: u64| {
            DeviceTensor::from_buffer(of.clone(), buffer.clone(), offset)
        };
        let mut bindings = Vec::new();
        for b in 0..batches {
            let (now, next) = (&sets[b % 2], &sets[(b + 1) % 2]);
            let at = b as u64;
            let data = [
                part(&types[0], &image_buffer, at * stride(&types[0]))?,
                part(&types[1], &label_buffer, at * stride(&types[1]))?,
                part(&types[2], &rate_buffer, 2 * at * RATE_BYTES)?,
                part(&types[3], &rate_buffer, (2 * at + 1) * RATE_BYTES)?,
            ];
            let mut inputs: Vec<&DeviceTensor> = data.iter().collect();
            for (place, tensor) in fixed.iter().enumerate() {
                let own = trained.iter().position(|t| position(t) == place);
                inputs.push(own.map_or(tensor, |own| &now[own]));
            }
            inputs.extend(&now[trained.len()..]);
            bindings.push(plan.bind(&inputs, &next.iter().collect::<Vec<_>>())?);
        }
        Ok(Self {
            pixels: images.values::<f32>()?.to_vec(),
            classes: labels.iter().map(|&label| label as i32).collect(),
            order: Random(options.seed),
            images: image_buffer,
            labels: label_buffer,
            rates: rate_buffer,
            quantized,
            options,
            plan,
            sets,
            trained,
            bindings,
            epoch: 0,
            steps: 0,
        })
    }

    /// Number of launches per step.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.plan.launches()
    }

    /// Number of steps per epoch: enough that every image is seen, rounded up to an even number. The last steps start again
    /// from the beginning of the epoch's order.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.bindings.len()
    }

    /// Trains for one epoch: uploads the images in a new order, records all steps and submits once. It reads nothing back and
    /// doesn't wait.
    ///
    /// # Errors
    /// If the device fails.
    pub fn epoch(&mut self) -> Result<()> {
        let count = self.classes.len();
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, (self.order.next() % (i as u64 + 1)) as usize);
        }
        let context = self.plan.context().clone();
        let (batch, size) = (self.options.batch, self.pixels.len() / count);
        let image_stride = (batch * size * 4).max(16).next_multiple_of(RATE_BYTES as usize) / 4;
        let label_stride = (batch * 4).max(16).next_multiple_of(RATE_BYTES as usize) / 4;
        let batches = self.bindings.len();
        let mut images = vec![0.0f32; batches * image_stride];
        let mut labels = vec![0i32; batches * label_stride];
        let mut rates = vec![0.0f32; batches * 2 * RATE_BYTES as usize / 4];
        for b in 0..batches {
            for i in 0..batch {
                let image = order[(b * batch + i) % count];
                images[b * image_stride + i * size..][..size].copy_from_slice(&self.pixels[image * size..][..size]);
                labels[b * label_stride + i] = self.classes[image];
            }
            self.steps += 1;
            let done = (self.epoch * batches + b) as f64 / (self.options.epochs.max(1) * batches) as f64;
            let rate = self.options.rate * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
            for (i, rate) in [rate, rate * self.options.step_rate].into_iter().enumerate() {
                let rate = match self.options.rule {
                    OptimizerRule::Adam { beta1, beta2, .. } => {
                        OptimizerStep::adam_rate(rate, self.steps, beta1.into(), beta2.into())
                    }
                    OptimizerRule::Sgd { .. } => rate as f32,
                };
                rates[(2 * b + i) * RATE_BYTES as usize / 4] = rate;
            }
        }
        let queue = context.queue();
        queue.write_buffer(&self.images, 0, bytemuck::cast_slice(&images));
        queue.write_buffer(&self.labels, 0, bytemuck::cast_slice(&labels));
        queue.write_buffer(&self.rates, 0, bytemuck::cast_slice(&rates));
        let mut encoder = context.device().create_command_encoder(&Default::default());
        for bindings in &self.bindings {
            self.plan.record(&mut encoder, bindings)?;
        }
        context.queue().submit([encoder.finish()]);
        self.epoch += 1;
        Ok(())
    }

    /// The network in its present state.
    ///
    /// # Errors
    /// If the device fails, or a trained number is not finite.
    pub async fn read(&self) -> Result<Quantized> {
        let mut quantized = self.quantized.clone();
        for (&(layer, which), tensor) in self.trained.iter().zip(&self.sets[0]) {
            let tensor = self.plan.context().download(tensor).await?;
            let values = tensor.values::<f32>()?;
            require!(
                values.iter().all(|x| x.is_finite()),
                "training has made a number of layer {layer} that is not finite: use a lower rate"
            );
            match (which, &mut quantized.network.layers[layer]) {
                (Which::Step, _) => quantized.steps[layer] = values[0],
                (Which::WeightSteps, _) => quantized.weight_steps[layer] = values.to_vec(),
                (Which::Weights, Layer::Conv { weights, .. }) => *weights = tensor,
                (Which::Bias, Layer::Conv { bias, .. }) => *bias = tensor,
                (Which::Weights | Which::Bias, Layer::GlobalAverage) => {}
            }
        }
        Ok(quantized)
    }
    /// As [`Trainer::read`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Trainer::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Quantized> {
        pollster::block_on(self.read())
    }
}
