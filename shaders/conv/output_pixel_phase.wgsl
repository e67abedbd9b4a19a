// Output pixel of a launch's pixel: along each axis, `place_first` + index · `place_step`.
//# params out_size, place_first, place_size, place_step

fn output_pixel(pixel: u32) -> u32 {
    let x = pixel % params.out_size.z;
    let xy = pixel / params.out_size.z;
    let y = xy % params.out_size.y;
    let xyz = xy / params.out_size.y;
    let z = xyz % params.out_size.x;
    let at = params.place_first.xyz + vec3<u32>(z, y, x) * params.place_step.xyz;
    let size = params.place_size;
    return (((xyz / params.out_size.x) * size.x + at.x) * size.y + at.y) * size.z + at.z;
}
