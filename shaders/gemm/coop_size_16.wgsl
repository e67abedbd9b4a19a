// Matrices of 16 rows and columns that a subgroup multiplies; only where the device has the features SHADER_F16, SUBGROUP and
// EXPERIMENTAL_COOPERATIVE_MATRIX. Their elements are spread over its invocations in a way that only the driver knows.
enable f16;
enable wgpu_cooperative_matrix;

const SIZE: u32 = 16u;

alias LhsMatrix = coop_mat16x16<f16, A>;
alias RhsMatrix = coop_mat16x16<f16, B>;
alias SumMatrix = coop_mat16x16<f32, C>;
