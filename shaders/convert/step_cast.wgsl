// Conversion: the number in another format.
//# needs decode: convert/decode_*
//# needs encode: convert/encode_*

fn convert(element: u32, entry: vec2<u32>) -> u32 {
    return encode(decode(element));
}
