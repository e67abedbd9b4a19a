// A one-dimensional grid folded over x, y and z, because a dimension holds at most 65,535 workgroups.

fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return (group.z * groups.y + group.y) * groups.x + group.x;
}
