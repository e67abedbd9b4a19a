// A one-dimensional grid folded over x, y and z, because a dimension holds at most 65,535 workgroups.

fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return (group.z * groups.y + group.y) * groups.x + group.x;
}

// 0, opaque to compilers. If uniforms alone end a loop or decide a branch, lavapipe compiles the program anew at each launch and
// keeps every copy, or unrolls the loop beyond the instruction cache. A sum with this value is not uniform.
fn opaque_zero(groups: vec3<u32>) -> u32 {
    return groups.x >> 31u;
}
