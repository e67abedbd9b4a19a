// The real numbers of probe/fma.wgsl as 16-bit floats. The device must have the feature SHADER_F16.

enable f16;

alias real = f16;
