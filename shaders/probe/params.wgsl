// The uniform block of the device probe. The factor and the addend are here, not in the source, so that no compiler
// can foresee what a loop comes to.

struct Params {
    rounds: u32,          // how often an invocation repeats its work
    stride: u32,          // invocations of the launch: the distance of an invocation's vec4s
    factor: u32,
    addend: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
