//! Several adapters as one: their weighted sum by concatenation, as PEFT's `add_weighted_adapter` with the combination
//! "cat" makes it (`peft/tuners/lora/model.py`).
//!
//! With the rows of all A below one another and the columns of all B side by side, `B A` is the sum of the single products,
//! and no product is rounded to a lower rank. Weight and scale of each are in its rows of A, so that the scale of the whole
//! is 1.

use std::collections::BTreeMap;

use super::config::MAX_RANK;
use super::patterns::Patterns;
use super::{Adaptable, Bias, Factor, LoraConfig, LoraModule, PeftAdapter, Side, TargetModules, row_pieces};
use crate::bail;
use crate::error::Result;
use crate::files::Outside;

/// One of the adapters of a blend.
pub struct BlendPart<'a> {
    /// What people call it.
    pub name: &'a str,
    pub adapter: &'a PeftAdapter,
    /// What its update of the model is multiplied with, which may be negative; 0 leaves it out.
    pub weight: f64,
}

/// A module and the parts that adapt it, each with its rank there.
struct Stack<'a> {
    module: &'a LoraModule,
    parts: Vec<(&'a BlendPart<'a>, usize)>,
}

impl Stack<'_> {
    fn rank(&self) -> usize {
        self.parts.iter().map(|&(_, rank)| rank).sum()
    }
}

/// The adapter whose update of every module is `Σ weight · scale · B A` over `parts`. A module that some of them adapt has the
/// rank of these alone.
///
/// # Errors
///
/// `bad-option`, naming the adapter or the module: for a part that is more than factors, a weight that is no finite number,
/// no part that counts, and a rank above 512. `not-finite` where a product with a weight is too large for f32.
pub fn blend(parts: &[BlendPart<'_>], model: &Adaptable) -> Result<PeftAdapter> {
    let mut stacks: Vec<Stack<'_>> =
        model.linears.iter().map(|module| Stack { module, parts: Vec::new() }).collect();
    for part in parts {
        expect_blendable(part)?;
        for stack in stacks.iter_mut().filter(|stack| part.adapter.weights.contains_key(&stack.module.path)) {
            if part.weight != 0.0 {
                stack.parts.push((part, part.adapter.config.rank_of(stack.module)));
            }
        }
    }
    stacks.retain(|stack| !stack.parts.is_empty());
    if stacks.is_empty() {
        bail!(BadOption, "a blend needs an adapter whose weight is not 0");
    }
    if let Some(stack) = stacks.iter().find(|stack| stack.rank() > MAX_RANK) {
        bail!(
            BadOption,
            "the ranks of the blended adapters add up to {} at {}, and {MAX_RANK} is the most: blend fewer of them, or such \
             of a lower rank",
            stack.rank(),
            stack.module.path
        );
    }
    let weights = stacks.iter().map(|stack| Ok((stack.module.path.clone(), stacked(stack)?)));
    Ok(PeftAdapter {
        config: config(&stacks, &model.linears),
        base_model_name_or_path: parts.iter().find_map(|part| part.adapter.base_model_name_or_path.clone()),
        weights: weights.collect::<Result<BTreeMap<_, _>>>()?,
        others: BTreeMap::new(),
        of_base: Vec::new(),
    })
}

/// Only sums of factors are sums of adapters: DoRA divides by a norm of the sum, and two modules in place of one have none.
fn expect_blendable(part: &BlendPart<'_>) -> Result<()> {
    let LoraConfig { use_dora, modules_to_save, bias, .. } = &part.adapter.config;
    let mut more = Vec::new();
    if *use_dora {
        more.push("use_dora".to_owned());
    }
    if !modules_to_save.is_empty() {
        more.push(format!("modules_to_save ({})", modules_to_save.join(", ")));
    }
    if *bias != Bias::None {
        more.push("bias".to_owned());
    }
    if !more.is_empty() {
        bail!(
            BadOption,
            "the adapter {:?} cannot be blended, as it was trained with {}: only adapters that are LoRA's factors alone add up",
            part.name,
            more.join(" and ")
        );
    }
    if !(part.weight as f32).is_finite() {
        bail!(BadOption, "the weight of the adapter {:?} is {}, not a finite number", part.name, part.weight);
    }
    Ok(())
}

/// The factors of a module: `a` is `[Σ r, in]` and `b` is `[out, Σ r]`, both row-major.
fn stacked(stack: &Stack<'_>) -> Result<Factor> {
    let mut factor = Factor::default();
    for &(part, rank) in &stack.parts {
        let scale = part.adapter.config.scale_of(stack.module);
        let [_, cols] = stack.module.shape(Side::A, rank);
        for rows in row_pieces(rank, cols) {
            let mut values = part.adapter.rows(stack.module, Side::A, rows);
            // PEFT multiplies by one after the other, and so has these very bits.
            values.iter_mut().for_each(|value| *value = *value * part.weight as f32 * scale);
            if !values.iter().all(|value| value.is_finite()) {
                bail!(
                    NotFinite,
                    "the adapter {:?} times {} is too large for f32 at {}: take a smaller weight",
                    part.name,
                    part.weight,
                    stack.module.path
                );
            }
            push(&mut factor.a, &values);
        }
    }
    let [out, width] = stack.module.shape(Side::B, stack.rank());
    for rows in row_pieces(out, width) {
        let columns = stack.parts.iter().map(|&(part, rank)| {
            let values = part.adapter.rows(stack.module, Side::B, rows.clone());
            (values, rank)
        });
        let columns: Vec<_> = columns.collect();
        let joined = (0..rows.len()).flat_map(|row| {
            columns.iter().flat_map(move |(values, rank)| &values[row * rank..(row + 1) * rank])
        });
        push(&mut factor.b, &joined.copied().collect::<Vec<f32>>());
    }
    Ok(factor)
}

fn push(to: &mut Outside, values: &[f32]) {
    to.push(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
}

/// The config that calls for these factors and no others, with a scale of 1 everywhere.
fn config(stacks: &[Stack<'_>], linears: &[LoraModule]) -> LoraConfig {
    let r = commonest_rank(stacks);
    let (mut names, mut ranks) = (Vec::new(), Vec::new());
    let mut by_name: BTreeMap<&str, Vec<&Stack<'_>>> = BTreeMap::new();
    for stack in stacks {
        by_name.entry(last_name(stack.module)).or_default().push(stack);
    }
    for (name, group) in by_name {
        // A name means every module whose path ends with it.
        let is_whole = group.len() == linears.iter().filter(|module| last_name(module) == name).count();
        let paths = group.iter().map(|stack| stack.module.path.clone());
        if is_whole {
            names.push(name.to_owned());
        } else {
            names.extend(paths);
        }
        let first = group[0].rank();
        let entry = |key: String, rank: usize| (key, rank as f64);
        if group.iter().all(|stack| stack.rank() == first) {
            ranks.extend((first != r).then(|| entry(name.to_owned(), first)));
        } else {
            let others = group.iter().filter(|stack| stack.rank() != r);
            ranks.extend(others.map(|stack| entry(stack.module.path.clone(), stack.rank())));
        }
    }
    LoraConfig {
        r,
        lora_alpha: r as f64,
        target_modules: TargetModules::Names(names),
        alpha_pattern: Patterns(ranks.clone()),
        rank_pattern: Patterns(ranks),
        ..LoraConfig::default()
    }
}

/// The rank that most modules have, so that the fewest need a pattern; of several the highest.
fn commonest_rank(stacks: &[Stack<'_>]) -> usize {
    let mut counts = BTreeMap::<usize, usize>::new();
    for stack in stacks {
        *counts.entry(stack.rank()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|&(rank, count)| (count, rank)).map_or(1, |(rank, _)| rank)
}

fn last_name(module: &LoraModule) -> &str {
    module.path.rsplit('.').next().unwrap_or_default()
}
