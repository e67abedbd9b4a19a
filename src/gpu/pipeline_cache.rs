//! What a driver remembers of the programs it has compiled, wrapped for storage so that damage and other drivers' data are
//! noticed. An `unsafe` of the crate is here: the driver believes what is handed back to it. Storing it is the caller's.

use crate::error::Result;

/// The cache of a device: empty, or with data that [`unwrap`] has let through. None where the device has none.
///
/// # Safety
/// The data comes from `wgpu::PipelineCache::get_data`.
#[expect(unsafe_code, reason = "hands data to the driver: the caller vouches for it")]
pub(super) unsafe fn create(device: &wgpu::Device, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("lowbit"), data, fallback: true };
    let offered = device.features().contains(wgpu::Features::PIPELINE_CACHE);
    // SAFETY: as this function's.
    offered.then(|| unsafe { device.create_pipeline_cache(&descriptor) })
}

/// The envelope: this header, the length of the data as u64, its CRC-32 as u32, both little end first, then the data.
///
/// The header names all that the data depends on, in text, and must be equal to the byte.
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

/// The data in an envelope, or what is wrong with it.
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

    /// Whatever one byte is damaged, lacks or is too many, the driver is not shown the rest.
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
