//! Pictures as inputs: .png and .jpg files, scaled to the size of an input `[1, channels, height, width]`.

use std::path::Path;

use image::imageops::FilterType;
use lowbit::TensorType;

use crate::Result;
use crate::npy::Array;

/// True for the name of a file that holds a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// A picture of one or three channels. Its darkest value becomes `range[0]`, its brightest `range[1]`.
pub(crate) fn read(path: &Path, tensor_type: &TensorType, range: [f64; 2]) -> Result<Array> {
    let &[1, channels @ (1 | 3), height, width] = tensor_type.dims() else {
        return Err(format!("{tensor_type} is no picture: [1, 1 or 3, height, width] is one").into());
    };
    let picture = image::open(path)?.resize_exact(width as u32, height as u32, FilterType::Triangle);
    let bytes = if channels == 1 { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() };
    let number = |byte: u8| range[0] + (range[1] - range[0]) * f64::from(byte) / 255.0;
    // Channels come first in the input, last in the picture.
    let plane = |channel: usize| bytes.iter().skip(channel).step_by(channels).map(|&byte| number(byte));
    Ok(Array { dims: tensor_type.dims().to_vec(), values: (0..channels).flat_map(plane).collect() })
}
