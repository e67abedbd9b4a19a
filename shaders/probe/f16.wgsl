// The real numbers of fma.wgsl as 16-bit floats; only where the device has the feature SHADER_F16.
enable f16;

alias real = f16;
