// Scores: the soft cap, and scores that are not there.
//# import attention/params

// A score that is not there, and the greatest score before any.
const NO_SCORE: f32 = -3.4028234e38;
const LEAST_SCORE: f32 = -3.0e38;

// c tanh(score / c) without large exponentials.
fn capped(score: f32) -> f32 {
    let cap = bitcast<f32>(params.soft_cap);
    if (params.soft_cap == 0u) {
        return score;
    }
    let power = exp(-2.0 * abs(score) / cap);
    return sign(score) * cap * (1.0 - power) / (1.0 + power);
}
