// (1 + tanh(a)) / 2 is sigmoid(2 a). Beyond 16 it is 0 or 1, and cubes would grow without need.
//# import math/sigmoid

fn function_of(x: f32) -> f32 {
    let near = clamp(x, -16.0, 16.0);
    return x * sigmoid(1.5957691 * (near + 0.044715 * near * near * near));
}
