// A one-dimensional grid folded over x, y and z, because a dimension holds at most 65,535 workgroups.

fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return (group.z * groups.y + group.y) * groups.x + group.x;
}

// 0, but compilers don't know. Where uniforms alone end a loop or decide a branch, lavapipe compiles the program anew at each launch
// and keeps every copy, or unrolls the loop and outgrows the instruction cache; a sum with this is no uniform.
fn hidden_zero(groups: vec3<u32>) -> u32 {
    return groups.x >> 31u;
}
