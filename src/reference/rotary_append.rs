//! The meaning of `ops::RotaryAppend`: its three ops. GPU twin: `shaders/layout/rotary_append.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::RotaryAppend;
use crate::tensor::Tensor;

impl Meaning for RotaryAppend {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let [queries, keys, values] = divided(inputs);
        let made = [self.keys().run(&keys)?, self.values().run(&values)?, self.queries().run(&queries)?];
        Ok(made.into_iter().flatten().collect())
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        let [queries, keys, _] = divided(inputs);
        let exact = vec![0.0; self.values().cache().shape().elements()];
        Some([self.keys().tolerance(&keys)?, exact, self.queries().tolerance(&queries)?].concat())
    }
}

/// The inputs of the rotation of queries, of the append of keys, and of that of values.
fn divided<'a>(inputs: &[&'a Tensor]) -> [Vec<&'a Tensor>; 3] {
    let [keys, values, queries, key_rows, value_rows, position, table] = [0, 1, 2, 3, 4, 5, 6].map(|i| inputs[i]);
    [vec![queries, position, table], vec![keys, key_rows, position, table], vec![values, value_rows, position]]
}
