// The elements of an input of layout/concat.wgsl, unchanged.

fn mapped(element: u32) -> u32 {
    return element;
}
