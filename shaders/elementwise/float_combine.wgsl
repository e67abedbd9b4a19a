// The sum of two numbers, or their product if PRODUCT.
//# constants PRODUCT

fn combine(a: f32, b: f32) -> f32 {
    if (PRODUCT) {
        return a * b;
    }
    return a + b;
}
