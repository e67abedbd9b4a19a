// The soft cap of scores.
//# import attention/params
//# constants SOFT_CAP

// c tanh(score / c) without large exponentials.
fn capped(score: f32) -> f32 {
    if (!SOFT_CAP) {
        return score;
    }
    let cap = bitcast<f32>(params.soft_cap);
    let power = exp(-2.0 * abs(score) / cap);
    return sign(score) * cap * (1.0 - power) / (1.0 + power);
}
