// Weights as int8, sixteen along k per vec4, columns side by side, zero beyond k and n:
//
//     [batch or group][k / 16][column, padded to 4]  vec4<u32>
//
// so that neighbouring invocations, which own neighbouring columns, read neighbouring words.

@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;

fn load_weight(k_row: u32, column: u32) -> vec4<u32> {
    return weight[k_row * params.weight_stride + column];
}
