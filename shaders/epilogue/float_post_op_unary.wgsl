// Post-op of floats: out = function(value), as elementwise/float_unary.wgsl computes it.
//# import elementwise/float_function
//# import elementwise/function_constants

fn float_post_op(value: f32, at: u32) -> f32 {
    return function_of(value, function_parameters());
}
