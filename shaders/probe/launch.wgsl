// out[0] = out[0] + addend     measures the cost of a launch that does almost nothing
//
// Each launch reads the result of the last one, like the ops of a network, so that launches can't overlap.
//
// The launch: kernels/probe.rs.
//# import probe/params
//# constants GROUP_X

@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word

@compute @workgroup_size(GROUP_X)
fn main(@builtin(local_invocation_index) thread: u32) {
    if (thread == 0u) {
        out[0] += params.addend;
    }
}
