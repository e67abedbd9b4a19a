// out[0] = out[0] + addend     measures what a launch costs that has next to nothing to do
//
// Each launch reads what the last one wrote, as the ops of a network do, so that none can overlap the next.
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
