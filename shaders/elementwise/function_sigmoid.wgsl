//# import math/sigmoid

fn function_of(x: f32) -> f32 {
    return sigmoid(x);
}
