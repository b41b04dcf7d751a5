//! The shapes of a model's products, for the tuner.

use super::architecture::{Architecture, pad8};
use super::loss::LossPlan;
use super::weights::Model;
use crate::kernels::tiles::{Product, Shape};

impl Model {
    /// The distinct products of its layers and its head.
    pub fn products(&self) -> Vec<Product> {
        let of = |cols: usize, depth: usize, format, most_rows| Product {
            shape: Shape { cols: cols as u32, depth: depth as u32, format },
            most_rows,
        };
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| layer.groups.0.iter().flatten())
            .map(|stacked| of(stacked.cols(), stacked.inputs().padded, stacked.weight.format, u32::MAX));
        // The head sees a block of labelled rows at a time, however many there are.
        let Architecture { hidden, vocab, .. } = self.architecture;
        let block = LossPlan::new(usize::from(u16::MAX), vocab.padded).block as u32;
        let head =
            self.head.iter().map(|slab| of(pad8(slab.n_ids), hidden.padded, slab.weight.format, block));
        // Layers come first: one with the shape of the head has more rows.
        let mut distinct: Vec<Product> = Vec::new();
        for product in layers.chain(head) {
            if !distinct.iter().any(|known| known.shape == product.shape) {
                distinct.push(product);
            }
        }
        distinct
    }
}
