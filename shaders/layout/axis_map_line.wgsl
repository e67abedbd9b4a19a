// Input position of an index of an axis: equal steps.

fn axis_offset(axis: vec4<u32>, index: u32) -> u32 {
    return axis.y * index;
}

fn is_nowhere(axis: vec4<u32>, at: u32) -> bool {
    return false;
}
