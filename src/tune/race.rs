//! Which of some racers is fastest, where a wait comes with every turn and the clock may be coarse.

/// A turn of the fastest lasts at least this long. What it waits for the GPU, about a millisecond in
/// browsers, and what the clock cuts off then weigh little.
const TURN_SECONDS: f64 = 0.02;
const MOST_REPEATS: u32 = 512;
/// The turns that count.
const TURNS: usize = 3;
/// The coarsest clock that browsers usually have. A turn that seems to take less took an unknown part of it.
const CLOCK_SECONDS: f64 = 1e-3;
/// Who is this many times slower than the best gets no further turn.
const TOO_SLOW: f64 = 2.0;

/// The seconds that each of `racers` takes for one of its tasks: the median of its turns. `turn` does the
/// task of a racer some times over and says how long that took. `None` where it was late before every
/// racer had a turn that counts.
pub async fn race(
    racers: usize,
    mut turn: impl AsyncFnMut(usize, u32) -> f64,
    is_late: impl Fn() -> bool,
) -> Option<Vec<f64>> {
    // A racer's first turn compiles, so it says nothing.
    for racer in 0..racers {
        if is_late() {
            return None;
        }
        turn(racer, 1).await;
    }
    let mut taken = vec![Vec::new(); racers];
    let mut running: Vec<usize> = (0..racers).collect();
    let (mut repeats, mut counted) = (1, 0);
    // All repeat their tasks equally often: whoever did more at once would wait less for each.
    while counted < TURNS && (running.len() > 1 || taken.iter().any(Vec::is_empty)) {
        let mut turns = Vec::new();
        for &racer in &running {
            if is_late() {
                return (counted > 0).then(|| taken.iter().map(|taken| median(taken)).collect());
            }
            turns.push(turn(racer, repeats).await.max(CLOCK_SECONDS));
        }
        let best = turns.iter().copied().fold(f64::INFINITY, f64::min);
        let counts = counted > 0 || best >= TURN_SECONDS || repeats >= MOST_REPEATS;
        let is_beaten = |seconds: f64| seconds > TOO_SLOW * (best + CLOCK_SECONDS);
        let mut going_on = Vec::new();
        for (&racer, seconds) in running.iter().zip(turns) {
            if counted == 0 {
                taken[racer].clear();
            }
            taken[racer].push(seconds / f64::from(repeats));
            if !is_beaten(seconds) {
                going_on.push(racer);
            }
        }
        running = going_on;
        match counts {
            true => counted += 1,
            false => repeats *= 2,
        }
    }
    Some(taken.iter().map(|taken| median(taken)).collect())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A clock that only turns move on: each takes a wait and its tasks, and is read in whole steps.
    struct Track {
        now: Cell<f64>,
        /// The racer and the repeats of each turn.
        turns: RefCell<Vec<(usize, u32)>>,
    }

    const WAIT: f64 = 1e-3;

    fn run(tasks: &[f64], clock: f64, budget: f64) -> (Option<Vec<f64>>, Vec<(usize, u32)>) {
        let track = Track { now: Cell::new(0.0), turns: RefCell::default() };
        let read = |now: f64| (now / clock).floor() * clock;
        let turn = async |racer: usize, repeats: u32| {
            track.turns.borrow_mut().push((racer, repeats));
            let began = track.now.get();
            track.now.set(began + WAIT + tasks[racer] * f64::from(repeats));
            read(track.now.get()) - read(began)
        };
        let found = pollster::block_on(race(tasks.len(), turn, || track.now.get() >= budget));
        (found, track.turns.into_inner())
    }

    fn winner(seconds: &[f64]) -> usize {
        (0..seconds.len()).min_by(|&a, &b| seconds[a].total_cmp(&seconds[b])).expect("there is a racer")
    }

    #[test]
    fn the_fastest_wins_by_a_coarse_clock_too() {
        for clock in [1e-9, 1e-4, 1e-3] {
            for tasks in [[50e-6, 42e-6, 60e-6], [2.4e-3, 2e-3, 2.9e-3], [0.05, 0.04, 0.045]] {
                let (found, _) = run(&tasks, clock, f64::INFINITY);
                let found = found.expect("there was time");
                assert_eq!(winner(&found), 1, "{tasks:?} by a clock of {clock}: {found:?}");
                assert!(
                    (found[1] / tasks[1] - 1.0).abs() < 0.15,
                    "{tasks:?} by a clock of {clock}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn nobody_wins_by_a_turn_that_reads_nothing() {
        // 512 tasks of the first take less than the clock can tell.
        let (found, turns) = run(&[1e-9, 2e-9], 0.05, f64::INFINITY);
        let found = found.expect("there was time");
        assert!(found.iter().all(|&seconds| seconds >= CLOCK_SECONDS / f64::from(MOST_REPEATS)), "{found:?}");
        assert_eq!(turns.last(), Some(&(1, MOST_REPEATS)));
    }

    #[test]
    fn all_repeat_equally_often_and_the_slow_drop_out() {
        let (found, turns) = run(&[2e-3, 50e-3, 2.5e-3], 1e-4, f64::INFINITY);
        assert_eq!(winner(&found.expect("there was time")), 0);
        let of =
            |racer: usize| turns.iter().filter(|turn| turn.0 == racer).map(|turn| turn.1).collect::<Vec<_>>();
        assert_eq!(of(0), [1, 1, 2, 4, 8, 16, 16, 16], "doubled, then held");
        assert_eq!(of(0), of(2));
        assert_eq!(of(1), [1, 1], "one turn to compile and one to be judged by");
    }

    #[test]
    fn one_alone_needs_no_race() {
        let (found, turns) = run(&[1e-3], 1e-4, f64::INFINITY);
        assert_eq!((found.expect("there was time").len(), turns.len()), (1, 2));
        assert_eq!(run(&[], 1e-4, f64::INFINITY), (Some(vec![]), vec![]));
    }

    #[test]
    fn a_late_race_ends_with_what_counts_or_without_an_answer() {
        let tasks = [0.3, 0.2];
        let (found, turns) = run(&tasks, 1e-3, 0.0);
        assert!(found.is_none() && turns.is_empty());
        // Late after the turns that compile, in the midst of those that count, and after them.
        let (found, turns) = run(&tasks, 1e-3, 0.6);
        assert!(found.is_none() && turns.len() == 3);
        let (found, turns) = run(&tasks, 1e-3, 1.1);
        assert_eq!((winner(&found.expect("each had a turn")), turns.len()), (1, 5));
    }
}
