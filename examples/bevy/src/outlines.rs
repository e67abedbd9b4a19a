//! A plugin of Bevy that runs the network on a texture in every frame: what a game of your own would take from here.

use bevy::app::{App, Plugin};
use bevy::asset::Handle;
use bevy::core_pipeline::schedule::camera_driver;
use bevy::ecs::prelude::*;
use bevy::image::Image;
use bevy::render::extract_resource::{ExtractResource, ExtractResourcePlugin};
use bevy::render::render_asset::RenderAssets;
use bevy::render::renderer::{RenderContext, RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::render::{RenderApp, RenderStartup};
use lowbit::{Bindings, Context, DeviceTensor, Plan, Tuner, wgpu};

use crate::network;

/// Invocations of a workgroup in each direction, of both shaders.
const TILE: u32 = 8;

/// Texels to codes. In device memory the codes of a pixel are a row, and a row of up to 16 codes of 8 bits takes 16 bytes.
const LOAD: &str = "
    @group(0) @binding(0) var picture: texture_2d<f32>;
    @group(0) @binding(1) var<storage, read_write> codes: array<vec4<u32>>;

    @compute @workgroup_size(8, 8)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let size = textureDimensions(picture);
        if all(id.xy < size) {
            let colours = textureLoad(picture, id.xy, 0).rgb;
            codes[id.y * size.x + id.x] = vec4(pack4x8unorm(vec4(colours, 0.0)), 0u, 0u, 0u);
        }
    }";

/// Codes to texels.
const STORE: &str = "
    @group(0) @binding(0) var picture: texture_storage_2d<rgba8unorm, write>;
    @group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;

    @compute @workgroup_size(8, 8)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let size = textureDimensions(picture);
        if all(id.xy < size) {
            let colours = unpack4x8unorm(codes[id.y * size.x + id.x].x).rgb;
            textureStore(picture, id.xy, vec4(colours, 1.0));
        }
    }";

/// The textures of format `Rgba8Unorm` that the network reads and writes, both of the plugin's width and height.
#[derive(Resource, Clone, ExtractResource)]
#[extract_app(RenderApp)]
pub struct Pictures {
    pub before: Handle<Image>,
    pub after: Handle<Image>,
}

/// Draws outlines into [`Pictures`] of this width and height.
pub struct OutlinesPlugin {
    pub size: [usize; 2],
}

impl Plugin for OutlinesPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins(ExtractResourcePlugin::<Pictures>::default());
        // Without a device there is no render world.
        let Some(render) = app.get_sub_app_mut(RenderApp) else { return };
        let size = self.size;
        let load = move |mut commands: Commands, device: Res<RenderDevice>, queue: Res<RenderQueue>| -> Result {
            commands.insert_resource(Outlines::new(device.wgpu_device(), &queue, size)?);
            Ok(())
        };
        // Bevy runs this schedule again where it has lost its device and made another.
        render.add_systems(RenderStartup, load);
        // What cameras draw may have the outlines on it.
        render.add_systems(RenderGraph, draw.in_set(RenderGraphSystems::Render).before(camera_driver));
    }
}

/// The system of the render graph.
fn draw(
    mut context: RenderContext,
    outlines: Res<Outlines>,
    pictures: Option<Res<Pictures>>,
    images: Res<RenderAssets<GpuImage>>,
) -> Result {
    let Some(pictures) = pictures else { return Ok(()) };
    // Bevy makes textures when it comes to it.
    let (Some(before), Some(after)) = (images.get(&pictures.before), images.get(&pictures.after)) else {
        return Ok(());
    };
    Ok(outlines.record(context.command_encoder(), &before.texture_view, &after.texture_view)?)
}

/// The network on Bevy's device, bound to its codes, and the shaders on both sides of it.
#[derive(Resource)]
pub struct Outlines {
    context: Context,
    plan: Plan,
    bindings: Bindings,
    load: Shader,
    store: Shader,
}

impl Outlines {
    /// Plans, compiles and binds: what a frame must not wait for.
    fn new(device: &wgpu::Device, queue: &wgpu::Queue, size: [usize; 2]) -> lowbit::Result<Self> {
        let context = Context::from_device(device.clone(), queue.clone());
        let plan = context.plan(&network::graph(size)?, Tuner::FirstGuess)?;
        bevy::tasks::block_on(plan.warm_up())?;
        let x = DeviceTensor::allocate(&context, plan.input_types()[0].clone())?;
        let y = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
        let bindings = plan.bind(&[&x], &[&y])?;
        let (load, store) = (Shader::new(device, LOAD, &x), Shader::new(device, STORE, &y));
        Ok(Self { context, plan, bindings, load, store })
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Records all of it into one pass.
    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        before: &wgpu::TextureView,
        after: &wgpu::TextureView,
    ) -> lowbit::Result<()> {
        let device = self.context.device();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.load.dispatch(device, &mut pass, before);
        self.plan.record_in(&mut pass, &self.bindings)?;
        self.store.dispatch(device, &mut pass, after);
        Ok(())
    }
}

/// A shader between a texture and codes.
struct Shader {
    pipeline: wgpu::ComputePipeline,
    codes: wgpu::Buffer,
    groups: [u32; 2],
}

impl Shader {
    /// One invocation for each pixel of `codes`.
    fn new(device: &wgpu::Device, source: &str, codes: &DeviceTensor) -> Self {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        // `[1, height, width, colours]`
        let groups = [2, 1].map(|axis| (codes.tensor_type().dims()[axis] as u32).div_ceil(TILE));
        Self { pipeline, codes: codes.buffer().clone(), groups }
    }

    fn dispatch(&self, device: &wgpu::Device, pass: &mut wgpu::ComputePass<'_>, picture: &wgpu::TextureView) {
        // Bevy may have made the texture anew, so the bind group is of this frame.
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(picture) },
                wgpu::BindGroupEntry { binding: 1, resource: self.codes.as_entire_binding() },
            ],
        });
        let [columns, rows] = self.groups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(columns, rows, 1);
    }
}
