//! The driver's cache of compiled programs, wrapped for storage so that damage and other drivers' data are detected. It contains an
//! `unsafe` of the crate: the driver trusts the data that it is given. The caller stores the bytes.

use crate::error::Result;

/// The cache of a device: empty, or with data that [`unwrap`] has accepted. `None` if the device has no pipeline cache.
///
/// # Safety
/// The data must come from `wgpu::PipelineCache::get_data`.
#[expect(unsafe_code, reason = "hands data to the driver: the caller vouches for it")]
pub(super) unsafe fn create(device: &wgpu::Device, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("lowbit"), data, fallback: true };
    let offered = device.features().contains(wgpu::Features::PIPELINE_CACHE);
    // SAFETY: the caller upholds this function's contract, which is that of `create_pipeline_cache`.
    offered.then(|| unsafe { device.create_pipeline_cache(&descriptor) })
}

/// The envelope: this header, the length of the data as u64, its CRC-32 as u32 (both little-endian), then the data.
///
/// The header names everything that the data depends on, as text. It must match byte by byte.
fn header(adapter: &wgpu::AdapterInfo) -> String {
    let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = adapter;
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "lowbit {version} pipeline cache, format 1\n{backend} {vendor:x}:{device:x} {name}\n{driver} {driver_info}\n"
    )
}

/// The data of a cache in its envelope.
pub(super) fn wrap(adapter: &wgpu::AdapterInfo, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(adapter).into_bytes();
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(crc32fast::hash(data).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The data in an envelope, or the reason that it is invalid.
pub(super) fn unwrap<'a>(adapter: &wgpu::AdapterInfo, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let rest = bytes
        .strip_prefix(header(adapter).as_bytes())
        .ok_or("it is of another adapter, driver or version of this crate, or is no pipeline cache")?;
    let (length, rest) = rest.split_first_chunk().ok_or("it is cut short")?;
    let (checksum, data) = rest.split_first_chunk().ok_or("it is cut short")?;
    if u64::from_le_bytes(*length) != data.len() as u64 {
        return Err("its length is not the one it was stored with");
    }
    if u32::from_le_bytes(*checksum) != crc32fast::hash(data) {
        return Err("its checksum is not the one it was stored with");
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver_info: &str) -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        info.driver_info = driver_info.into();
        info
    }

    /// No damaged, missing or extra byte gets the rest to the driver.
    #[test]
    fn only_what_was_wrapped_is_unwrapped() {
        let here = adapter("1.0");
        for data in [&b""[..], b"\0", b"what a driver wrote"] {
            let bytes = wrap(&here, data);
            assert_eq!(unwrap(&here, &bytes), Ok(data));
            assert!(unwrap(&adapter("1.1"), &bytes).is_err(), "another driver");
            for at in 0..bytes.len() {
                assert!(unwrap(&here, &bytes[..at]).is_err(), "the first {at} bytes");
                for bit in 0..8 {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << bit;
                    assert!(unwrap(&here, &flipped).is_err(), "bit {bit} of byte {at}");
                }
            }
            assert!(unwrap(&here, &[&bytes[..], b"\0"].concat()).is_err(), "a byte more");
        }
    }
}
