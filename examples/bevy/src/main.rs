//! A small int8 network in Bevy's render graph: it finds the edges of a texture, in every frame, without a window.
//!
//! lowbit uses Bevy's device. A system of the render graph records three passes into Bevy's encoder: a shader writes the texture's
//! colours as codes, a plan computes, and a shader writes the codes into another texture. Every frame is compared with lowbit's CPU
//! reference, bit for bit. The last one is written as `before.png` and `after.png`, to the folder that the argument names.

mod network;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bevy::app::PluginsState;
use bevy::asset::RenderAssetUsages;
use bevy::image::Image;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::extract_resource::{ExtractResource, ExtractResourcePlugin};
use bevy::render::render_asset::RenderAssets;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat, TextureUsages};
use bevy::render::renderer::{RenderContext, RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::window::ExitCondition;
use lowbit::wgpu;
use network::{CHANNELS, Edges};

type Outcome<T> = std::result::Result<T, Box<dyn Error>>;

/// Pixels of the picture. Rows of 4 bytes a pixel are multiples of 256 bytes, as copies want them.
const WIDTH: usize = 320;
const HEIGHT: usize = 192;

/// Frames that are compared.
const FRAMES: usize = 5;

/// The textures. The main world paints one, the render world writes the other.
#[derive(Resource, Clone, ExtractResource)]
#[extract_app(RenderApp)]
struct Pictures {
    before: Handle<Image>,
    after: Handle<Image>,
}

/// The number of the frame that was painted last.
#[derive(Resource, Default)]
struct Painted(usize);

/// Colour at a pixel: a disc that moves over stripes.
fn colour(frame: usize, x: usize, y: usize) -> [u8; 4] {
    let (dx, dy) = (x.abs_diff(60 + 40 * frame), y.abs_diff(96));
    if dx * dx + dy * dy < 48 * 48 {
        [250, 200 - (dy * 2) as u8, 60, 255]
    } else if (x + 2 * y) / 48 % 2 == 0 {
        [30, (x / 2) as u8, 110, 255]
    } else {
        [70, 90, (y / 2) as u8 + 130, 255]
    }
}

fn paint(frame: usize) -> Vec<u8> {
    (0..WIDTH * HEIGHT).flat_map(|i| colour(frame, i % WIDTH, i / WIDTH)).collect()
}

fn picture(usages: TextureUsages) -> Image {
    let size = Extent3d { width: WIDTH as u32, height: HEIGHT as u32, depth_or_array_layers: 1 };
    let (format, everywhere) = (TextureFormat::Rgba8Unorm, RenderAssetUsages::all());
    let mut image = Image::new_fill(size, TextureDimension::D2, &[0; 4], format, everywhere);
    image.texture_descriptor.usage = usages | TextureUsages::COPY_SRC | TextureUsages::COPY_DST;
    image
}

fn make_pictures(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let before = images.add(picture(TextureUsages::TEXTURE_BINDING));
    let after = images.add(picture(TextureUsages::STORAGE_BINDING));
    commands.insert_resource(Pictures { before, after });
}

/// The game: it paints the next picture, and Bevy uploads it.
fn play(pictures: Res<Pictures>, mut images: ResMut<Assets<Image>>, mut painted: ResMut<Painted>) {
    if let Some(mut image) = images.get_mut(&pictures.before) {
        painted.0 += 1;
        image.data = Some(paint(painted.0));
    }
}

/// The system of the render graph.
fn find_edges(
    mut context: RenderContext,
    edges: Res<Edges>,
    pictures: Option<Res<Pictures>>,
    images: Res<RenderAssets<GpuImage>>,
) -> Result {
    let Some(pictures) = pictures else { return Ok(()) };
    let (Some(before), Some(after)) = (images.get(&pictures.before), images.get(&pictures.after)) else {
        return Ok(());
    };
    Ok(edges.record(context.command_encoder(), &before.texture_view, &after.texture_view)?)
}

/// The bytes of a texture.
fn read(device: &wgpu::Device, queue: &wgpu::Queue, texture: &wgpu::Texture) -> Outcome<Vec<u8>> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("readback"),
        size: (WIDTH * HEIGHT * 4) as u64,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(WIDTH as u32 * 4), rows_per_image: None };
    let target = wgpu::TexelCopyBufferInfo { buffer: &staging, layout };
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(staging.get_mapped_range(..)?.to_vec())
}

fn write(path: &Path, rgba: &[u8]) -> Outcome<()> {
    let mut encoder = png::Encoder::new(std::fs::File::create(path)?, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    Ok(encoder.write_header()?.write_image_data(rgba)?)
}

fn run() -> Outcome<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".into()));
    let mut app = App::new();
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    app.add_plugins((DefaultPlugins.set(no_window), ExtractResourcePlugin::<Pictures>::default()));
    app.init_resource::<Painted>().add_systems(Startup, make_pictures).add_systems(Update, play);
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();

    // Bevy has its device now. Everything is planned, compiled and bound here; a frame only records.
    let render = app.get_sub_app_mut(RenderApp).ok_or("Bevy found no device")?;
    let device = render.world().resource::<RenderDevice>().wgpu_device().clone();
    let queue = render.world().resource::<RenderQueue>().clone().into_inner();
    let edges = Edges::new(device.clone(), queue.clone(), [WIDTH, HEIGHT])?;
    println!("{}\n\n{}", edges.description(), edges.plan());
    render.insert_resource(edges);
    render.add_systems(RenderGraph, find_edges.in_set(RenderGraphSystems::Render));

    let mut last = None;
    for frame in 1..=FRAMES {
        let start = Instant::now();
        app.update();
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let seconds = start.elapsed().as_secs_f64();

        let painted = app.world().resource::<Painted>().0;
        let world = app.get_sub_app(RenderApp).ok_or("Bevy has lost its render world")?.world();
        let (pictures, images) = (world.resource::<Pictures>(), world.resource::<RenderAssets<GpuImage>>());
        let bytes = |handle| -> Outcome<Vec<u8>> {
            read(&device, &queue, &images.get(handle).ok_or("Bevy has not made the texture")?.texture)
        };
        let (before, after) = (bytes(&pictures.before)?, bytes(&pictures.after)?);
        if before != paint(painted) {
            return Err(format!("frame {frame}: the texture is not what was painted").into());
        }
        let right = world.resource::<Edges>().reference(&before)?;
        if let Some(i) = (0..right.len()).find(|&i| after[i] != right[i]) {
            let (pixel, channel, got, right) = (i / 4, i % 4, after[i], right[i]);
            let at = format!("({}, {}), channel {channel}", pixel % WIDTH, pixel / WIDTH);
            return Err(format!("frame {frame}, {at}: got {got}, expected {right}").into());
        }
        let edges = after.chunks_exact(4).filter(|pixel| pixel[0] > 64).count();
        let (codes, milliseconds) = (right.len() / 4 * CHANNELS, seconds * 1e3);
        println!("frame {frame}: {codes} codes equal bit for bit, {edges} pixels of edges, {milliseconds:.1} ms");
        last = Some((before, after));
    }
    if let Some((before, after)) = last {
        std::fs::create_dir_all(&folder)?;
        write(&folder.join("before.png"), &before)?;
        write(&folder.join("after.png"), &after)?;
        println!("OK: see {}", folder.join("after.png").display());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
