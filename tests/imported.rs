//! Products of layers that other packages quantized (`tests/data/import`), on a device within the bound of `ops::Linear`. Their numbers are
//! compared in `tests/import`.

mod common;

use common::{ONE_CANDIDATE, Random, check_op_within_in_turn, context};
use lowbit::import::checkpoint::Model;
use lowbit::import::{Activations, Safetensors};
use lowbit::ops::Linear;
use lowbit::{DType, Result, Tensor};
use serde_json::{Value, json};

#[test]
fn products_of_imported_layers() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(5);
    let (mut products, mut integers) = (0, 0);
    for package in
        ["compressed-tensors", "nvidia-modelopt", "mlx", "hqq", "optimum-quanto", "gptqmodel", "auto-round", "marlin"]
    {
        let bytes = std::fs::read(format!("tests/data/import/{package}.safetensors")).expect("test data");
        let file = Safetensors::parse(&bytes)?;
        let layers: Value =
            serde_json::from_str(&file.metadata("layers").expect("the script writes it")).expect("JSON");
        for (name, about) in layers.as_object().expect("an object") {
            let config = match about.get("weights") {
                Some(_) => json!({"quantization_config": {"config_groups": {"group_0": about}}}),
                None => json!({"quantization_config": about}),
            };
            let model = Model::parse(&[&bytes], &config.to_string())?;
            let layer = model.layer(name)?;
            // Files of Quanto don't have the shape of packed layers.
            let Ok(weights) = layer.weights() else { continue };
            let dims = vec![3, weights.dims()[2]];
            let mut inputs =
                vec![Tensor::new(dims.clone(), (0..3 * dims[1]).map(|_| random.real()).collect::<Vec<_>>())?];
            let activations = layer.activations()?;
            if let Activations::Static { dtype: DType::Int8, .. } = activations {
                let input = activations.input(dims.clone())?;
                let scales = input.quantization().expect("a scale").clone();
                inputs.push(random.codes(DType::Int8, &dims).quantized(scales)?);
                integers += 1;
            }
            for lhs in inputs {
                let op = Linear::new(lhs.tensor_type().clone(), weights.clone()).build()?;
                let what = format!("{package} {name} by {}", lhs.tensor_type());
                check_op_within_in_turn(ONE_CANDIDATE, &context, &what, &op.into(), &[&lhs]);
                products += 1;
            }
        }
    }
    assert!(products > 90 && integers == 1, "{products} products, {integers} of integers");
    Ok(())
}
