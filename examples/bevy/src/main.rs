//! A small int8 network in Bevy: it draws outlines into a texture, in every frame, without a window.
//!
//! lowbit uses Bevy's device. A system of Bevy's render graph (`outlines.rs`) records into Bevy's encoder: a shader writes the
//! texture's colours as codes, a plan computes, and a shader writes codes into another texture. Nothing is copied beside. Every
//! frame is compared with lowbit's CPU reference, bit for bit. The last one is written as `before.png` and `after.png`, into the
//! folder that the argument names, or `target`.

mod network;
mod outlines;

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bevy::app::PluginsState;
use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::render_asset::RenderAssets;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat, TextureUsages};
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::window::ExitCondition;
use lowbit::wgpu;
use outlines::{Outlines, OutlinesPlugin, Pictures};

type Outcome<T> = std::result::Result<T, Box<dyn Error>>;

/// Pixels of the picture. Rows of 4 bytes a pixel are multiples of 256 bytes, as wgpu's copies to buffers want them.
const WIDTH: usize = 320;
const HEIGHT: usize = 192;

/// Frames that are compared.
const FRAMES: usize = 6;

/// The number of the frame that was painted last.
#[derive(Resource, Default)]
struct Painted(usize);

/// Colour at a pixel: a ball that rolls over stripes.
fn colour(frame: usize, x: usize, y: usize) -> [u8; 4] {
    let (dx, dy) = (x.abs_diff(40 + 30 * frame), y.abs_diff(96));
    if dx * dx + dy * dy < 48 * 48 {
        [255, 230 - dy as u8, 90, 255]
    } else if ((x + 2 * y) / 48).is_multiple_of(2) {
        [40, (x / 4) as u8 + 40, 120, 255]
    } else {
        [110, 150, (y / 2) as u8 + 130, 255]
    }
}

fn paint(frame: usize) -> Vec<u8> {
    (0..WIDTH * HEIGHT).flat_map(|i| colour(frame, i % WIDTH, i / WIDTH)).collect()
}

fn picture(data: Option<Vec<u8>>, usages: TextureUsages) -> Image {
    let size = Extent3d { width: WIDTH as u32, height: HEIGHT as u32, depth_or_array_layers: 1 };
    let (format, everywhere) = (TextureFormat::Rgba8Unorm, RenderAssetUsages::all());
    let mut image = Image::new_uninit(size, TextureDimension::D2, format, everywhere);
    image.data = data;
    // `read` copies from it.
    image.texture_descriptor.usage = usages | TextureUsages::COPY_SRC;
    image
}

fn make_pictures(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let before = picture(Some(paint(0)), TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST);
    let (before, after) = (images.add(before), images.add(picture(None, TextureUsages::STORAGE_BINDING)));
    commands.insert_resource(Pictures { before, after });
}

/// The game: it paints the next picture, and Bevy uploads it.
fn play(pictures: Res<Pictures>, mut images: ResMut<Assets<Image>>, mut painted: ResMut<Painted>) {
    if let Some(mut image) = images.get_mut(&pictures.before) {
        painted.0 += 1;
        image.data = Some(paint(painted.0));
    }
}

/// Bevy without a window, and its device.
fn game() -> Outcome<App> {
    let mut app = App::new();
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    app.add_plugins((DefaultPlugins.set(no_window), OutlinesPlugin { size: [WIDTH, HEIGHT] }));
    app.init_resource::<Painted>().add_systems(Startup, make_pictures).add_systems(Update, play);
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();
    Ok(app)
}

/// Plays a frame and waits for the device. The result is the time that it took, in milliseconds.
fn update(app: &mut App) -> Outcome<f64> {
    let start = Instant::now();
    app.update();
    if app.should_exit().is_some() {
        return Err("Bevy has stopped".into());
    }
    render_world(app)?.resource::<RenderDevice>().wgpu_device().poll(wgpu::PollType::wait_indefinitely())?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn render_world(app: &App) -> Outcome<&World> {
    Ok(app.get_sub_app(RenderApp).ok_or("Bevy has no device")?.world())
}

/// What the plugin has made. Bevy panics where it could not.
fn outlines(app: &App) -> Outcome<&Outlines> {
    Ok(render_world(app)?.get_resource().ok_or("the network is not loaded")?)
}

/// The RGBA texels of a picture.
fn read(world: &World, picture: &Handle<Image>) -> Outcome<Vec<u8>> {
    let images = world.resource::<RenderAssets<GpuImage>>();
    let (device, queue) = (world.resource::<RenderDevice>().wgpu_device(), world.resource::<RenderQueue>());
    let texture = &images.get(picture).ok_or("Bevy has not made the texture")?.texture;
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

/// Both pictures of the last frame.
///
/// # Errors
/// If the first is not what was painted, or the second not what has to come of it.
fn pictures(app: &App) -> Outcome<[Vec<u8>; 2]> {
    let world = render_world(app)?;
    let pictures = world.resource::<Pictures>();
    let (before, after) = (read(world, &pictures.before)?, read(world, &pictures.after)?);
    if before != paint(app.world().resource::<Painted>().0) {
        return Err("the texture is not what was painted".into());
    }
    let right = network::reference(outlines(app)?.plan(), &before)?;
    if let Some(i) = (0..right.len()).find(|&i| after[i] != right[i]) {
        let (x, y, channel) = (i / 4 % WIDTH, i / 4 / WIDTH, i % 4);
        return Err(format!("({x}, {y}), channel {channel}: got {}, expected {}", after[i], right[i]).into());
    }
    Ok([before, after])
}

fn write(path: &Path, rgba: &[u8]) -> Outcome<()> {
    let mut encoder = png::Encoder::new(File::create(path)?, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgba)?;
    Ok(writer.finish()?)
}

fn run() -> Outcome<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "target".into()));
    let mut app = game()?;

    // The first frame plans and compiles.
    let milliseconds = update(&mut app)?;
    let context = outlines(&app)?.context().clone();
    println!("{}\n\n{}", context.description(), outlines(&app)?.plan());
    println!("planned, compiled, and the first frame drawn in {milliseconds:.1} ms");

    let mut last = pictures(&app)?;
    let loaded = context.counters();
    for frame in 1..=FRAMES {
        let milliseconds = update(&mut app)?;
        last = pictures(&app).map_err(|error| format!("frame {frame}: {error}"))?;
        let codes = WIDTH * HEIGHT * network::COLOURS;
        println!("frame {frame}: {codes} codes equal the CPU reference bit for bit, {milliseconds:.2} ms");
    }
    if context.counters() != loaded {
        return Err(format!("frames should record only, but the counts are {:?}", context.counters()).into());
    }

    std::fs::create_dir_all(&folder)?;
    let [before, after] = ["before.png", "after.png"].map(|name| folder.join(name));
    write(&before, &last[0])?;
    write(&after, &last[1])?;
    println!("OK: see {} and {}", before.display(), after.display());
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
