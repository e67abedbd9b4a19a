// The real numbers of fma.wgsl as 32-bit floats.

alias real = f32;
