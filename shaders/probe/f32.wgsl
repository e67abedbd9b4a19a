// The real numbers of probe/fma.wgsl as 32-bit floats.

alias real = f32;
