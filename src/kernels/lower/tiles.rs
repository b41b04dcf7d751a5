//! Which tile each product of a model takes: one for all, or what the tuner found fastest.

use serde::{Deserialize, Serialize};

use crate::format::WeightFormat;
use crate::gpu::AdapterSummary;
use crate::kernels::linear::{self, Role, Stored, Tile};

/// Rows of a pass from which on a CPU adapter decodes each weight of a layer once.
const DECODE_ONCE_ROWS: usize = 32;

/// The two products of a frozen linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Forward,
    Backward,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::Forward, Direction::Backward];
}

/// What decides how fast a tile is, besides the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// N.
    pub cols: u32,
    /// K.
    pub depth: u32,
    pub format: WeightFormat,
}

impl Shape {
    pub fn new(params: &linear::Params, format: WeightFormat) -> Self {
        Shape { cols: params.cols, depth: params.depth, format }
    }
}

/// A product of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    pub shape: Shape,
    /// The most rows that a pass gives it.
    pub most_rows: u32,
}

impl Product {
    /// Whether any pass takes a tile that was chosen at `rows` rows.
    pub fn takes(&self, rows: u32) -> bool {
        is_for(rows, self.most_rows as usize)
    }
}

/// Whether what was chosen at `timed` rows is for a pass of `rows`.
fn is_for(timed: u32, rows: usize) -> bool {
    timed as usize / 2 <= rows
}

/// The tile for one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub direction: Direction,
    pub shape: Shape,
    /// The M it was timed at: it is for steps of at least half of that, and of less than the next.
    pub rows: u32,
    pub tile: Tile,
}

/// The tiles of a model's products.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiles {
    /// For every product that nothing was chosen for, and for what depends on the adapter alone.
    pub default: Tile,
    pub choices: Vec<Choice>,
}

impl From<Tile> for Tiles {
    fn from(default: Tile) -> Self {
        Tiles { default, choices: Vec::new() }
    }
}

impl Default for Tiles {
    fn default() -> Self {
        Tile::Direct.into()
    }
}

impl Tiles {
    /// Whether they are those of an adapter of the same kind, and the adapter can run all of them.
    pub fn suit(&self, adapter: &AdapterSummary) -> bool {
        self.default.is_for(adapter) && self.choices.iter().all(|choice| choice.tile.runs_on(adapter))
    }

    /// The tile of a product, whose params are those of the largest pass of a step: all its sizes take the same.
    pub(super) fn tile(&self, direction: Direction, params: &linear::Params, weight: Stored) -> Tile {
        let (is_of_layer, shape) = match weight.role {
            Role::Alone => return self.default,
            Role::Layer => (true, Shape::new(params, weight.format)),
            // Whatever part of the head a product takes, the whole was timed.
            Role::Head { cols } => (false, Shape { cols, ..Shape::new(params, weight.format) }),
        };
        let rows = params.rows as usize;
        match self.choice(direction, shape, rows) {
            Some(choice) => choice.tile,
            // A decoded copy of the head would be as large as many layers.
            None if self.default == Tile::Direct && is_of_layer && rows >= DECODE_ONCE_ROWS => Tile::Decoded,
            None => self.default,
        }
    }

    /// What was chosen for a product at the largest number of rows that is for a pass of `rows`.
    fn choice(&self, direction: Direction, shape: Shape, rows: usize) -> Option<&Choice> {
        let measured = || self.choices.iter().filter(|choice| is_for(choice.rows, rows));
        let best = measured().map(|choice| choice.rows).max()?;
        measured().find(|it| (it.direction, it.shape, it.rows) == (direction, shape, best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_takes_what_was_found_for_its_shape_direction_and_rows() {
        let shape = Shape { cols: 64, depth: 128, format: WeightFormat::Nf4 };
        let choice = |rows, tile| Choice { direction: Direction::Forward, shape, rows, tile };
        let tiles = Tiles {
            default: Tile::Shared64,
            choices: vec![choice(64, Tile::Shared32), choice(512, Tile::Shared128)],
        };
        let at = |rows, direction, Shape { cols, depth, format }: Shape| {
            let params = linear::Params::plain(rows, cols as usize, depth as usize);
            tiles.tile(direction, &params, Stored { format, role: Role::Layer })
        };
        assert_eq!(at(8, Direction::Forward, shape), Tile::Shared64);
        assert_eq!(at(32, Direction::Forward, shape), Tile::Shared32);
        assert_eq!(at(255, Direction::Forward, shape), Tile::Shared32);
        assert_eq!(at(256, Direction::Forward, shape), Tile::Shared128);
        assert_eq!(at(256, Direction::Backward, shape), Tile::Shared64);
        let wider = Shape { cols: 72, ..shape };
        assert_eq!(at(256, Direction::Forward, wider), Tile::Shared64);
    }

    #[test]
    fn a_part_of_the_head_takes_what_was_found_for_the_whole_and_nothing_is_found_for_factors() {
        let format = WeightFormat::Bf16;
        let shape = Shape { cols: 640, depth: 128, format };
        let choice = Choice { direction: Direction::Backward, shape, rows: 64, tile: Tile::Half64 };
        let tiles = Tiles { default: Tile::Shared64, choices: vec![choice] };
        let tile = |cols, role| {
            let params = linear::Params::plain(64, cols, 128);
            tiles.tile(Direction::Backward, &params, Stored { format, role })
        };
        assert_eq!(tile(128, Role::Head { cols: 640 }), Tile::Half64);
        assert_eq!(tile(128, Role::Head { cols: 648 }), Tile::Shared64);
        assert_eq!(tile(640, Role::Alone), Tile::Shared64);
    }

    #[test]
    fn weights_of_layers_are_decoded_once_for_many_rows() {
        let tile = |rows, role| {
            let params = linear::Params::plain(rows, 64, 64);
            let stored = Stored { format: WeightFormat::Nf4, role };
            Tiles::from(Tile::Direct).tile(Direction::Forward, &params, stored)
        };
        assert_eq!(tile(32, Role::Layer), Tile::Decoded);
        assert_eq!(tile(31, Role::Layer), Tile::Direct);
        assert_eq!(tile(64, Role::Head { cols: 64 }), Tile::Direct);
        assert_eq!(tile(64, Role::Alone), Tile::Direct);
    }
}
