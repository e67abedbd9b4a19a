// Cooperative matrices of 8 rows and columns. The device must have the features SHADER_F16, SUBGROUP and
// EXPERIMENTAL_COOPERATIVE_MATRIX. Only the driver knows how their elements are distributed over a subgroup's invocations.

enable f16;
enable wgpu_cooperative_matrix;

const SIZE: u32 = 8u;

alias LhsMatrix = coop_mat8x8<f16, A>;
alias RhsMatrix = coop_mat8x8<f16, B>;
alias SumMatrix = coop_mat8x8<f32, C>;
