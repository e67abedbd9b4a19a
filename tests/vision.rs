//! Small whole vision networks: every layer of a plan, as fused, against the reference on the same inputs. The example builds and
//! verifies the networks; single ops are in `equivalence.rs` and `images.rs`.

mod common;
#[allow(dead_code, reason = "what times layers and prints them is the example's")]
#[path = "../examples/vision/network/mod.rs"]
mod network;

use common::context;
use lowbit::{Result, Tuner};
use network::Model;

#[test]
fn every_layer_equals_the_reference() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    for model in Model::ALL {
        let network = model.build(Some(&context), 64, [8, 3])?;
        for tuner in [Tuner::FirstGuess, Tuner::Nth(usize::MAX)] {
            let verified = network.verify(&context, tuner)?;
            assert_eq!(verified.submissions, 1, "{model}");
            assert_eq!(verified.elements.len(), network.layers.len(), "{model}");
            assert!(verified.elements.iter().all(|&elements| elements > 0), "{model}: {:?}", verified.elements);
        }
        // Random weights of a trained network's size: codes are spread over their range, not saturated.
        let least = network.layers.iter().filter_map(|layer| network.spread(layer)).min();
        assert!(least.is_some_and(|codes| codes >= 32), "{model}: a layer uses {least:?} codes");
    }
    Ok(())
}
