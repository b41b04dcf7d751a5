//! Adafactor (Shazeer and Stern 2018, arXiv:1804.04235), as transformers makes it for `optim: "adafactor"`: its learning rate
//! is the schedule's, and it has no first moment.

use super::Optimizer;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::adafactor::{self, Hyper, Piece, Shared, TILE, TILE_SUMS, Table, Tables};
use crate::memory::{Class, MAX_BINDING, Tensor};
use crate::model::{Entry, EntryPlace, Parameters, Segment};
use crate::train::options::TrainOptions;
use crate::train::step::Update;

/// Tiles of a group, whose sums take half of a binding: some 500 million values.
const GROUP_TILES: usize = (MAX_BINDING / 2) as usize / (4 * TILE_SUMS);

pub(super) struct Adafactor {
    weight_decay: f64,
    hyper: Tensor,
    groups: Vec<Group>,
}

/// Matrices that are updated together: as many as [`GROUP_TILES`] hold, or one that is larger.
struct Group {
    /// Of segments that have any.
    tiles: Vec<(usize, Table)>,
    lines: Table,
    matrices: Table,
    tile_count: usize,
    moments: Tensor,
}

/// Adds an entry as the matrix that it is, or as a matrix of one row where its values follow one another.
fn add(tables: &mut Tables, entry: &Entry) {
    let [rows, cols] = entry.size();
    let is_vector = entry.places.iter().all(|place| place.stride == 1);
    let piece = |place: &EntryPlace| {
        let [rows, cols] = if is_vector { [1, place.rows.len()] } else { [place.rows.len(), cols] };
        Piece { segment: place.segment, first: place.first, stride: place.stride, rows, cols }
    };
    let pieces: Vec<Piece> = entry.places.iter().map(piece).collect();
    tables.add(if is_vector { [1, rows] } else { [rows, cols] }, &pieces);
}

/// No fewer tiles than the entry has: each of its places may end with part of one.
fn most_tiles(entry: &Entry) -> usize {
    let [rows, cols] = entry.size();
    (rows.div_ceil(TILE) + entry.places.len()) * cols.div_ceil(TILE)
}

/// The tables of each group of entries.
fn tables(entries: &[Entry]) -> Vec<Tables> {
    let mut groups: Vec<Tables> = Vec::new();
    for entry in entries {
        if groups.last().is_none_or(|last| last.tile_count + most_tiles(entry) > GROUP_TILES) {
            groups.push(Tables::default());
        }
        add(groups.last_mut().expect("there is one"), entry);
    }
    groups
}

impl Group {
    fn new(tables: &Tables, store: &mut Store) -> Result<Self> {
        let mut tiles = Vec::new();
        for (segment, of_segment) in tables.tiles.iter().enumerate().filter(|(_, tiles)| !tiles.is_empty()) {
            tiles.push((segment, table(store, of_segment)?));
        }
        Ok(Group {
            tiles,
            lines: table(store, &tables.lines)?,
            matrices: table(store, &tables.matrices)?,
            tile_count: tables.tile_count,
            moments: store.keep(Class::Optimizer, "adafactor moments", tables.moment_count)?,
        })
    }

    fn record(&self, rec: &mut Recorder, parameters: &Parameters, [stats, hyper]: [Tensor; 2]) {
        let Group { tiles, lines, matrices, tile_count, moments } = self;
        let shared = Shared { stats, hyper, moments: *moments };
        let learning: Vec<(&Segment, Tensor)> = parameters.with_gradients().collect();
        let of_segments = || tiles.iter().map(|(segment, tiles)| (learning[*segment], *tiles));
        let sums = rec.transient(tile_count * TILE_SUMS);
        for ((_, grad), tiles) in of_segments() {
            adafactor::squares(rec, tiles, grad, stats, sums);
        }
        adafactor::moments(rec, *lines, shared, sums);
        let partials = rec.transient(*tile_count);
        for ((_, grad), tiles) in of_segments() {
            adafactor::ratios(rec, tiles, shared, grad, partials);
        }
        let scales = rec.transient(matrices.count);
        adafactor::scales(rec, *matrices, shared, partials, scales);
        for ((&Segment { param, decays, .. }, grad), tiles) in of_segments() {
            adafactor::update(rec, shared, adafactor::Update { tiles, decays, grad, scales, param });
        }
    }
}

/// Keeps a table, which no step changes.
fn table<T: bytemuck::Pod>(store: &mut Store, entries: &[T]) -> Result<Table> {
    let tensor = store.keep(Class::Other, "adafactor table", size_of_val(entries) / 4)?;
    store.write(tensor, entries);
    Ok(Table { count: entries.len(), entries: tensor })
}

impl Adafactor {
    pub(super) fn new(options: &TrainOptions, parameters: &Parameters, store: &mut Store) -> Result<Self> {
        let tables = tables(parameters.entries());
        let groups: Result<Vec<Group>> = tables.iter().map(|tables| Group::new(tables, store)).collect();
        Ok(Adafactor {
            weight_decay: options.weight_decay,
            groups: groups?,
            hyper: store.keep(Class::Other, "adafactor", 2 * size_of::<Hyper>() / 4)?,
        })
    }
}

impl Optimizer for Adafactor {
    fn kept(&self, _: usize) -> Vec<(&'static str, Tensor)> {
        Vec::new()
    }

    fn kept_of_matrices(&self) -> Vec<(String, Tensor)> {
        let groups = self.groups.iter().enumerate();
        groups.map(|(number, group)| (format!("matrices.{number}.moments"), group.moments)).collect()
    }

    fn record(&self, rec: &mut Recorder, parameters: &Parameters, stats: Tensor) {
        for group in &self.groups {
            group.record(rec, parameters, [stats, self.hyper]);
        }
    }

    fn write(&self, store: &Store, Update { learning_rate, numbers, .. }: Update) {
        let hyper = numbers.map(|number| Hyper::at_step(learning_rate, self.weight_decay, number));
        store.write(self.hyper, &hyper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_one_group_is_in_several() {
        let entry = |[rows, cols]: [usize; 2]| Entry {
            name: String::new(),
            shape: vec![rows, cols],
            places: vec![EntryPlace { rows: 0..rows, segment: 0, first: 0, stride: cols }],
            offset: 0.0,
        };
        let tiles = |sizes: &[[usize; 2]]| -> Vec<usize> {
            let entries: Vec<Entry> = sizes.iter().map(|&size| entry(size)).collect();
            tables(&entries).iter().map(|tables| tables.tile_count).collect()
        };
        assert!(tiles(&[]).is_empty());
        assert_eq!(tiles(&[[64, 64], [65, 128], [1, 200]]), [1 + 4 + 4]);
        // An embedding of Gemma 3 of four billion parameters is larger than a group by itself.
        let embedding = [262_208, 2560];
        let count = 4097 * 40;
        assert!(count > GROUP_TILES && 4 * count * TILE_SUMS <= MAX_BINDING as usize);
        assert_eq!(tiles(&[[64, 64], embedding, [64, 64], [6400, 6400]]), [1, count, 1 + 10_000]);
    }
}
