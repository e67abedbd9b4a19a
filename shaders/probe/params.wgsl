// The uniform block of the device probe. The factor and the addend are parameters, not constants, so that no compiler can compute
// the result of a loop.

struct Params {
    rounds: u32,          // repetitions of an invocation's work
    stride: u32,          // invocations of the launch: the distance of an invocation's vec4s
    factor: u32,
    addend: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
