//! Packing: short rows share a sequence, so that a step computes as many tokens as it may.
//!
//! The rows of a sequence do not see one another (each token carries its own span of keys and its position
//! in its own row), so the loss is that of the unpacked rows.

use std::collections::BTreeMap;

/// Rows in sequences of at most `capacity` tokens, by best fit decreasing (TRL's `"bfd"`): the longest row
/// first, each into the fullest sequence that still takes it. `rows` are numbers into `lengths`.
///
/// Sequences, and the rows in each, are in the order of `rows`; a row longer than `capacity` is alone.
pub fn best_fit_decreasing(rows: &[u32], lengths: &[u32], capacity: u32) -> Vec<Vec<u32>> {
    let length = |place: u32| lengths[rows[place as usize] as usize];
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(length(place)));
    let mut sequences: Vec<Vec<u32>> = Vec::new();
    // The sequences that have so many tokens of room left.
    let mut by_room: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for place in places {
        let length = length(place);
        let fitting = by_room.range(length..).next().map(|(&room, _)| room);
        let (sequence, room) = match fitting.and_then(|room| Some((by_room.get_mut(&room)?.pop()?, room))) {
            Some(found) => found,
            None => {
                sequences.push(Vec::new());
                (sequences.len() - 1, capacity.max(length))
            }
        };
        if by_room.get(&room).is_some_and(Vec::is_empty) {
            by_room.remove(&room);
        }
        sequences[sequence].push(place);
        by_room.entry(room - length).or_default().push(sequence);
    }
    for sequence in &mut sequences {
        sequence.sort_unstable();
    }
    sequences.sort_unstable_by_key(|sequence| sequence[0]);
    for place in sequences.iter_mut().flatten() {
        *place = rows[*place as usize];
    }
    sequences
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fullest_sequence_that_fits_is_taken() {
        let lengths = [3, 9, 4, 6, 1, 7];
        assert_eq!(
            best_fit_decreasing(&[0, 1, 2, 3, 4, 5], &lengths, 10),
            [vec![0, 5], vec![1, 4], vec![2, 3]]
        );
        assert_eq!(best_fit_decreasing(&[5, 1], &lengths, 5), [[5], [1]], "too long ones are alone");
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_sequence_and_few_are_needed(
            lengths in prop::collection::vec(1u32..=64, 1..200),
        ) {
            let rows: Vec<u32> = (0..lengths.len() as u32).rev().step_by(2).collect();
            let sequences = best_fit_decreasing(&rows, &lengths, 64);
            let room = |sequence: &Vec<u32>| sequence.iter().map(|&row| lengths[row as usize]).sum::<u32>();
            prop_assert!(sequences.iter().all(|sequence| room(sequence) <= 64));
            let mut packed: Vec<u32> = sequences.concat();
            packed.sort_by_key(|row| std::cmp::Reverse(*row));
            prop_assert_eq!(&packed, &rows);
            // Best fit decreasing needs at most 11/9 of the least number and one more (Johnson 1973).
            let least = rows.iter().map(|&row| lengths[row as usize]).sum::<u32>().div_ceil(64);
            let half: usize = sequences.iter().filter(|sequence| room(sequence) <= 32).count();
            prop_assert!(half <= 1, "two half-empty sequences would be one");
            prop_assert!(sequences.len() as u32 <= 2 * least);
        }
    }
}
