//! Which tile each product of a model takes: one for all, or what the tuner found fastest.

use serde::{Deserialize, Serialize};

use crate::gpu::AdapterSummary;
use crate::kernels::linear::{self, Tile, WeightFormat};

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

    /// The tiles for a pass of `rows` rows.
    ///
    /// All sizes of a step take those of the largest, so that they share one recording's operations.
    pub fn for_rows(&self, rows: usize) -> Tiles {
        let measured = |choice: &Choice| is_for(choice.rows, rows);
        let Some(best) =
            self.choices.iter().filter(|choice| measured(choice)).map(|choice| choice.rows).max()
        else {
            return self.default.into();
        };
        let choices = self.choices.iter().filter(|choice| choice.rows == best).copied().collect();
        Tiles { default: self.default, choices }
    }

    /// The tile of a product, after [`Tiles::for_rows`].
    pub fn tile(&self, direction: Direction, shape: Shape) -> Tile {
        let choice =
            self.choices.iter().find(|choice| choice.direction == direction && choice.shape == shape);
        choice.map_or(self.default, |choice| choice.tile)
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
        let at = |rows: usize, direction, shape| tiles.for_rows(rows).tile(direction, shape);
        assert_eq!(at(8, Direction::Forward, shape), Tile::Shared64);
        assert_eq!(at(32, Direction::Forward, shape), Tile::Shared32);
        assert_eq!(at(255, Direction::Forward, shape), Tile::Shared32);
        assert_eq!(at(256, Direction::Forward, shape), Tile::Shared128);
        assert_eq!(at(256, Direction::Backward, shape), Tile::Shared64);
        let wider = Shape { cols: 72, ..shape };
        assert_eq!(at(256, Direction::Forward, wider), Tile::Shared64);
    }
}
